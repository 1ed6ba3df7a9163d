"""Curves behind the figures, as numbers to draw. Rows with a NaN truth do not count."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from scipy.stats import norm

from medloom.statistics._rows import known, tied


class RocCurve(NamedTuple):
    """One point a threshold, from (0, 0) to (1, 1); a row is called positive where its score is at least the threshold."""

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    threshold: np.ndarray


class PrecisionRecallCurve(NamedTuple):
    """One point a threshold, by rising recall."""

    precision: np.ndarray
    recall: np.ndarray
    threshold: np.ndarray


class CalibrationCurve(NamedTuple):
    """One point a bin: mean probability, observed share of positive rows with its Wilson interval, rows in the bin."""

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray


def roc_curve(truth: Shaped[np.ndarray, " rows"], score: Shaped[np.ndarray, " rows"]) -> RocCurve:
    """The ROC curve; points inside straight stretches are left out. Empty where a class has no rows."""
    found, called, threshold = _cumulated(truth, score)
    if not len(found) or found[-1] == 0 or found[-1] == called[-1]:
        return RocCurve(*(np.zeros(0) for _ in range(3)))
    missed = called - found
    turns = np.ones(len(found), bool)
    turns[1:-1] = np.diff(found[:-1]) * np.diff(missed[1:]) != np.diff(found[1:]) * np.diff(missed[:-1])
    return RocCurve(
        np.concatenate(([0.0], missed[turns] / missed[-1])),
        np.concatenate(([0.0], found[turns] / found[-1])),
        np.concatenate(([np.inf], threshold[turns])),
    )


def precision_recall_curve(
    truth: Shaped[np.ndarray, " rows"], score: Shaped[np.ndarray, " rows"]
) -> PrecisionRecallCurve:
    """Precision and recall at every distinct score, highest first. Empty where no row is positive."""
    found, called, threshold = _cumulated(truth, score)
    if not len(found) or found[-1] == 0:
        return PrecisionRecallCurve(*(np.zeros(0) for _ in range(3)))
    return PrecisionRecallCurve(found / called, found / found[-1], threshold)


def calibration_curve(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    bins: int = 10,
    level: float = 0.95,
) -> CalibrationCurve:
    """Observed against predicted in bins of about equal numbers of rows; equal probabilities share a bin."""
    rows = known(truth)
    truth, probability = truth[rows] == 1, np.asarray(probability, np.float64)[rows]
    if not len(truth):
        return CalibrationCurve(*(np.zeros(0) for _ in range(5)))
    edges = np.unique(np.quantile(probability, np.arange(1, bins) / bins))
    bin_of_row = np.searchsorted(edges, probability, side="left")
    count = np.bincount(bin_of_row, minlength=len(edges) + 1)
    held = count > 0
    events = np.bincount(bin_of_row, weights=truth, minlength=len(edges) + 1)[held]
    predicted = np.bincount(bin_of_row, weights=probability, minlength=len(edges) + 1)[held]
    count = count[held]
    low, high = wilson(events, count, level)
    return CalibrationCurve(predicted / count, events / count, low, high, count)


def wilson(
    events: Shaped[np.ndarray, ...], count: Shaped[np.ndarray, ...], level: float = 0.95
) -> tuple[Float[np.ndarray, ...], Float[np.ndarray, ...]]:
    """Wilson's score interval of a proportion, `events` of `count`; NaN where `count` is 0.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    events = np.asarray(events, np.float64)
    total = np.where(np.asarray(count) > 0, np.asarray(count, np.float64), np.nan)
    z = norm.ppf((1 + level) / 2)
    share = events / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def _cumulated(
    truth: Shaped[np.ndarray, " rows"], score: Shaped[np.ndarray, " rows"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positive rows and all rows called positive at each distinct score, highest first."""
    rows = known(truth) & ~np.isnan(np.asarray(score, np.float64))
    truth, score = truth[rows] == 1, np.asarray(score, np.float64)[rows]
    if not len(truth):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    order, starts = tied(-score)
    last = np.append(starts[1:], len(score)) - 1
    return np.cumsum(truth[order])[last].astype(np.float64), (last + 1).astype(np.float64), score[order][last]
