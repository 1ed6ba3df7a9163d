"""Several yes-or-no labels a row: the mean over labels of any two-class figure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Shaped

from medloom.statistics._rows import divide

Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(truth "rows", score "rows", weight "resamples rows") → "resamples"."""


def macro(
    statistic: Statistic,
    truth: Float[np.ndarray, "rows labels"],
    score: Shaped[np.ndarray, "rows labels"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Mean over labels of `statistic`; a label's NaN truths do not count for that label.

    The mean runs over the labels that a resample can estimate; NaN where it can estimate none.
    """
    each = np.stack([statistic(truth[:, label], score[:, label], weight) for label in range(truth.shape[1])])
    estimable = ~np.isnan(each)
    return divide(np.where(estimable, each, 0).sum(axis=0), estimable.sum(axis=0).astype(np.float64))
