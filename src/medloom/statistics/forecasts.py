"""Scores of forecasts that are quantiles: the weighted interval score, and how often intervals hold the truth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from medloom.statistics._rows import divide


def weighted_interval_score(
    truth: Float[np.ndarray, "rows horizons"],
    quantile: Float[np.ndarray, "rows horizons quantiles"],
    level: Float[np.ndarray, " quantiles"],
) -> Float[np.ndarray, "rows horizons"]:
    """The score of each forecast, in the unit of the truth; NaN where the truth is not known. Smaller is better.

    For levels that lie evenly about the median it is twice the mean pinball loss.
    Source: Bracher, Ray, Gneiting & Reich, "Evaluating epidemic forecasts in an interval format", PLOS Computational
    Biology 17, 2021, equations 1 and 2.
    """
    error = truth[..., None] - quantile
    return np.asarray(2 * np.maximum(level * error, (level - 1) * error).mean(axis=-1))


def inside(
    truth: Float[np.ndarray, "rows horizons"],
    quantile: Float[np.ndarray, "rows horizons quantiles"],
    low: int,
    high: int,
) -> Float[np.ndarray, "rows horizons"]:
    """1 where the truth lies between those two quantiles, its ends included, 0 where not, NaN where it is not known."""
    held = (quantile[..., low] <= truth) & (truth <= quantile[..., high])
    return np.where(np.isnan(truth), np.nan, held)


def mean_known(
    value: Float[np.ndarray, "rows horizons"], weight: Float[np.ndarray, "resamples rows"]
) -> Float[np.ndarray, " resamples"]:
    """The weighted mean over all known entries; NaN where nothing known has weight."""
    count = (~np.isnan(value)).sum(axis=1).astype(np.float64)
    return divide(weight @ np.nansum(value, axis=1), weight @ count)


def ratio_known(
    value: Float[np.ndarray, "rows horizons"],
    other: Float[np.ndarray, "rows horizons"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """The sum of one over that of another, over entries where both are known; NaN where the other sums to 0."""
    both = ~np.isnan(value) & ~np.isnan(other)
    over, under = (np.where(both, one, 0.0).sum(axis=1) for one in (value, other))
    return divide(weight @ over, weight @ under)


def pairs(levels: tuple[float, ...]) -> tuple[tuple[int, int, float], ...]:
    """Quantiles that bound an interval, widest first: places of the lower and the upper one, and the coverage meant."""
    count = len(levels)
    return tuple((k, count - 1 - k, round(levels[count - 1 - k] - levels[k], 9)) for k in range(count // 2))


def shown(levels: tuple[float, ...]) -> tuple[tuple[int, int, float], ...]:
    """Those of `pairs` whose coverage is told: the intervals of 50 and of 95 %, or the widest one."""
    every = pairs(levels)
    return tuple(one for one in every if one[2] in (0.5, 0.95)) or every[:1]
