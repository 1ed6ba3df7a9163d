"""Long tables: a line an event, with the columns patient, time, code, and mostly value and unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import polars as pl
from pydantic import Field

from medloom import find
from medloom.errors import DataError, some
from medloom.ingest.lines import LINE, SEPARATORS, columns_of, form_of, read_lines
from medloom.ingest.source import Block, Decimal, EventOptions, EventSource, OpenedEvents, Separator


class LongOptions(EventOptions):
    """Options of long tables: names of their columns."""

    patient: str = Field("patient", description="column with the patient's id")
    time: str = Field("time", description="column with the time")
    code: str = Field("code", description="column with what happened or was measured")
    value: str | None = Field("value", description="column with a number or a word; left out where there is none")
    unit: str | None = Field("unit", description="column with the unit of the value; left out where there is none")
    timeless: bool = Field(
        False, description="lines without a time are facts of the patient, known at any time; else they are broken"
    )
    separator: Separator = None
    decimal: Decimal = "point"
    missing: tuple[str, ...] = Field((), description="words that mean that there is no value, as NA")


class Long(EventSource):
    """A CSV, TSV, Parquet or Arrow table of events, or a folder of several."""

    Options = LongOptions

    @staticmethod
    def recognises(path: Path) -> bool:
        """A table, or a folder with tables directly inside, that has the columns patient, time and code."""
        files = tables_of(path)
        return bool(files) and {"patient", "time", "code"} <= set(columns_of(files[0]))

    @staticmethod
    def opened(path: Path, options: LongOptions) -> OpenedEvents:
        """The tables, each with the columns that the options name."""
        files = tables_of(path)
        if not files:
            raise DataError(f"{path}: no table of events; expected .csv, .tsv, .parquet or .arrow, text also as .gz")
        for file in files:
            _columns(file, options)
        return OpenedEvents("long", tuple(files), partial(_blocks, files, options))


def tables_of(path: Path) -> list[Path]:
    """The table itself, or those that lie directly in a folder, by name."""
    if path.is_file():
        return [path] if form_of(path) else []
    return sorted(file for file in path.iterdir() if file.is_file() and form_of(file)) if path.is_dir() else []


def told_apart(columns: Sequence[str]) -> str:
    """What to say of a table that seems to have one column alone, as another separator stands between its fields."""
    within = [name for name, sign in SEPARATORS.items() if len(columns) == 1 and sign in columns[0]]
    return f"Its fields have another separator between them: say separator={within[0]}" if within else ""


def _columns(file: Path, options: LongOptions) -> dict[str, str]:
    """What each column of events is called in this file. Raises DataError where one is not there."""
    known = columns_of(file, options.separator)
    wanted = {name: getattr(options, name) for name in ("patient", "time", "code", "value", "unit")}
    given = options.model_fields_set
    missing = [
        n for n, c in wanted.items() if c is not None and c not in known and (n in given or n not in ("value", "unit"))
    ]
    if missing:
        said = "; ".join(f"no column {wanted[n]!r} ({n}): {find.near(wanted[n], known)}" for n in missing)
        todo = told_apart(known) or f"Name the columns of the table, as {missing[0]}=COLUMN"
        raise DataError(f"{file}: {said}. {todo}")
    found = {name: column for name, column in wanted.items() if column is not None and column in known}
    twice = sorted({c for c in found.values() if list(found.values()).count(c) > 1})
    if twice:
        raise DataError(f"{file}: column {some(twice)} is named for two things")
    return found


def _blocks(files: Sequence[Path], options: LongOptions) -> Iterator[Block]:
    for place, file in enumerate(files):
        named = _columns(file, options)
        for lines in read_lines(file, list(named.values()), options.separator):
            frame = lines.frame.rename({column: name for name, column in named.items()} | {LINE: "line"})
            if options.missing and "value" in named:
                value = pl.col("value").cast(pl.String)
                frame = frame.with_columns(pl.when(~value.str.strip_chars().is_in(list(options.missing))).then("value"))
            yield Block(place, frame, lines.broken, options.timeless, decimal=options.decimal)
