"""Limits of sets and intervals: coverage by simulation, groups, and what too few rows can promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloom.batch import GROUP, Field
from medloom.tasks import _set_figures
from medloom.tasks._class_options import ClassifyOptions
from medloom.tasks._conformal import class_scores, class_sets, fewest, limits, said
from medloom.tasks.regress import Regress, RegressOptions
from tests.tasks.test_class_calibration import fit


def batch(logits: np.ndarray, answer: np.ndarray, group: np.ndarray | None = None) -> tuple[dict, Field]:
    beside = {} if group is None else {GROUP: torch.from_numpy(group)}
    return (
        {"logits": torch.from_numpy(logits), **beside},
        Field(torch.from_numpy(answer), torch.ones(len(answer), dtype=torch.bool)),
    )


def simulated(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of three classes, that say less than they seem to in group 9, a tenth of the rows."""
    logits = random.normal(size=(count, 3)) * 3
    group = np.where(random.random(count) < 0.1, 9, 4)
    told = logits * np.where(group == 9, 0.2, 1.0)[:, None]
    return logits, (told + random.gumbel(size=told.shape)).argmax(axis=1), group


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize(("by", "held"), [("sex", 0.9), (None, 0.8)])
def test_sets_hold_the_truth_as_often_as_asked_in_a_minority_too(score: str, by: str | None, held: float) -> None:
    random = np.random.default_rng(0)
    more = {"conformal_by": by} if by else {}
    task = fit(["a", "b", "c"], conformal=0.9, conformal_score=score, calibration="none", **more)
    covered: dict[int, list[float]] = {4: [], 9: []}
    for _ in range(60):
        done = task.calibrate([batch(*simulated(random, 600))])
        output, truth = batch(*simulated(random, 600))
        measured = done.measure(done.decode(output), truth)
        for code in covered:
            covered[code].append(measured["covered"][output[GROUP].numpy() == code].mean())
    mean = {code: float(np.mean(values)) for code, values in covered.items()}
    assert mean[4] >= 0.885
    assert (mean[9] >= 0.885) == (held == 0.9)


def test_each_class_by_itself_holds_the_rare_class() -> None:
    random = np.random.default_rng(1)
    task = fit(["0", "1"], conformal=0.9, conformal_by="class", calibration="none")
    held = []
    for _ in range(40):
        parts = []
        for _ in range(2):
            answer = (random.random(800) < 0.08).astype(np.float32)
            logits = (random.normal(size=800) + 2 * answer - 3)[:, None]
            parts.append(batch(logits, answer[:, None]))
        done = task.calibrate(parts[:1])
        measured = done.measure(done.decode(parts[1][0]), parts[1][1])
        held.append([measured["covered"][measured["truth"] == code].mean() for code in (0, 1)])
    np.testing.assert_array_less(0.88, np.mean(held, axis=0))
    assert task.group_column() is None


def test_scores_and_sets_by_hand() -> None:
    probability = np.array([[0.5, 0.2, 0.3]])
    np.testing.assert_allclose(class_scores(probability, "lac"), [[0.5, 0.8, 0.7]])
    np.testing.assert_allclose(class_scores(probability, "aps"), [[0.5, 1.0, 0.8]])
    assert class_sets(probability, np.array([[0.75]]), "lac").tolist() == [[True, False, True]]
    assert class_sets(probability, np.array([[0.1]]), "lac").tolist() == [[True, False, False]]  # never empty


@pytest.mark.parametrize(("coverage", "count"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.8, 4)])
def test_the_fewest_rows_are_those_that_give_a_limit(coverage: float, count: int) -> None:
    assert fewest(coverage) == count
    assert limits(np.arange(float(count)), None, coverage).every == count - 1
    assert limits(np.arange(float(count - 1)), None, coverage).every is None


def test_five_rows_promise_nothing_and_say_so() -> None:
    task = fit(["a", "b", "c"], conformal=0.9)
    random = np.random.default_rng(0)
    done = task.calibrate([batch(random.normal(size=(5, 3)), np.array([0, 1, 2, 0, 1]))])
    assert "cannot be guaranteed: 5 calibration rows are too few, at least 9" in done.describe()["sets"]
    prediction = done.decode({"logits": torch.zeros(2, 3)})
    assert prediction.columns()["set"].tolist() == ["a; b; c"] * 2
    assert task.decode({"logits": torch.zeros(2, 3)}).columns()["set"].tolist() == ["a; b; c"] * 2


