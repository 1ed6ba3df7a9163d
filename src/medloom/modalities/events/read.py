"""The long table of events: which patients it holds, and the events of a block of patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from medloom.cohort.files import header, read_blocks
from medloom.cohort.table import Cohort, canonical
from medloom.cohort.ticks import ticks
from medloom.cohort.times import Kind, read_times
from medloom.errors import DataError, clause, counted, some
from medloom.find import near

if TYPE_CHECKING:
    from medloom.modalities.events.options import EventsOptions

EVENT_BLOCK = 4_194_304
"""Events read from a file at a time."""
LATEST = 9e12
"""Largest magnitude of a time: more does not fit the ticks."""
LARGEST = 3e38
"""Largest magnitude of a value; more does not fit a float32."""
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class EventColumn:
    """The events of a block of units, in the order of the table. `unit` counts from 0 within the block.

    `time` is in ticks; `code` is a position in `names`; `value` is NaN where the event has none. `measured_in` are the units of codes, where known.
    """

    units: int
    unit: Int[np.ndarray, " events"]
    time: Int[np.ndarray, " events"]
    code: Int[np.ndarray, " events"]
    value: Float[np.ndarray, " events"]
    names: tuple[str, ...]
    kind: Kind | None
    measured_in: Mapping[str, str] = field(default_factory=dict)


def with_events(options: EventsOptions, cohort: Cohort) -> pl.Series:
    """The patient of each row, null where the table has no event of that patient.

    Raises DataError for missing columns, and for events without a patient: nobody can tell whose they are.
    """
    found: list[pl.Series] = []
    missing: list[pl.Series] = []
    for block in _blocks(options, cohort, ("patient",)):
        patient = canonical(block["patient"])
        missing.append(block["line"].filter(patient.is_null()))
        found.append(patient.drop_nulls().unique())
    broken = pl.concat(missing)
    if len(broken):
        raise DataError(
            f"{options.table}: {counted(len(broken), 'event has', 'events have')} no patient in {options.patient!r} "
            f"({_lines(options, cohort, broken)}); fill in the patient or remove these events"
        )
    _units(options, cohort)
    known = pl.concat(found).unique().to_frame().with_columns(known=True)
    asked = cohort.record.rename("patient").to_frame()
    flags = asked.join(known, on="patient", how="left", maintain_order="left")
    return flags.select(pl.when(pl.col("known")).then(pl.col("patient")).alias("patient")).to_series()


def _units(options: EventsOptions, cohort: Cohort) -> dict[str, str]:
    """The unit of each code whose values have one.

    Raises DataError where the values of a code stand in several: they would be read as one quantity.
    """
    frame = passed(options, cohort)
    names = header(cohort.folder / options.table) if frame is None else frame.columns
    keys = ("code", "value", "unit")
    if options.unit in ("", *options.table_columns()) or any(getattr(options, key) not in names for key in keys):
        return {}
    found: pl.DataFrame | None = None
    for block in _blocks(options, cohort, keys):
        text = block.select(
            canonical(block["code"]).alias("code"),
            block["value"].cast(pl.String).str.strip_chars().alias("value"),
            block["unit"].cast(pl.String).str.strip_chars().alias("unit"),
        )
        pairs = text.filter((pl.col("value") != "") & (pl.col("unit") != "")).select("code", "unit").unique()
        found = pairs if found is None else pl.concat([found, pairs]).unique()
    assert found is not None
    mixed = found.group_by("code").len().filter(pl.col("len") > 1)["code"].drop_nulls().sort().to_list()
    if mixed:
        raise DataError(
            f"{options.table}: values of {counted(len(mixed), 'code')} stand in several units in {options.unit!r} (codes {some(mixed)}); "
            'bring each to one with `medloom ingest`, or unit = "" to read the numbers as they stand'
        )
    return dict(found.drop_nulls().sort("code").iter_rows())


def read_events(options: EventsOptions, cohort: Cohort) -> EventColumn:
    """The events of these patients, one row of the cohort a patient; the table is gone through once.

    Raises DataError for times, codes and values that cannot be read; names lines and codes, never values.
    """
    wanted = pl.DataFrame({"patient": cohort.record, "unit": np.arange(len(cohort), dtype=np.int64)})
    keys = ("patient", "time", "code", "value") if options.value else ("patient", "time", "code")
    label = pl.format(f"{_word(options, cohort)} {{}}", pl.col("line"))
    parts: list[EventColumn] = []
    for block in _blocks(options, cohort, keys):
        named = block.with_columns(canonical(block["patient"]).alias("patient"), label.alias("line"))
        events = named.join(wanted, on="patient", maintain_order="left")
        time, kind = _times(options, events)
        check_kind(options, kind, cohort)
        names, code = _codes(options, events)
        parts.append(
            EventColumn(len(cohort), events["unit"].to_numpy(), time, code, _values(options, events), names, kind)
        )
    return replace(_joined(options, parts, len(cohort)), measured_in=_units(options, cohort))


def _joined(options: EventsOptions, parts: Sequence[EventColumn], units: int) -> EventColumn:
    """The events of all blocks of the table, their codes in alphabetical order."""
    kinds = {part.kind for part in parts if part.kind is not None}
    if len(kinds) > 1:
        raise DataError(
            f"{options.table}: {options.time!r} holds dates in some lines and numbers in others; expected one kind"
        )
    names = tuple(sorted({name for part in parts for name in part.names}))
    place = {name: number for number, name in enumerate(names)}
    codes = [np.array([place[name] for name in part.names], np.int32)[part.code] for part in parts if len(part.code)]
    return EventColumn(
        units,
        np.concatenate([part.unit for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([np.zeros(0, np.int32), *codes]),
        np.concatenate([part.value for part in parts]),
        names,
        kinds.pop() if kinds else None,
    )


def check_kind(options: EventsOptions, kind: Kind | None, cohort: Cohort) -> None:
    """Raises DataError where events carry dates and the index time is a number, or the other way round."""
    if cohort.at_kind is not None and kind is not None and kind != cohort.at_kind:
        raise DataError(
            f"{options.table}: {options.time!r} holds {kind}s and cohort.at holds {cohort.at_kind}s; "
            "expected one kind, measured from the same zero"
        )


def passed(options: EventsOptions, cohort: Cohort) -> pl.DataFrame | None:
    """The frame passed for the table, under its whole name or its name without folder and suffix."""
    return cohort.tables.get(options.table, cohort.tables.get(Path(options.table).stem))


def _word(options: EventsOptions, cohort: Cohort) -> str:
    """What "line" of a block counts: lines of a text file with its header as line 1, or rows from 1."""
    text = Path(options.table).suffix.lower() in {".csv", ".tsv", ".txt"}
    return "line" if text and passed(options, cohort) is None else "row"


def _lines(options: EventsOptions, cohort: Cohort, numbers: pl.Series) -> str:
    return f"{_word(options, cohort)}s {some(numbers.to_list())}"


def _blocks(options: EventsOptions, cohort: Cohort, keys: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The long table in blocks, its columns named by their keys, with "line" saying where each event stands."""
    chosen = [pl.col(getattr(options, key)).alias(key) for key in keys]
    frame = passed(options, cohort)
    first = 2 if _word(options, cohort) == "line" else 1
    if frame is not None:
        _columns_exist(options, frame.columns, keys)
        if not len(frame):
            raise DataError(f"{options.table}: the table has a header and no rows")
        yield frame.select(*chosen, pl.int_range(first, len(frame) + first).alias("line"))
        return
    path = cohort.folder / options.table
    names = header(path)
    _columns_exist(options, names, keys)
    for block in read_blocks(path, EVENT_BLOCK, frozenset(names)):
        yield block.select(*chosen, pl.int_range(first, len(block) + first).alias("line"))
        first += len(block)


