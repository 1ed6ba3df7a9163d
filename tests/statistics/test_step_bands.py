"""Bands of survival curves, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.statistics import competing, survival
from medloom.statistics.shares import wilson_at
from medloom.statistics.step_bands import step_band


def made(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    days, leaves = random.exponential(15, rows), random.uniform(3, 40, rows)
    return np.minimum(days, leaves), (days <= leaves).astype(float)


def greenwood(time: np.ndarray, event: np.ndarray, at: float) -> tuple[float, float]:
    """Survival and its variance by Greenwood's formula, one event time after the other."""
    share, total = 1.0, 0.0
    for when in np.unique(time[(event == 1) & (time <= at)]):
        at_risk, died = (time >= when).sum(), ((time == when) & (event == 1)).sum()
        share *= 1 - died / at_risk
        total += died / (at_risk * (at_risk - died))
    return share, share**2 * total


def test_without_censoring_it_is_wilsons_of_a_share() -> None:
    time = np.arange(1.0, 81)
    band = step_band(survival.kaplan_meier, 1.0, time, np.ones(80), np.arange(80), np.array([20.0, 50]))
    for share, low, high, expected in zip(*band, (60 / 80, 30 / 80), strict=True):
        assert share == pytest.approx(expected)
        # The jackknife divides by one patient less.
        assert (low, high) == pytest.approx(wilson_at(expected, 79, 0.95))


@pytest.mark.parametrize("rows", [90, 1000])
def test_with_censoring_the_variance_is_near_greenwoods(rows: int) -> None:
    time, event = made(rows)
    at = np.array([5.0, 15, 25])
    band = step_band(survival.kaplan_meier, 1.0, time, event, np.arange(rows), at)
    for share, low, high, when in zip(*band, at, strict=True):
        expected, variance = greenwood(time, event, when)
        ends = wilson_at(expected, expected * (1 - expected) / variance, 0.95)
        assert share == pytest.approx(expected)
        # Groups of patients estimate a variance to about 1 / √(2 × groups).
        assert high - low == pytest.approx(ends[1] - ends[0], rel=0.2)


def test_copies_of_patients_tell_no_more_and_incidences_have_bands_too() -> None:
    time, event = made(90, 1)
    cause, at = np.where(event == 1, 1.0 + (np.arange(90) % 3 == 0), 0.0), np.array([10.0, 20])
    once = step_band(competing.aalen_johansen, 0.0, time, cause, np.arange(90), at)
    thrice = step_band(
        competing.aalen_johansen, 0.0, np.tile(time, 3), np.tile(cause, 3), np.tile(np.arange(90), 3), at
    )
    np.testing.assert_allclose(np.array(once), np.array(thrice), rtol=1e-9)
    assert (once.low < once.share).all() and (once.share < once.high).all()


def test_where_nothing_has_happened_the_band_is_not_empty() -> None:
    time, none = np.linspace(5, 30, 40), np.zeros(40)
    share, low, high = step_band(survival.kaplan_meier, 1.0, time, none, np.arange(40), np.array([0.0, 29]))
    assert share.tolist() == [1, 1] and high.tolist() == [1, 1]
    assert 0.9 < low[0] < 1 and low[1] < 0.6
    one = step_band(survival.kaplan_meier, 1.0, time[:1], none[:1], np.zeros(1, int), np.array([1.0]))
    assert 0 < one.low[0] < one.high[0] == 1
    assert np.isnan(step_band(survival.kaplan_meier, 1.0, time[:0], none[:0], np.zeros(0, int), np.array([1.0]))).all()
