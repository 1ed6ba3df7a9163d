"""A mapping carried out: blocks of its tables into blocks of events."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Named
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from medloom import find
from medloom.cohort.table import canonical
from medloom.errors import DataError, some
from medloom.ingest.lines import LINE, columns_of, form_of, read_lines
from medloom.ingest.mapping import HOLE, EventPart, Mapping, TablePart, holes
from medloom.ingest.source import Block

KEY = "\x01key"
"""The column by which things are looked up, named as no column of a table is."""
DEEPEST = 6
"""Folders within folders that are looked through for tables: a download keeps those of its address, as in
physionet.org/files/mimiciv/2.2/hosp, and may itself lie in a folder."""
_NO_EVENT = {"line": pl.Int64, **dict.fromkeys(("patient", "code", "time"), pl.String)}


@dataclass(frozen=True, slots=True)
class Opened:
    """The files of a mapping's tables, with the place of each among all files."""

    mapping: Mapping
    files: tuple[Path, ...]
    tables: tuple[tuple[TablePart, tuple[int, ...]], ...]
    lookups: Named[str, tuple[Path, ...]]
    absent: tuple[str, ...]
    unread: tuple[str, ...]


def tables_in(folder: Path) -> dict[str, list[Path]]:
    """The tables in a folder or in folders in it, by name in lower case: `labs.csv.gz`, or the parts in `labs/`.

    Folders are looked through to a depth of `DEEPEST`; those that are links are not.
    """
    found: dict[str, list[Path]] = {}
    parts: dict[str, list[Path]] = {}
    for file in _files_in(folder):
        name = file.name.lower()
        found.setdefault(name[: name.index(form_of(file))], []).append(file)
        if file.parent != folder:
            parts.setdefault(file.parent.name.lower(), []).append(file)
    return {**parts, **found}


def _files_in(folder: Path) -> Iterator[Path]:
    """Tables in a folder and in folders in it, those of a folder together and by name."""
    for above, inside, names in os.walk(folder):
        here = Path(above)
        deep = len(here.relative_to(folder).parts)
        inside[:] = sorted(inside) if deep < DEEPEST else []
        yield from (here / name for name in sorted(names) if form_of(here / name) and (here / name).is_file())


