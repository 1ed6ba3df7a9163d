"""Widths of forecasts: the factor with the least score, and how firmly few dates hold it near 1."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from medloom.statistics.forecasts import inside
from medloom.tasks._forecast_widths import FIRM, factors

LEVEL = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


def _rows(dates: int, each: int, spreads: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truths that spread by so much at the horizons, and quantiles that say 1."""
    random = np.random.default_rng(0)
    change = random.normal(size=(dates * each, len(spreads))) * spreads
    quantile = np.tile(norm.ppf(LEVEL), (len(change), len(spreads), 1))
    return change, quantile, np.repeat(np.arange(dates, dtype=float), each)


def test_many_dates_give_the_spread_itself_and_intervals_that_hold():
    change, quantile, time = _rows(4_000, 2, (2.0, 0.5))
    change[:50, 0] = np.nan
    found = factors(change, quantile, LEVEL, time)
    np.testing.assert_allclose(found, [2.0, 0.5], rtol=0.03)
    held = inside(change, quantile * found[:, None], 0, 4)
    np.testing.assert_allclose(np.nanmean(held, axis=0), 0.9, atol=0.01)


def test_many_series_of_few_dates_change_little_and_dates_count_where_rows_do_not():
    change, quantile, time = _rows(10, 800, (2.0,))
    few = factors(change, quantile, LEVEL, time)[0]
    # Of one horizon its own and that of all are the same: drawn to 1 once by its dates and once by those of all.
    share = 10 / (10 + FIRM)
    np.testing.assert_allclose(np.log(few), np.log(2) * (share + (1 - share) * share), rtol=0.05)
    # At the second horizon dates overlap, and say half as much.
    later = factors(*(np.repeat(one, 2, axis=1) for one in (change, quantile)), LEVEL, time)[1]
    every = 7.5 / (7.5 + FIRM)
    np.testing.assert_allclose(np.log(later), np.log(2) * (5 + FIRM * every) / (5 + FIRM), rtol=0.05)
    without = factors(change, quantile, LEVEL, np.full(len(time), np.nan))[0]
    np.testing.assert_allclose(without, 2.0, rtol=0.03)


def test_a_horizon_that_nobody_knows_has_the_factor_of_the_others():
    change, quantile, time = _rows(4_000, 1, (2.0, 2.0))
    change[:, 1] = np.nan
    np.testing.assert_allclose(factors(change, quantile, LEVEL, time), [2.0, 2.0], rtol=0.05)
