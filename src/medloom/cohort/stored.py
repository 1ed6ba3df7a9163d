"""Tables where they are stored: small ones in memory, large ones in their file, of which no more is read than is asked.

`TableFile` has the few words of a polars frame that the cohort uses, so that what is read from either is the same.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from medloom.cohort.files import guarded, guarded_blocks, is_text, read_table, refuse_short_rows, scan, scan_text
from medloom.errors import DataError

HELD_BYTES = 64 << 20
"""Tables up to about this size (8 bytes a cell; a text file as it stands) are held in memory whole."""
BLOCK_CELLS = 2_000_000
"""Cells of a block that is read at a time: 16 MB of numbers."""
_GROUP_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table in a file, read when its columns are asked for. `held` says which of its rows are meant, None for all.

    Every read makes sure that the file is still the one that was opened. Raises DataError.
    """

    path: Path
    lazy: pl.LazyFrame
    schema: pl.Schema
    rows: int
    stamp: tuple[int, int]
    held: pl.Series | None = None
    copy: _Copy | None = None

    def __len__(self) -> int:
        return self.rows if self.held is None else int(self.held.sum())

    def __getitem__(self, name: str) -> pl.Series:
        return self.select(pl.col(name)).to_series()

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.schema)

    def select(self, *columns: pl.Expr | str | Sequence[str]) -> pl.DataFrame:
        """These columns, or what is made of them row by row, in memory."""
        _unchanged(self.path, self.stamp)
        frame = guarded(lambda: self.lazy.select(*columns).collect(engine="streaming"), self.path)
        _unchanged(self.path, self.stamp)
        return frame if self.held is None else frame.filter(self.held)

    def filter(self, held: pl.Series) -> TableFile:
        """The table of those of its rows that are held."""
        if self.held is None:
            return replace(self, held=held)
        place = self.held.arg_true().filter(held)
        mask = pl.repeat(False, self.rows, eager=True).scatter(place, True)
        return replace(self, held=mask)

    def blocks(self, size: int, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        """All rows in order, a block of the file at a time: at most `size` rows, and none where none is held."""
        lazy, start = self.lazy.select(names), 0
        _unchanged(self.path, self.stamp)
        for batch in guarded_blocks(lambda: lazy.collect_batches(chunk_size=size, maintain_order=True), self.path):
            _unchanged(self.path, self.stamp)
            for first in range(0, len(batch), size):
                block = batch[first : first + size]
                yield block if self.held is None else block.filter(self.held[start : start + len(block)])
                start += len(block)


Table = pl.DataFrame | TableFile


class _Copy:
    """A working copy in a temporary folder, which goes when nobody reads it any more."""

    __slots__ = ("__weakref__", "folder")

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="medloom-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def open_table(path: Path, text: frozenset[str] = frozenset()) -> Table:
    """The table of a file: in memory where it is small. Columns named in `text` stay as they stand. Raises DataError."""
    of_text, stamp = is_text(path), _stamp(path)
    if of_text and stamp[0] > HELD_BYTES:
        return _copied(path, text, stamp)
    if not of_text:
        lazy = guarded(lambda: scan(path), path)
        schema = guarded(lazy.collect_schema, path)
        rows = int(guarded(lambda: lazy.select(pl.len()).collect(), path).item())
        if 8 * rows * len(schema) > HELD_BYTES:
            return TableFile(path, lazy, schema, rows, stamp)
    frame = read_table(path, text)
    _unchanged(path, stamp)
    return frame


def in_memory(table: Table) -> pl.DataFrame:
    """The whole table as a frame."""
    return table if isinstance(table, pl.DataFrame) else table.select(table.columns)


def blocks(table: Table, size: int, names: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """All rows in order, at most `size` at a time and no more than a few million cells; of these columns, or of all."""
    names = table.columns if names is None else names
    size = min(size, max(64, BLOCK_CELLS // max(1, len(names))))
    if isinstance(table, TableFile):
        yield from table.blocks(size, names)
        return
    chosen = table.select(names)
    for start in range(0, len(table), size):
        yield chosen[start : start + size]


def _copied(path: Path, text: frozenset[str], stamp: tuple[int, int]) -> TableFile:
    """A large text table, read once from its beginning to its end into a working copy that columns are read from."""
    copy = _Copy()
    target = copy.folder / "table.parquet"
    _write(guarded(lambda: scan_text(path, text), path), target, path)
    _unchanged(path, stamp)
    made = pl.scan_parquet(target)
    schema = made.collect_schema()
    rows = int(made.select(pl.len()).collect().item())
    if not rows:
        raise DataError(f"{path}: the table has a header and no rows")
    # Two columns: a table of one column has no short rows.
    refuse_short_rows(made.select(pl.col(list(schema)[-2:])).collect(), path)
    return TableFile(target, made, schema, rows, _stamp(target), copy=copy)


def _write(lazy: pl.LazyFrame, target: Path, path: Path) -> None:
    def write() -> Any:
        try:
            return lazy.sink_parquet(target, compression="lz4", statistics=False, row_group_size=_GROUP_ROWS)
        except (pl.exceptions.PolarsError, OSError) as error:
            if "No space left" not in str(error):
                raise
            raise DataError(
                f"{path}: no room for a working copy in {target.parent.parent}; make room there, or name another folder "
                "in the environment variable TMPDIR"
            ) from error

    guarded(write, path)


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _unchanged(path: Path, stamp: tuple[int, int]) -> None:
    if not path.exists() or _stamp(path) != stamp:
        raise DataError(f"{path}: the file changed while it was read; wait until it is written, then start again")
