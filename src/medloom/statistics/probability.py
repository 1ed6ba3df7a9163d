"""Proper scores of predicted probabilities; lower is better. Rows with a NaN truth do not count.

Weights are "resamples rows", and each function gives one figure a resample, NaN where nothing has weight.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from medloom.statistics._rows import known, mean, take
from medloom.statistics.decisions import prevalence

LEAST = float(np.finfo(np.float64).eps)
"""Probabilities are held between this and one minus this, so that one certain mistake does not make the loss infinite."""


def brier(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean squared difference between the probability of the positive class and the truth, 0 or 1.

    Source: Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.
    """
    truth, probability, weight = take(known(truth), truth, probability, weight)
    return mean((np.asarray(probability, np.float64) - truth) ** 2, weight)


def scaled_brier(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """One minus the Brier score over that of always giving the prevalence: 1 is perfect, 0 is no better than that.

    NaN where a resample holds one class only. Source: Steyerberg et al., "Assessing the performance of prediction
    models", Epidemiology 21, 2010.
    """
    share = prevalence(truth, weight)
    reference = share * (1 - share)
    varies = reference > 1e-15
    return np.where(varies, 1 - brier(truth, probability, weight) / np.where(varies, reference, 1.0), np.nan)


def log_loss(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean negative log-likelihood (nats) of truths of 0 and 1."""
    truth, probability, weight = take(known(truth), truth, probability, weight)
    held = np.clip(np.asarray(probability, np.float64), LEAST, 1 - LEAST)
    return mean(-np.where(truth == 1, np.log(held), np.log1p(-held)), weight)


def multiclass_brier(
    truth: Shaped[np.ndarray, " rows"],
    probability: Float[np.ndarray, "rows classes"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Squared differences summed over classes, from 0 to 2; `truth` holds class codes."""
    truth, probability, weight = take(known(truth), truth, probability, weight)
    answer = truth[:, None] == np.arange(probability.shape[1])
    return mean(((np.asarray(probability, np.float64) - answer) ** 2).sum(axis=1), weight)


def multiclass_log_loss(
    truth: Shaped[np.ndarray, " rows"],
    probability: Float[np.ndarray, "rows classes"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean negative log-likelihood (nats) of the true class; `truth` holds class codes."""
    truth, probability, weight = take(known(truth), truth, probability, weight)
    of_truth = np.take_along_axis(np.asarray(probability, np.float64), truth.astype(np.int64)[:, None], axis=1)[:, 0]
    return mean(-np.log(np.clip(of_truth, LEAST, 1 - LEAST)), weight)
