"""How well scores put positive rows above negative ones. Ties count exactly; rows with a NaN truth do not count.

Every function takes truths of 0 and 1, a score a row, and weights "resamples rows", and gives one figure a resample:
NaN where a resample cannot estimate it (no positive row, or no negative one), and in all where a score is NaN.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.optimize import brentq

from medloom.statistics._rows import divide, grouped, known, remembered, sums_by_code, take, tied
from medloom.statistics.clusters import NOTHING, Bounds, around, members, on_logit_scale, quantile, variance_by_class


def auroc(
    truth: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Area under the ROC curve: the chance that a positive row scores above a negative one, ties counting half.

    Source: Hanley & McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982.
    """
    truth, score, weight = take(known(truth), truth, score, weight)
    if not len(truth) or np.isnan(score).any():
        return np.full(len(weight), np.nan)
    order, starts = tied(score)
    ordered = weight[:, order]
    positive = ordered * (truth[order] == 1)
    positive, negative = grouped(positive, starts), grouped(ordered - positive, starts)
    below = np.cumsum(negative, axis=1)
    pairs = below[:, -1] * positive.sum(axis=1)
    below -= negative / 2
    return divide(np.einsum("rg,rg->r", positive, below), pairs)


def average_precision(
    truth: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Average precision: the sum over thresholds of precision times the gain in recall, without interpolation.

    A resample without negative rows gives 1, as precision is 1 at every threshold.
    """
    truth, score, weight = take(known(truth), truth, score, weight)
    if not len(truth) or np.isnan(score).any():
        return np.full(len(weight), np.nan)
    stretch, places, ends = _stretches(truth, score)
    if not len(places):
        return np.full(len(weight), np.nan)
    gained = sums_by_code(weight[:, places], stretch[places], ends)
    named = np.cumsum(sums_by_code(weight, stretch, ends + 1)[:, :-1], axis=1)
    found = np.cumsum(gained, axis=1)
    precision = np.divide(found, named, out=np.zeros_like(found), where=named > 0)
    return divide(np.einsum("rg,rg->r", gained, precision), found[:, -1])


@remembered
def _stretches(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The stretch of each row, the places of positive rows, and how many stretches end with one.

    By falling score, a stretch ends with a group of tied rows of which one is positive: only there does precision count.
    """
    order, starts = tied(-np.asarray(score, np.float64))
    positive = truth[order] == 1
    holding = np.unique(np.searchsorted(starts, np.flatnonzero(positive), side="right") - 1)
    ends = np.append(starts[1:], len(order))[holding]
    stretch = np.empty(len(order), np.int64)
    stretch[order] = np.searchsorted(ends, np.arange(len(order)), side="right")
    return stretch, order[positive], len(ends)


def macro_auroc(
    truth: Shaped[np.ndarray, " rows"],
    probability: Float[np.ndarray, "rows classes"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean over classes of each class's AUROC against all others; `truth` holds class codes.

    The mean runs over the classes that a resample holds; NaN where it holds fewer than two.
    """
    rows = known(truth)
    truth, probability, weight = take(rows, truth, probability, weight)
    each = np.stack([auroc(truth == code, probability[:, code], weight) for code in range(probability.shape[1])])
    estimable = ~np.isnan(each)
    return divide(np.where(estimable, each, 0).sum(axis=0), estimable.sum(axis=0).astype(np.float64))


def auroc_influence(
    positive: Bool[np.ndarray, " rows"], score: Shaped[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """What each row adds to the AUROC's distance from its expectation, from one sort.

    Source: DeLong, DeLong & Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", Biometrics 44, 1988, by the midranks of Sun & Xu, IEEE Signal Processing Letters 21, 2014.
    """
    order, starts = tied(score)
    size = np.diff(np.append(starts, len(score)))
    found = np.add.reduceat(positive[order].astype(np.float64), starts)
    missed = size - found
    below, above = np.cumsum(missed) - missed / 2, found.sum() - np.cumsum(found) + found / 2
    placed = np.empty(len(score))
    placed[order] = np.repeat(np.arange(len(starts)), size)
    group = placed.astype(np.int64)
    positives, negatives = found.sum(), missed.sum()
    area = float((found * below).sum() / (positives * negatives))
    return np.where(
        positive,
        (below[group] / negatives - area) / positives,
        (above[group] / positives - area) / negatives,
    )


def auroc_interval(
    truth: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
) -> Bounds:
    """The AUROC with DeLong's interval over patients, on the logit scale, with Student's quantile of the smaller class.

    The logit keeps it inside 0 and 1, and Student's quantile with one degree of freedom less than the patients of the
    smaller class is what makes it cover where events are few (docs/adr/0018). An area of 0 or 1 has no variance to
    estimate; it gets the score interval of Newcombe, method 5, of as many rows as there are patients. A constant score
    has a half by definition, which is both ends as well.
    """
    rows = known(truth)
    truth, score, patient = truth[rows], score[rows], patient[rows]
    positive = truth == 1
    if not positive.any() or positive.all() or np.isnan(np.asarray(score, np.float64)).any():
        return NOTHING
    if (score == score[0]).all():
        # One score for all tells nothing apart, whoever is drawn: a half by definition, and no estimate.
        return (0.5, 0.5, 0.5)
    area = float(auroc(truth, score, np.ones((1, len(truth))))[0])
    fewest = [members(positive, patient), members(~positive, patient)]
    if min(fewest) < 2:
        return (area, float("nan"), float("nan"))
    spread = np.sqrt(variance_by_class(auroc_influence(positive, score), positive, patient))
    if 1e-9 < area < 1 - 1e-9 and spread > 0:
        return on_logit_scale(area, float(spread), quantile(level, min(fewest) - 1))
    return area_of_no_variance(area, fewest[0], fewest[1], level)


def auroc_difference(
    truth: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    other: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
) -> Bounds:
    """The AUROC of a score minus that of another on the same rows: DeLong's paired interval over patients."""
    rows = known(truth)
    truth, score, other, patient = truth[rows], score[rows], other[rows], patient[rows]
    positive, ones = truth == 1, np.ones((1, len(truth)))
    unknown = np.isnan(np.asarray(score, np.float64)).any() or np.isnan(np.asarray(other, np.float64)).any()
    if not positive.any() or positive.all() or unknown:
        return NOTHING
    value = float(auroc(truth, score, ones)[0] - auroc(truth, other, ones)[0])
    fewest = min(members(positive, patient), members(~positive, patient))
    if fewest < 2:
        return (value, float("nan"), float("nan"))
    influence = auroc_influence(positive, score) - auroc_influence(positive, other)
    spread = np.sqrt(variance_by_class(influence, positive, patient))
    low, high = around(value, float(spread), quantile(level, fewest - 1))[1:]
    return (value, max(-1.0, low), min(1.0, high))


def area_of_no_variance(area: float, positives: int, negatives: int, level: float) -> Bounds:
    """The score interval of an area from its value and the two sample sizes.

    Source: Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2",
    Statistics in Medicine 25, 2006, method 5, with the variance of Hanley & McNeil, 1982.
    """
    z, middle = quantile(level), (positives + negatives) / 2 - 1

    def beyond(true: float) -> float:
        spread = true * (1 - true) * (1 + middle * (1 - true) / (2 - true) + middle * true / (1 + true))
        return abs(area - true) - z * float(np.sqrt(spread / (positives * negatives)))

    low = brentq(beyond, 1e-12, min(area, 1 - 1e-9)) if area > 0 and beyond(1e-12) > 0 else 0.0
    high = brentq(beyond, max(area, 1e-9), 1 - 1e-12) if area < 1 and beyond(1 - 1e-12) > 0 else 1.0
    return (area, float(low), float(high))
