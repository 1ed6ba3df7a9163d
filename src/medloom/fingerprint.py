"""Numbers and words of rows as features in which rows that are almost the same lie close together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from medloom.draw import generator

WIDTH = 3
"""Features that a word is hashed to."""


def ranked(values: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """The place of each number among its column's, between −0.5 and 0.5; equal numbers share one, missing ones are 0."""
    out = np.zeros(values.shape)
    for column in range(values.shape[1]):
        known = np.flatnonzero(~np.isnan(values[:, column]))
        if len(known) < 2:
            continue
        _, place, times = np.unique(values[known, column], return_inverse=True, return_counts=True)
        upto = np.cumsum(times)
        out[known, column] = ((upto - times + upto) / 2 / len(known))[place] - 0.5
    return out


def hashed(codes: Int[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows features"]:
    """Each column's words as a few random numbers of the spread of ranks; the same word gives the same ones."""
    parts = [np.zeros((len(codes), 0))]
    for column in range(codes.shape[1]):
        table = generator("fingerprint", column).uniform(-0.5, 0.5, (int(codes[:, column].max(initial=0)) + 1, WIDTH))
        parts.append(table[codes[:, column]] / np.sqrt(WIDTH))
    return np.concatenate(parts, axis=1)
