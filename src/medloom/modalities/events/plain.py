"""Simple numbers of the events a row sees, for the baselines."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


def counts(
    row: Int[np.ndarray, " seen"], slot: Int[np.ndarray, " seen"], rows: int, slots: int
) -> Float[np.ndarray, "rows slots"]:
    """How many events of each slot a row sees; events with slot −1 do not count."""
    kept = slot >= 0
    return np.bincount(row[kept] * slots + slot[kept], minlength=rows * slots).reshape(rows, slots).astype(np.float64)


def statistics(
    row: Int[np.ndarray, " seen"],
    slot: Int[np.ndarray, " seen"],
    value: Float[np.ndarray, " seen"],
    rows: int,
    slots: int,
) -> Float[np.ndarray, "rows four_slots"]:
    """Last, mean, smallest and largest value of each slot, side by side for each slot; NaN without a value.

    Events come in the order of row and time; those with slot −1 or a NaN value do not count.
    """
    result = np.full((rows * slots, 4), np.nan)
    kept: Bool[np.ndarray, " seen"] = (slot >= 0) & ~np.isnan(value)
    group = row[kept] * slots + slot[kept]
    if len(group):
        order = np.argsort(group, kind="stable")
        group, ordered = group[order], value[kept][order].astype(np.float64)
        first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
        end = np.append(first[1:], len(group))
        result[group[first]] = np.stack(
            [
                ordered[end - 1],
                np.add.reduceat(ordered, first) / (end - first),
                np.minimum.reduceat(ordered, first),
                np.maximum.reduceat(ordered, first),
            ],
            axis=1,
        )
    return result.reshape(rows, slots * 4)
