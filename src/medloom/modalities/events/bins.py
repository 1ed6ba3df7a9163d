"""A grid of time bins for each row: the value that was measured last, how often it was measured, and how long ago."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.modalities.events.plain import Seen


def grid(
    seen: Seen, bins: int, bin_width: float, has_values: Bool[np.ndarray, " slots"]
) -> tuple[
    Float[np.ndarray, "rows bins slots"], Float[np.ndarray, "rows bins slots"], Float[np.ndarray, "rows bins slots"]
]:
    """For each row, bin (oldest first) and slot: value, count, and time since the newest bin with a value.

    The value is the mean of the bin; where it has none, that of the newest bin before that has one, and 0 before any.
    The time is in bins, `bins` where nothing was measured yet. Timeless events lie in the first bin. Of a slot whose
    events have no values (`has_values`), counts alone are given, and the time is that since an event.
    """
    rows, slots = len(seen.half), len(has_values)
    shape = (rows, bins, slots)
    kept = seen.slot >= 0
    place = np.where(np.isnan(seen.age[kept]), bins, np.floor(seen.age[kept] / bin_width))
    # What is exactly as old as the whole look-back is seen, and lies in the first bin.
    bin_of = bins - 1 - np.clip(place, 0, bins - 1).astype(np.int64)
    cell = (seen.row[kept] * bins + bin_of) * slots + seen.slot[kept]
    cells = rows * bins * slots
    known = ~np.isnan(seen.value[kept])
    count = np.bincount(cell, minlength=cells)
    valued = np.bincount(cell[known], minlength=cells)
    total = np.bincount(cell[known], weights=seen.value[kept][known], minlength=cells)
    mean = np.divide(total, valued, out=np.zeros(cells), where=valued > 0).reshape(shape)
    has = np.where(has_values, valued.reshape(shape), count.reshape(shape)) > 0
    number = np.where(has, np.arange(bins)[:, None], -1)
    newest: Int[np.ndarray, "rows bins slots"] = np.maximum.accumulate(number, axis=1)
    value = np.where(newest >= 0, np.take_along_axis(mean, np.maximum(newest, 0), axis=1), 0.0)
    since = np.where(newest >= 0, np.arange(bins)[:, None] - newest, bins)
    return value, count.reshape(shape).astype(np.float64), since.astype(np.float64)
