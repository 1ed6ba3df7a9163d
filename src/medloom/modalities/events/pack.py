"""Events as flat arrays, sorted by patient and time, and what of them each row may see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from medloom.cohort.ticks import TIMELESS
from medloom.errors import DataError
from medloom.packed import Packed, Packer

if TYPE_CHECKING:
    from medloom.modalities.events.read import EventColumn


def pack_events(columns: Iterable[EventColumn], store: Path | None) -> Packed:
    """Blocks of units → `code`, `time`, `value` of all events, and `offset`: unit u holds offset[u]:offset[u + 1].

    Times are ticks, as in a store of events. `meta["codes"]` names the codes, from code 1 on, `meta["units"]` their units where known; events of one time keep
    the order of the table.
    """
    packer = Packer(store)
    packer.add("code", np.zeros(0, np.int32))
    packer.add("time", np.zeros(0, np.int64))
    packer.add("value", np.zeros(0, np.float32))
    packer.add("offset", np.zeros(2, np.int64))
    code_of: dict[str, int] = {}
    kind = None
    total = 0
    units: dict[str, str] = {}
    for column in columns:
        units |= column.measured_in
        if kind is not None and column.kind is not None and column.kind != kind:
            raise DataError("the times of some events are dates and of others numbers; expected one kind")
        kind = kind or column.kind
        codes = np.array([code_of.setdefault(name, len(code_of) + 1) for name in column.names], np.int32)
        order = np.lexsort((column.time, column.unit))
        packer.add("code", codes[column.code[order]] if len(codes) else np.zeros(0, np.int32))
        packer.add("time", column.time[order])
        packer.add("value", column.value[order])
        packer.add("offset", total + np.cumsum(np.bincount(column.unit, minlength=column.units)).astype(np.int64))
        total += len(order)
    return packer.finish({"kind": kind, "codes": list(code_of), "units": units})


def first_at_or_after(
    time: Int[np.ndarray, " events"],
    low: Int[np.ndarray, " rows"],
    high: Int[np.ndarray, " rows"],
    at: Int[np.ndarray, " rows"],
) -> Int[np.ndarray, " rows"]:
    """For each row, the first position in `low:high` whose time is not before `at`; `high` where all are."""
    low, high = low.copy(), high.copy()
    while (open_rows := np.flatnonzero(low < high)).size:
        middle = (low[open_rows] + high[open_rows]) // 2
        before = np.asarray(time[middle]) < at[open_rows]
        low[open_rows] = np.where(before, middle + 1, low[open_rows])
        high[open_rows] = np.where(before, high[open_rows], middle)
    return low


@dataclass(frozen=True, slots=True)
class Cut:
    """What each row sees: the timeless events `fixed_start:fixed_stop`, then those of `start:stop`.

    `index_time`, in ticks, is what ages are measured from. `shortened` rows have older events that could be seen, and are
    more than may be.
    """

    fixed_start: Int[np.ndarray, " rows"]
    fixed_stop: Int[np.ndarray, " rows"]
    start: Int[np.ndarray, " rows"]
    stop: Int[np.ndarray, " rows"]
    index_time: Int[np.ndarray, " rows"]
    shortened: Bool[np.ndarray, " rows"]


def cut(
    packed: Packed,
    unit: Int[np.ndarray, " rows"],
    at: Int[np.ndarray, " rows"] | None,
    lookback: int | None,
    last: int,
) -> Cut:
    """The newest `last` events before `at` of each row, and the first `last` of its timeless ones.

    Without index times everything is seen, and ages are measured from the newest event. `at` and `lookback` are ticks;
    an event exactly `lookback` old is seen, and so are timeless ones, however long the record.
    """
    offset, time = np.asarray(packed.arrays["offset"]), packed.arrays["time"]
    begin, stop = offset[unit], offset[unit + 1]
    if at is None:
        index_time = np.full(len(unit), TIMELESS)
        index_time[stop > begin] = time[stop[stop > begin] - 1]
    else:
        index_time = at
        stop = first_at_or_after(time, begin, stop, at)
    start = fixed_stop = first_at_or_after(time, begin, stop, np.full(len(unit), TIMELESS + 1))
    if lookback is not None:
        oldest = np.where(index_time < TIMELESS + lookback, TIMELESS + 1, index_time - lookback)
        start = first_at_or_after(time, start, stop, oldest)
    shortened = (stop - last > start) | (fixed_stop - last > begin)
    start, begin = np.maximum(start, stop - last), np.maximum(begin, fixed_stop - last)
    return Cut(begin, fixed_stop, start, stop, index_time, shortened)


def flat(
    start: Int[np.ndarray, " rows"], stop: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " seen"], Int[np.ndarray, " seen"]]:
    """Positions of all events in the ranges `start:stop`, and the number of the range that each is in."""
    length = stop - start
    row = np.repeat(np.arange(len(start)), length)
    skipped = np.cumsum(length) - length
    return np.arange(len(row)) + np.repeat(start - skipped, length), row


def union(
    start: Int[np.ndarray, " rows"], stop: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " ranges"], Int[np.ndarray, " ranges"]]:
    """Ranges that cover the same positions as `start:stop`, each position once."""
    order = np.argsort(start, kind="stable")
    start, stop = start[order], stop[order]
    covered = np.maximum.accumulate(np.concatenate([[0], stop]))[:-1]
    start = np.maximum(start, covered)
    kept = start < stop
    return start[kept], stop[kept]