def test_small_and_unseen_groups_and_missing_values_have_the_limit_of_all_rows() -> None:
    score, code = np.arange(40.0), np.array([7] * 30 + [8] * 1 + [0] * 9)
    found = limits(score, code, 0.9)
    assert [group for group, _ in found.groups] == [7] and found.small == 1
    limit, own = found.of(np.array([7, 8, 0, 99]))
    np.testing.assert_array_equal(limit[1:], found.every)
    assert own.tolist() == [True, False, False, False] and limit[0] < limit[1]
    assert "1 with under 9 rows as all rows together" in said(found, 0.9, "sex")


def test_a_prediction_says_whose_limit_it_has() -> None:
    task = fit(["a", "b", "c"], conformal=0.9, conformal_by="sex")
    done = task.calibrate([batch(*simulated(np.random.default_rng(0), 300))])
    output = {"logits": torch.zeros(2, 3), GROUP: torch.tensor([4, 123])}
    assert done.decode(output).columns()["set_basis"].tolist() == ["own group", "all rows"]


def test_regression_by_group() -> None:
    random = np.random.default_rng(0)
    options = RegressOptions(column="y", coverage=0.9, conformal_by="sex")
    task = Regress(options, 0.0, 1.0, 100)
    group = np.where(random.random(4000) < 0.1, 9, 4)
    truth = random.normal(size=4000) * np.where(group == 9, 5.0, 1.0)
    output, field = batch(np.zeros((4000, 1)), truth, group)
    done = task.calibrate([(output, field)])
    prediction = done.decode(output)
    held = (prediction.low <= truth) & (truth <= prediction.high)
    for code in (4, 9):
        assert held[group == code].mean() == pytest.approx(0.9, abs=0.01)
    assert (prediction.high[group == 9].mean() / prediction.high[group == 4].mean()) == pytest.approx(5, rel=0.15)
    assert "2 groups of sex" in done.describe()["intervals"]


def test_figures_of_sets() -> None:
    measured = {"covered": np.array([1.0, 0.0, 1.0, np.nan]), "set_size": np.array([1.0, 1.0, 2.0, 3.0])}
    found = _set_figures.metrics()
    weight = np.ones((1, 4))
    values = {name: float(metric.of(measured, weight)[0]) for name, metric in found.items()}
    assert values == pytest.approx({"set_coverage": 2 / 3, "set_size": 4 / 3, "single_answers": 2 / 3})
    interval = found["set_coverage"].interval
    assert interval is not None
    value, low, high = interval(measured, np.arange(4), 0.95)
    assert low < value < high and value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"column": None, "columns": ["y", "z"], "conformal": 0.9}, "not with several labels"),
        ({"column": None, "columns": ["y", "z"], "abstain": 0.1}, "not with several labels"),
        ({"conformal_by": "sex"}, "go with conformal"),
        ({"conformal_score": "aps"}, "go with conformal"),
        ({"conformal": 0.4}, "greater than 0.5"),
        ({"abstain": 0.0}, "greater than 0"),
    ],
)
def test_options_that_contradict_are_refused(more: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ClassifyOptions.model_validate({"column": "y", **more})


# Left to a person ---------------------------------------------------------------------------------------------------


def test_the_least_certain_share_of_rows_is_left() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(2000, 1)) * 2
    answer = (random.random(2000) < 1 / (1 + np.exp(-logits[:, 0]))).astype(np.float32)[:, None]
    done = fit(["0", "1"], abstain=0.2).calibrate([batch(logits, answer)])
    prediction = done.decode({"logits": torch.from_numpy(logits)})
    left = prediction.columns()["left_to_person"]
    assert left.mean() == pytest.approx(0.2, abs=0.001)
    apart = np.abs(np.log(prediction.probability / (1 - prediction.probability)) - np.log(done.threshold[0] / (1 - done.threshold[0])))  # fmt: skip
    assert apart[left].max() < apart[~left].min()


def test_without_calibration_rows_none_is_left_and_that_is_said() -> None:
    task = fit(["0", "1"], abstain=0.2)
    assert not task.decode({"logits": torch.zeros(3, 1)}).columns()["left_to_person"].any()
    assert task.describe()["left to a person"] == "not calibrated: no row is left"
