"""How wide the intervals of a forecast are, learnt from rows that it has not seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from medloom.statistics.forecasts import pairs, weighted_interval_score
from medloom.tasks._conformal import conformal_margin

FIRM = 3.0
"""Widths stay as learnt, and alike at all horizons, as firmly as if so many stretches of time had asked for it."""
NARROWEST, WIDEST = 0.2, 5.0
"""Factors that are looked among."""
SETTLED = 1e-3
"""How near, in logarithms, the best factor is told."""
GOLDEN = (np.sqrt(5) - 1) / 2


def factors(
    change: Float[np.ndarray, "rows horizons"],
    quantile: Float[np.ndarray, "rows horizons quantiles"],
    level: Float[np.ndarray, " quantiles"],
    time: Float[np.ndarray, " rows"],
) -> Float[np.ndarray, " horizons"]:
    """What the distance of every quantile from the median is to be multiplied by, one factor for each horizon.

    Each is the one with the least weighted interval score, drawn towards that of all horizons together, and that one
    towards 1, on the scale of logarithms. How far is a matter of the stretches of time as long as the horizon: series at one
    date err together, and so do dates whose horizons overlap. Rows without a date count as one each.
    """
    known = ~np.isnan(change)
    time = np.where(np.isnan(time), np.arange(len(time)), time)
    stretches = np.array([len(np.unique(time[of])) / h for h, of in enumerate(known.T, 1)])
    own = np.array([_best(change[:, h : h + 1], quantile[:, h : h + 1], level) for h in range(change.shape[1])])
    every = _best(change, quantile, level) * stretches.mean() / (stretches.mean() + FIRM)
    return np.asarray(np.exp((stretches * own + FIRM * every) / (stretches + FIRM)))


def _best(change: np.ndarray, quantile: np.ndarray, level: np.ndarray) -> float:
    """The logarithm of the factor with the least score, which has one valley: a golden section finds it."""
    middle = quantile[..., len(level) // 2][..., None]

    def score(log: float) -> float:
        return float(np.nansum(weighted_interval_score(change, middle + np.exp(log) * (quantile - middle), level)))

    low, high = np.log(NARROWEST), np.log(WIDEST)
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = score(left), score(right)
    while high - low > SETTLED:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = score(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = score(right)
    return float((low + high) / 2)


def margins(
    change: Float[np.ndarray, "rows horizons"],
    quantile: Float[np.ndarray, "rows horizons quantiles"],
    levels: tuple[float, ...],
) -> tuple[tuple[float, ...], ...]:
    """What is added to both sides of each interval, widest first, at each horizon; 0 where rows are too few for one.

    Source: Romano, Patterson & Candès, "Conformalized quantile regression", NeurIPS 2019, theorem 1.
    """
    found = []
    for h, column in enumerate(change.T):
        known = ~np.isnan(column)
        near, q = column[known], quantile[known, h]
        each = [
            conformal_margin(np.maximum(q[:, low] - near, near - q[:, high]), coverage)
            for low, high, coverage in pairs(levels)
        ]
        found.append(tuple(0.0 if one is None else one for one in each))
    return tuple(found)