def _columns_exist(options: EventsOptions, found: Sequence[str], keys: Sequence[str]) -> None:
    missing = {key: getattr(options, key) for key in keys if getattr(options, key) not in found}
    if missing:
        hint = '; value = "" where events have codes alone' if "value" in missing else ""
        lines = [f"{options.table}: {key}: no column {name!r}; {near(name, found)}" for key, name in missing.items()]
        raise DataError("\n".join(lines) + hint)


def _times(options: EventsOptions, events: pl.DataFrame) -> tuple[Int[np.ndarray, " events"], Kind | None]:
    """Ticks of the events. What is known to the day alone stands at the end of its day: it may have been then."""
    what = f"{options.table}: {options.time!r}"
    if not len(events):
        return np.zeros(0, np.int64), None
    values = events["time"]
    time, kind = read_times(values, what, events["line"])
    known = np.isfinite(time)
    empty = np.isnan(time)
    broken = events["line"].filter(~(known | (empty if options.timeless else False))).to_list()
    if broken:
        raise DataError(
            f"{what}: {counted(len(broken), 'event has', 'events have')} no time ({some(broken)}); remove them or give each a time; "
            "timeless = true keeps those whose time is empty, as known before all others"
        )
    far = events["line"].filter(known & (np.abs(time) > LATEST)).to_list()
    if far:
        raise DataError(
            f"{what}: {counted(len(far), 'time is', 'times are')} beyond {LATEST:.0e} ({some(far)}); expected a smaller unit of time"
        )
    if kind == "date":
        day = _day_alone(values)
        return np.where(day & known, ticks(time + DAY_SECONDS) - 1, ticks(time)), kind if known.any() else None
    return ticks(time), kind if known.any() else None


