from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from medloom.statistics import smooth


def cohort(rows: int, seed: int = 0, bend: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    return (random.random(rows) < expit(x)).astype(float), expit(bend * x)


def by_hand(truth: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The curve at each row, by a weighted fit of a line around it."""
    curve = []
    for at in probability:
        apart = np.abs(probability - at)
        reach = np.sort(apart)[int(np.ceil(smooth.SPAN * len(truth) - 1e-9)) - 1] * 1.0001
        kernel = np.clip(1 - (apart / reach) ** 3, 0, 1) ** 3 * weight
        _, height = np.polyfit(probability - at, truth, 1, w=np.sqrt(kernel))
        curve.append(np.clip(height, 0, 1))
    return np.array(curve)


def test_the_indices_are_those_of_local_regression_by_hand() -> None:
    truth, probability = cohort(120)
    weight = np.concatenate([np.ones((1, 120)), np.random.default_rng(1).integers(0, 3, (2, 120))]).astype(float)
    mean = smooth.integrated_calibration_index(truth, probability, weight)
    ninth = smooth.e90(truth, probability, weight)
    for w, found, far in zip(weight, mean, ninth, strict=True):
        distance = np.abs(by_hand(truth, probability, w) - probability)
        assert found == pytest.approx(np.average(distance, weights=w), rel=1e-6)
        order = np.argsort(distance)
        reached = np.cumsum(w[order])
        assert far == pytest.approx(distance[order][np.searchsorted(reached, 0.9 * reached[-1] - 1e-9)], rel=1e-6)


def test_a_large_calibrated_sample_has_an_index_near_nothing_and_a_bent_one_the_true_distance() -> None:
    truth, probability = cohort(60_000, bend=1.0)
    ones = np.ones((1, 60_000))
    assert smooth.integrated_calibration_index(truth, probability, ones)[0] < 0.01
    truth, probability = cohort(60_000, bend=1.5)
    distance = np.abs(expit(logit(probability) / 1.5) - probability)
    # Three quarters of the rows stand behind each point, which takes a little off a bend.
    found = smooth.integrated_calibration_index(truth, probability, ones)[0]
    assert 0.9 * distance.mean() < found < 1.02 * distance.mean()


def test_the_band_is_that_of_repeated_cohorts() -> None:
    found = []
    for seed in range(60):
        truth, probability = cohort(400, seed)
        curve = smooth.smooth_curve(truth, probability, np.arange(400))
        assert ((curve.low <= curve.observed) & (curve.observed <= curve.high)).all()
        middle = np.searchsorted(curve.predicted, 0.5)
        found.append((curve.observed[middle], curve.high[middle] - curve.low[middle]))
    values, widths = np.array(found).T
    assert widths.mean() / (2 * 1.96) == pytest.approx(values.std(), rel=0.2)


def test_rows_of_one_patient_widen_the_band() -> None:
    truth, probability = cohort(150)
    once = smooth.smooth_curve(truth, probability, np.arange(150))
    thrice = smooth.smooth_curve(np.repeat(truth, 3), np.repeat(probability, 3), np.repeat(np.arange(150), 3))
    width = np.interp(once.predicted, thrice.predicted, thrice.high - thrice.low)
    np.testing.assert_allclose(width, once.high - once.low, rtol=0.15)


def test_one_probability_and_nothing_known() -> None:
    truth = np.array([1.0, 0, 0, 0, np.nan])
    found = smooth.integrated_calibration_index(truth, np.full(5, 0.3), np.ones((2, 5)))
    np.testing.assert_allclose(found, 0.05)
    assert np.isnan(smooth.e90(np.full(3, np.nan), np.full(3, 0.3), np.ones((2, 3)))).all()
    assert np.isnan(smooth.e90(np.ones(3), np.array([0.1, np.nan, 0.3]), np.ones((2, 3)))).all()
    weightless = smooth.integrated_calibration_index(truth[:4], np.full(4, 0.3), np.zeros((1, 4)))
    assert np.isnan(weightless).all()
    assert all(len(part) == 0 for part in smooth.smooth_curve(np.full(3, np.nan), np.ones(3), np.arange(3)))
