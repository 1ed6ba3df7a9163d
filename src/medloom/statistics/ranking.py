"""How well scores put positive rows above negative ones. Ties count exactly; rows with a NaN truth do not count.

Every function takes truths of 0 and 1, a score a row, and weights "resamples rows", and gives one figure a resample:
NaN where a resample cannot estimate it (no positive row, or no negative one), and in all where a score is NaN.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from medloom.statistics._rows import divide, grouped, known, take, tied


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
    order, starts = tied(-np.asarray(score, np.float64))
    ordered = weight[:, order]
    positive = grouped(ordered * (truth[order] == 1), starts)
    found = np.cumsum(positive, axis=1)
    named = np.cumsum(grouped(ordered, starts), axis=1)
    precision = np.divide(found, named, out=np.zeros_like(found), where=named > 0)
    return divide(np.einsum("rg,rg->r", positive, precision), found[:, -1])


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
