from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

from medloom import statistics


def rows(seed: int, size: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    score = random.normal(0, 2, size)
    truth = (random.random(size) < expit(0.6 * score - 0.4)).astype(float)
    return truth, expit(score), random.integers(0, 3, (4, size)).astype(float)


def test_slope_maximises_the_likelihood() -> None:
    for seed in range(3):
        truth, probability, weight = rows(seed)
        x = logit(probability)
        for w, found in zip(weight, statistics.slope(truth, probability, weight), strict=True):

            def loss(b: np.ndarray, w: np.ndarray = w, x: np.ndarray = x, truth: np.ndarray = truth) -> float:
                return float((w * (np.logaddexp(0, b[0] + b[1] * x) - truth * (b[0] + b[1] * x))).sum())

            assert found == pytest.approx(minimize(loss, [0, 0], tol=1e-10).x[1], abs=1e-4)


def test_slope_of_two_probabilities_in_closed_form() -> None:
    probability = np.repeat([0.2, 0.8], [10, 20])
    truth = np.concatenate([np.arange(10) < 4, np.arange(20) < 11]).astype(float)
    expected = (logit(11 / 20) - logit(4 / 10)) / (logit(0.8) - logit(0.2))
    assert statistics.slope(truth, probability, np.ones((1, 30)))[0] == pytest.approx(expected, abs=1e-8)


def test_intercept_makes_the_mean_probability_right() -> None:
    truth, probability, weight = rows(3)
    x = logit(probability)
    expected = [brentq(lambda a, w=w: (w * (truth - expit(a + x))).sum(), -10, 10) for w in weight]
    np.testing.assert_allclose(statistics.intercept(truth, probability, weight), expected, atol=1e-8)


def test_perfect_calibration_in_closed_form() -> None:
    probability = np.repeat([0.25, 0.5, 0.75], 4)
    truth = np.array([1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0.0])
    assert statistics.slope(truth, probability, np.ones((1, 12)))[0] == pytest.approx(1, abs=1e-8)
    assert statistics.intercept(truth, probability, np.ones((1, 12)))[0] == pytest.approx(0, abs=1e-8)


def test_a_distorted_logit_is_found_again() -> None:
    probability = np.repeat(expit(2 * logit(np.array([0.25, 0.5, 0.75])) + 1), 4)
    truth = np.array([1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0.0])
    assert statistics.slope(truth, probability, np.ones((1, 12)))[0] == pytest.approx(0.5, abs=1e-8)


@pytest.mark.parametrize("shift", [0.0, 12.0, -12.0])
def test_newton_survives_far_starts_and_long_tails(shift: float) -> None:
    random = np.random.default_rng(0)
    x = random.standard_cauchy(300)
    truth = (random.random(300) < expit(0.5 * x)).astype(float)
    weight = random.integers(0, 3, (20, 300)).astype(float)
    assert np.isfinite(statistics.slope(truth, expit(x + shift), weight)).all()
    assert np.isfinite(statistics.intercept(truth, expit(x + shift), weight)).all()


def test_nan_where_it_cannot_be_estimated() -> None:
    one = np.ones((1, 6))
    score = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    separated, mixed = np.array([0, 0, 0, 1, 1, 1.0]), np.array([0, 1, 0, 1, 0, 1.0])
    assert np.isnan(statistics.slope(separated, score, one))
    assert np.isnan(statistics.slope(np.ones(6), score, one))
    assert np.isnan(statistics.slope(mixed, np.full(6, 0.3), one))
    assert np.isnan(statistics.intercept(np.ones(6), score, one))
    assert np.isnan(statistics.slope(np.full(6, np.nan), score, one))
    assert np.isfinite(statistics.intercept(separated, score, one))
    weight = np.array([[1, 1, 1, 1, 1, 1.0], [1, 0, 1, 1, 0, 1]])
    found = statistics.slope(mixed, score, weight)
    assert np.isfinite(found[0])
    assert np.isnan(found[1])


def test_unknown_truths_do_not_count() -> None:
    truth, probability, weight = rows(5)
    holes = truth.copy()
    holes[::4] = np.nan
    kept = ~np.isnan(holes)
    for estimator in (statistics.slope, statistics.intercept):
        expected = estimator(truth[kept], probability[kept], weight[:, kept])
        np.testing.assert_allclose(estimator(holes, probability, weight), expected, atol=1e-9)


def test_certain_probabilities_stay_finite() -> None:
    truth, probability = np.array([0, 1, 0, 1, 1, 0.0]), np.array([0, 1, 0.4, 0.6, 0, 1.0])
    assert np.isfinite(statistics.slope(truth, probability, np.ones((1, 6)))).all()
