"""The calibration curve as a smooth line, and how far it lies from the diagonal: ICI, E90.

Local linear regression of the truth on the probability, with the nearest three quarters of the rows and tricube weights.
A line that is straight comes out straight, so a calibrated model is not bent by the smoothing. Rows are gathered into
groups of neighbours first; the groups and the neighbourhoods are those of the judged rows, so a resample costs a few
products of small matrices. Source: Cleveland, "Robust locally weighted regression and smoothing scatterplots", JASA 74,
1979; Austin & Steyerberg, "The Integrated Calibration Index (ICI) and related metrics for quantifying the calibration of
logistic regression models", Statistics in Medicine 38, 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from medloom.statistics._rows import known, remembered, sums_by_code, take
from medloom.statistics.clusters import patient_sums
from medloom.statistics.shares import wilson_at

GROUPS = 200
"""Groups of neighbouring probabilities, at most; with fewer distinct ones each is a group of its own."""
SPAN = 0.75
"""Share of the rows that a point of the curve looks at."""


class SmoothCurve(NamedTuple):
    """Probabilities in order, the smoothed share of positive rows at each, and its pointwise interval."""

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Neighbours(NamedTuple):
    """Rows in groups by probability: order of the rows, start of each group in it, mean probability and kernel.

    `kernel[i, j]` is how much group j counts where the curve passes group i.
    """

    order: np.ndarray
    starts: np.ndarray
    place: np.ndarray
    kernel: np.ndarray

    def sums(self, value: Float[np.ndarray, "resamples rows"]) -> Float[np.ndarray, "resamples groups"]:
        """Sums of a value a row over the groups."""
        return np.add.reduceat(value[:, self.order], self.starts, axis=1)


def integrated_calibration_index(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean distance of the smoothed share of positive rows from the probability; 0 is ideal, chance keeps it above 0.

    NaN where nothing has weight, and in all where a probability is NaN.
    """
    found = _distances(truth, probability, weight)
    return np.full(len(weight), np.nan) if found is None else mean_distance(*found)


