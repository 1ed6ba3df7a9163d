"""Events as flat arrays, sorted by patient and time, and what of them each row may see."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.errors import DataError
from medloom.packed import Packed, Packer

if TYPE_CHECKING:
    from medloom.modalities.events.read import EventColumn


def pack_events(columns: Iterable[EventColumn], store: Path | None) -> Packed:
    """Blocks of units → `code`, `time`, `value` of all events, and `offset`: unit u holds offset[u]:offset[u + 1].

    `meta["codes"]` names the codes, from code 1 on; events of one time keep the order of the table.
    """
    packer = Packer(store)
    packer.add("code", np.zeros(0, np.int32))
    packer.add("time", np.zeros(0, np.float64))
    packer.add("value", np.zeros(0, np.float32))
    packer.add("offset", np.zeros(2, np.int64))
    code_of: dict[str, int] = {}
    kind = None
    total = 0
    for column in columns:
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
    return packer.finish({"kind": kind, "codes": list(code_of)})


def first_at_or_after(
    time: Float[np.ndarray, " events"],
    low: Int[np.ndarray, " rows"],
    high: Int[np.ndarray, " rows"],
    at: Float[np.ndarray, " rows"],
) -> Int[np.ndarray, " rows"]:
    """For each row, the first position in `low:high` whose time is not before `at`; `high` where all are."""
    low, high = low.copy(), high.copy()
    while (open_rows := np.flatnonzero(low < high)).size:
        middle = (low[open_rows] + high[open_rows]) // 2
        before = np.asarray(time[middle]) < at[open_rows]
        low[open_rows] = np.where(before, middle + 1, low[open_rows])
        high[open_rows] = np.where(before, high[open_rows], middle)
    return low


def cut(
    packed: Packed,
    unit: Int[np.ndarray, " rows"],
    at: Float[np.ndarray, " rows"] | None,
    lookback: float | None,
    last: int,
) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Start and stop of the events each row sees, and the time that ages are measured from.

    Without index times everything is seen, and ages are measured from the newest event. `lookback` is in the unit of
    the packed times; an event exactly `lookback` old is seen.
    """
    offset, time = np.asarray(packed.arrays["offset"]), packed.arrays["time"]
    start, stop = offset[unit], offset[unit + 1]
    if at is None:
        index_time = np.full(len(unit), np.nan)
        index_time[stop > start] = time[stop[stop > start] - 1]
    else:
        index_time = at
        stop = first_at_or_after(time, start, stop, at)
    if lookback is not None:
        start = first_at_or_after(time, start, stop, index_time - lookback)
    return np.maximum(start, stop - last), stop, index_time


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


def positions(
    start: Int[np.ndarray, " rows"], stop: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " seen"], Bool[np.ndarray, "rows length"]]:
    """Positions of all events in the ranges, and where they stand in a box as long as the longest range, from the left."""
    length = stop - start
    valid = np.arange(max(int(length.max(initial=0)), 1)) < length[:, None]
    return flat(start, stop)[0], valid
