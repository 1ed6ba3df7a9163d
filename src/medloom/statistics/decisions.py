"""Figures of decisions that have been made: a decision a row, as 0 and 1 or as class codes.

Weights are "resamples rows". Rows with a NaN truth do not count. A resample in which a figure has no meaning (no
positive row for the sensitivity, nothing called positive for the positive predictive value) gives NaN.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from medloom.statistics._rows import divide, known, mean, take


def accuracy(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Share of rows decided rightly, of two classes or of many (top-label accuracy)."""
    truth, decision, weight = take(known(truth), truth, decision, weight)
    return mean(truth == decision, weight)


def balanced_accuracy(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean over classes of the share decided rightly, over the classes a resample holds; NaN where it holds one only."""
    truth, decision, weight = take(known(truth), truth, decision, weight)
    codes = np.unique(truth)
    if len(codes) < 2:
        return np.full(len(weight), np.nan)
    member = (truth[:, None] == codes).astype(np.float64)
    total = weight @ member
    right = weight @ (member * (truth == decision)[:, None])
    held = total > 0
    recall = np.divide(right, total, out=np.zeros_like(total), where=held)
    classes = held.sum(axis=1).astype(np.float64)
    return np.where(classes > 1, divide(recall.sum(axis=1), classes), np.nan)


def sensitivity(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Share of positive rows that are called positive (recall)."""
    return _share(truth == 1, decision == 1, truth, weight)


def specificity(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Share of negative rows that are called negative."""
    return _share(truth == 0, decision == 0, truth, weight)


def ppv(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Positive predictive value: share of rows called positive that are (precision), at the rows' own prevalence."""
    return _share(decision == 1, truth == 1, truth, weight)


def npv(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Negative predictive value: share of rows called negative that are, at the rows' own prevalence."""
    return _share(decision == 0, truth == 0, truth, weight)


def f1(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Harmonic mean of sensitivity and positive predictive value; NaN where nothing is positive and nothing is called so."""
    truth, decision, weight = take(known(truth), truth, decision, weight)
    positive, called = (truth == 1).astype(np.float64), (decision == 1).astype(np.float64)
    return divide(2 * (weight @ (positive * called)), weight @ (positive + called))


def mcc(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Matthews' correlation of decision and truth, of two classes; NaN where one of the two does not vary.

    Source: Matthews, "Comparison of the predicted and observed secondary structure of T4 phage lysozyme", BBA 405, 1975.
    """
    truth, decision, weight = take(known(truth), truth, decision, weight)
    positive, called = (truth == 1).astype(np.float64), (decision == 1).astype(np.float64)
    total = weight.sum(axis=1)
    share, named, both = (divide(weight @ part, total) for part in (positive, called, positive * called))
    spread = share * (1 - share) * named * (1 - named)
    varies = spread > 1e-24
    return np.where(varies, (both - share * named) / np.sqrt(np.where(varies, spread, 1.0)), np.nan)


def positive_likelihood_ratio(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Sensitivity over one minus specificity: what a positive call does to the odds. NaN without a false positive."""
    return divide(sensitivity(truth, decision, weight), 1 - specificity(truth, decision, weight))


def negative_likelihood_ratio(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """One minus sensitivity over specificity: what a negative call does to the odds. NaN where the specificity is 0."""
    return divide(1 - sensitivity(truth, decision, weight), specificity(truth, decision, weight))


def number_needed_to_evaluate(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Rows that are called positive for each that is: one over the positive predictive value.

    Source: Romero-Brufau et al., "Why the C-statistic is not informative to evaluate early warning scores", Critical
    Care 19, 2015.
    """
    found = ppv(truth, decision, weight)
    return divide(np.ones_like(found), found)


def prevalence(
    truth: Shaped[np.ndarray, " rows"], weight: Float[np.ndarray, "resamples rows"]
) -> Float[np.ndarray, " resamples"]:
    """Share of positive rows among those whose truth is known."""
    truth, weight = take(known(truth), truth, weight)
    return mean(truth == 1, weight)


def majority_share(
    truth: Shaped[np.ndarray, " rows"], weight: Float[np.ndarray, "resamples rows"]
) -> Float[np.ndarray, " resamples"]:
    """Share of the rows in the most frequent class: the accuracy of always naming it."""
    truth, weight = take(known(truth), truth, weight)
    if not len(truth):
        return np.full(len(weight), np.nan)
    counts = np.stack([weight @ (truth == code).astype(np.float64) for code in np.unique(truth)])
    return divide(counts.max(axis=0), weight.sum(axis=1))


def _share(
    among: Shaped[np.ndarray, " rows"],
    counted: Shaped[np.ndarray, " rows"],
    truth: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    among, counted, weight = take(known(truth), among, counted, weight)
    return divide(weight @ (among & counted).astype(np.float64), weight @ among.astype(np.float64))
