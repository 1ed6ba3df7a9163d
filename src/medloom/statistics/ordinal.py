"""Figures of decisions between classes that have an order, as codes 0, 1, 2, …

Weights are "resamples rows". Rows with a NaN truth do not count.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from medloom.statistics._rows import divide, known, mean, take


def quadratic_kappa(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Agreement beyond chance, where a decision counts against it by its squared distance in classes.

    1 is full agreement, 0 is chance; NaN where truth and decision are one and the same class throughout. Source: Cohen,
    "Weighted kappa", Psychological Bulletin 70, 1968.
    """
    truth, decision, weight = take(known(truth), truth, decision, weight)
    truth, decision = (np.asarray(codes, np.float64) for codes in (truth, decision))
    total = weight.sum(axis=1)
    # Mean squared distance over all pairs of a truth and a decision, from their first two moments.
    moments = [(mean(codes, weight), mean(codes**2, weight)) for codes in (truth, decision)]
    chance = moments[0][1] + moments[1][1] - 2 * moments[0][0] * moments[1][0]
    found = divide(weight @ (truth - decision) ** 2, total)
    # What is left of a difference of equal numbers is no disagreement.
    return 1 - divide(found, np.where(chance > 1e-12, chance, 0.0))


def mean_distance(
    truth: Shaped[np.ndarray, " rows"],
    decision: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """How many classes the decision is off, on average."""
    truth, decision, weight = take(known(truth), truth, decision, weight)
    return mean(np.abs(np.asarray(truth, np.float64) - decision), weight)
