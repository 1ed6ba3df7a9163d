"""Counts of the rounded values of every number of a table, in one pass through it and in little memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from medloom.packed import Packed
from medloom.tally import Tally, rounded

_CELLS = 4_000_000
"""Numbers looked at at a time: 32 MB."""
_WAITING = 1 << 17


def tallies(packed: Packed, unit: Int[np.ndarray, " some"]) -> list[Tally]:
    """The tally of each column over these units, in one pass through the table: a block of rows at a time."""
    number = packed.arrays["number"]
    columns = number.shape[1]
    step = max(1, _CELLS // max(1, columns))
    parts: list[list[_Keys]] = [[_keys(np.zeros(0))] for _ in range(columns)]
    for start in range(0, len(unit), step):
        block = np.ascontiguousarray(np.take(number, unit[start : start + step], axis=0).T)
        for column, values in zip(parts, block, strict=True):
            column.append(_keys(values[~np.isnan(values)]))
            # What waits is added up when it is as much as what is added up already, so that little is done twice.
            if sum(len(one) for one, _ in column[1:]) > max(len(column[0][0]), _WAITING):
                column[:] = [_added(column)]
        packed.release()
    # What is added up goes as soon as its tally is made, as these are the largest things in memory.
    return [_tally(*_added(parts.pop(0))) for _ in range(columns)]


_Keys = tuple[Int[np.ndarray, " distinct"], Int[np.ndarray, " distinct"]]
"""Rounded values as the 28 bits that rounding leaves, ascending as such, and their counts: half the size of a tally."""
_SHIFT = np.uint64(52 - 16)


def _keys(values: Float[np.ndarray, " values"]) -> _Keys:
    keys = (rounded(values.astype(np.float64, copy=False)).view(np.uint64) >> _SHIFT).astype(np.uint32)
    distinct, times = np.unique(keys, return_counts=True)
    return distinct, times.astype(np.uint32)


def _added(parts: Sequence[_Keys]) -> _Keys:
    keys, times = (np.concatenate(side) for side in zip(*parts, strict=True))
    # Each part ascends, and a stable sort only merges what is sorted.
    order = np.argsort(keys, kind="stable")
    keys, times = keys[order], times[order]
    first = np.flatnonzero(np.diff(keys, prepend=keys[:1] + 1)) if len(keys) else np.zeros(0, np.int64)
    return keys[first], np.add.reduceat(times, first) if len(first) else times


def _tally(keys: Int[np.ndarray, " distinct"], times: Int[np.ndarray, " distinct"]) -> Tally:
    values = (keys.astype(np.uint64) << _SHIFT).view(np.float64)
    order = np.argsort(values)
    values, small = values[order], values[order].astype(np.float32)
    # Rounded values of usual size stand as they are in half the memory.
    return small if np.array_equal(small, values) else values, times[order]
