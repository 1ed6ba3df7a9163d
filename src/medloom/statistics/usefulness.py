"""What decisions are worth: net benefit at a threshold, beside treating all and treating none.

Net benefit counts true positives, less false positives at the odds of the threshold, per row.
Source: Vickers & Elkin, "Decision curve analysis: a novel method for evaluating prediction models", Medical Decision
Making 26, 2006.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from medloom.statistics._rows import known, mean, take
from medloom.statistics.clusters import NOTHING, Bounds, mover
from medloom.statistics.shares import correlation, share


class DecisionCurve(NamedTuple):
    """One point a threshold: net benefit of the model with its interval, and of treating every row."""

    threshold: np.ndarray
    model: np.ndarray
    low: np.ndarray
    high: np.ndarray
    treat_all: np.ndarray


def net_benefit(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
    threshold: float,
) -> Float[np.ndarray, " resamples"]:
    """Net benefit, in true positives a row, of acting where the probability is at least the threshold.

    NaN where nothing has weight, and in all where a probability is NaN.
    """
    truth, probability, weight = take(known(truth), truth, probability, weight)
    if np.isnan(np.asarray(probability, np.float64)).any():
        return np.full(len(weight), np.nan)
    called = probability >= threshold
    return mean(called * np.where(truth == 1, 1.0, -_odds(threshold)), weight)


def net_benefit_interval(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
    threshold: float,
) -> Bounds:
    """Net benefit with an interval from Wilson's intervals of the shares of true and of false positives.

    The two shares are of the same rows and move together; their correlation over patients is part of the interval.
    Source: Zou & Donner, Statistics in Medicine 27, 2008. Measured beside others in docs/adr/0018.
    """
    rows = known(truth)
    truth, probability, patient = truth[rows], probability[rows], patient[rows]
    if not len(truth) or np.isnan(np.asarray(probability, np.float64)).any():
        return NOTHING
    return _from_called(truth == 1, probability >= threshold, patient, level, threshold)


def decision_curve(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    threshold: Float[np.ndarray, " thresholds"],
    level: float = 0.95,
) -> DecisionCurve:
    """Net benefit over thresholds, each strictly between 0 and 1, with a band of intervals each for itself.

    Empty where no truth is known or a probability is NaN. Treating nobody is worth 0 everywhere.
    """
    rows = known(truth)
    truth, probability, patient = truth[rows], probability[rows], patient[rows]
    if not len(truth) or np.isnan(np.asarray(probability, np.float64)).any():
        return DecisionCurve(*(np.zeros(0) for _ in range(5)))
    positive = truth == 1
    prevalence = positive.mean()
    points = np.array([_from_called(positive, probability >= at, patient, level, float(at)) for at in threshold])
    points = points.reshape(-1, 3)
    odds = threshold / (1 - threshold)
    return DecisionCurve(threshold, points[:, 0], points[:, 1], points[:, 2], prevalence - odds * (1 - prevalence))


def _from_called(
    positive: Bool[np.ndarray, " rows"],
    called: Bool[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
    threshold: float,
) -> Bounds:
    every = np.ones(len(positive), bool)
    found, missed = called & positive, called & ~positive
    one, other = share(found, every, patient, level), share(missed, every, patient, level)
    return mover(one, other, _odds(threshold), correlation(found - one[0], missed - other[0], every, patient))


def _odds(threshold: float) -> float:
    return threshold / (1 - threshold)
