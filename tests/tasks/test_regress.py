"""Regression from a column to intervals, its losses against their definitions, and its simple models."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import poisson

from medloom.batch import Batch, Field
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, StudyError
from medloom.modality import Lifted
from medloom.study import make
from medloom.task import Block
from medloom.tasks._plain import strongest
from medloom.tasks._regress_baselines import GradientBoosting, Mean, Ridge, Unit
from medloom.tasks.regress import Regress, RegressOptions, conformal_margin

LEARNERS = [Ridge, GradientBoosting]


def options(**more: object) -> RegressOptions:
    return RegressOptions.model_validate({"column": "y", **more})


def cohort_of(values: object, folder: object) -> Cohort:
    return make_cohort(CohortPart(independent_rows=True), pl.DataFrame({"y": values}), folder, {})  # type: ignore[arg-type]


def field(values: np.ndarray) -> Field:
    return Field(torch.from_numpy(np.nan_to_num(values)), torch.from_numpy(~np.isnan(values)))


def fitted(values: list[float], **more: object) -> Regress:
    marks = Regress.read(options(**more), cohort_of(values, "."))
    return Regress.fit(options(**more), [Regress.summarise(options(**more), marks, np.arange(len(values)))])


@pytest.mark.parametrize(
    ("values", "more", "says"),
    [
        (["1", "high"], {}, "'y': 1 value is not numeric \\(rows '2'\\)"),
        ([1.0, float("inf")], {}, "1 value is infinite or beyond 1e\\+30 \\(rows '2'\\)"),
        ([1.0, -1e31], {}, "1 value is infinite or beyond 1e\\+30 \\(rows '2'\\)"),
        ([1, -2, 3], {"loss": "poisson"}, "1 value is negative or not whole.*\\(rows '2'\\)"),
        ([1.0, 2.5], {"loss": "poisson"}, "negative or not whole"),
    ],
)
def test_what_is_no_answer_is_refused(values: list[object], more: dict[str, object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        Regress.read(options(**more), cohort_of(values, "."))


def test_dates_are_refused() -> None:
    dates = pl.select(pl.date(2020, 1, 1)).to_series()
    with pytest.raises(DataError, match="holds dates"):
        Regress.read(options(), cohort_of(dates, "."))


def test_values_that_mean_unknown_are_unknown() -> None:
    marks = Regress.read(options(missing=["?", -1]), cohort_of(["1.5", "?", "-1", None, "3"], "."))
    np.testing.assert_array_equal(marks.values, [1.5, np.nan, np.nan, np.nan, 3])
    assert marks.present.tolist() == [True, False, False, False, True]
    assert Regress.tally(options(), marks, np.arange(5)) == {"known": 2}
    assert Regress.strata(options(), marks).tolist()[1:4] == [-1, -1, -1]


@pytest.mark.parametrize(("values", "says"), [([2.0, 2.0], "only one value"), ([None, None], "no known value")])
def test_nothing_to_learn(values: list[object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        fitted(values)


@pytest.mark.parametrize("quantiles", [[0.5], [0.9, 0.1], [0.5, 0.5], [0.0, 0.5]])
def test_quantiles_that_cannot_be(quantiles: list[float]) -> None:
    raw = {
        "name": "a",
        "cohort": {"independent_rows": True},
        "inputs": {"t": {"modality": "table", "known_before_index": True}},
        "targets": {"y": {"task": "regress", "column": "y", "quantiles": quantiles}},
    }
    with pytest.raises(StudyError, match="targets.y.quantiles|rising and all different"):
        make(raw)


def test_centre_and_scale() -> None:
    values = [1.0, 2.0, 2.0, 3.0, 4.0, 100.0]
    task = fitted(values)
    assert (task.centre, task.scale) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values)))
    robust = fitted(values, scale="robust")
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    assert (robust.centre, robust.scale) == (middle, pytest.approx((high - low) / 1.349))
    half = fitted([0.0, 0, 0, 0, 9], scale="robust")
    assert half.centre == 0 and half.scale == pytest.approx(3.6)
    parts = [Regress.summarise(options(), Regress.read(options(), cohort_of(v, ".")), np.arange(3)) for v in (values[:3], values[3:])]  # fmt: skip
    assert Regress.fit(options(), parts) == Regress.fit(options(), parts[::-1]) == task


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber", "poisson"])
def test_losses_are_what_they_are_called(loss: str) -> None:
    truth = np.array([0.0, 1, 3, 8, np.nan])
    task = fitted([0, 1, 3, 8], loss=loss)
    made = torch.tensor([[0.3], [-0.2], [0.1], [1.0], [0.5]], requires_grad=True)
    found = task.loss({"logits": made}, field(truth), {})
    value = task.decode({"logits": made}).value
    error = (value - truth) / task.scale
    expected = {
        "squared": error**2,
        "absolute": np.abs(error),
        "huber": np.where(np.abs(error) < 1, error**2 / 2, np.abs(error) - 0.5),
        # The likelihood itself, divided by the mean rate, up to what does not depend on the prediction.
        "poisson": -poisson.logpmf(np.nan_to_num(truth), value) / task.centre,
    }[loss]
    constant = 0.0
    if loss == "poisson":
        constant = -poisson.logpmf(truth[:4], task.centre) / task.centre - 1
    np.testing.assert_allclose(found.detach().numpy()[:4], expected[:4] - constant, rtol=1e-5, atol=1e-6)
    assert found[4] == 0
    found.sum().backward()
    assert made.grad is not None and made.grad[4] == 0 and (made.grad[:4] != 0).all()


def test_quantiles_add_their_pinball_loss_and_are_put_in_order() -> None:
    task = fitted([0, 1, 3, 8], quantiles=[0.1, 0.9])
    truth = np.array([1.0, 4.0])
    made = torch.tensor([[0.0, 0.5, -0.5], [0.0, -1.0, 1.0]])
    alone = fitted([0, 1, 3, 8]).loss({"logits": made[:, :1]}, field(truth), {})
    added = (task.loss({"logits": made}, field(truth), {}) - alone).numpy()
    error = ((truth - task.centre) / task.scale)[:, None] - made[:, 1:].numpy()
    pinball = np.where(error > 0, np.array([0.1, 0.9]) * error, (np.array([0.1, 0.9]) - 1) * error)
    np.testing.assert_allclose(added, pinball.mean(axis=1), rtol=1e-5)
    quantile = task.decode({"logits": made}).quantile
    assert (quantile[:, 0] < quantile[:, 1]).all()
    assert set(task.decode({"logits": made}).columns()) == {"", "low", "high", "quantile_0.1", "quantile_0.9"}


@pytest.mark.parametrize(
    ("rows", "coverage", "place"), [(19, 0.9, 18), (9, 0.9, 9), (8, 0.9, None), (99, 0.95, 95), (0, 0.5, None)]
)
def test_the_margin_is_the_order_statistic_of_finite_samples(rows: int, coverage: float, place: int | None) -> None:
    distance = np.random.default_rng(0).permutation(rows) + 1.0
    assert conformal_margin(distance, coverage) == place


@pytest.mark.parametrize("quantiles", [[], [0.25, 0.75]])
def test_intervals_hold_what_was_asked(quantiles: list[float]) -> None:
    """Over many draws of calibration rows, the mean coverage lies between 1 − α and 1 − α + 1 / (n + 1)."""
    random = np.random.default_rng(0)
    held = []
    for _ in range(300):
        task = fitted([-1.0, 0, 1], quantiles=quantiles, coverage=0.8)
        spread = np.exp(random.normal(size=139))
        truth = spread * random.normal(size=139)
        made = np.stack([np.zeros(139), *(0.3 * np.sign(q - 0.5) * spread for q in quantiles)], axis=1)
        logits = torch.from_numpy((made - task.centre) / task.scale)
        task = task.calibrate([({"logits": logits[:39]}, field(truth[:39]))])
        answer = task.decode({"logits": logits[39:]})
        held.append(((answer.low <= truth[39:]) & (truth[39:] <= answer.high)).mean())
    assert 0.8 - 0.012 < np.mean(held) < 0.825 + 0.012


def test_too_few_calibration_rows_give_no_interval_and_unknown_ones_do_not_count() -> None:
    task = fitted([0, 1, 3, 8])
    logits, truth = torch.zeros(9, 1), np.arange(9.0)
    assert task.calibrate([({"logits": logits}, field(truth))]).margin is not None
    truth[0] = np.nan
    few = task.calibrate([({"logits": logits}, field(truth))])
    assert few.margin is None and np.isnan(few.decode({"logits": logits}).low).all()
    assert "too few" in few.describe()["intervals"] and "not calibrated" in task.describe()["intervals"]


def test_intervals_of_counts_stay_above_0_and_ends_do_not_pass_each_other() -> None:
    task = fitted([0, 1, 3, 8], loss="poisson")
    wide = task.calibrate([({"logits": torch.zeros(20, 1)}, field(np.full(20, 40.0)))])
    answer = wide.decode({"logits": torch.tensor([[-2.0], [1.0]])})
    assert (answer.low == 0).all() and (answer.high > answer.value).all()
    narrow = fitted([0, 1, 3, 8], quantiles=[0.1, 0.9])
    made = torch.tensor([[0.0, -3.0, 3.0]] * 20)
    narrow = narrow.calibrate([({"logits": made}, field(np.full(20, narrow.centre)))])
    assert narrow.margin is not None and narrow.margin < 0
    crossing = narrow.decode({"logits": torch.tensor([[0.0, -0.1, 0.1]])})
    assert crossing.low == crossing.high == pytest.approx(narrow.centre)


def test_nothing_lifted() -> None:
    with pytest.raises(StudyError, match="cannot be laid"):
        fitted([0, 1]).decode(Lifted(np.zeros(1, int), [np.zeros((1, 2))]))


def block(features: np.ndarray, truth: np.ndarray) -> Block:
    batch = Batch({}, {"y": field(truth)}, torch.arange(len(features)), torch.ones(len(features)))
    return Block(features, batch, field(truth))


def made(seed: int, rows: int = 300, counts: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 3))
    line = 0.8 * features[:, 0] - 0.4 * features[:, 1]
    truth = random.poisson(np.exp(line + 1)).astype(float) if counts else 50 + 10 * line + random.normal(0, 2, rows)
    features[random.random((rows, 3)) < 0.05] = np.nan
    features[:, 2] = np.nan
    return features, truth


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("loss", ["squared", "absolute", "poisson"])
@pytest.mark.parametrize("with_valid", [True, False])
def test_simple_models_learn(learner: type, loss: str, with_valid: bool) -> None:
    features, truth = made(0, counts=loss == "poisson")
    unit = Unit(loss, float(truth.mean()), float(truth.std()), (0.1, 0.9))
    model, mean = learner(unit, 0), Mean(unit, 0)
    valid = [block(*made(1, counts=loss == "poisson"))] if with_valid else []
    for one in (model, mean):
        one.fit([block(features, truth)], valid)
    new, answer = made(2, counts=loss == "poisson")
    task = Regress(options(loss=loss, quantiles=[0.1, 0.9]), unit.centre, unit.scale, 300)
    ours, theirs = (task.decode(one.output(block(new, answer))) for one in (model, mean))
    assert ((ours.value - answer) ** 2).mean() < 0.5 * ((theirs.value - answer) ** 2).mean()
    inside = (ours.quantile[:, 0] <= answer) & (answer <= ours.quantile[:, 1])
    # Boosted quantiles lie too near; calibration rows put that right.
    assert 0.5 < inside.mean() < 0.95


def test_the_mean_is_the_mean_and_the_median_where_the_loss_is_absolute() -> None:
    truth = np.array([0.0, 0, 0, 1, 9, np.nan])
    features = np.zeros((6, 1))
    for loss, expected in (("squared", 2), ("poisson", 2), ("absolute", 0), ("huber", 0)):
        unit = Unit(loss, 2.0, 3.0, ())
        model = Mean(unit, 0)
        model.fit([block(features, truth)], [])
        answer = Regress(options(loss=loss), 2.0, 3.0, 5).decode(model.output(block(features, truth)))
        np.testing.assert_allclose(answer.value, expected, atol=1e-6)
        assert model.label == ("Mean alone" if expected else "Median alone")


@pytest.mark.parametrize("learner", LEARNERS)
def test_no_features_leave_the_mean_and_blocks_do_not_matter(learner: type) -> None:
    features, truth = made(3, rows=60)
    unit = Unit("squared", 50.0, 10.0, (0.1, 0.9))
    model, mean = learner(unit, 0), Mean(unit, 0)
    for one in (model, mean):
        one.fit([block(np.zeros((60, 0)), truth)], [])
    empty = block(np.zeros((60, 0)), truth)
    torch.testing.assert_close(model.output(empty)["logits"], mean.output(empty)["logits"])
    whole, parts = learner(unit, 0), learner(unit, 0)
    whole.fit([block(features, truth)], [])
    parts.fit([block(features[:20], truth[:20]), block(features[20:], truth[20:])], [])
    both = block(features, truth)
    torch.testing.assert_close(whole.output(both)["logits"], parts.output(both)["logits"])


@pytest.mark.parametrize("loss", ["squared", "poisson"])
def test_validation_counts_that_are_all_zero_and_rare_rows(loss: str) -> None:
    features, truth = made(4, rows=80, counts=True)
    unit = Unit(loss, float(truth.mean()), float(truth.std()), ())
    for learner in LEARNERS:
        model = learner(unit, 0)
        model.fit([block(features, truth)], [block(features[:5], np.zeros(5))])
        assert torch.isfinite(model.output(block(features, truth))["logits"]).all()


def test_of_many_features_those_that_tell_most_are_kept() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(80, 1200))
    features[:, 5] = np.nan
    answer = features[:, 700] - features[:, 30]
    features[:10, 700] = np.nan
    kept = strongest(features, answer, most=2)
    assert kept.tolist() == [30, 700]
    assert 5 not in strongest(features, answer, most=1150)


def test_figures_and_plots_of_a_perfect_answer() -> None:
    task = fitted([0, 1, 3, 8], quantiles=[0.1, 0.9])
    truth = np.arange(20.0)
    measured = {"truth": truth, "value": truth, "low": truth, "high": truth, "quantile": np.stack([truth, truth], 1)}
    weight = np.ones((1, 20))
    found = {name: metric.of(measured, weight)[0] for name, metric in task.metrics().items()}
    ideal = {"rmse": 0, "mae": 0, "r2": 1, "bias": 0, "pinball": 0, "coverage": 1, "interval_width": 0}
    assert found == {**ideal, "calibration_slope": 1, "lower_limit": 0, "upper_limit": 0}
    assert [next(iter(fitted([0, 1], loss=loss).metrics())) for loss in ("absolute", "poisson")] == ["mae", "deviance"]
    observed, errors = task.plots({"model": measured})
    assert observed.curves[0].x == observed.curves[0].y and observed.diagonal
    assert not np.any(errors.curves[0].y)
    assert task.plots({"constant": {**measured, "value": np.ones(20)}}) == ()
