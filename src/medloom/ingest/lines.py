"""Tables of any size in blocks of lines. A broken line of a text table is named and left out; the others are read."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import polars as pl
from jaxtyping import Bool, Int, UInt8

from medloom.cohort.files import SUFFIXES, guarded, guarded_blocks, header
from medloom.errors import DataError, some

BLOCK_BYTES = 32 << 20
"""Bytes of a text table that are taken apart at a time."""
BLOCK_ROWS = 500_000
"""Rows of a Parquet or Arrow file that are read at a time."""
FORMS = tuple(suffix for suffix in (".csv", ".tsv", ".txt", ".parquet", ".pq", ".arrow", ".feather", ".ipc"))
"""Tables that can be read in blocks; text also with .gz behind."""
FIELDS = "not as many fields as the header"
QUOTE = "a quote that does not close on its line"
LETTERS = "not UTF-8 (iconv -f latin1 -t utf-8 converts most)"
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_NEWLINE, _QUOTE = ord("\n"), ord('"')


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines: their numbers and columns, and those that could not be taken apart."""

    frame: pl.DataFrame
    broken: pl.DataFrame


def form_of(path: Path) -> str:
    """The kind of table: ".csv" for a.csv and for a.csv.gz; "" where it is none that can be read in blocks."""
    name = Path(path.stem) if path.suffix.lower() == ".gz" else path
    form = name.suffix.lower()
    if form not in FORMS or (path.suffix.lower() == ".gz" and SUFFIXES[form] is None):
        return ""
    return form


def separator_of(path: Path, name: str | None) -> str | None:
    """What stands between the fields of a text table: what is said, or goes with the file's ending; None where it is none."""
    usual = SUFFIXES.get(form_of(path))
    return usual if usual is None or name is None else SEPARATORS[name]


def columns_of(path: Path, name: str | None = None) -> list[str]:
    """Names of the columns, of text between separators of this name. Raises DataError where the file is no such table."""
    separator = separator_of(path, name)
    if separator is None or not path.is_file():
        return header(path)
    # The first line alone: letters that cannot be read further down break their own line, not the table.
    try:
        with _opened(path) as handle:
            line = handle.readline(1 << 20)
        names = next(csv.reader([line.decode("utf-8-sig")], delimiter=separator), [])
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: the header is not UTF-8 text; save the file as UTF-8") from error
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{path}: columns named twice: {some(repeated)}; give each its own name")
    if not any(name.strip() for name in names):
        raise DataError(f"{path}: the first line holds no column names; expected a header")
    return names


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb"))


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: the compressed file ends early or is damaged; fetch it again")


def read_lines(path: Path, columns: Sequence[str], name: str | None = None) -> Iterator[Lines]:
    """These columns of all lines in order, with their numbers as `line`; columns of text tables are text."""
    separator = separator_of(path, name)
    if separator is None:
        yield from _rows(path, columns)
        return
    names = columns_of(path, name)
    number = 2
    for piece in _pieces(path):
        lines, count = _taken_apart(piece, names, columns, separator, number)
        number += count
        yield lines


def _rows(path: Path, columns: Sequence[str]) -> Iterator[Lines]:
    parquet = path.suffix.lower() in (".parquet", ".pq")
    lazy = guarded(lambda: pl.scan_parquet(path) if parquet else pl.scan_ipc(path), path)
    chosen = lazy.select([pl.col(name) for name in columns])
    number = 1
    held = pl.DataFrame()
    for batch in guarded_blocks(lambda: chosen.collect_batches(chunk_size=BLOCK_ROWS, maintain_order=True), path):
        held = pl.concat([held, batch]) if len(held) else batch
        # Blocks of one size, whatever the batches are: an ingest that goes on must meet the same ones.
        while len(held) >= BLOCK_ROWS:
            yield _numbered(held[:BLOCK_ROWS], number)
            held, number = held[BLOCK_ROWS:], number + BLOCK_ROWS
    if len(held):
        yield _numbered(held, number)


def _numbered(frame: pl.DataFrame, number: int) -> Lines:
    return Lines(
        frame.with_columns(pl.int_range(number, number + len(frame), dtype=pl.Int64).alias("\x00line")).rename(
            {"\x00line": LINE}
        ),
        _none(),
    )


LINE = "\x01line"
"""The column with line numbers, named as no column of a table is."""


def _none() -> pl.DataFrame:
    return pl.DataFrame(schema={"line": pl.Int64, "reason": pl.String})


