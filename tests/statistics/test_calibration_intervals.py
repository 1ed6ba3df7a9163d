from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from scipy.stats import norm

from medloom import statistics
from medloom.statistics import calibration_intervals as intervals

Z = norm.ppf(0.975)


def cohort(seed: int, rows: int = 150, each: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    truth = (random.random(rows) < expit(-1.5 + x)).astype(float)
    return np.repeat(truth, each), np.repeat(expit(-1.2 + 1.4 * x), each), np.repeat(np.arange(rows), each)


def sandwich_over_model(truth: np.ndarray, logits: np.ndarray, patient: np.ndarray, slope: float) -> float:
    """The design effect, by matrices."""
    design = np.stack([np.ones_like(logits), logits], axis=1)
    start = minimize_scalar(lambda a: np.logaddexp(0, a + slope * logits).sum() - truth @ (a + slope * logits)).x
    mean = expit(start + slope * logits)
    bread = np.linalg.inv(design.T @ (design * (mean * (1 - mean))[:, None]))
    sums = np.stack([(design * (truth - mean)[:, None])[patient == p].sum(axis=0) for p in np.unique(patient)])
    factor = len(sums) / (len(sums) - 1)
    return max(1.0, factor * (bread @ sums.T @ sums @ bread)[1, 1] / bread[1, 1])


@pytest.mark.parametrize("each", [1, 3])
def test_at_the_ends_of_the_slope_the_score_statistic_reaches_the_level(each: int) -> None:
    truth, probability, patient = cohort(0, each=each)
    logits = logit(probability)
    value, *ends = intervals.slope_interval(truth, probability, patient, 0.95)
    assert value == pytest.approx(statistics.slope(truth, probability, np.ones((1, len(truth))))[0])
    effect = sandwich_over_model(truth, logits, patient, value)
    for end in ends:
        start = minimize_scalar(lambda a, b=end: np.logaddexp(0, a + b * logits).sum() - truth @ (a + b * logits)).x
        mean = expit(start + end * logits)
        held = mean * (1 - mean)
        information = held @ logits**2 - (held @ logits) ** 2 / held.sum()
        score = logits @ (truth - mean)
        assert abs(score) / np.sqrt(effect * information) == pytest.approx(Z, rel=1e-4)
    assert ends[0] < value < ends[1]


def test_repeated_rows_do_not_narrow() -> None:
    once, thrice = (intervals.slope_interval(*cohort(1, each=each), 0.95) for each in (1, 3))
    assert thrice[2] - thrice[1] == pytest.approx(once[2] - once[1], rel=0.12)
    once, thrice = (intervals.intercept_interval(*cohort(1, each=each), 0.95) for each in (1, 3))
    assert thrice[2] - thrice[1] == pytest.approx(once[2] - once[1], rel=0.12)


def test_the_intercept_of_one_probability_is_wilsons_on_the_logit_scale() -> None:
    truth = (np.arange(4000) < 900).astype(float)
    value, low, high = intervals.intercept_interval(truth, np.full(4000, 0.3), np.arange(4000), 0.95)
    below, above = statistics.wilson(np.array([900]), np.array([4000]))
    assert value == pytest.approx(logit(900 / 4000) - logit(0.3))
    np.testing.assert_allclose((low, high), (logit(below[0]) - logit(0.3), logit(above[0]) - logit(0.3)), atol=1e-4)


def test_with_many_rows_the_slopes_interval_is_that_of_the_standard_error() -> None:
    truth, probability, patient = cohort(2, rows=20_000)
    value, low, high = intervals.slope_interval(truth, probability, patient, 0.95)
    x = logit(probability)
    mean = expit(statistics.intercept(truth, expit(value * x), np.ones((1, 20_000)))[0] + value * x)
    held = mean * (1 - mean)
    error = 1 / np.sqrt(held @ x**2 - (held @ x) ** 2 / held.sum())
    assert (high - low) / (2 * Z) == pytest.approx(error, rel=0.03)


def test_influences_are_derivatives_to_weights() -> None:
    truth, probability, _ = cohort(3, rows=60)
    fit = intervals.regression(truth, logit(probability))
    assert fit is not None
    step = 1e-5
    weight = np.ones((60, 60)) + step * np.eye(60)
    found = (statistics.slope(truth, probability, weight) - fit.slope) / step
    np.testing.assert_allclose(fit.influence, found, atol=1e-4)


def test_differences_are_paired_and_of_the_same_sign() -> None:
    truth, probability, patient = cohort(4, rows=400)
    flat = expit(0.5 * logit(probability))
    value, low, high = intervals.slope_difference(truth, probability, flat, patient, 0.95)
    one = intervals.slope_interval(truth, probability, patient, 0.95)
    assert value == pytest.approx(-one[0], rel=1e-6)  # The slope of the flatter one is twice as large.
    assert low < value < high < 0
    assert intervals.intercept_difference(truth, probability, probability, patient, 0.95) == (0, 0, 0)


def test_what_cannot_be_told() -> None:
    truth, probability, patient = cohort(5)
    for of in (intervals.slope_interval, intervals.intercept_interval):
        assert np.isnan(of(np.ones(150), probability, patient, 0.95)).all()
        assert np.isnan(of(truth, np.where(truth > 0, np.nan, probability), patient, 0.95)).all()
        assert np.isnan(of(truth, probability, np.zeros(150, int), 0.95)[1:]).all()
    assert np.isnan(intervals.slope_interval(truth, np.full(150, 0.2), patient, 0.95)).all()
    assert np.isnan(intervals.slope_interval(truth, 0.2 + 0.5 * truth, patient, 0.95)).all()
