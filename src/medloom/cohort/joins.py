"""Several tables joined on keys into the one table of the cohort. No join adds or loses a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medloom import expression
from medloom.cohort.files import as_frame, canonical, read_table
from medloom.cohort.times import read_times
from medloom.cohort_part import CohortPart, JoinPart
from medloom.errors import DataError, counted, some
from medloom.expression import Summary
from medloom.find import near

KEY, ROW, TIME, AT, ORDER = "__key", "__row", "__time", "__at", "__order"


def read_tables(
    part: CohortPart, folder: Path, tables: Mapping[str, Any], text: frozenset[str], needed: bool
) -> dict[str, pl.DataFrame]:
    """The tables of all joins: those given, else files. Where they are not `needed`, files that are absent are left out."""
    frames = {}
    for name, one in part.join.items():
        given = tables.get(name, folder / one.table)
        if not isinstance(given, (str, Path)):
            frames[name] = as_frame(given)
        elif needed or name in tables or Path(given).exists():
            frames[name] = read_table(Path(given), text | frozenset(one.keys))
    return frames


def lacking(part: CohortPart, folder: Path, tables: Mapping[str, Any]) -> str:
    """Which tables of joins were not brought, and where they are looked for, as a sentence; empty where all are there."""
    absent = [f"{folder / one.table} (cohort.join.{name})" for name, one in part.join.items() if name not in tables and not (folder / one.table).exists()]  # fmt: skip
    if not absent:
        return ""
    return f"the table with it may be one that was not found: bring {' and '.join(absent)}, or say with --folder where it lies"


def joined(part: CohortPart, frame: pl.DataFrame, tables: Mapping[str, pl.DataFrame], new: bool = True) -> pl.DataFrame:
    """The frame with the columns of every join, in its own order of rows. Raises DataError.

    Other rows than those of the study (`new=False`) may bring the columns of a join themselves.
    """
    for name, one in part.join.items():
        path = f"cohort.join.{name}"
        table = tables.get(name)
        adds = list(one.aggregate) if one.kind == "many" else _added(table, one)
        there = [column for column in adds if column in frame.columns]
        if adds and not new and len(there) == len(adds):
            continue
        if there:
            raise DataError(f"{path}: the table of rows has columns of the same name ({some(there)}); rename them")
        if table is None:
            if adds:
                raise DataError(
                    f"{path}: no columns {some(adds)}; give them, or the table itself as tables[{name!r}], or bring "
                    f"{one.table} to where relative paths begin: beside the table of rows, or where --folder says"
                )
            continue
        for columns, what in ((frame.columns, "the table of rows"), (table.columns, one.table)):
            missing = [key for key in one.keys if key not in columns]
            if missing:
                raise DataError(f"{path}.on: no column {missing[0]!r} in {what}; {near(missing[0], columns)}")
        try:
            more = _one(frame, table, one) if one.kind == "one" else _many(frame, table, one, part.at)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        frame = frame.hstack(more)
    return frame


def _added(table: pl.DataFrame | None, one: JoinPart) -> list[str]:
    return [] if table is None else [column for column in table.columns if column not in one.keys]


def _keyed(frame: pl.DataFrame, one: JoinPart) -> pl.DataFrame:
    """The keys as text, so that 7 in one file is "7" in another."""
    return pl.DataFrame([canonical(frame[name]).alias(f"{KEY}{place}") for place, name in enumerate(one.keys)])


def _names(one: JoinPart) -> list[str]:
    return [f"{KEY}{place}" for place in range(len(one.keys))]


def _one(frame: pl.DataFrame, table: pl.DataFrame, one: JoinPart) -> pl.DataFrame:
    keys, names = _keyed(table, one), _names(one)
    held = ~keys.select(pl.any_horizontal(pl.col(names).is_null())).to_series()
    keys = keys.filter(held)
    repeated = int(keys.is_duplicated().sum())
    if repeated:
        several = repeated - (len(keys) - keys.n_unique())
        raise DataError(
            f"{counted(several, 'key')} of {' + '.join(one.keys)} {'stands' if several == 1 else 'stand'} on {counted(repeated, 'row')} of {one.table}, which would multiply "
            'rows; expected each key once, or kind = "many" with aggregate'
        )
    right = keys.hstack(table.filter(held).select(_added(table, one)))
    return _keyed(frame, one).join(right, on=names, how="left", maintain_order="left").drop(names)


def _many(frame: pl.DataFrame, table: pl.DataFrame, one: JoinPart, at: str | None) -> pl.DataFrame:
    """Summaries of the rows that belong to each row of the frame; with `before`, of those older than its index time."""
    summaries = {name: expression.summary(text) for name, text in one.aggregate.items()}
    _columns_fit(summaries, table, one)
    names = _names(one)
    left, right = _keyed(frame, one).with_row_index(ROW), _keyed(table, one)
    if one.before is not None:
        left, right = _timed(left, right, frame, table, one, str(at))
    used = sorted({s.column for s in summaries.values() if s.column})
    right = right.hstack(
        table.select(pl.col(name).fill_nan(None) if table.schema[name].is_float() else name for name in used)
    )
    orders = {s.by: f"{ORDER}{place}" for place, s in enumerate(summaries.values()) if s.by}
    numbers = pl.int_range(len(table), eager=True).cast(pl.String)
    right = right.with_columns(
        pl.Series(order, read_times(table[by], f"{by!r} of {one.table}", numbers)[0]).fill_nan(None)
        for by, order in orders.items()
    )
    pairs = left.join(right, on=names, how="inner", maintain_order="left_right")
    if one.before is not None:
        pairs = pairs.filter(pl.col(TIME) < pl.col(AT))
    asked = [_aggregate(s, orders[s.by] if s.by else TIME).alias(name) for name, s in summaries.items()]
    grouped = pairs.group_by(ROW).agg(asked)
    answer = left.select(ROW).join(grouped, on=ROW, how="left", maintain_order="left").drop(ROW)
    counts = [name for name, s in summaries.items() if s.function == "count"]
    return answer.with_columns(pl.col(counts).fill_null(0)) if counts else answer


def _columns_fit(summaries: Mapping[str, Summary], table: pl.DataFrame, one: JoinPart) -> None:
    for name, s in summaries.items():
        for column in (s.column, s.by, one.before):
            if column is not None and column not in table.columns:
                raise DataError(f"{name}: no column {column!r} in {one.table}; {near(column, table.columns)}")
        if s.function in ("max", "mean", "min", "sum") and s.column and not table.schema[s.column].is_numeric():
            raise DataError(f"{name}: {s.function} needs numbers, and {s.column!r} of {one.table} holds none")


def _timed(
    left: pl.DataFrame, right: pl.DataFrame, frame: pl.DataFrame, table: pl.DataFrame, one: JoinPart, at: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both sides with their times, which have to be of one kind, and known on the side that is summarised."""
    if at not in frame.columns:
        raise DataError(f"before needs the index time {at!r}; {near(at, frame.columns)}")
    numbers = [pl.int_range(1, len(side) + 1, eager=True).cast(pl.String) for side in (frame, table)]
    index, kind = read_times(frame[at], f"cohort.at {at!r}", numbers[0])
    times, other = read_times(table[str(one.before)], f"{one.before!r} of {one.table}", numbers[1])
    if kind != other:
        raise DataError(f"{one.before!r} of {one.table} holds {other}s, and the index time {kind}s; expected one kind")
    if np.isnan(times).any():
        lacking = int(np.isnan(times).sum())
        raise DataError(
            f"{counted(lacking, 'row')} of {one.table} {'has' if lacking == 1 else 'have'} no time in {one.before!r}, so that nothing says "
            "whether they are before the index time"
        )
    return left.with_columns(pl.Series(AT, index)), right.with_columns(pl.Series(TIME, times))


def _aggregate(s: Summary, order: str) -> pl.Expr:
    """Missing values are passed over. `first` and `last` go by `order`; at the same time, by the order of the file."""
    if s.column is None:
        return pl.len().cast(pl.Int64)
    column = pl.col(s.column)
    match s.function:
        case "count":
            return column.count().cast(pl.Int64)
        case "max":
            return column.max()
        case "mean":
            return column.mean()
        case "min":
            return column.min()
        case "sum":
            return pl.when(column.count() > 0).then(column.sum())
    known = column.is_not_null() & pl.col(order).is_not_null()
    ordered = column.filter(known).sort_by(pl.col(order).filter(known), maintain_order=True)
    return ordered.first() if s.function == "first" else ordered.last()
