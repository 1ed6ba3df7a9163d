"""One point of the ROC curve: the sensitivity where the specificity is fixed, and the reverse.

The threshold is estimated from the judged rows, and the intervals hold what that costs.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.special import ndtri

from medloom.statistics._rows import known, take, tied
from medloom.statistics.calibration_intervals import regression
from medloom.statistics.clusters import NOTHING, Bounds, members, mover, patient_sums
from medloom.statistics.shares import correlation, share

SLACK = 1e-9


def sensitivity_at(
    truth: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
    specificity: float,
) -> Float[np.ndarray, " resamples"]:
    """The highest sensitivity of all thresholds whose specificity is at least this. NaN without one of the classes."""
    truth, score, weight = take(known(truth), truth, score, weight)
    if not len(truth) or np.isnan(np.asarray(score, np.float64)).any():
        return np.full(len(weight), np.nan)
    order, starts = tied(-np.asarray(score, np.float64))
    positive = truth[order] == 1
    last = np.append(starts[1:], len(order)) - 1
    ordered = weight[:, order]
    found = np.cumsum(ordered * positive, axis=1)[:, last]
    missed = np.cumsum(ordered * ~positive, axis=1)[:, last]
    positives, negatives = found[:, -1], missed[:, -1]
    # False positives only grow along the thresholds: how many stay within what is allowed?
    allowed = (missed <= (1 - specificity + SLACK) * negatives[:, None]).sum(axis=1)
    reached = np.concatenate([np.zeros((len(weight), 1)), found], axis=1)[np.arange(len(weight)), allowed]
    both = (positives > 0) & (negatives > 0)
    return np.where(both, reached / np.where(both, positives, 1.0), np.nan)


def specificity_at(
    truth: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
    sensitivity: float,
) -> Float[np.ndarray, " resamples"]:
    """The highest specificity of all thresholds whose sensitivity is at least this."""
    return sensitivity_at(_turned(truth), -np.asarray(score, np.float64), weight, sensitivity)


def sensitivity_at_interval(
    truth: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
    specificity: float,
) -> Bounds:
    """The sensitivity at a fixed specificity: Wilson's interval, with as many rows as the variance is worth.

    The variance is that of a share plus that of the threshold, which is (density of positives / of negatives at the
    threshold)² × the variance of the specificity there; the ratio of densities is the odds of a logistic regression on
    the normal scores of the ranks over the odds of a positive row, so no bandwidth is chosen.
    Source: Linnet, "Comparison of quantitative diagnostic tests: type I error, power, and sample size", Statistics in
    Medicine 6, 1987, for the variance; Huang et al., "Interval estimation for operating characteristic of continuous
    biomarkers", Statistica Sinica 33, 2023, for the score interval. Measured in docs/adr/0018.
    """
    rows = known(truth)
    truth, score, patient = truth[rows], np.asarray(score, np.float64)[rows], patient[rows]
    positive = truth == 1
    if not positive.any() or positive.all() or np.isnan(score).any():
        return NOTHING
    called = _called(positive, score, specificity)
    extra = _threshold_variance(positive, score, called, patient, specificity)
    return share(called, positive, patient, level, extra)


def specificity_at_interval(
    truth: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
    sensitivity: float,
) -> Bounds:
    """The specificity at a fixed sensitivity: as `sensitivity_at_interval`, with the classes exchanged."""
    return sensitivity_at_interval(_turned(truth), -np.asarray(score, np.float64), patient, level, sensitivity)


def sensitivity_at_difference(
    truth: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    other: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
    specificity: float,
) -> Bounds:
    """The sensitivity of a score minus that of another at one specificity, from both intervals and their correlation."""
    one, two = (sensitivity_at_interval(truth, s, patient, level, specificity) for s in (score, other))
    if np.isnan(one[0]) or np.isnan(two[0]):
        return NOTHING
    rows = known(truth)
    positive, every = truth[rows] == 1, np.ones(int(rows.sum()), bool)
    parts = [_influence(positive, np.asarray(s, np.float64)[rows], specificity) for s in (score, other)]
    if np.array_equal(parts[0], parts[1]):
        return (0.0, 0.0, 0.0)
    return mover(one, two, 1.0, correlation(parts[0], parts[1], every, patient[rows]))


def specificity_at_difference(
    truth: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    other: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
    sensitivity: float,
) -> Bounds:
    """The specificity of a score minus that of another at one sensitivity."""
    one, two = -np.asarray(score, np.float64), -np.asarray(other, np.float64)
    return sensitivity_at_difference(_turned(truth), one, two, patient, level, sensitivity)


def _influence(
    positive: Shaped[np.ndarray, " rows"], score: Float[np.ndarray, " rows"], specificity: float
) -> Float[np.ndarray, " rows"]:
    """What each row adds: its own call, less what it moves the threshold."""
    called = _called(positive, score, specificity)
    ratio = _density_ratio(positive, score, called)
    own = (called - called[positive].mean()) / positive.sum()
    moved = ratio * (called - called[~positive].mean()) / (~positive).sum()
    return np.where(positive, own, -moved)


def _turned(truth: Shaped[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    return np.where(known(truth), 1.0 - (truth == 1), np.nan)


def _called(
    positive: Shaped[np.ndarray, " rows"], score: Float[np.ndarray, " rows"], specificity: float
) -> Shaped[np.ndarray, " rows"]:
    """Rows above the lowest threshold that calls no more negative rows than the specificity allows."""
    negatives = np.sort(score[~positive])[::-1]
    allowed = int(np.floor((1 - specificity + SLACK) * len(negatives)))
    return score > negatives[allowed] if allowed < len(negatives) else np.ones(len(score), bool)


def _threshold_variance(
    positive: Shaped[np.ndarray, " rows"],
    score: Float[np.ndarray, " rows"],
    called: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    specificity: float,
) -> float:
    negatives = int((~positive).sum())
    variance = specificity * (1 - specificity) / negatives
    if members(~positive, patient) < negatives:
        missed = float((called & ~positive).sum()) / negatives
        sums = patient_sums(np.where(positive, 0.0, called - missed), patient)
        variance = max(variance, float((sums**2).sum()) / negatives**2)
    return _density_ratio(positive, score, called) ** 2 * variance


def _density_ratio(
    positive: Shaped[np.ndarray, " rows"], score: Float[np.ndarray, " rows"], called: Shaped[np.ndarray, " rows"]
) -> float:
    """Density of positive rows over that of negative rows at the threshold, in ranks."""
    order, starts = tied(score)
    size = np.diff(np.append(starts, len(score)))
    midrank = np.empty(len(score))
    midrank[order] = np.repeat(starts + size / 2, size)
    normal = ndtri(midrank / len(score))
    fit = regression(positive.astype(np.float64), normal)
    if fit is None:
        return 0.0  # One score for all, or classes that do not overlap: there is no slope at the threshold.
    below = float(np.clip((~called).mean(), 0.5 / len(score), 1 - 0.5 / len(score)))
    log_odds = fit.intercept + fit.slope * float(ndtri(below))
    return float(np.exp(np.clip(log_odds, -30, 30)) * (~positive).sum() / positive.sum())