def _pieces(path: Path) -> Iterator[bytes]:
    """Whole lines of a text table, without its header, about `BLOCK_BYTES` at a time."""
    rest = b""
    first = True
    with _opened(path) as handle:
        while True:
            try:
                read = handle.read(BLOCK_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise _damaged(path) from error
            piece = rest + read
            cut = piece.rfind(b"\n") + 1 if read else len(piece)
            piece, rest = piece[:cut], piece[cut:]
            if first and piece:
                piece = piece[piece.find(b"\n") + 1 :] if b"\n" in piece else b""
                first = False
            if piece:
                yield piece if piece.endswith(b"\n") else piece + b"\n"
            if not read:
                return


def _taken_apart(
    piece: bytes, names: Sequence[str], columns: Sequence[str], separator: str, number: int
) -> tuple[Lines, int]:
    """The lines of a piece, and how many there are. A line is a record: a quote does not reach over its end."""
    octets = np.frombuffer(piece, np.uint8)
    ends = np.flatnonzero(octets == _NEWLINE)
    count = len(ends)
    quotes = bool((octets == _QUOTE).any())
    simple = not quotes and len(names) > 1
    if simple and np.count_nonzero(octets == ord(separator)) == count * (len(names) - 1):
        frame = _parsed(piece, names, columns, separator, quotes)
        # As many separators as there should be may still be one too few here and one too many there.
        if frame is not None and len(frame) == count and not _unequal(octets, ends, separator, len(names)):
            return Lines(frame.with_columns(_line(np.arange(number, number + count))), _none()), count
    reasons = _reasons(octets, ends, separator, len(names))
    good = np.flatnonzero(reasons == 0)
    kept = _kept(piece, ends, good)
    frame = _parsed(kept, names, columns, separator, quotes) if len(good) else _empty(columns)
    if frame is None or len(frame) != len(good):
        reasons, frame = _one_by_one(piece, ends, reasons, names, columns, separator)
        good = np.flatnonzero(reasons == 0)
    bad = np.flatnonzero(reasons > 0)
    broken = pl.DataFrame(
        {
            "line": pl.Series(bad + number, dtype=pl.Int64),
            "reason": pl.Series(["", FIELDS, QUOTE, LETTERS], dtype=pl.String).gather(reasons[bad]),
        }
    )
    return Lines(frame.with_columns(_line(good + number)), broken), count


def _line(numbers: Int[np.ndarray, " lines"]) -> pl.Series:
    return pl.Series(LINE, numbers.astype(np.int64))


def _empty(columns: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))


def _parsed(
    piece: bytes, names: Sequence[str], columns: Sequence[str], separator: str, quotes: bool
) -> pl.DataFrame | None:
    """The columns as text; None where polars cannot read the lines."""
    try:
        frame = pl.read_csv(
            piece,
            has_header=False,
            separator=separator,
            schema=dict.fromkeys(names, pl.String),
            columns=list(range(len(names))) if not columns else [names.index(name) for name in columns],
            quote_char='"' if quotes else None,
        )
    except pl.exceptions.PolarsError:
        return None
    return frame.select(columns)


def _unequal(octets: UInt8[np.ndarray, " bytes"], ends: Int[np.ndarray, " lines"], separator: str, fields: int) -> bool:
    """Whether the separators of any line are not as many as they should be, where their sum is right."""
    places = np.flatnonzero(octets == ord(separator)).reshape(len(ends), fields - 1)
    starts = np.concatenate([[0], ends[:-1] + 1])
    return bool((places[:, 0] < starts).any() or (places[:, -1] > ends).any())


def _reasons(
    octets: UInt8[np.ndarray, " bytes"], ends: Int[np.ndarray, " lines"], separator: str, fields: int
) -> Int[np.ndarray, " lines"]:
    """For each line 0 where it is whole, 1 for a wrong number of fields, 2 for an open quote; −1 where it is empty."""
    line = np.searchsorted(ends, np.flatnonzero(octets == _QUOTE))
    quotes = np.bincount(line, minlength=len(ends))
    # Quotes before each octet, from the beginning of its line: odd is inside a quoted field.
    inside = (np.cumsum(octets == _QUOTE, dtype=np.int64) & 1).astype(bool)
    places = np.flatnonzero(octets == ord(separator))
    owner = np.searchsorted(ends, places)
    before = np.concatenate([[0], np.cumsum(quotes)[:-1]]) & 1
    outside = inside[places] == before[owner].astype(bool)
    found = np.bincount(owner[outside], minlength=len(ends)) + 1
    starts = np.concatenate([[0], ends[:-1] + 1])
    length = ends - starts
    blank = (length == 0) | ((length == 1) & (octets[starts] == ord("\r")))
    reasons = np.where(found != fields, 1, 0)
    reasons[quotes % 2 == 1] = 2
    reasons[blank & (fields > 1)] = -1
    return reasons


def _kept(piece: bytes, ends: Int[np.ndarray, " lines"], good: Int[np.ndarray, " good"]) -> bytes:
    """The good lines alone."""
    if len(good) == len(ends):
        return piece
    octets = np.frombuffer(piece, np.uint8)
    mask: Bool[np.ndarray, " lines"] = np.zeros(len(ends), bool)
    mask[good] = True
    lengths = np.diff(np.concatenate([[-1], ends]))
    return octets[np.repeat(mask, lengths)].tobytes()


def _one_by_one(
    piece: bytes,
    ends: Int[np.ndarray, " lines"],
    reasons: Int[np.ndarray, " lines"],
    names: Sequence[str],
    columns: Sequence[str],
    separator: str,
) -> tuple[Int[np.ndarray, " lines"], pl.DataFrame]:
    """Line by line, where a block cannot be read at once: letters that are not UTF-8, quotes in strange places."""
    places = [names.index(name) for name in columns]
    rows: list[list[str]] = []
    reasons = reasons.copy()
    start = 0
    for number, end in enumerate(ends.tolist()):
        raw, start = piece[start:end], end + 1
        if reasons[number]:
            continue
        try:
            fields = next(
                csv.reader(io.StringIO(raw.decode("utf-8"), newline=""), delimiter=separator, strict=True), []
            )
        except UnicodeDecodeError:
            reasons[number] = 3
            continue
        except csv.Error:
            reasons[number] = 2
            continue
        if len(fields) != len(names):
            reasons[number] = 1
            continue
        rows.append([fields[place] for place in places])
    return reasons, pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
