"""Tables from files and frames, as polars frames. Nothing is guessed or repaired: what is broken raises DataError."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar, cast

import polars as pl

from medloom.cohort import formats
from medloom.errors import DataError

SUFFIXES = {
    ".csv": ",",
    ".tsv": "\t",
    ".txt": "\t",
    ".parquet": None,
    ".pq": None,
    ".arrow": None,
    ".feather": None,
    ".ipc": None,
    **dict.fromkeys(formats.SUFFIXES),
}
_NULLS = [""]
T = TypeVar("T")


def header(path: Path) -> list[str]:
    """Column names of a table file."""
    separator = _check(path)
    if separator is None:
        return guarded(lambda: list(scan(path).collect_schema()), path)
    return _csv_header(path, separator)


def read_table(path: Path, text: frozenset[str] = frozenset()) -> pl.DataFrame:
    """The whole table; columns named in `text` stay text, as they stand in the file. Raises DataError."""
    separator = _check(path)
    if separator is None:
        frame = guarded(lambda: scan(path).collect(), path)
    else:
        frame = guarded(lambda: scan_text(path, text).collect(), path)
        refuse_short_rows(frame, path)
    return _checked(frame, str(path))


def is_text(path: Path) -> bool:
    """Whether a table file is text, so that each reading of it parses all of it. Raises DataError for no table file."""
    return _check(path) is not None


def scan_text(path: Path, text: frozenset[str]) -> pl.LazyFrame:
    """A text table with the types of all its rows; columns named in `text` stay text. Wants `refuse_short_rows` after."""
    separator = str(_check(path))
    schema = {name: pl.String for name in _csv_header(path, separator) if name in text}
    return _scan_csv(path, separator, schema, None)


def read_columns(path: Path, names: list[str], text: frozenset[str]) -> pl.DataFrame:
    """These columns of the table, all rows of them, and nothing else in memory."""
    separator = _check(path)
    if separator is None:
        return guarded(lambda: scan(path).select(names).collect(), path)
    schema = dict.fromkeys(_csv_header(path, separator), pl.String)
    frame = guarded(lambda: _scan_csv(path, separator, schema, None).select(names).collect(), path)
    return frame.with_columns(_numbers(frame[name]) for name in names if name not in text)


def read_blocks(
    path: Path, rows: int, text: frozenset[str], schema: dict[str, Any] | None = None
) -> Iterator[pl.DataFrame]:
    """The table in blocks of at most `rows` rows, in order, with memory that does not grow with the file.

    With a CSV, columns not named in `text` are read as numbers where all of a block's values are.
    """
    separator = _check(path)
    if separator is None:
        lazy = scan(path)
    else:
        names = _csv_header(path, separator)
        lazy = _scan_csv(path, separator, dict.fromkeys(names, pl.String), 0)
    empty, unchecked = True, separator is not None
    for block in guarded_blocks(lambda: lazy.collect_batches(chunk_size=rows, maintain_order=True), path):
        for start in range(0, len(block), rows):
            part = block[start : start + rows]
            if separator is not None:
                if unchecked and _may_be_short(part):
                    refuse_short_rows(part, path)
                    unchecked = False
                part = part.with_columns(_numbers(part[name]) for name in part.columns if name not in text)
            empty = False
            yield part
    if empty:
        raise DataError(f"{path}: the table has a header and no rows")


def as_frame(table: Any) -> pl.DataFrame:
    """A polars frame from a polars, pandas or Arrow table, or a dictionary of columns."""
    if isinstance(table, pl.LazyFrame):
        table = table.collect()
    if isinstance(table, dict):
        table = pl.DataFrame(table)
    if isinstance(table, pl.DataFrame):
        return _checked(table, "the frame")
    module = type(table).__module__.split(".")[0]
    if module == "pandas":
        table = table.copy(deep=False)
        table.columns = [str(column) for column in table.columns]
        return _checked(pl.from_pandas(table), "the frame")
    if module == "pyarrow" or hasattr(table, "__arrow_c_stream__"):
        return _checked(pl.DataFrame(pl.from_arrow(table)), "the frame")
    raise DataError(f"found a {type(table).__name__}; expected a polars, pandas or Arrow table, or a path")


def canonical(values: pl.Series) -> pl.Series:
    """Labels and ids as text, however they are stored: 1, 1.0 and "1" are "1"; surrounding space and "" go."""
    if values.dtype.is_float():
        whole = values.cast(pl.Int64, strict=False)
        is_whole = (whole.cast(pl.Float64) == values) & values.is_finite()
        as_text = pl.when(is_whole).then(whole.cast(pl.String)).otherwise(values.cast(pl.String))
        return pl.select(pl.when(values.is_nan()).then(None).otherwise(as_text).alias(values.name)).to_series()
    if values.dtype == pl.Boolean or values.dtype != pl.String:
        return values.cast(pl.String)
    text = values.str.strip_chars()
    return pl.select(pl.when(text != "").then(text).alias(values.name)).to_series()


def _numbers(column: pl.Series) -> pl.Series:
    if column.dtype != pl.String:
        return column
    number = column.str.strip_chars().cast(pl.Float64, strict=False)
    return number if (number.is_not_null() | column.is_null()).all() else column


def _suffix(path: Path) -> str:
    """The kind of table: ".csv" for both a.csv and a.csv.gz."""
    return Path(path.stem).suffix.lower() if _zipped(path) else path.suffix.lower()


def _zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz" and SUFFIXES.get(Path(path.stem).suffix.lower()) is not None


def _text(path: Path, **how: Any) -> TextIO:
    """A text table opened for reading, unzipped where it is zipped."""
    return io.TextIOWrapper(_bytes(path), newline="", **how)


def _bytes(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if _zipped(path) else open(path, "rb")


def _check(path: Path) -> str | None:
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected a table file")
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if _suffix(path) not in SUFFIXES:
        raise DataError(
            f"{path}: unknown kind of table {path.suffix!r}; expected one of {', '.join(SUFFIXES)}, or .csv.gz"
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; expected a header and rows")
    return SUFFIXES[_suffix(path)]


def scan(path: Path) -> pl.LazyFrame:
    """A table file that is not text."""
    if _suffix(path) in formats.SUFFIXES:
        return formats.read(path).lazy()
    return pl.scan_parquet(path) if _suffix(path) in {".parquet", ".pq"} else pl.scan_ipc(path)


def _scan_csv(path: Path, separator: str, schema: dict[str, Any], infer: int | None) -> pl.LazyFrame:
    return pl.scan_csv(
        path, separator=separator, schema_overrides=schema, infer_schema_length=infer, null_values=_NULLS
    )


def _csv_header(path: Path, separator: str) -> list[str]:
    with _bytes(path) as handle:
        start = handle.read(4)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path}: the file is UTF-16; save it as UTF-8 (in Excel: 'CSV UTF-8')")
    try:
        with _text(path, encoding="utf-8-sig") as handle:
            names = next(csv.reader(handle, delimiter=separator), [])
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except csv.Error as error:
        raise DataError(f"{path}: the header cannot be read: {error}") from error
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise DataError(f"{path}: columns named twice: {', '.join(map(repr, repeated[:5]))}; give each its own name")
    if not any(name.strip() for name in names):
        raise DataError(f"{path}: the first line holds no column names; expected a header")
    strange = [sign for sign in (";", "\t", "|", ",") if len(names) == 1 and names[0].count(sign) > 1]
    if strange:
        raise DataError(
            f"{path}: fields seem to have {strange[0]!r} between them; expected {separator!r}: save the table so, with "
            "decimal points (.csv has commas, .tsv tabs)"
        )
    return names


def guarded(read: Callable[[], T], path: Path) -> T:
    """What `read` gives; what polars says of a broken file as a DataError."""
    try:
        return read()
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _broken(path, error) from error


def guarded_blocks(read: Callable[[], Iterator[pl.DataFrame]], path: Path) -> Iterator[pl.DataFrame]:
    """The blocks that `read` gives, likewise."""
    try:
        yield from read()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> DataError:
    text = str(error)
    if "utf-8" in text.lower() or "utf8" in text.lower():
        return _not_utf8(path)
    separator = SUFFIXES.get(_suffix(path))
    if separator is not None:
        line = _ragged_line(path, separator)
        if line is not None:
            return line
        return DataError(f"{path}: not a well-formed table: {text.splitlines()[0][:160]}; look for an unclosed quote")
    return DataError(f"{path}: cannot be read as {path.suffix[1:]}: {text.splitlines()[0][:160]}")


def _not_utf8(path: Path) -> DataError:
    with _bytes(path) as handle:
        for number, line in enumerate(handle, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return DataError(
                    f"{path}: line {number} is not UTF-8; convert the file, for example: iconv -f LATIN1 -t UTF-8"
                )
    return DataError(f"{path}: not UTF-8; convert the file, for example: iconv -f LATIN1 -t UTF-8")


def _ragged_line(path: Path, separator: str) -> DataError | None:
    """The first line whose number of fields is not the header's, or whose quotes do not close."""
    with _text(path, encoding="utf-8-sig", errors="replace") as handle:
        reader = csv.reader(handle, delimiter=separator, strict=True)
        try:
            width = len(next(reader, []))
            for fields in reader:
                if fields and len(fields) != width:
                    return DataError(f"{path}: line {reader.line_num} has {len(fields)} fields; the header has {width}")
        except csv.Error as error:
            return DataError(f"{path}: line {reader.line_num}: {error}; look for an unclosed or misplaced quote")
    return None


def _may_be_short(frame: pl.DataFrame) -> bool:
    return frame.width > 1 and len(frame) > 0 and frame.to_series(frame.width - 1).null_count() > 0


def refuse_short_rows(frame: pl.DataFrame, path: Path) -> None:
    """polars fills short rows with nulls: where the last column has nulls, count the fields of each line."""
    if _may_be_short(frame):
        ragged = _ragged_line(path, str(_check(path)))
        if ragged is not None:
            raise ragged


def _checked(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    if not frame.width:
        raise DataError(f"{what} has no columns")
    if not len(frame):
        raise DataError(f"{what}: the table has a header and no rows")
    return frame
