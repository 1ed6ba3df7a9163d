"""Columns that are read as numbers: measured numbers, booleans, ordered words, dates, durations.

Each kind gives numbers with NaN where missing, and says which values it could not read and why. `columns.read`
refuses those; `columns.mend` makes them missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from medloom.cohort.table import LARGEST, Cohort, canonical
from medloom.cohort.times import parse_times
from medloom.errors import DataError
from medloom.modalities.table.column import SECONDS, Column
from medloom.modalities.table.options import TableOptions

DAY = 86_400.0
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")
_GROUPED = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_NUMBER = r"\d+(?:\.\d+)?"
_WORDED = rf"^({_NUMBER})\s*([A-Za-z]+)$"
_CLOCK = r"^(\d+):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?$"
_ISO = rf"^P(?:({_NUMBER})W)?(?:({_NUMBER})D)?(?:T(?:({_NUMBER})H)?(?:({_NUMBER})M)?(?:({_NUMBER})S)?)?$"
_ISO_UNITS = ("week", "d", "h", "min", "s")
_UNIT_WORDS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "min": ("min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
    "week": ("w", "wk", "wks", "week", "weeks"),
}


@dataclass(frozen=True, slots=True)
class Broken:
    """Values that do not fit: a few words for one row, words for many, and what to do."""

    short: str
    found: str
    way: str
    rows: Bool[np.ndarray, " units"]


@dataclass(frozen=True, slots=True)
class Parsed:
    """One column as numbers, NaN where missing or broken; `late` marks dates at or after the index time."""

    number: Float[np.ndarray, " units"]
    broken: tuple[Broken, ...] = ()
    late: Bool[np.ndarray, " units"] = field(default_factory=lambda: np.zeros(0, bool))


def unmarked(values: pl.Series, markers: tuple[Any, ...]) -> pl.Series:
    """Values as text, null where they are missing or a word that means so."""
    text = canonical(values)
    words = [str(marker) for marker in markers]
    words += [f"{marker:g}" for marker in markers if isinstance(marker, float)]
    return pl.select(pl.when(~text.is_in(words)).then(text)).to_series() if words else text


def parse(name: str, options: TableOptions, cohort: Cohort) -> Parsed:
    """A column as numbers, with everything in it that cannot be read, is too large or lies outside its range.

    Raises DataError where no row can be read: a date without an index time.
    """
    column = options.columns[name]
    parsed = _KINDS[column.kind](name, column, cohort, options.markers(name))
    number = parsed.number
    endless = np.abs(number) > LARGEST
    found = f"infinite or beyond {LARGEST:g}"
    broken = [*parsed.broken, Broken("infinite", found, "leave them empty if unknown", endless)]
    if column.range is not None:
        low, high = column.range
        outside = ((number < low) | (number > high)) & ~endless
        unit = " " + column.unit if column.unit else " d" if column.kind == "datetime" else ""
        found, way = f"outside {low:g} to {high:g}{unit}", 'check the unit, or give out_of_range = "missing"'
        broken.append(Broken("outside its range", found, way, outside))
        number = np.where(outside, np.nan, number)
    return Parsed(np.where(endless, np.nan, number), tuple(one for one in broken if one.rows.any()), parsed.late)


def _numeric(name: str, column: Column, cohort: Cohort, markers: tuple[Any, ...]) -> Parsed:
    values = cohort.frame[name]
    broken = np.zeros(len(values), bool)
    found, way = "not numeric", f"if they mean missing, give {name} = {{ missing = [...] }}"
    if values.dtype == pl.String:
        text = unmarked(values, markers)
        number = text.cast(pl.Float64, strict=False)
        broken = (number.is_null() & text.is_not_null()).to_numpy()
        if text.filter(pl.Series(broken)).str.contains(_GROUPED).any():
            found, way = "written with thousands separators", "write 1234.5, not 1,234.5"
    elif values.dtype == pl.Boolean or values.dtype.is_numeric() or values.dtype == pl.Null:
        number = values.cast(pl.Float64)
    else:
        number = pl.Series([None] * len(values), dtype=pl.Float64)
        broken = values.is_not_null().to_numpy()
        found, way = f"not numeric but {values.dtype}", "exclude the column or convert it to numbers"
    result = number.fill_null(float("nan")).to_numpy().copy()
    for marker in markers:
        if isinstance(marker, (int, float)):
            result[result == marker] = np.nan
    slope, offset = column.line
    if (slope, offset) != (1.0, 0.0):
        result = result * slope + offset
    return Parsed(result, (Broken("not a number", found, way, broken),))


def _boolean(name: str, column: Column, cohort: Cohort, markers: tuple[Any, ...]) -> Parsed:
    text = unmarked(cohort.frame[name], markers).str.to_lowercase()
    true, false = (text.is_in(list(words)).fill_null(False).to_numpy() for words in (_TRUE, _FALSE))
    number = np.where(true, 1.0, np.where(false, 0.0, np.nan))
    broken = text.is_not_null().to_numpy() & ~true & ~false
    way = f'if they mean missing, give {name} = {{ missing = [...] }}; for other words declare kind = "category"'
    return Parsed(number, (Broken("not true or false", "none of true, false, yes, no, 1, 0", way, broken),))


def _ordinal(name: str, column: Column, cohort: Cohort, markers: tuple[Any, ...]) -> Parsed:
    text = unmarked(cohort.frame[name], markers)
    places = pl.Series(range(len(column.levels)), dtype=pl.Float64)
    number = text.replace_strict(pl.Series(column.levels), places, default=None, return_dtype=pl.Float64)
    broken = (number.is_null() & text.is_not_null()).to_numpy()
    unseen = Broken(
        "not a level of its order", "not a level of its order", "add the level to order, or to missing", broken
    )
    return Parsed(number.fill_null(float("nan")).to_numpy(), (unseen,))


def _datetime(name: str, column: Column, cohort: Cohort, markers: tuple[Any, ...]) -> Parsed:
    """Days from the index time: negative numbers. What is not before it is missing, and marked as late."""
    if cohort.at is None:
        raise DataError(
            f"column {name!r} is a date, which is read as days before the index time, and there is none; give "
            "cohort.at, or exclude the column"
        )
    values = cohort.frame[name]
    text = unmarked(values, markers) if values.dtype == pl.String else values
    times, kind, bad = parse_times(text)
    known = ~np.isnan(times)
    if cohort.at_kind == "number" or (kind == "number" and known.any()):
        found = "numbers" if kind == "number" else "dates"
        raise DataError(f"column {name!r} holds {found} and cohort.at holds {cohort.at_kind}s; expected dates in both")
    late = known & ~(times < cohort.at)
    days = np.where(known & ~late, (times - cohort.at) / DAY, np.nan)
    way = "expected YYYY-MM-DD or YYYY-MM-DD HH:MM[:SS], all without a zone"
    return Parsed(days, (Broken("not a date", "not a date", way, bad),), late)


def _duration(name: str, column: Column, cohort: Cohort, markers: tuple[Any, ...]) -> Parsed:
    values = cohort.frame[name]
    if values.dtype == pl.Duration:
        seconds = values.dt.total_microseconds().cast(pl.Float64) / 1e6
        filled = seconds.fill_null(float("nan")).to_numpy()
        return Parsed(filled / SECONDS[column.unit or "d"])
    text = unmarked(values, markers)
    seconds = _seconds(text)
    bare = text.cast(pl.Float64, strict=False)
    unknown = (seconds.is_null() & text.is_not_null()).to_numpy()
    result = seconds.fill_null(float("nan")).to_numpy() / SECONDS[column.unit or "d"]
    plain = bare.is_not_null().to_numpy()
    if column.unit is not None:
        result = np.where(plain, bare.fill_null(float("nan")).to_numpy(), result)
        unknown = unknown & ~plain
        numbers = Broken("no unit", "plain numbers", "give unit", np.zeros(len(text), bool))
    else:
        unknown = unknown & ~plain
        numbers = Broken("no unit", "plain numbers", f'give {name} = {{ unit = "h" }} or another unit', plain)
    way = "expected such as 3 d, 12:30 (hours and minutes), P3DT4H"
    return Parsed(result, (Broken("not a duration", "not a duration", way, unknown), numbers))


def _seconds(text: pl.Series) -> pl.Series:
    """Seconds of durations that carry their unit; null for anything else, months and years among it."""
    frame = pl.DataFrame({"text": text.cast(pl.String)})
    lower = pl.col("text").str.to_lowercase()
    unit = lower.str.extract(_WORDED, 2).replace_strict(
        {word: SECONDS[name] for name, words in _UNIT_WORDS.items() for word in words},
        default=None,
        return_dtype=pl.Float64,
    )
    worded = lower.str.extract(_WORDED, 1).cast(pl.Float64) * unit
    clock = pl.sum_horizontal(
        pl.col("text").str.extract(_CLOCK, place).cast(pl.Float64).fill_null(0.0) * seconds
        for place, seconds in ((1, 3600.0), (2, 60.0), (3, 1.0))
    )
    iso = pl.sum_horizontal(
        pl.col("text").str.extract(_ISO, place).cast(pl.Float64).fill_null(0.0) * SECONDS[name]
        for place, name in enumerate(_ISO_UNITS, 1)
    )
    is_iso = pl.col("text").str.contains(_ISO) & pl.col("text").str.contains(r"\d[WDHMS]$")
    read = pl.when(pl.col("text").str.contains(_CLOCK)).then(clock).when(is_iso).then(iso).otherwise(worded)
    return frame.select(read.alias("seconds")).to_series()


_KINDS: Mapping[str, Callable[[str, Column, Cohort, tuple[Any, ...]], Parsed]] = {
    "numeric": _numeric,
    "boolean": _boolean,
    "ordinal": _ordinal,
    "datetime": _datetime,
    "duration": _duration,
}
