"""Times of any storage as float64: seconds since 1970 for dates, the number itself for numbers.

A float64 holds seconds of this century to the microsecond.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from medloom.errors import DataError, counted, some

Kind = Literal["date", "number"]
_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d")


def read_times(values: pl.Series, what: str, rows: pl.Series) -> tuple[Float[np.ndarray, " rows"], Kind]:
    """Times of a column, NaN where null. Raises DataError naming `what` and the `rows` that cannot be read."""
    if values.dtype.is_numeric():
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy(), "number"
    if values.dtype == pl.Date or values.dtype == pl.Datetime:
        return _seconds(values), "date"
    if values.dtype == pl.Null:
        return np.full(len(values), np.nan), "date"
    if values.dtype != pl.String:
        raise DataError(f"{what}: found {values.dtype}; expected dates, date-times or numbers")
    times, kind, broken = parse_times(values)
    if broken.any():
        bad = np.flatnonzero(_without_numbers(values, broken))
        zoned = values.gather(bad).str.strip_chars().str.contains(r"(Z|[+-]\d\d:?\d\d)$").any()
        why = "given with a zone: convert all to one zone and leave it out" if zoned else "not a time"
        raise DataError(
            f"{what}: {counted(len(bad), 'value is', 'values are')} {why} (rows {some(rows.gather(bad).to_list())}); "
            "expected YYYY-MM-DD, YYYY-MM-DD HH:MM[:SS], or numbers"
        )
    return times, kind


def _without_numbers(values: pl.Series, broken: Bool[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
    """What is to be named: where most of the column are numbers, the few that are none, and not all others."""
    number = values.str.strip_chars().cast(pl.Float64, strict=False).is_not_null().to_numpy()
    known = values.is_not_null().to_numpy() & (values.str.strip_chars() != "").fill_null(False).to_numpy()
    return known & ~number if 2 * number.sum() > known.sum() else broken


def parse_times(values: pl.Series) -> tuple[Float[np.ndarray, " rows"], Kind, Bool[np.ndarray, " rows"]]:
    """Times of a column as far as they can be read, NaN elsewhere, and which values there are no times."""
    none = np.zeros(len(values), bool)
    if values.dtype.is_numeric():
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy(), "number", none
    if values.dtype == pl.Date or values.dtype == pl.Datetime:
        return _seconds(values), "date", none
    if values.dtype != pl.String:
        return np.full(len(values), np.nan), "date", values.is_not_null().to_numpy()
    text = values.str.strip_chars()
    text = pl.select(pl.when(text != "").then(text)).to_series()
    number = text.cast(pl.Float64, strict=False)
    if text.is_not_null().any() and (number.is_not_null() | text.is_null()).all():
        return number.fill_null(float("nan")).to_numpy(), "number", none
    parsed = pl.select(
        pl.coalesce([pl.lit(text).str.to_datetime(f, strict=False, time_unit="us") for f in _FORMATS])
    ).to_series()
    return _seconds(parsed), "date", (parsed.is_null() & text.is_not_null()).to_numpy()


def _seconds(values: pl.Series) -> Float[np.ndarray, " rows"]:
    if getattr(values.dtype, "time_zone", None):
        values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    micro = values.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64)
    return (micro / 1e6).fill_null(float("nan")).to_numpy()