def _day_alone(values: pl.Series) -> Bool[np.ndarray, " events"]:
    if values.dtype == pl.String:
        return (values.str.strip_chars().str.len_chars() == len("2026-01-31")).fill_null(False).to_numpy()
    return np.full(len(values), values.dtype == pl.Date)


def _codes(options: EventsOptions, events: pl.DataFrame) -> tuple[tuple[str, ...], Int[np.ndarray, " events"]]:
    """Names of the codes in alphabetical order, and each event's position among them."""
    code = canonical(events["code"])
    broken = events["line"].filter(code.is_null()).to_list()
    if broken:
        raise DataError(
            f"{options.table}: {counted(len(broken), 'event has', 'events have')} no code in {options.code!r} ({some(broken)}); remove them or give each a code"
        )
    names = code.unique().sort()
    table = pl.DataFrame({"code": names, "position": np.arange(len(names), dtype=np.int32)})
    position = code.to_frame().join(table, on="code", how="left", maintain_order="left")["position"]
    return tuple(names.to_list()), position.to_numpy()


def _values(options: EventsOptions, events: pl.DataFrame) -> Float[np.ndarray, " events"]:
    if not options.value:
        return np.full(len(events), np.nan, np.float32)
    values = events["value"]
    if values.dtype == pl.String:
        text = values.str.strip_chars()
        blank = text.is_null() | (text == "")
        number = text.cast(pl.Float64, strict=False)
        commas = text.str.contains(r"^[+-]?\d*,\d+$")
        _refuse(
            options, events, commas.fill_null(False), "are written with a comma; write 1234.5, not 1,234.5 or 1234,5"
        )
        _refuse(
            options, events, number.is_null() & ~blank, "are not numeric; put text into the code, such as 'sex=female'"
        )
    elif values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null):
        number = values.cast(pl.Float64)
    else:
        raise DataError(f"{options.table}: {options.value!r} holds {values.dtype}; expected numbers")
    _refuse(
        options,
        events,
        (number.abs() > LARGEST).fill_null(False) & ~number.is_nan().fill_null(False),
        f"are infinite or above {LARGEST:g}",
    )
    return cast(np.ndarray, number.fill_null(float("nan")).to_numpy().astype(np.float32))


def _refuse(options: EventsOptions, events: pl.DataFrame, broken: pl.Series, why: str) -> None:
    if broken.any():
        bad = events.filter(broken)
        codes = canonical(bad["code"]).unique(maintain_order=True).to_list()
        raise DataError(
            f"{options.table}: column {options.value!r}: {clause(len(bad), 'value', why)} "
            f"({some(bad['line'].to_list())}; codes {some(codes)})"
        )
