import numpy as np
import polars as pl
import pytest
import torch
from scipy.optimize import minimize_scalar

from medloom.batch import Field
from medloom.errors import StudyError
from medloom.model.team import PRIOR, Team, stacked
from medloom.run import fit
from medloom.study import make
from medloom.task import Task
from medloom.tasks.classify import Classify, ClassifyOptions
from tests.cases.tables import table_stacked

TASK = Classify.fit(ClassifyOptions(column="died"), [Classify.Summary({"0": 5, "1": 5})])


def said(rows: int, seed: int = 0):
    """Truth, log-odds that know it, and log-odds that do not."""
    random = np.random.default_rng(seed)
    signal = random.normal(0, 2, rows)
    truth = (random.random(rows) < 1 / (1 + np.exp(-signal))).astype(np.float32)
    noise = random.normal(0, 2, rows)
    outputs = {
        n: {"logits": torch.tensor(v[:, None], dtype=torch.float32)} for n, v in (("good", signal), ("bad", noise))
    }
    return outputs, Field(torch.tensor(truth[:, None]), torch.ones(rows, dtype=torch.bool)), signal, noise, truth


def test_shares_are_those_of_least_loss_found_another_way():
    outputs, target, signal, noise, truth = said(200)
    good, bad = 1 / (1 + np.exp(-signal)), 1 / (1 + np.exp(-noise))

    def loss(share: float) -> float:
        p = share * good + (1 - share) * bad
        likelihood = np.log(np.where(truth > 0.5, p, 1 - p)).sum()
        return -likelihood - PRIOR * (np.log(share) + np.log(1 - share))

    expected = minimize_scalar(loss, bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-9}).x
    found = stacked(TASK, [(outputs, target)])
    assert found["good"] == pytest.approx(expected, abs=1e-4)
    assert sum(found.values()) == pytest.approx(1)
    assert expected > 0.8


def test_few_rows_leave_the_shares_near_equal():
    outputs, target, *_ = said(4)
    assert abs(stacked(TASK, [(outputs, target)])["good"] - 0.5) < 0.1


def test_blocks_of_rows_count_as_one():
    outputs, target, *_ = said(60)
    halves = []
    for part in (slice(0, 25), slice(25, 60)):
        each = {name: {"logits": one["logits"][part]} for name, one in outputs.items()}
        halves.append((each, Field(target.value[part], target.present[part])))
    whole = stacked(TASK, [(outputs, target)])
    assert stacked(TASK, halves)["good"] == pytest.approx(whole["good"], abs=1e-6)


def test_rows_that_speak_together_count_as_so_many_in_the_unit_of_their_loss():
    outputs, target, signal, noise, truth = said(60)
    good, bad = 1 / (1 + np.exp(-signal)), 1 / (1 + np.exp(-noise))

    def loss(share: float) -> float:
        p = share * good + (1 - share) * bad
        likelihood = np.log(np.where(truth > 0.5, p, 1 - p)).sum()
        return 30 * np.log(-likelihood) - PRIOR * (np.log(share) + np.log(1 - share))

    expected = minimize_scalar(loss, bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-9}).x
    assert stacked(TASK, [(outputs, target)], count=30)["good"] == pytest.approx(expected, abs=1e-4)
    assert stacked(TASK, [(outputs, target)] * 5, count=30)["good"] == pytest.approx(expected, abs=1e-4)
    assert 0.55 < expected < 0.95


def test_together_is_the_mean_of_probabilities_by_share():
    outputs, *_, signal, noise, _ = said(9)
    team = Team((), {}, {"death": {"good": 0.75, "bad": 0.25}})
    made = team.together("death", TASK, outputs)["logits"].double().numpy()[:, 0]
    expected = 0.75 / (1 + np.exp(-signal)) + 0.25 / (1 + np.exp(-noise))
    np.testing.assert_allclose(1 / (1 + np.exp(-made)), expected, rtol=1e-5)
    alone = team.together("death", TASK, {"bad": outputs["bad"]})
    assert alone is outputs["bad"]


def test_other_tasks_take_the_mean_of_numbers_by_share():
    one, two = ({"logits": torch.tensor([[value]])} for value in (1.0, 3.0))
    made = Task.combine(TASK, [one, two], torch.tensor([0.25, 0.75]))
    assert float(made["logits"]) == pytest.approx(2.5)


@pytest.fixture
def study(tmp_path):
    return table_stacked(tmp_path)


def with_members(study, members, targets=None):
    raw = study.model_dump(mode="json", exclude_unset=True)
    return make({**raw, "model": {"members": members}, "targets": targets or raw["targets"]}).within(study.folder)


def test_a_simple_model_may_answer_alone_and_is_kept(study, tmp_path):
    run = fit(with_members(study, ["gradient_boosting"]), tmp_path / "run")
    target = run.metrics["targets"]["severity"]
    assert set(target["baselines"]) == {"majority", "best_feature", "logistic"} and "members" not in target
    rows = pl.read_csv(tmp_path / "cohort.csv").filter(pl.col("stay").is_in(run.predictions["row"].to_list()))
    again = run.bundle.predict(rows).rename({"stay": "row"})
    assert again.join(run.predictions, on="row", suffix="_judged").height == len(rows)
    for name in ("severity_probability_mild", "age"):
        both = again.join(run.predictions, on="row", suffix="_judged")
        np.testing.assert_array_equal(both[name].to_numpy(), both[f"{name}_judged"].to_numpy())


def test_the_run_says_what_each_member_adds(study, tmp_path):
    run = fit(study, tmp_path / "run")
    members = run.metrics["targets"]["severity"]["members"]
    assert set(members) == {"network", "gradient_boosting", "logistic"}
    assert sum(one["share"] for one in members.values()) == pytest.approx(1)
    target = run.metrics["targets"]["severity"]
    headline = target["headline"]
    for one in members.values():
        gain = target["model"][headline]["value"] - one["without"][headline]["value"]
        assert one["adds"][headline]["value"] == pytest.approx(gain, abs=1e-9)
    first, second = run.bundle.team.networks
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    text = run.report.read_text()
    assert "Who answers together" in text and "2 networks + Gradient boosting" in text


@pytest.mark.parametrize(
    ("members", "found"),
    [
        (["network", "gradient_bosting"], "gradient_boosting"),
        ([], "members is empty"),
        (["cox"], "nobody answers for targets.severity"),
        (["logistic", "logistic", "network"], "twice"),
    ],
)
def test_members_that_cannot_be(study, members, found):
    with pytest.raises(StudyError, match=found):
        with_members(study, members)
