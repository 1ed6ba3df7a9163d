"""From rows of the cohort to parts of records: columns with times, and nothing at or after the index time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from medloom.errors import DataError, counted, rows_named, some
from medloom.modalities.signal.options import IN_FILE
from medloom.packed import Packed, Source

if TYPE_CHECKING:
    from medloom.cohort.table import Cohort
    from medloom.modalities.signal.options import SignalOptions


def point(options: SignalOptions, packed: Packed, cohort: Cohort, unit: Int[np.ndarray, " rows"]) -> Source:
    """Rows → records, and the samples of them that a row may see. A row that sees none has no such input.

    Filters look ahead: before an index time within the record, as much is left out as they reach.
    """
    rate = float(options.rate_hz or 0)
    unit = np.where(_known(options, cohort), unit, 0)
    length = np.asarray(packed.arrays["length"])[unit]
    start, stop = _segments(options, cohort, unit, length, rate)
    newest = None
    if options.at is not None and cohort.at is not None:
        newest = np.where(unit > 0, _times(options.at, cohort), np.nan)
    begins = _begins(options, packed, cohort, unit)
    if begins is not None and cohort.at is not None:
        reach = int(packed.meta["reach"])
        before = np.ceil((cohort.at - begins) * rate)
        cut = np.where(np.isnan(before) | (before >= length), length, before - reach).astype(np.int64)
        stop = np.minimum(stop, cut)
        ahead = np.where(cut < length, reach, 0)
        newest = begins + (stop - 1 + ahead) / rate
        late = newest >= cohort.at
        stop, newest = stop - late, np.where(late, newest - 1 / rate, newest)
    there = (unit > 0) & (stop > start)
    start, stop, unit = (np.where(there, array, 0) for array in (start, stop, unit))
    if newest is not None:
        newest = np.where(there, newest, np.nan)
    return Source(packed, unit, cohort.patient, start, stop, newest)


def _segments(
    options: SignalOptions,
    cohort: Cohort,
    unit: Int[np.ndarray, " rows"],
    length: Int[np.ndarray, " rows"],
    rate: float,
) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
    if options.segment is None:
        return np.zeros(len(unit), np.int64), length.astype(np.int64)
    import polars as pl

    seconds = []
    for name in options.segment:
        values = cohort.column(name, "segment").cast(pl.Float64, strict=False).to_numpy()
        seconds.append(np.where((unit > 0) & (length > 0), values, 0.0))
    bad = np.flatnonzero(
        ~np.isfinite(seconds[0]) | ~np.isfinite(seconds[1]) | (seconds[0] > seconds[1]) | (seconds[0] < 0)
    )
    if len(bad):
        raise DataError(
            f"segment: {counted(len(bad), 'row does', 'rows do')} not say where a part begins and ends "
            f"({rows_named(cohort.row.gather(bad).to_list())}); expected seconds from the record's beginning, first the smaller ones"
        )
    start, stop = (np.rint(values * rate).astype(np.int64) for values in seconds)
    beyond = np.flatnonzero(stop > length + 1)
    if len(beyond):
        raise DataError(
            f"segment: the part of {counted(len(beyond), 'row')} ends after the record "
            f"({rows_named(cohort.row.gather(beyond).to_list())}); expected seconds, within the record"
        )
    return start, np.minimum(stop, length)


def _begins(
    options: SignalOptions, packed: Packed, cohort: Cohort, unit: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"] | None:
    """When each row's record begins, NaN where the row has none; None where nothing says it."""
    if options.starts is None or cohort.at is None:
        return None
    if cohort.at_kind != "date":
        raise DataError(
            "starts: cohort.at holds numbers; expected dates or date-times, which samples can be counted from"
        )
    if options.starts == IN_FILE:
        begins = np.asarray(packed.arrays["starts"])[unit]
        where, way = "in the header of their files", 'a column with the time, starts = "<column>"'
    else:
        begins = _times(options.starts, cohort)
        where, way = f"in column {options.starts!r}", "a date-time in each row that has a record"
    unknown = np.flatnonzero((unit > 0) & np.isnan(begins) & (np.asarray(packed.arrays["length"])[unit] > 0))
    if len(unknown):
        raise DataError(
            f"starts: the records of {counted(len(unknown), 'row')} have no time {where} (rows "
            f"{some(cohort.row.gather(unknown).to_list())}); expected {way}"
        )
    return np.where(unit > 0, begins, np.nan)


def _times(column: str, cohort: Cohort) -> Float[np.ndarray, " rows"]:
    from medloom.cohort.times import read_times

    what = f"column {column!r}"
    times, kind = read_times(cohort.column(column, what), what, cohort.row)
    if cohort.at is not None and kind != cohort.at_kind and not np.isnan(times).all():
        raise DataError(f"{what}: holds {kind}s and cohort.at holds {cohort.at_kind}s; expected one kind")
    return times


def _known(options: SignalOptions, cohort: Cohort) -> np.ndarray:
    """Rows whose record was known before the index time, where `options.at` names a column that says when."""
    if options.at is None or cohort.at is None:
        return np.ones(len(cohort), bool)
    return _times(options.at, cohort) < cohort.at
