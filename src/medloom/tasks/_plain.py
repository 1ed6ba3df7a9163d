"""Plain features for the simple models of several tasks: which of very many are kept."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

CELLS = 20_000_000
"""Training values (rows × features) a model is given, at most; but always `FEWEST_FEATURES`."""
FEWEST_FEATURES = 500
MOST_FEATURES = 1_000


def strongest(
    features: Float[np.ndarray, "rows features"], answer: Float[np.ndarray, " rows"], most: int = MOST_FEATURES
) -> Int[np.ndarray, " chosen"]:
    """At most `most` affordable features with a known value: those that correlate most with the answer.

    Missing values do not count. Features are looked at a block at a time, so that no copy of all of them is made.
    """
    most = min(most, max(FEWEST_FEATURES, CELLS // max(len(answer), 1)))
    if features.shape[1] <= most:
        return np.flatnonzero(~np.isnan(features).all(axis=0))
    share = np.full(features.shape[1], -1.0)
    for start in range(0, features.shape[1], 512):
        part = features[:, start : start + 512]
        known = ~np.isnan(part)
        count = np.maximum(known.sum(axis=0), 1)
        centred = np.where(known, part - np.where(known, part, 0).sum(axis=0) / count, 0)
        about = np.where(known, answer[:, None] - (answer @ known) / count, 0)
        spread = (centred**2).sum(axis=0) * (about**2).sum(axis=0)
        together = (centred * about).sum(axis=0) ** 2
        strength = np.divide(together, spread, out=np.zeros_like(spread), where=spread > 0)
        share[start : start + 512] = np.where(known.any(axis=0), strength, -1.0)
    best = np.argsort(-share, kind="stable")[:most]
    return np.sort(best[share[best] >= 0])