def open_tables(folder: Path, mapping: Mapping) -> Opened:
    """Finds the files of the mapping's tables. Raises DataError naming every table and column that is not there."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected the folder with the tables of {mapping.title}")
    there = tables_in(folder)
    faults = [
        f"no table {name!r}; {find.near(name.lower(), there)}"
        for name in mapping.recognise
        if name.lower() not in there
    ]
    mine = {
        name.lower(): name for name in [t.table for t in mapping.tables] + [o.table for o in mapping.lookups.values()]
    }
    faults += [fault for low, name in mine.items() if (fault := _twice(folder, name, there.get(low, ())))]
    lookups = {name: tuple(there.get(one.table.lower(), ())) for name, one in mapping.lookups.items()}
    files: list[Path] = []
    tables: list[tuple[TablePart, tuple[int, ...]]] = []
    for table in mapping.tables:
        held = there.get(table.table.lower(), [])
        needed = [name for name in table.lookup if held and not lookups[name]]
        faults += [f"table {table.table!r} needs the table {mapping.lookups[name].table!r}" for name in needed]
        for file in held:
            faults += _faults(file, table.columns(), mapping)
        places = []
        for file in held:
            if file not in files:
                files.append(file)
            places.append(files.index(file))
        if held:
            tables.append((table, tuple(places)))
    for name, held_files in lookups.items():
        wanted = {column for table, _ in tables for one, column in table.looked_up() if one == name}
        for file in held_files:
            faults += _faults(file, {mapping.lookups[name].key, *wanted}, mapping)
    if not files and not faults:
        faults = [f"none of the tables of {mapping.title}"]
    if faults:
        raise DataError("\n".join(f"{folder}: {fault}" for fault in dict.fromkeys(faults)))
    known = {t.table.lower() for t in mapping.tables} | {one.table.lower() for one in mapping.lookups.values()}
    absent = tuple(t.table for t in mapping.tables if t.table.lower() not in there)
    read = {*files, *(file for held in lookups.values() for file in held)}
    unread = tuple(name for name, held in there.items() if name not in known and not read & set(held))
    return Opened(mapping, tuple(files), tuple(tables), lookups, absent, unread)


def _twice(folder: Path, name: str, files: Sequence[Path]) -> str:
    """What to say of a table that lies in a folder more than once, as of two releases: read, its events would stand twice."""
    parts = all(file.parent.name.lower() == name.lower() for file in files)
    if len({file.parent for file in files} if parts else files) < 2:
        return ""
    places = [str(file.relative_to(folder)) for file in files]
    return f"table {name!r} lies there more than once: {some(places)}; name the folder of one of them"


def _faults(file: Path, columns: set[str], mapping: Mapping) -> list[str]:
    known = {name.lower() for name in columns_of(file, mapping.separator)}
    missing = sorted(column for column in columns if column.lower() not in known)
    return [f"{file.name} has no column {column!r}; {find.near(column.lower(), known)}" for column in missing]


def blocks(opened: Opened) -> Iterator[Block]:
    """All events of all tables, a block of lines at a time and each of its events in turn."""
    held: dict[str, pl.DataFrame] = {}
    for table, places in opened.tables:
        held |= {name: _lookup(opened, name) for name in table.lookup if name not in held}
        for place in places:
            file, lines_read = opened.files[place], 0
            names = _own_names(file, table.columns(), opened.mapping)
            for lines in read_lines(file, list(names.values()), opened.mapping.separator):
                lines_read += len(lines.frame) + len(lines.broken)
                frame = lines.frame.rename({own: name for name, own in names.items()})
                broken: pl.DataFrame | None = lines.broken
                frame = _joined(frame, table, held)
                for event in table.events:
                    yield _events(frame, table, event, opened.mapping, place, broken)
                    broken = None
            if not lines_read:
                yield Block(place, pl.DataFrame(schema=_NO_EVENT), counts={f"tables without a line: {file.name}": 1})


def _own_names(file: Path, columns: set[str], mapping: Mapping) -> dict[str, str]:
    """What the columns are called in the file, whatever their case."""
    own = {name.lower(): name for name in columns_of(file, mapping.separator)}
    return {column: own[column.lower()] for column in sorted(columns)}


def _lookup(opened: Opened, name: str) -> pl.DataFrame:
    """The columns of a lookup that any table asks for, by key. Raises DataError where a key stands there twice."""
    part = opened.mapping.lookups[name]
    wanted = sorted({column for table, _ in opened.tables for one, column in table.looked_up() if one == name})
    parts = [pl.DataFrame(schema=dict.fromkeys([KEY, *(f"{name}.{column}" for column in wanted)], pl.String))]
    for file in opened.lookups[name]:
        names = _own_names(file, {part.key, *wanted}, opened.mapping)
        for lines in read_lines(file, list(names.values()), opened.mapping.separator):
            if len(lines.broken):
                raise DataError(
                    f"{file}: line {lines.broken['line'][0]} cannot be read; others look things up in this table"
                )
            columns = {f"{name}.{column}": canonical(lines.frame[names[column]]) for column in wanted}
            parts.append(pl.DataFrame({KEY: canonical(lines.frame[names[part.key]]), **columns}))
    frame = pl.concat(parts)
    if frame[KEY].drop_nulls().is_duplicated().any():
        raise DataError(f"{part.table}: column {part.key!r} has a value twice; others look things up by it")
    return frame


def _joined(frame: pl.DataFrame, table: TablePart, held: Named[str, pl.DataFrame]) -> pl.DataFrame:
    """A block with empty words as nulls, and with what is looked up beside each line."""
    text = {c: canonical(frame[c]) for c in {*table.empty, *table.lookup.values()}}
    cleared = [pl.when(~text[c].is_in(list(words))).then(text[c]).alias(c) for c, words in table.empty.items()]
    frame = frame.with_columns(cleared) if cleared else frame
    for name, column in table.lookup.items():
        key = frame.with_columns(canonical(frame[column]).alias(KEY))
        frame = key.join(held[name], on=KEY, how="left", maintain_order="left").drop(KEY)
    return frame


def _events(
    frame: pl.DataFrame, table: TablePart, event: EventPart, mapping: Mapping, place: int, broken: pl.DataFrame | None
) -> Block:
    """The lines of a block as one kind of event."""
    for column, words in event.only.items():
        frame = frame.filter(canonical(frame[column]).is_in(list(words)))
    made = {
        "line": frame[LINE],
        "patient": frame[table.patient],
        "code": _filled(frame, event.codes),
        "time": _time(frame, event.times),
    }
    if event.value is not None:
        made["value"] = frame[event.value]
    if event.text is not None:
        made["text"] = canonical(frame[event.text])
    if event.unit is not None:
        made["unit"] = frame[event.unit]
    found = pl.DataFrame(made)
    if event.measured_in is not None:
        found = found.with_columns(pl.lit(event.measured_in).alias("unit"))
    kept = pl.col("code").is_not_null()
    if event.needs_value:
        kept &= pl.any_horizontal(_given(found, name) for name in ("value", "text") if name in found.columns)
    if event.no_time == "no event":
        kept &= _given(found, "time")
    timeless = not event.times or event.no_time == "timeless"
    form = event.time_format or mapping.time_format
    return Block(place, found.filter(kept), broken, timeless, form, mapping.decimal)


def _given(frame: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    return (
        column.is_not_null() & (column.str.strip_chars() != "")
        if frame[name].dtype == pl.String
        else column.is_not_null()
    )


def _filled(frame: pl.DataFrame, templates: Sequence[str]) -> pl.Series:
    """The first template of which no column is empty."""
    if not templates:
        return pl.Series("time", [None], pl.String).new_from_index(0, len(frame))
    text = {name: canonical(frame[name]) for template in templates for name in holes(template)}
    made = []
    for template in templates:
        pieces = HOLE.split(template)
        # Odd pieces are columns; one that is empty makes the whole empty.
        parts = [pl.lit(text[piece]) if place % 2 else pl.lit(piece) for place, piece in enumerate(pieces) if piece]
        made.append(pl.concat_str(parts, ignore_nulls=False))
    # Beside the lines, so that a code without columns stands at each of them.
    return frame.select(LINE).with_columns(pl.coalesce(made).cast(pl.String).alias("made"))["made"]


def _time(frame: pl.DataFrame, templates: Sequence[str]) -> pl.Series:
    """The column itself where it is one alone, so that dates of a Parquet file stay dates."""
    if len(templates) == 1 and templates[0] == f"{{{holes(templates[0])[0]}}}":
        return frame[holes(templates[0])[0]]
    if not templates:
        return (
            pl.Series("time", [None], pl.String).new_from_index(0, len(frame))
            if len(frame)
            else pl.Series("time", [], pl.String)
        )
    return _filled(frame, templates)


def facts(opened: Opened) -> dict[str, object]:
    """What provenance says of the mapping and of the tables."""
    found: dict[str, object] = {
        "mapping": opened.mapping.name,
        "of": opened.mapping.title,
        "tried_on_real_data": opened.mapping.tried_on_real_data,
        # A store of a mapping that was changed since is another one.
        "mapping_digest": hashlib.sha256(opened.mapping.model_dump_json().encode()).hexdigest(),
    }
    if opened.absent:
        found["tables_absent"] = list(opened.absent)
    if opened.unread:
        found["tables_not_read"] = sorted(opened.unread)
    return found
