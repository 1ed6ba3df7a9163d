from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from medloom import statistics
from medloom.evaluation import intervals
from medloom.evaluation.intervals import (
    Estimate,
    closed,
    compare,
    difference,
    figures,
    left_out_weights,
    patient_weights,
)
from medloom.statistics._rows import mean
from medloom.task import Metric

METRICS = {
    "auroc": Metric("auroc", lambda m, w: statistics.auroc(m["truth"], m["probability"], w), True, "AUROC"),
    "brier": Metric("brier", lambda m, w: statistics.brier(m["truth"], m["probability"], w), False, "Brier score"),
}
MEAN = {"mean": Metric("mean", lambda m, w: mean(m["value"], w), True, "Mean")}


def measured(seed: int, rows: int = 200, noise: float = 1.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    truth = (random.random(rows) < 0.5).astype(float)
    score = truth + noise * np.random.default_rng(seed).normal(size=rows)
    return {"truth": truth, "probability": 1 / (1 + np.exp(-score))}


def test_weights_draw_whole_patients() -> None:
    patient = np.array([7, 7, 2, 9, 2, 5])
    weight = np.concatenate(list(patient_weights(patient, 50, 0)))
    assert weight.shape == (50, 6)
    np.testing.assert_array_equal(weight[:, 0], weight[:, 1])
    np.testing.assert_array_equal(weight[:, 2], weight[:, 4])
    np.testing.assert_array_equal(weight[:, [0, 2, 3, 5]].sum(axis=1), 4)
    assert len(np.unique(weight, axis=0)) > 20


def test_weights_do_not_depend_on_the_size_of_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = np.arange(30) // 2
    whole = list(patient_weights(patient, 40, 3))
    monkeypatch.setattr(intervals, "CELLS", 30 * 7)
    blocks = list(patient_weights(patient, 40, 3))
    assert len(whole) == 1
    assert [len(block) for block in blocks] == [7, 7, 7, 7, 7, 5]
    np.testing.assert_array_equal(np.concatenate(blocks), whole[0])


def test_interval_of_a_mean_is_that_of_theory() -> None:
    value = np.random.default_rng(0).normal(2, 3, 800)
    found = figures(MEAN, {"value": value}, np.arange(800), resamples=4000)["mean"]
    half = 1.96 * value.std() / np.sqrt(800)
    assert found.value == pytest.approx(value.mean())
    assert found.low == pytest.approx(value.mean() - half, abs=0.02)
    assert found.high == pytest.approx(value.mean() + half, abs=0.02)


def test_repeated_rows_of_a_patient_do_not_narrow_the_interval() -> None:
    value = np.random.default_rng(1).normal(size=100)
    alone = figures(MEAN, {"value": value}, np.arange(100))["mean"]
    thrice = figures(MEAN, {"value": np.repeat(value, 3)}, np.repeat(np.arange(100), 3))["mean"]
    assert thrice.low == pytest.approx(alone.low)
    assert thrice.high == pytest.approx(alone.high)
    naive = figures(MEAN, {"value": np.repeat(value, 3)}, np.arange(300))["mean"]
    assert naive.high - naive.low < 0.7 * (alone.high - alone.low)


def test_same_seed_same_interval_and_level_widens() -> None:
    entry, patient = measured(1), np.arange(200)
    assert figures(METRICS, entry, patient, seed=5) == figures(METRICS, entry, patient, seed=5)
    assert figures(METRICS, entry, patient, seed=5) != figures(METRICS, entry, patient, seed=6)
    wide, narrow = (figures(METRICS, entry, patient, level=level)["auroc"] for level in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_differences_are_paired() -> None:
    one, patient = measured(1), np.arange(200)
    other = {**one, "probability": one["probability"] * 0.999}
    result = compare(METRICS, {"model": one, "twin": other, "far": measured(2, noise=2)}, patient)
    twin = result.differences["twin"]
    assert twin["auroc"] == Estimate(0.0, 0.0, 0.0, "every resample gives this value: the interval says little")
    assert abs(twin["brier"].high - twin["brier"].low) < 0.01
    assert set(result.differences) == {"twin", "far"}
    far = result.differences["far"]["auroc"]
    assert far.value == pytest.approx(result.estimates["model"]["auroc"].value - result.estimates["far"]["auroc"].value)
    assert difference(METRICS, one, measured(2, noise=2), patient)["auroc"] == far
    assert figures(METRICS, one, patient) == result.estimates["model"]


def test_a_figure_that_cannot_be_estimated_is_none_with_a_reason() -> None:
    entry = {"truth": np.zeros(10), "probability": np.linspace(0, 1, 10)}
    found = figures(METRICS, entry, np.arange(10))["auroc"]
    assert (found.value, found.low, found.high) == (None, None, None)
    assert found.note.startswith("cannot be estimated: ")
    assert found.plain() == {"value": None, "low": None, "high": None, "note": found.note}
    none = figures(METRICS, {"truth": np.zeros(0), "probability": np.zeros(0)}, np.zeros(0, int), resamples=100)
    assert none["auroc"].value is None


def test_resamples_that_cannot_be_estimated_are_counted() -> None:
    truth = np.zeros(40)
    truth[:2] = 1
    entry = {"truth": truth, "probability": np.random.default_rng(0).random(40)}
    found = figures(METRICS, entry, np.arange(40), resamples=500)["auroc"]
    lost = int(found.note.split()[0])
    assert 500 * 0.05 < lost < 500 * 0.25  # (1 − 2/40)⁴⁰ = 0.13 of them draw no positive patient
    assert "of 500 resamples cannot be estimated" in found.note


def test_no_interval_from_one_patient_and_a_rough_one_from_few() -> None:
    entry = measured(1, rows=30)
    one = figures(METRICS, entry, np.zeros(30, int))["auroc"]
    assert one.value is not None
    assert one.low is None
    assert "1 patient " in one.note
    few = figures(METRICS, entry, np.arange(30) // 3)["auroc"]
    assert few.low is not None
    assert few.note == "only 10 patients: the interval is rough"


def test_the_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        patients = np.repeat(np.arange(60), 2)
        value = np.repeat(random.normal(size=60), 2) + random.normal(size=120)
        found = figures(MEAN, {"value": value}, patients, resamples=300, level=0.9, seed=trial)["mean"]
        covered += found.low <= 0 <= found.high
    assert 0.83 <= covered / 200 <= 0.95


def skewed(seed: int, rows: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=rows) ** 2


def test_bca_is_that_of_scipy() -> None:
    value = skewed(0)
    found = figures(MEAN, {"value": value}, np.arange(40), resamples=20_000)["mean"]
    theirs = bootstrap(
        (value,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1), vectorized=True
    ).confidence_interval
    plain = bootstrap(
        (value,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1), vectorized=True
    ).confidence_interval
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.02 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.03 * width)
    assert found.high > plain.high + 0.05 * width  # The tail is longer above, and so is the interval.


def test_the_acceleration_is_that_of_a_mean() -> None:
    # Efron 1987, equation 6.5 for a mean: a sixth of the skewness over the root of the number of patients.
    value = skewed(1, 90)
    without = np.concatenate([MEAN["mean"].of({"value": value}, w) for w in left_out_weights(np.arange(90), 0)])
    centred = value - value.mean()
    expected = (centred**3).mean() / (centred**2).mean() ** 1.5 / (6 * np.sqrt(90))
    assert intervals._acceleration(without) == pytest.approx(expected, rel=1e-6)


def test_many_patients_are_left_out_by_groups_that_say_the_same() -> None:
    value = skewed(2, 5000)
    blocks = list(left_out_weights(np.arange(5000), 0))
    weight = np.concatenate(blocks)
    assert weight.shape == (intervals.LEFT_OUT, 5000)
    np.testing.assert_array_equal(weight.sum(axis=0), intervals.LEFT_OUT - 1)
    without = MEAN["mean"].of({"value": value}, weight)
    centred = value - value.mean()
    expected = (centred**3).mean() / (centred**2).mean() ** 1.5 / (6 * np.sqrt(5000))
    assert intervals._acceleration(without) == pytest.approx(expected, abs=0.01)


def test_a_figures_own_interval_and_difference_are_taken() -> None:
    own = Metric(
        "mean",
        MEAN["mean"].of,
        True,
        "Mean",
        interval=lambda m, patient, level: (1.0, level - 1.0, 2.0),
        difference=lambda m, other, patient, level: (0.5, float("-inf"), 1.0),
    )
    entry, patient = {"value": np.arange(30.0)}, np.arange(30)
    found = compare({"mean": own}, {"model": entry, "other": entry}, patient, level=0.75)
    assert found.estimates["other"]["mean"] == Estimate(1.0, -0.25, 2.0)
    lost = found.differences["other"]["mean"]
    assert (lost.value, lost.low, lost.high) == (0.5, None, None)
    assert lost.note == "no interval: the 30 patients do not bound the figure below"
    assert closed((float("nan"), 0.0, 1.0), 30).note.startswith("cannot be estimated")
    assert closed((1.0, 0.0, 2.0), 1).note.startswith("no interval: 1 patient")
    assert closed((1.0, 0.0, 2.0), 5).note == "only 5 patients: the interval is rough"
