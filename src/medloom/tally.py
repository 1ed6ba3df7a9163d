"""Exact counts of rounded values: what every fit of numbers is made from.

Counts are whole numbers of values that are rounded in one fixed way, so that sums over rows and sites are exact and do
not depend on their order; and quantiles of a sum are those of all rows together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

Tally = tuple[Float[np.ndarray, " _"], Int[np.ndarray, " _"]]
"""Distinct values, ascending, and how often each occurs."""
_KEPT_BITS = 16
_FLOATS: dict[int, tuple[Any, Any, int]] = {4: (np.float32, np.uint32, 23), 8: (np.float64, np.uint64, 52)}
"""By bytes: the type, the whole number of its bits, and how many of them are mantissa."""


def rounded(values: Num[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Values with 16 explicit mantissa bits (relative error at most 2⁻¹⁷), to nearest; no −0, nothing made infinite.

    float64 stays float64, all else becomes float32; whole numbers of at most 17 bits stay as they are.
    """
    number, word, bits = _FLOATS[8 if values.dtype == np.float64 else 4]
    half, mask = word(1 << (bits - _KEPT_BITS - 1)), ~word((1 << (bits - _KEPT_BITS)) - 1)
    raw = np.ascontiguousarray(values, number).view(word)
    near = ((raw + half) & mask).view(number)
    return np.where(np.isfinite(near), near, (raw & mask).view(number)) + number(0.0)


def tally(values: Num[np.ndarray, " values"]) -> Tally:
    """The rounded values and their counts."""
    distinct, number = np.unique(values, return_counts=True)
    return add([(rounded(distinct), number)])


def add(parts: Iterable[Tally]) -> Tally:
    """The tally of everything together."""
    listed = list(parts)
    if not listed:
        return np.zeros(0, np.float32), np.zeros(0, np.int64)
    values, number = (np.concatenate(side) for side in zip(*listed, strict=True))
    # Each part ascends, and a stable sort only merges what is sorted.
    order = np.argsort(values, kind="stable")
    values, number = values[order], number[order]
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))[: len(values)]
    return values[first], np.add.reduceat(number, first) if len(first) else number


def quantile(values: Float[np.ndarray, " _"], number: Int[np.ndarray, " _"], share: float) -> float:
    """The smallest value with at least `share` of the counts at or below it.

    Source: Hyndman & Fan, "Sample quantiles in statistical packages", Am. Stat. 1996, definition 1.
    """
    reached = np.cumsum(number)
    return float(values[np.searchsorted(reached, share * reached[-1], side="left")])
