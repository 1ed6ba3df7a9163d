"""Simple numbers of the events that rows see: what baselines, and encoders with `statistics`, are given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

OF_VALUES = ("last", "mean", "least", "greatest", "first", "deviation", "slope", "since", "early", "late")
"""Statistics of each code that has values, in this order."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Events of some rows in the order of row and time: `age` is the time from the event to the index time.

    `age` is NaN of timeless events; `slot` −1 of those that do not count. `half` is the age that parts each row's
    early events from its late ones.
    """

    row: Int[np.ndarray, " seen"]
    slot: Int[np.ndarray, " seen"]
    value: Float[np.ndarray, " seen"]
    age: Float[np.ndarray, " seen"]
    half: Float[np.ndarray, " rows"]


def counts(
    row: Int[np.ndarray, " seen"], slot: Int[np.ndarray, " seen"], rows: int, slots: int
) -> Float[np.ndarray, "rows slots"]:
    """How many events of each slot a row sees; events with slot −1 do not count."""
    kept = slot >= 0
    return np.bincount(row[kept] * slots + slot[kept], minlength=rows * slots).reshape(rows, slots).astype(np.float64)


def statistics(seen: Seen, slots: int) -> Float[np.ndarray, "rows slots ten"]:
    """The statistics of `OF_VALUES` of each slot; NaN where there is nothing to say.

    `deviation` is the standard deviation of two values or more; `slope` the least-squares change in a unit of time, of
    two times or more; `since` the age of the newest value; `early` and `late` the means of the values of either half of
    the time that the row looks back on. Timeless values have neither slope nor age, and count as early.
    """
    rows = len(seen.half)
    result = np.full((rows * slots, len(OF_VALUES)), np.nan)
    kept: Bool[np.ndarray, " seen"] = (seen.slot >= 0) & ~np.isnan(seen.value)
    group = seen.row[kept] * slots + seen.slot[kept]
    if len(group):
        order = np.argsort(group, kind="stable")
        group, value = group[order], seen.value[kept][order].astype(np.float64)
        age, row = seen.age[kept][order], seen.row[kept][order]
        first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
        size = np.diff(np.append(first, len(group)))
        newest = first + size - 1
        mean = np.add.reduceat(value, first) / size
        off = value - np.repeat(mean, size)
        spread = np.sqrt(np.add.reduceat(off**2, first) / np.maximum(size - 1, 1))
        late = age <= seen.half[row]
        of_late, of_early = (_mean_where(value, part, first) for part in (late, ~late))
        result[group[first]] = np.stack(
            [
                value[newest],
                mean,
                np.minimum.reduceat(value, first),
                np.maximum.reduceat(value, first),
                value[first],
                np.where(size > 1, spread, np.nan),
                _slope(value, age, first, size),
                age[newest],
                of_early,
                of_late,
            ],
            axis=1,
        )
    return result.reshape(rows, slots, len(OF_VALUES))


def _mean_where(
    value: Float[np.ndarray, " seen"], part: Bool[np.ndarray, " seen"], first: Int[np.ndarray, " groups"]
) -> Float[np.ndarray, " groups"]:
    size = np.add.reduceat(part.astype(np.float64), first)
    total = np.add.reduceat(np.where(part, value, 0.0), first)
    return np.divide(total, size, out=np.full(len(first), np.nan), where=size > 0)


def _slope(
    value: Float[np.ndarray, " seen"],
    age: Float[np.ndarray, " seen"],
    first: Int[np.ndarray, " groups"],
    size: Int[np.ndarray, " groups"],
) -> Float[np.ndarray, " groups"]:
    """Change of the value in a unit of time by least squares; NaN of less than two distinct times."""
    timed = ~np.isnan(age)
    time = np.where(timed, -age, 0.0)
    time_mean, value_mean = (np.repeat(np.nan_to_num(_mean_where(x, timed, first)), size) for x in (time, value))
    time_off = np.where(timed, time - time_mean, 0.0)
    square = np.add.reduceat(time_off**2, first)
    product = np.add.reduceat(time_off * (value - value_mean), first)
    least = 1e-12 * np.maximum(1.0, np.add.reduceat(np.where(timed, time**2, 0.0), first))
    return np.divide(product, square, out=np.full(len(first), np.nan), where=square > least)