def e90(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """The distance from the smoothed share that nine in ten rows keep within."""
    found = _distances(truth, probability, weight)
    if found is None:
        return np.full(len(weight), np.nan)
    distance, total = found
    order = np.argsort(distance, axis=1, kind="stable")
    reached = np.cumsum(np.take_along_axis(total, order, axis=1), axis=1)
    enough = reached >= 0.9 * reached[:, -1:] * (1 - 1e-12)
    at = np.take_along_axis(np.take_along_axis(distance, order, axis=1), enough.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(reached[:, -1] > 0, at, np.nan)


def mean_distance(
    distance: Float[np.ndarray, "resamples groups"], total: Float[np.ndarray, "resamples groups"]
) -> Float[np.ndarray, " resamples"]:
    """Mean over rows of the distances of their groups; NaN where nothing has weight."""
    rows = total.sum(axis=1)
    return np.where(rows > 0, np.einsum("rg,rg->r", distance, total) / np.where(rows > 0, rows, 1.0), np.nan)


def smooth_curve(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float = 0.95,
) -> SmoothCurve:
    """The smooth calibration curve with a band of intervals, each for itself, over patients.

    The variance of each point is that of a weighted sum of truths; the band has Wilson's form with as many rows as that
    variance is worth, so it stays inside 0 and 1. Empty where nothing is known or a probability is NaN.
    """
    rows = known(truth)
    positive, probability = (truth[rows] == 1).astype(np.float64), np.asarray(probability, np.float64)[rows]
    patient = patient[rows]
    if not len(positive) or np.isnan(probability).any():
        return SmoothCurve(*(np.zeros(0) for _ in range(4)))
    near = neighbours(probability)
    total, found = near.sums(np.ones((1, len(positive)))), near.sums(positive[None])
    curve = smoothed(near, total, found)[0]
    group = np.repeat(np.arange(len(near.starts)), total[0].astype(np.int64))
    residual = positive[near.order] - curve[group]
    # At the edges a weight may be negative; the curve is linear in the truths all the same.
    influence = _linear_weights(near, total[0])
    bands = []
    for point, share in zip(influence, curve, strict=True):
        spread = float((patient_sums(point[group] * residual, patient[near.order]) ** 2).sum())
        held = float(np.clip(share, 0.5 / len(positive), 1 - 0.5 / len(positive)))
        worth = held * (1 - held) / spread if spread > 0 else float(total.sum())
        bands.append(wilson_at(float(share), min(worth, float(total.sum())), level))
    low, high = np.array(bands).T
    return SmoothCurve(near.place, curve, low, high)


def neighbours(probability: Float[np.ndarray, " rows"]) -> Neighbours:
    """Groups of rows by probability and their kernel; equal probabilities share a group."""
    order = np.argsort(probability, kind="stable")
    ascending = probability[order]
    edges = np.unique(np.quantile(probability, np.arange(1, GROUPS) / GROUPS))
    bins = np.searchsorted(edges, ascending, side="left")
    starts = np.flatnonzero(np.concatenate(([True], bins[1:] != bins[:-1])))
    size = np.diff(np.append(starts, len(order))).astype(np.float64)
    place = np.add.reduceat(ascending, starts) / size
    apart = np.abs(place[:, None] - place)
    nearest = np.argsort(apart, axis=1, kind="stable")
    held = np.cumsum(size[nearest], axis=1) >= SPAN * size.sum() - 1e-9
    reach = np.take_along_axis(np.take_along_axis(apart, nearest, axis=1), held.argmax(axis=1)[:, None], axis=1)
    # A little wider than the farthest neighbour, so that it counts; not nothing where most probabilities are equal.
    reach = np.maximum(reach * 1.0001, 1e-6)
    return Neighbours(order, starts, place, np.clip(1 - (apart / reach) ** 3, 0, 1) ** 3)


def smoothed(
    near: Neighbours, total: Float[np.ndarray, "resamples groups"], found: Float[np.ndarray, "resamples groups"]
) -> Float[np.ndarray, "resamples groups"]:
    """The curve at each group from its weight and the weight of its positive rows; held inside 0 and 1."""
    x = near.place - near.place.mean()
    sums = [part @ near.kernel.T for part in (total, total * x, total * x**2, found, found * x)]
    flat = sums[0] > 0
    mass = np.where(flat, sums[0], 1.0)
    middle, height = sums[1] / mass, sums[3] / mass
    spread = sums[2] / mass - middle**2
    tilted = spread > 1e-12
    slope = np.where(tilted, sums[4] / mass - middle * height, 0.0) / np.where(tilted, spread, 1.0)
    return np.where(flat, np.clip(height + slope * (x - middle), 0, 1), 0.0)


@remembered
def _distances(truth: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    truth, probability, weight = take(known(truth), truth, probability, weight)
    if not len(truth) or np.isnan(probability).any():
        return None
    near, code, positive = _grouped(truth, probability)
    total = sums_by_code(weight, code, len(near.starts))
    found = sums_by_code(weight[:, positive], code[positive], len(near.starts))
    return np.abs(smoothed(near, total, found) - near.place), total


@remembered
def _grouped(truth: np.ndarray, probability: np.ndarray) -> tuple[Neighbours, np.ndarray, np.ndarray]:
    """Neighbours, the group of each row, and the places of positive rows."""
    near = neighbours(np.asarray(probability, np.float64))
    code = np.empty(len(truth), np.int64)
    code[near.order] = np.repeat(np.arange(len(near.starts)), np.diff(np.append(near.starts, len(truth))))
    return near, code, np.flatnonzero(truth == 1)


def _linear_weights(near: Neighbours, total: Float[np.ndarray, " groups"]) -> Float[np.ndarray, "points groups"]:
    """How much the truth of one row of each group moves each point of the curve."""
    x = near.place - near.place.mean()
    mass = near.kernel @ total
    middle = (near.kernel @ (total * x)) / mass
    spread = (near.kernel @ (total * x**2)) / mass - middle**2
    tilted = spread > 1e-12
    lean = np.where(tilted, (x - middle) / np.where(tilted, spread, 1.0), 0.0)
    return near.kernel / mass[:, None] * (1 + lean[:, None] * (x[None] - middle[:, None]))
