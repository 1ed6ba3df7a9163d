"""Scores of quantile forecasts, against the interval form of the score and against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.statistics import forecasts

LEVELS = (0.025, 0.25, 0.5, 0.75, 0.975)


def _interval_form(truth: float, quantile: np.ndarray) -> float:
    """Bracher et al. 2021, equation 1 with weights α/2 and 1/2: widths and penalties, written out."""
    total = 0.5 * abs(truth - quantile[2])
    for low, high, alpha in ((quantile[0], quantile[4], 0.05), (quantile[1], quantile[3], 0.5)):
        score = high - low
        score += 2 / alpha * max(low - truth, 0) + 2 / alpha * max(truth - high, 0)
        total += alpha / 2 * score
    return total / 2.5


def test_the_score_is_the_weighted_sum_of_interval_scores():
    random = np.random.default_rng(0)
    truth = random.normal(size=(40, 3)) * 3
    quantile = np.sort(random.normal(size=(40, 3, 5)), axis=-1)
    found = forecasts.weighted_interval_score(truth, quantile, np.array(LEVELS))
    expected = [[_interval_form(truth[i, h], quantile[i, h]) for h in range(3)] for i in range(40)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_sure_forecast_scores_its_absolute_error():
    quantile = np.full((1, 1, 5), 7.0)
    assert forecasts.weighted_interval_score(np.array([[4.0]]), quantile, np.array(LEVELS))[0, 0] == pytest.approx(3.0)


def test_unknown_values_do_not_count():
    score = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, np.nan]])
    weight = np.array([[1.0, 1, 1], [2.0, 0, 1], [0.0, 0, 1]])
    np.testing.assert_allclose(forecasts.mean_known(score, weight), [3.0, 1.0, np.nan])
    other = np.array([[2.0, 4.0], [np.nan, 10.0], [1.0, 1.0]])
    np.testing.assert_allclose(forecasts.ratio_known(score, other, weight)[:2], [(1 + 5) / (2 + 10), 0.5])


def test_intervals_hold_their_ends_and_are_told_widest_first():
    quantile = np.arange(5.0)[None, None]
    held = [forecasts.inside(np.array([[t]]), quantile, 1, 3)[0, 0] for t in (0.9, 1.0, 3.0, 3.1)]
    assert held == [0, 1, 1, 0]
    assert np.isnan(forecasts.inside(np.array([[np.nan]]), quantile, 1, 3)[0, 0])
    assert forecasts.pairs(LEVELS) == ((0, 4, 0.95), (1, 3, 0.5))
    assert forecasts.shown((0.1, 0.5, 0.9)) == ((0, 2, 0.8),)
