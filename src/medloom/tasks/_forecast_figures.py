"""Figures of a forecast."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medloom.statistics import forecasts
from medloom.task import Measured, Metric

MOST_HORIZONS = 12
"""Horizons that get a figure of their own: the first ones."""


def metrics(levels: tuple[float, ...], horizons: int) -> Mapping[str, Metric]:
    """The weighted interval score first; relative to the reference, of the median, by horizon, and the coverages."""
    found = [
        Metric(
            "wis",
            lambda m, w: forecasts.mean_known(m["score"], w),
            False,
            "Weighted interval score",
            "mean over rows and horizons, in the unit of the value; rows of one cluster of dates are resampled together",
        ),
        Metric(
            "relative_wis",
            lambda m, w: forecasts.ratio_known(m["score"], m["reference"], w),
            False,
            "Relative WIS",
            "against the last value with the quantiles of past changes about it; below 1 is better than that",
        ),
        Metric(
            "mae",
            lambda m, w: forecasts.mean_known(m["error"], w),
            False,
            "MAE of the median",
            "in the unit of the value",
            "error",
        ),
        *(_coverage(levels, low, high, meant) for low, high, meant in forecasts.shown(levels)),
        *(_at(h) for h in range(min(horizons, MOST_HORIZONS) if horizons > 1 else 0)),
    ]
    return {metric.name: metric for metric in found}


def _coverage(levels: tuple[float, ...], low: int, high: int, meant: float) -> Metric:
    def of(measured: Measured, weight: np.ndarray) -> np.ndarray:
        return forecasts.mean_known(measured[f"inside_{round(100 * meant)}"], weight)

    name = f"coverage_{round(100 * meant)}"
    note = f"share of values between the quantiles {levels[low]:g} and {levels[high]:g}; {meant:g} is meant"
    return Metric(name, of, True, f"Coverage of {100 * meant:g} % intervals", note, "intervals")


def _at(horizon: int) -> Metric:
    def of(measured: Measured, weight: np.ndarray) -> np.ndarray:
        columns = slice(horizon, horizon + 1)
        return forecasts.ratio_known(measured["score"][:, columns], measured["reference"][:, columns], weight)

    name = f"relative_wis_{horizon + 1}"
    return Metric(name, of, False, f"Relative WIS at horizon {horizon + 1}", "", "each")
