"""Temperature and threshold, from calibration rows alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize_scalar


def temperature(loss: Callable[[float], float], lowest: float = 0.05, highest: float = 20.0) -> float:
    """The temperature that minimises `loss(temperature)`, searched on a logarithmic scale.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    found = minimize_scalar(
        lambda log: loss(float(np.exp(log))), bounds=(np.log(lowest), np.log(highest)), method="bounded"
    )
    return float(np.exp(found.x))


def youden_threshold(truth: Bool[np.ndarray, " rows"], probability: Float[np.ndarray, " rows"]) -> float:
    """The threshold, midway between two probabilities, with the largest sensitivity + specificity − 1.

    Source: Youden, "Index for rating diagnostic tests", Cancer 1950. Ties go to the threshold nearest one half.
    """
    values = np.unique(probability)
    if len(values) < 2 or truth.all() or not truth.any():
        return 0.5
    cuts = (values[:-1] + values[1:]) / 2
    positive, negative = np.sort(probability[truth]), np.sort(probability[~truth])
    sensitivity = 1 - np.searchsorted(positive, cuts) / len(positive)
    specificity = np.searchsorted(negative, cuts) / len(negative)
    index = sensitivity + specificity
    best = cuts[index >= index.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def accuracy_threshold(truth: Bool[np.ndarray, " rows"], probability: Float[np.ndarray, " rows"]) -> float:
    """The threshold with the most rows decided rightly; ties go to the one nearest one half."""
    values = np.unique(probability)
    if len(values) < 2:
        return 0.5
    cuts = np.concatenate([[0.5], (values[:-1] + values[1:]) / 2])
    positive, negative = np.sort(probability[truth]), np.sort(probability[~truth])
    right = len(positive) - np.searchsorted(positive, cuts) + np.searchsorted(negative, cuts)
    best = cuts[right == right.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])
