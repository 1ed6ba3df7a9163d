"""Records as tables: a column a channel in CSV, TSV and Parquet, or plain text with a number a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from medloom.errors import DataError
from medloom.modalities.signal.arrays import of_array
from medloom.modalities.signal.recording import Recording, Refused

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".csv", ".tsv", ".parquet", ".txt")
NOT_NUMBERS = "hold columns that are not numbers; expected a column of numbers for each channel"


def open_table(path: Path, rate_hz: float | None) -> Recording:
    """The record of a table; text is read whole, Parquet a part at a time. Empty cells and NaN are unknown. Raises Refused."""
    if rate_hz is None:
        raise Refused("do not say their sampling rate; give file_rate_hz")
    if path.suffix.lower() == ".txt":
        return of_array(_lines(path), (), rate_hz)
    if path.suffix.lower() == ".parquet":
        return _open_parquet(path, rate_hz)
    from medloom.cohort.files import read_table

    try:
        frame = read_table(path)
    except DataError as error:
        raise Refused("are broken tables; expected a header, and a column of numbers for each channel") from error
    return of_array(np.array([_numbers(column) for column in frame]), frame.columns, rate_hz)


def _numbers(column: pl.Series) -> Float[np.ndarray, " samples"]:
    """A column of a text table as numbers; `nan` in letters, as NumPy writes it, is what is not known."""
    import polars as pl

    found = column.str.strip_chars().cast(pl.Float64, strict=False) if column.dtype == pl.String else column
    if not found.dtype.is_numeric() or found.null_count() > column.null_count():
        raise Refused(NOT_NUMBERS)
    return found.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _lines(path: Path) -> Float[np.ndarray, "1 samples"]:
    try:
        lines = path.read_text(encoding="ascii").rstrip().splitlines()
        return np.array(lines, np.float64)[None]
    except (ValueError, UnicodeDecodeError) as error:
        raise Refused("hold lines that are not numbers; expected one number a line") from error


def _open_parquet(path: Path, rate_hz: float) -> Recording:
    import polars as pl

    try:
        lazy = pl.scan_parquet(path)
        schema = lazy.collect_schema()
        samples = int(lazy.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Refused("are truncated or broken Parquet files; save them again") from error
    if not all(dtype.is_numeric() for dtype in schema.dtypes()):
        raise Refused(NOT_NUMBERS)
    names = schema.names()

    def read(channels: Sequence[int], first: int, last: int) -> Float[np.ndarray, "channels samples"]:
        part = lazy.slice(first, last - first).select(pl.col(names[c]).cast(pl.Float64) for c in channels).collect()
        return np.array([part[names[c]].fill_null(float("nan")).to_numpy() for c in channels])

    count = len(names)
    return Recording(tuple(names), ("",) * count, (rate_hz,) * count, (samples,) * count, read)
