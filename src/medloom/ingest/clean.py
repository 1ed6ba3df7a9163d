"""Lines as they were read, made into events: text to ticks and numbers, words into codes, and what is broken, with why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from medloom.cohort.event_store import TIMELESS
from medloom.cohort.table import canonical
from medloom.cohort.times import Kind
from medloom.errors import DataError
from medloom.ingest.source import Block, Decimal
from medloom.ingest.times import NO_TIME, read_ticks

LONGEST_WORDS = 60
"""Characters of a text that becomes part of a code; a longer one is a note, and is left out."""
NO_PATIENT = "no patient"
NO_CODE = "no code"
FUTURE = "a time after the file was written"
INFINITE = "a value that is not finite"
COMMA = "a number with a comma (say decimal=comma, or write 1234.5)"
POINT = "a number with a point where decimals have a comma"
_COMMA = r"^[+-]?[\d.,]*,\d[\d.,]*$"
_POINT = r"^[+-]?[\d,]*\.[\d.,]*$"
BROKEN = {"line": pl.Int64, "reason": pl.String}


@dataclass(frozen=True, slots=True)
class Rules:
    """What a line is held against: whether times are dates or numbers, how they are written, and the newest that is possible."""

    kind: Kind | None
    time_format: str | None = None
    zone: str | None = None
    newest: int | None = None


@dataclass(frozen=True, slots=True)
class Events:
    """Events of some lines: `frame` has line, patient, time (ticks), code, unit (null without value) and value."""

    frame: pl.DataFrame
    broken: pl.DataFrame
    counts: Mapping[str, int] = field(default_factory=dict)


def clean(block: Block, rules: Rules) -> Events:
    """The events of a block, and its broken lines with one reason each."""
    raw = block.frame
    _refuse_storage(raw)
    patient, code = canonical(raw["patient"]), canonical(raw["code"])
    ticks = read_ticks(raw["time"], rules.kind, block.time_format or rules.time_format, rules.zone)
    value, words, strange = _values(raw, block.decimal)
    notes = words.str.len_chars() > LONGEST_WORDS
    counts = {"times with a zone": ticks.zoned, "times without a zone": ticks.local, "days without a time": ticks.days}
    timed = ticks.time.is_not_null()
    if rules.kind == "number":
        counts["times that are numbers, not dates"] = int(timed.sum())
    late = ticks.time > rules.newest if rules.newest is not None and rules.kind == "date" else None
    checks = [
        (patient.is_null(), NO_PATIENT),
        (code.is_null(), NO_CODE),
        (value.is_infinite(), INFINITE),
        (strange, COMMA if block.decimal == "point" else POINT),
        *([(late, FUTURE)] if late is not None else []),
        *([] if block.timeless else [(~timed & ticks.reason.is_null(), NO_TIME)]),
    ]
    reason = _reason(checks, ticks.reason)
    worded = (
        pl.when(words.is_not_null() & ~notes.fill_null(False)).then(pl.lit(code) + "=" + pl.lit(words))
        if words.null_count() < len(words)
        else None
    )
    columns = {
        "line": raw["line"],
        "patient": patient,
        "time": ticks.time.fill_null(TIMELESS),
        "value": value,
        "reason": reason,
    }
    frame = pl.DataFrame(columns).with_columns(
        (worded.otherwise(pl.lit(code)) if worded is not None else pl.lit(code)).alias("code"),
        _unit(raw, value).alias("unit"),
    )
    counts["texts too long for a code"] = int((notes & reason.is_null()).sum() or 0)
    bad = frame.filter(pl.col("reason").is_not_null()).select("line", "reason")
    good = frame.filter(pl.col("reason").is_null()) if len(bad) else frame
    if block.broken is not None:
        bad = pl.concat([bad.cast(BROKEN), block.broken.cast(BROKEN)]).sort("line")  # type: ignore[arg-type]
    for name, number in block.counts.items():
        counts[name] = counts.get(name, 0) + number
    return Events(
        good.select("line", "patient", "time", "code", "unit", "value"), bad, {n: c for n, c in counts.items() if c}
    )


def _refuse_storage(raw: pl.DataFrame) -> None:
    """Columns of a Parquet or Arrow file that hold what no event has."""
    for name, dtype in raw.schema.items():
        nested = dtype.is_nested() or dtype in (pl.Binary, pl.Object)
        time = dtype in (pl.Duration, pl.Time) or (dtype.is_temporal() and name != "time")
        if nested or time:
            expected = "dates, date-times, numbers or text" if name == "time" else "text or numbers"
            raise DataError(f"the column of {name} holds {dtype}; expected {expected}: convert it, or leave it out")


def _values(raw: pl.DataFrame, decimal: Decimal) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Numbers (null where there is none), words where a value is no number, and where a number is written otherwise."""
    length = len(raw)
    strange = pl.Series("strange", [False], pl.Boolean).new_from_index(0, length)
    words = (
        raw["text"].str.strip_chars()
        if "text" in raw.columns
        else pl.Series("text", [None], pl.String).new_from_index(0, length)
    )
    if "value" not in raw.columns:
        value = pl.Series("value", [None], pl.Float64).new_from_index(0, length)
    elif raw["value"].dtype != pl.String:
        value = raw["value"].cast(pl.Float64)
    else:
        text = raw["value"]
        value = text.cast(pl.Float64, strict=False)
        if decimal == "comma" or value.null_count() > text.null_count():
            text = text.str.strip_chars()
            # A number that is written otherwise would else become a code of its own, as any word does.
            strange = text.str.contains(_COMMA if decimal == "point" else _POINT).fill_null(False)
            plain = text if decimal == "point" else text.str.replace(",", ".", literal=True)
            value = plain.cast(pl.Float64, strict=False)
            worded = pl.when(value.is_null() & ~strange & (text != "")).then(text)
            words = pl.select(pl.coalesce([worded, pl.lit(words)])).to_series()
    words = pl.select(pl.when((words != "") & value.is_null()).then(words).alias("text")).to_series()
    return value.fill_nan(None), words, strange


def _unit(raw: pl.DataFrame, value: pl.Series) -> pl.Expr:
    """Units of values; null where there is no value, "" where the unit of a value is not given."""
    if "unit" not in raw.columns:
        return pl.when(value.is_not_null()).then(pl.lit(""))
    unit = raw["unit"].cast(pl.String).str.strip_chars().fill_null("")
    return pl.when(value.is_not_null()).then(unit)


def _reason(checks: list[tuple[pl.Series, str]], first: pl.Series) -> pl.Series:
    """The first thing that is wrong with each line: who and what before when."""
    held = [(mask, reason) for mask, reason in checks if mask.any()]
    if not held:
        return first.alias("reason")
    who = [pl.when(mask).then(pl.lit(reason)) for mask, reason in held]
    return pl.select(pl.coalesce([*who, pl.lit(first)]).alias("reason")).to_series()
