"""Survival from two columns to risks: what is refused, hazards against their definition, Cox against lifelines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from medloom import fitted
from medloom.batch import Batch, Encoded, Field, Seen
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, StudyError
from medloom.modality import Lifted
from medloom.statistics import survival
from medloom.task import Block
from medloom.tasks import _cox, _hazards
from medloom.tasks._survive_baselines import CoxPH, GradientBoosting, KaplanMeier
from medloom.tasks._survive_options import SurviveOptions
from medloom.tasks.survive import Survive

DATA = Path(__file__).parents[1] / "data" / "survival"
LEARNERS = [CoxPH, GradientBoosting]


def options(**more: object) -> SurviveOptions:
    return SurviveOptions.model_validate({"time": "days", "event": "dead", **more})


def cohort_of(days: object, dead: object) -> Cohort:
    frame = pl.DataFrame({"days": days, "dead": dead})
    return make_cohort(CohortPart(independent_rows=True), frame, Path(), {})


def fit(days: object, dead: object, **more: object) -> Survive:
    marks = Survive.read(options(**more), cohort_of(days, dead))
    return Survive.fit(options(**more), [Survive.summarise(options(**more), marks, np.arange(len(marks.values)))])


@pytest.mark.parametrize(
    ("days", "dead", "says"),
    [
        ([1, -2, 3], [1, 0, 1], "'days': 1 value is negative \\(rows '2'\\)"),
        ([1, 2, 3], [1, 0, 2], "'dead': 1 row holds codes that mean neither the event nor censored \\('2'\\)"),
        ([1, None, 3], [1, 0, 1], "'days': 1 value stands without 'dead'.*\\(rows '2'\\); expected both or neither"),
        ([1, 2, 3], [1, None, 1], "\\(rows '2'\\)"),
        (["1", "long"], [1, 0], "'days': 1 value is not numeric"),
        ([1.0, float("inf")], [1, 0], "1 value is infinite"),
        ([1, 2, 3], [0, 0, 0], "all 3 training rows are censored"),
        ([0, 0, 3], [1, 1, 0], "every event is at time 0"),
        ([0, 0, 0], [1, 0, 1], "every event is at time 0"),
        ([3.0, 3.0, -0.5], [0, 0, 0], "'days': 1 value is negative \\(rows '3'\\)"),
        ([None, None], [None, None], "no known value in the training rows"),
    ],
)
def test_what_cannot_be_learnt_is_refused(days: list[object], dead: list[object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        fit(days, dead)


def test_a_horizon_beyond_follow_up_is_refused() -> None:
    with pytest.raises(DataError, match="horizons: 8 lies beyond the longest follow-up.*at most 7 in column 'days'"):
        fit([1, 2, 7], [1, 1, 0], horizons=[2, 8])
    assert fit([1, 2, 7], [1, 1, 0], horizons=[2, 7]).horizons == (2.0, 7.0)


@pytest.mark.parametrize(
    "more",
    [{"horizons": [3, 2]}, {"horizons": [0]}, {"event": "days"}, {"event_values": [0], "censored_values": ["0"]}],
)
def test_options_that_contradict_are_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        options(**more)


def test_codes_are_read_as_they_are_named() -> None:
    named = options(event_values=["death"], censored_values=["alive", 9], missing=["?"])
    marks = Survive.read(named, cohort_of([1, 2, 3, None, None], ["Death", "alive", "9", "?", None]))
    np.testing.assert_array_equal(marks.values[:, 1], [1, 0, 0, np.nan, np.nan])
    assert marks.present.tolist() == [True, True, True, False, False]
    assert Survive.strata(named, marks).tolist() == [1, 0, 0, -1, -1]
    assert Survive.tally(named, marks, np.arange(5)) == {"event": 1, "censored": 2}
    plain = Survive.read(options(), cohort_of([1, 2, 3, 4], ["yes", "No", "TRUE", "0"]))
    assert plain.values[:, 1].tolist() == [1, 0, 1, 0]
    # What is named as the event is no longer taken for censored.
    assert Survive.read(options(event_values=[0], censored_values=[1]), cohort_of([1, 2], [0, 1])).values[:, 1].tolist() == [1, 0]  # fmt: skip


def test_edges_hold_the_horizons_and_equal_numbers_of_events() -> None:
    days = np.arange(1.0, 41)
    task = fit(days, np.tile([1, 0], 20), bins=5, horizons=[10, 40])
    assert {10.0, 40.0} <= set(task.edges) and task.events == 20 and task.censored == 20
    ended = np.histogram(days[::2], [0, *(edge + 0.5 for edge in task.edges if edge not in (10.0, 40.0))])[0]
    assert ended.tolist() == [4] * 5
    assert fit(days, np.ones(40), bins=4).horizons == (10.0, 20.0, 30.0)
    assert fit([5, 5, 5, 9], [1, 1, 1, 0]).edges == (5.0,)


def test_summaries_add_up() -> None:
    marks = Survive.read(options(), cohort_of([1, 2, 2, 4, 5, 0], [1, 0, 1, 1, 0, 0]))
    parts = [Survive.summarise(options(), marks, np.array(rows)) for rows in ([0, 3], [1, 2, 4, 5])]
    whole = Survive.fit(options(), [Survive.summarise(options(), marks, np.arange(6))])
    assert Survive.fit(options(), parts) == Survive.fit(options(), parts[::-1]) == whole
    assert whole.at_zero == 1 and "1 of them followed for no time" in whole.describe()["training rows"]
    assert fitted.same(fitted.load(Survive, json.loads(json.dumps(fitted.dump(whole)))), whole)


def test_periods_by_hand() -> None:
    edges = np.array([2.0, 4, 8])
    time, event = np.array([0.0, 0, 1, 2, 3, 5, 8, 9, 9]), np.array([1.0, 0, 0, 1, 0, 1, 0, 1, 0])
    ended, outlived = _hazards.periods(time, event, edges)
    assert ended.tolist() == [
        [1, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0],
    ]  # fmt: skip
    assert outlived.tolist() == [
        [0, 0, 0], [0, 0, 0], [0.5, 0, 0], [0, 0, 0], [1, 0.5, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 1],
    ]  # fmt: skip


def test_marginal_hazards_are_those_of_kaplan_and_meier_where_every_time_is_an_edge() -> None:
    random = np.random.default_rng(0)
    time, event = random.integers(1, 9, 200).astype(float), (random.random(200) < 0.5).astype(float)
    edges = np.arange(1.0, 9)
    _, share = survival.kaplan_meier(time, event, np.ones((1, 200)))
    # A row censored at an edge outlives it: Kaplan and Meier count it there as well.
    np.testing.assert_allclose(np.cumprod(1 - _hazards.marginal(time, event, edges)), share[0], atol=1e-5)


def followed(time: np.ndarray, event: np.ndarray) -> Field:
    both = np.stack([time, event], axis=1)
    return Field(torch.from_numpy(np.nan_to_num(both)), torch.from_numpy(~np.isnan(time)))


def test_the_loss_is_the_likelihood_of_the_follow_up() -> None:
    task = fit([2, 4, 8, 8], [1, 1, 1, 0], bins=3)
    logits = torch.tensor(np.random.default_rng(0).normal(size=(4, 3)), dtype=torch.float32)
    hazard = torch.sigmoid(logits).double().numpy()
    found = task.loss({"logits": logits}, followed(np.array([3.0, 4, 9, np.nan]), np.array([0.0, 1, 0, np.nan])), {})
    by_hand = [
        -np.log(1 - hazard[0, 0]) - 0.5 * np.log(1 - hazard[0, 1]),
        -np.log(1 - hazard[1, 0]) - np.log(hazard[1, 1]),
        -np.log(1 - hazard[2]).sum(),
        0,
    ]
    np.testing.assert_allclose(found.numpy(), by_hand, rtol=1e-5)


def test_risks_are_products_of_hazards_and_rise() -> None:
    task = fit([2, 4, 8, 8], [1, 1, 1, 0], bins=3, horizons=[4, 8])
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    answer = task.decode({"logits": logits})
    expected = 1 - np.cumprod(1 - torch.sigmoid(logits).double().numpy(), axis=1)
    np.testing.assert_allclose(answer.risk, expected, rtol=1e-6)
    assert set(answer.columns()) == {"risk_4", "risk_8", "score"} and len(answer) == 5
    np.testing.assert_allclose(answer.columns()["risk_4"], expected[:, 1])
    np.testing.assert_allclose(answer.score, expected.mean(axis=1), rtol=1e-6)
    with pytest.raises(StudyError, match="cannot be laid"):
        task.decode(Lifted(np.zeros(1, int), [np.zeros((1, 2))]))


def test_a_new_head_begins_near_the_hazards_of_all() -> None:
    task = fit(np.arange(1.0, 41), np.tile([1, 0], 20), bins=4)
    head = task.head({}, 3)
    seen = Seen(torch.zeros(2, 3), {"t": Encoded(torch.zeros(2, 3))}, {})
    hazards = torch.sigmoid(head(seen)["logits"]).detach().numpy()
    np.testing.assert_allclose(hazards, np.tile(task.hazards, (2, 1)), rtol=1e-5)


def test_temperature_undoes_overconfidence() -> None:
    random = np.random.default_rng(1)
    line = random.normal(size=(2000, 1))
    days = random.exponential(20 * np.exp(-line[:, 0]))
    dead = (days < 40).astype(float)
    task = fit(np.minimum(days, 40), dead, bins=6)
    base = _hazards.logit(np.array(task.hazards))
    field = followed(np.minimum(days, 40), dead)
    over = task.calibrate([({"logits": torch.from_numpy(base + 3 * line)}, field)])
    right = task.calibrate([({"logits": torch.from_numpy(base + line)}, field)])
    assert over.calibrated and over.temperature == pytest.approx(3 * right.temperature, rel=1e-3)
    assert over.temperature > 2
    few = Field(field.value[:5], field.present[:5])
    assert not task.calibrate([({"logits": torch.from_numpy((base + line)[:5])}, few)]).calibrated
    assert fit(days, dead, calibration="none").calibrate([({"logits": torch.zeros(2000, 30)}, field)]).temperature == 1


def lifelines() -> tuple[dict[str, dict[str, list[float]]], list[float], np.ndarray, np.ndarray, np.ndarray]:
    frame = pl.read_csv(DATA / "rows.csv")
    known = json.loads((DATA / "lifelines.json").read_text(encoding="utf-8"))
    features = frame.select("a", "b", "c").to_numpy().astype(float)
    time, event = frame["time"].to_numpy().astype(float), frame["event"].to_numpy().astype(float)
    return known, known["times"], features, time, event


@pytest.mark.parametrize(("name", "penalty"), [("cox_plain", 0.0), ("cox_ridge", 0.1)])
def test_cox_agrees_with_lifelines(name: str, penalty: float) -> None:
    known, times, features, time, event = lifelines()
    spread = np.array(known[name]["norm_std"])
    scaled = (features - features.mean(axis=0)) / spread
    model = _cox.fit(scaled, time, event, penalty)
    np.testing.assert_allclose(model.coefficient / spread, known[name]["coefficients"], rtol=1e-6)
    np.testing.assert_allclose(model.hazard(np.array(times)), known[name]["cumulative_hazard"], rtol=1e-6)


def test_cox_survives_features_that_repeat_or_separate() -> None:
    random = np.random.default_rng(0)
    time, event = np.arange(1.0, 41), np.ones(40)
    column = -time[:, None]  # puts every event in its place: without a penalty it would go on for ever
    twice = np.concatenate([column, column, random.normal(size=(40, 1))], axis=1) / 10
    model = _cox.fit(twice, time, event, 0.01)
    assert np.isfinite(model.coefficient).all() and np.isfinite(model.cumulative).all()
    assert model.coefficient[0] == pytest.approx(model.coefficient[1], rel=1e-6)
    assert survival.harrell(time, event, twice @ model.coefficient, np.ones((1, 40)))[0] > 0.98


def block(features: np.ndarray, field: Field) -> Block:
    return Block(features, Batch({}, {"y": field}, torch.arange(len(features)), torch.ones(len(features))), field)


def made(seed: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 4))
    days, leaves = random.exponential(20 * np.exp(-1.2 * features[:, 0] + 0.6 * features[:, 1])), random.exponential(60, rows)  # fmt: skip
    features[random.random((rows, 4)) < 0.05] = np.nan
    features[:, 3] = np.nan
    return features, np.minimum(days, leaves).round(1), (days <= leaves).astype(float)


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("with_valid", [True, False])
def test_simple_models_beat_the_curve_for_everyone(learner: type, with_valid: bool) -> None:
    features, time, event = made(0)
    task = fit(time, event, bins=10)
    model, curve = learner(np.array(task.edges), 0), KaplanMeier(np.array(task.edges), 0)
    valid_features, *valid_truth = made(1)
    for one in (model, curve):
        one.fit([block(features, followed(time, event))], [block(valid_features, followed(*valid_truth))] if with_valid else [])  # fmt: skip
    new, *truth = made(2)
    field = followed(*truth)
    weight = np.ones((1, 400))
    ours, theirs = (task.measure(task.decode(one.output(block(new, field))), field) for one in (model, curve))
    figures = task.metrics()
    assert figures["harrell_concordance"].of(ours, weight)[0] > 0.7
    assert figures["harrell_concordance"].of(theirs, weight)[0] == 0.5
    assert figures["uno_concordance"].of(ours, weight)[0] > 0.7
    for name, figure in figures.items():
        if name.startswith(("integrated", "brier")):
            assert figure.of(ours, weight)[0] < figure.of(theirs, weight)[0], name
    assert len(task.plots({"model": ours})) == 2
    assert task.plots({"model": theirs}) == ()


def test_the_curve_for_everyone_is_the_hazards_of_the_task() -> None:
    features, time, event = made(3)
    task = fit(time, event, bins=10)
    model = KaplanMeier(np.array(task.edges), 0)
    gaps = np.where(np.arange(400) % 7 == 0, np.nan, time)
    model.fit([block(features, followed(time, event))], [])
    logits = model.output(block(features, followed(gaps, event)))["logits"].numpy()
    np.testing.assert_allclose(logits, np.tile(_hazards.logit(np.array(task.hazards)), (400, 1)), rtol=1e-5)


@pytest.mark.parametrize("learner", LEARNERS)
def test_no_features_or_no_event_leave_the_curve(learner: type) -> None:
    features, time, event = made(4, rows=50)
    edges = np.array([5.0, 20, 60])
    for plain, ended in ((np.zeros((50, 0)), event), (features, np.zeros(50))):
        model, curve = learner(edges, 0), KaplanMeier(edges, 0)
        for one in (model, curve):
            one.fit([block(plain, followed(time, ended))], [])
        seen = block(plain, followed(time, ended))
        torch.testing.assert_close(model.output(seen)["logits"], curve.output(seen)["logits"])


@pytest.mark.parametrize("learner", [KaplanMeier, *LEARNERS])
def test_rows_without_a_follow_up_teach_nothing(learner: type) -> None:
    features, time, event = made(5, rows=120)
    gone = np.arange(120) % 3 == 0
    masked, kept = learner(np.array([5.0, 20, 60]), 0), learner(np.array([5.0, 20, 60]), 0)
    masked.fit([block(features, followed(np.where(gone, np.nan, time), event))], [])
    kept.fit([block(features[~gone], followed(time[~gone], event[~gone]))], [])
    seen = block(features, followed(time, event))
    torch.testing.assert_close(masked.output(seen)["logits"], kept.output(seen)["logits"])


def test_calibrated_groups_lie_on_the_diagonal() -> None:
    random = np.random.default_rng(3)
    rate = random.choice([0.02, 0.1], 4000)
    days, leaves = random.exponential(1 / rate), random.uniform(5, 30, 4000)
    time, event = np.minimum(days, leaves), (days <= leaves).astype(float)
    task = fit(time, event, bins=10, horizons=[10])
    edges = np.array(task.edges)
    risk = 1 - np.exp(-rate[:, None] * edges)
    measured = {"time": time, "event": event, "score": risk.mean(axis=1) + 1e-9 * random.random(4000), "risk": risk}
    calibration, thirds = task.plots({"model": measured})
    for curve in (*calibration.curves, *thirds.curves):
        assert curve.low is not None and curve.high is not None
        assert (np.array(curve.low) <= curve.y).all() and (np.array(curve.high) >= curve.y).all()
    np.testing.assert_allclose(calibration.curves[0].y, calibration.curves[0].x, atol=0.05)
    assert len(calibration.curves[0].x) == 2
    assert [curve.name for curve in thirds.curves] == ["lowest third", "middle third", "highest third"]
    assert thirds.curves[0].y[-1] > thirds.curves[2].y[-1]
