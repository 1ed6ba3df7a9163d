"""How far predicted numbers are from true ones, and how often intervals hold them. Rows with a NaN truth do not count.

Weights are "resamples rows", and each function gives one figure a resample, NaN where nothing has weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.special import xlogy

from medloom.statistics._rows import divide, known, mean, take
from medloom.statistics.clusters import NOTHING, Bounds, members, quantile, variance
from medloom.statistics.shares import share


class BinnedCurve(NamedTuple):
    """One point a bin of the rows in the order of `x`: mean of x and of y, standard deviation of y, rows in the bin.

    `low` and `high` are the interval of the mean of y over patients; NaN in bins of a single patient.
    """

    x: np.ndarray
    y: np.ndarray
    spread: np.ndarray
    rows: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mae(
    truth: Shaped[np.ndarray, " rows"],
    value: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean absolute error, in the unit of the truth."""
    truth, value, weight = take(known(truth), truth, value, weight)
    return mean(np.abs(value - truth), weight)


def rmse(
    truth: Shaped[np.ndarray, " rows"],
    value: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Root of the mean squared error, in the unit of the truth."""
    truth, value, weight = take(known(truth), truth, value, weight)
    return np.sqrt(mean((value - truth) ** 2, weight))


def bias(
    truth: Shaped[np.ndarray, " rows"],
    value: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean of predicted minus true: above 0 where too much is predicted."""
    truth, value, weight = take(known(truth), truth, value, weight)
    return mean(value - truth, weight)


def r2(
    truth: Shaped[np.ndarray, " rows"],
    value: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Share of the variance that is explained, about the mean of the judged rows; NaN where the truth does not vary."""
    truth, value, weight = take(known(truth), truth, value, weight)
    truth = np.asarray(truth, np.float64)
    if not len(truth) or truth.min() == truth.max():
        return np.full(len(weight), np.nan)
    # Taken from the middle first, so that large numbers with a small spread lose no digits.
    centred = truth - truth.mean()
    average = mean(centred, weight)
    variance = mean(centred**2, weight) - average**2
    varies = variance > 1e-12 * (centred**2).max()
    return np.where(varies, 1 - divide(mean((value - truth) ** 2, weight), variance), np.nan)


def slope(
    truth: Shaped[np.ndarray, " rows"],
    value: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Slope of the least-squares line of the truth on the prediction; 1 is ideal, below 1 predictions are too extreme.

    NaN where the prediction does not vary.
    """
    truth, value, weight = take(known(truth), truth, value, weight)
    truth, value = np.asarray(truth, np.float64), np.asarray(value, np.float64)
    if not len(truth) or not np.isfinite(value).all() or value.min() == value.max():
        return np.full(len(weight), np.nan)
    x, y = value - value.mean(), truth - truth.mean()
    middle, height = mean(x, weight), mean(y, weight)
    spread = mean(x**2, weight) - middle**2
    varies = spread > 1e-12 * (x**2).max()
    return np.where(varies, (mean(x * y, weight) - middle * height) / np.where(varies, spread, 1.0), np.nan)


def limit_of_agreement(
    truth: Shaped[np.ndarray, " rows"],
    value: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
    side: float,
) -> Float[np.ndarray, " resamples"]:
    """Mean of predicted minus true, and `side` × 1.96 standard deviations of it: between −1 and 1 lie 95 % of normal errors.

    NaN with fewer than two rows of weight.
    Source: Bland & Altman, "Statistical methods for assessing agreement", Lancet 327, 1986.
    """
    truth, value, weight = take(known(truth), truth, value, weight)
    error = np.asarray(value, np.float64) - np.asarray(truth, np.float64)
    if not np.isfinite(error).all():
        return np.full(len(weight), np.nan)
    total, middle = weight.sum(axis=1), mean(error, weight)
    squares = mean((error - error.mean()) ** 2, weight) if len(error) else middle
    offset = middle - (error.mean() if len(error) else 0.0)
    several = total > 1
    variance = np.maximum(squares - offset**2, 0.0) * total / np.where(several, total - 1, 1.0)
    return np.where(several, middle + side * 1.96 * np.sqrt(variance), np.nan)


def coverage_interval(
    truth: Shaped[np.ndarray, " rows"],
    low: Shaped[np.ndarray, " rows"],
    high: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
) -> Bounds:
    """The share of rows whose interval holds the truth, with Wilson's interval over patients."""
    rows = known(truth)
    truth, low, high, patient = truth[rows], low[rows], high[rows], patient[rows]
    if not len(truth) or np.isnan(low).any() or np.isnan(high).any():
        return NOTHING
    return share((low <= truth) & (truth <= high), np.ones(len(truth), bool), patient, level)


def poisson_deviance(
    truth: Shaped[np.ndarray, " rows"],
    value: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean Poisson deviance of counts from predicted rates, which are above 0.

    Source: McCullagh & Nelder, "Generalized Linear Models", 1989, section 2.3.
    """
    truth, value, weight = take(known(truth), truth, value, weight)
    truth, value = np.asarray(truth, np.float64), np.asarray(value, np.float64)
    return mean(2 * (xlogy(truth, truth / value) - truth + value), weight)


def pinball(
    truth: Shaped[np.ndarray, " rows"],
    quantile: Float[np.ndarray, "rows quantiles"],
    level: Float[np.ndarray, " quantiles"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean over levels of the pinball loss of predicted quantiles.

    Source: Koenker & Bassett, "Regression quantiles", Econometrica 46, 1978.
    """
    truth, quantile, weight = take(known(truth), truth, quantile, weight)
    error = np.asarray(truth, np.float64)[:, None] - quantile
    return mean(np.maximum(level * error, (level - 1) * error).mean(axis=1), weight)


def coverage(
    truth: Shaped[np.ndarray, " rows"],
    low: Shaped[np.ndarray, " rows"],
    high: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Share of rows whose interval holds the truth, its ends included; NaN where a row has no interval."""
    truth, low, high, weight = take(known(truth), truth, low, high, weight)
    missing = np.isnan(low) | np.isnan(high)
    return np.full(len(weight), np.nan) if missing.any() else mean((low <= truth) & (truth <= high), weight)


def interval_width(
    truth: Shaped[np.ndarray, " rows"],
    low: Shaped[np.ndarray, " rows"],
    high: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean width of the intervals of the rows whose truth is known; NaN where a row has no interval."""
    truth, low, high, weight = take(known(truth), truth, low, high, weight)
    return mean(high - low, weight)


def binned(
    x: Shaped[np.ndarray, " rows"],
    y: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"] | None = None,
    bins: int = 10,
    level: float = 0.95,
) -> BinnedCurve:
    """Means of y in bins of x that hold about equal numbers of rows; equal x share a bin. NaN in either does not count.

    Without `patient` each row is another patient. The interval of a mean has Student's quantile with one degree of
    freedom less than the bin has patients; its variance is that of sums over patients (clusters.variance).
    """
    rows = known(x) & known(y)
    patient = np.arange(int(rows.sum())) if patient is None else np.asarray(patient, np.int64)[rows]
    x, y = np.asarray(x, np.float64)[rows], np.asarray(y, np.float64)[rows]
    if not len(x):
        return BinnedCurve(*(np.zeros(0) for _ in range(6)))
    edges = np.unique(np.quantile(x, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, x, side="left")
    points = []
    for each in np.unique(place):
        here = place == each
        mine, middle = y[here], float(y[here].mean())
        patients = members(np.ones(len(mine), bool), patient[here])
        error = np.sqrt(variance((mine - middle) / len(mine), patient[here]))
        half = quantile(level, patients - 1) * error if patients > 1 else np.nan
        points.append(
            (float(x[here].mean()), middle, float(mine.std()), float(len(mine)), middle - half, middle + half)
        )
    return BinnedCurve(*np.array(points).T)
