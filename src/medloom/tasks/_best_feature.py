"""The best single feature: a curve over quantile bins of each feature alone, the best one chosen without test rows.

What a score of one measurement is worth is what a model of many has to beat.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from medloom.tasks._models import Curve

MOST_FEATURES = 200
"""Features that are tried, those that follow the answer most."""
MOST_BINS = 8
LEAST_ROWS = 25
"""Rows of a bin, at least."""
PRIOR_ROWS = 5.0
"""Rows of the whole that every bin is mixed with, so that a small one says little."""
PARTS = 5
"""Parts of the training rows, each judged by the others, where no validation rows choose."""

Values = Float[np.ndarray, "rows outputs"]
Loss = Callable[[Values, Values], float]
"""Of scores as a curve gives them, and the values of the same rows."""


def curve(
    feature: int,
    held: Float[np.ndarray, " rows"],
    values: Values,
    link: Callable[[Values], Values],
) -> Curve:
    """A curve through the means of the values in bins of one feature, each mixed with the mean of all, through a link."""
    mean = values.mean(axis=0)
    known = ~np.isnan(held)
    missing = _mixed(values[~known].sum(axis=0), float((~known).sum()), mean)
    bins = max(1, min(MOST_BINS, int(known.sum()) // LEAST_ROWS))
    edges = np.unique(np.quantile(held[known], np.arange(1, bins) / bins)) if bins > 1 else np.zeros(0)
    place = np.searchsorted(edges, held[known], side="right")
    count = np.bincount(place, minlength=len(edges) + 1).astype(np.float64)
    sums = np.stack([np.bincount(place, column, len(count)) for column in values[known].T], axis=1)
    knots = np.bincount(place, held[known], len(count)) / np.maximum(count, 1)
    filled = count > 0
    heights = link(_mixed(sums[filled], count[filled][:, None], mean))
    return Curve(np.array(feature), knots[filled], heights, link(missing[None])[0])


def best(
    features: Float[np.ndarray, "rows features"],
    values: Values,
    valid: tuple[Float[np.ndarray, "valid features"], Values],
    candidates: Int[np.ndarray, " candidates"],
    link: Callable[[Values], Values],
    loss: Loss,
) -> Curve:
    """The curve of the feature with the least loss: on the validation rows, else on parts of the training rows in turn."""
    part = np.arange(len(values)) % PARTS
    losses = []
    for feature in candidates:
        column = features[:, feature]
        if len(valid[1]):
            losses.append(loss(curve(int(feature), column, values, link).score(valid[0]), valid[1]))
            continue
        scores = np.zeros_like(values)
        for number in range(PARTS):
            others, own = part != number, part == number
            scores[own] = curve(int(feature), column[others], values[others], link).score(features[own])
        losses.append(loss(scores, values))
    chosen = int(candidates[int(np.argmin(losses))])
    return curve(chosen, features[:, chosen], values, link)


def _mixed(sums: np.ndarray, count: np.ndarray | float, mean: np.ndarray) -> np.ndarray:
    return np.asarray((sums + PRIOR_ROWS * mean) / (count + PRIOR_ROWS))
