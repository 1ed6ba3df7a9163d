"""Columns of a cohort table as matrices: numbers, and codes of categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from medloom.cohort.codes import EXAMPLES, NAMES
from medloom.cohort.stored import blocks, in_memory
from medloom.cohort.table import Cohort, canonical
from medloom.errors import DataError, counted, some
from medloom.find import near
from medloom.modalities.table.cells import Cells, cells
from medloom.modalities.table.column import Column
from medloom.modalities.table.kinds import parse, unmarked
from medloom.modalities.table.options import TableOptions
from medloom.packed import Packed, Packer
from medloom.told import Problem

COUNTED_ROWS = 1 << 16
"""Rows looked at a time where something is counted."""
FEW = 8
"""Columns that are looked at for gaps before all are."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A block of units: float64 numbers with NaN where missing, and categories as text with null where missing.

    `late` marks dates at or after the index time, which the numbers no longer hold.
    """

    number: Float[np.ndarray, "units numeric"]
    category: tuple[pl.Series, ...]
    late: Bool[np.ndarray, "units dates"]
    codes: tuple[Cells, ...] = ()


def complete(options: TableOptions, cohort: Cohort, taken: frozenset[str]) -> TableOptions:
    """The options with every column named: those given, or every column that nothing else owns, by storage type."""
    if options.columns:
        _exist(options, cohort)
        clash = sorted(taken & set(options.table_columns))
        if clash:
            raise DataError(f"columns {some(clash)} hold ids, times, folds or answers; take them out of the inputs")
        return options.completed(options.columns)
    schema, exclude = cohort.frame.schema, frozenset(options.exclude)
    unknown = [name for name in options.exclude if name not in schema]
    if unknown:
        raise DataError(f"exclude: no column {unknown[0]!r}; {near(unknown[0], list(schema))}")
    left = [name for name in schema if name not in taken and name not in exclude]
    if not left:
        raise DataError("no column is left to read as input; every column is an id, a time, an answer or excluded")
    numbers = _share_of_numbers([name for name in left if not _is_stored(schema[name])], options, cohort)
    columns = {name: Column(kind=_storage_kind(name, schema[name], numbers.get(name))) for name in left}
    return options.completed(columns)


def _exist(options: TableOptions, cohort: Cohort) -> None:
    have = set(cohort.frame.columns)
    unknown = [name for name in options.table_columns if name not in have]
    if unknown:
        raise DataError(
            "\n".join(f"columns: no column {n!r} in the table; {near(n, cohort.frame.columns)}" for n in unknown[:10])
        )


def _is_stored(kind: pl.DataType) -> bool:
    """Whether the storage type alone says what a column is."""
    return kind.is_numeric() or kind.is_temporal() or kind in (pl.Null, pl.Boolean)


def _share_of_numbers(names: Sequence[str], options: TableOptions, cohort: Cohort) -> dict[str, float]:
    """The share of numbers among the known values of columns of text; 1 where none is known."""
    known, numbers = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    markers = [str(marker) for marker in options.missing]
    for block in blocks(cohort.frame, COUNTED_ROWS, names) if names else ():
        for place, values in enumerate(block):
            text = canonical(values).drop_nulls()
            text = text.filter(~text.is_in(markers))
            known[place] += len(text)
            numbers[place] += text.cast(pl.Float64, strict=False).is_not_null().sum()
    shares = np.divide(numbers, known, out=np.ones(len(names)), where=known > 0)
    return dict(zip(names, shares.tolist(), strict=True))


def _storage_kind(name: str, kind: pl.DataType, numbers: float | None) -> str:
    if kind.is_numeric() or kind == pl.Null:
        return "numeric"
    if kind.is_temporal():
        raise DataError(
            f'column {name!r} holds dates; exclude it, or declare kind = "datetime" (days before the index time) or "duration"'
        )
    if kind == pl.Boolean or numbers is None:
        return "boolean"
    if numbers == 1.0:
        return "numeric"
    if numbers > 0.5:
        raise DataError(
            f"column {name!r} is text, but {numbers:.0%} of its values are numbers; name what means missing "
            f'({name} = {{ kind = "numeric", missing = ["?"] }}) or declare kind = "category"'
        )
    return "category"


def read(options: TableOptions, cohort: Cohort) -> TableColumn:
    """The cohort's rows as numbers and categories. Raises DataError for everything that cannot be read."""
    _exist(options, cohort)
    names, dates = options.numbers, options.named("datetime")
    schema = cohort.frame.schema
    number = np.empty((len(cohort), len(names)), np.float64)
    late = np.zeros((len(cohort), len(dates)), bool)
    plain = [name for name in names if _is_plain(name, options, schema)]
    position = {name: index for index, name in enumerate(names)}
    if plain:
        block = cohort.frame.select(pl.col(plain).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
        number[:, [position[name] for name in plain]] = block
    finite = set(plain) if not plain or not np.isinf(block).any() else set()
    for name in names:
        if name in finite:
            continue
        parsed = parse(name, options, cohort)
        for broken in parsed.broken:
            if broken.short == "outside its range" and options.columns[name].out_of_range == "missing":
                continue
            rows = cohort.row.gather(np.flatnonzero(broken.rows)).to_list()
            raise DataError(
                f"column {name!r}: {counted(len(rows), 'value is', 'values are')} {broken.found} (rows {some(rows)}); {broken.way}"
            )
        number[:, position[name]] = parsed.number
        if name in dates:
            late[:, dates.index(name)] = parsed.late
    categories = tuple(unmarked(cohort.frame[name], options.markers(name)) for name in options.named("category"))
    bags = tuple(_codes_of(name, options, cohort) for name in options.named("code"))
    return TableColumn(number, categories, late, bags)


def _codes_of(name: str, options: TableOptions, cohort: Cohort) -> Cells:
    found, unfit = cells(name, options, cohort)
    for source, broken in unfit.items():
        if broken.any():
            rows, system = cohort.row.gather(np.flatnonzero(broken)).to_list(), str(options.columns[name].system)
            separator = (
                "" if options.columns[name].separator else '; give separator = ";" where a cell holds several codes'
            )
            raise DataError(
                f"column {source!r}: {counted(len(rows), 'value is', 'values are')} not in {NAMES[system]} (rows {some(rows)}); expected such as "
                f"{EXAMPLES[system]}; what means missing belongs in missing = [...]{separator}"
            )
    return found


def _is_plain(name: str, options: TableOptions, schema: Mapping[str, pl.DataType]) -> bool:
    """Whether nothing but the storage stands between the table and the number, so that many are read at once."""
    column = options.columns[name]
    plain = column.kind == "numeric" and column.range is None and not options.markers(name)
    return plain and column.line == (1.0, 0.0) and schema[name].is_numeric()


def mend(options: TableOptions, cohort: Cohort) -> tuple[Cohort, list[Problem]]:
    """Missing columns and all values that `read` would refuse → missing, each named."""
    frame, found, have = in_memory(cohort.frame), [], set(cohort.frame.columns)
    for name, column in options.columns.items():
        absent = [source for source in options.sources(name) if source not in have]
        kind = pl.Float64 if column.kind == "numeric" else pl.String
        for source in absent:
            frame = frame.with_columns(pl.lit(None, kind).alias(source))
            found += [Problem(row, f"{source}: column missing") for row in range(len(frame))]
        if column.kind == "code":
            _, broken_codes = cells(name, options, replace(cohort, frame=frame))
            for source, rows in ((source, rows) for source, rows in broken_codes.items() if rows.any()):
                found += [Problem(int(row), f"{source}: not a code of its system") for row in np.flatnonzero(rows)]
                frame = frame.with_columns(pl.when(pl.Series(~rows)).then(pl.col(source)).alias(source))
        elif column.kind != "category" and not absent:
            unfit = np.zeros(len(frame), bool)
            for broken in parse(name, options, cohort).broken:
                found += [Problem(int(row), f"{name}: {broken.short}") for row in np.flatnonzero(broken.rows)]
                unfit |= broken.rows
            if unfit.any():
                kept = pl.when(pl.Series(~unfit)).then(pl.col(name)).alias(name)
                frame = frame.with_columns(pl.lit(None, pl.Float64).alias(name) if unfit.all() else kept)
    return replace(cohort, frame=frame), found


def absent(options: TableOptions, cohort: Cohort) -> pl.Series:
    """Which rows have none of their columns. Where one of the first few has no gap, no more is read."""
    have = set(cohort.frame.columns)
    names = [name for name in options.table_columns if name in have]
    if any(not cohort.frame[name].null_count() for name in names[:FEW]):
        return pl.repeat(False, len(cohort), eager=True)
    empty = pl.all_horizontal(pl.all().is_null())
    return pl.concat(block.select(empty).to_series() for block in blocks(cohort.frame, COUNTED_ROWS, names))


def pack(options: TableOptions, columns: Iterable[TableColumn], store: Path | None) -> Packed:
    """Numbers as float64 `[units, numeric]`, categories as int32 codes of a store vocabulary (0: missing), and bags."""
    numeric, names, dates = options.numbers, options.named("category"), options.named("datetime")
    packer = Packer(store)
    packer.add("number", np.full((1, len(numeric)), np.nan))
    packer.add("code", np.zeros((1, len(names)), np.int32))
    packer.add("late", np.zeros((1, len(dates)), bool))
    words: list[dict[str, int]] = [{} for _ in names]
    bags = options.named("code")
    known: list[dict[str, int]] = [{} for _ in bags]
    _add_codes(packer, tuple(_empty_cells() for _ in bags), known, 1)
    for column in columns:
        packer.add("number", column.number)
        packer.add("late", column.late)
        _add_codes(packer, column.codes, known, len(column.number))
        codes = np.zeros((len(column.number), len(names)), np.int32)
        for index, series in enumerate(column.category):
            codes[:, index] = _codes(series, words[index])
        packer.add("code", codes)
    meta = {"numeric": numeric, "category": names, "dates": dates, "words": [list(one) for one in words]}
    return packer.finish({**meta, "code": bags, "codes": [list(one) for one in known]})


def _empty_cells() -> Cells:
    return Cells(pl.Series([], dtype=pl.String), np.zeros(1, np.int32), np.zeros(1, bool))


def _add_codes(packer: Packer, cells: tuple[Cells, ...], known: list[dict[str, int]], units: int) -> None:
    """Codes one after the other, one array a column; how many each unit has, and whether the main one is first."""
    counts = np.zeros((units, len(cells)), np.int32)
    lead = np.zeros((units, len(cells)), bool)
    for place, one in enumerate(cells):
        counts[:, place], lead[:, place] = one.count, one.lead
        packer.add(f"codes_{place}", _codes(one.text, known[place]).astype(np.int32))
    packer.add("count", counts)
    packer.add("lead", lead)


def _codes(series: pl.Series, known: dict[str, int]) -> Int[np.ndarray, " units"]:
    """Store codes of a block, new words appended in sorted order; 0 is missing."""
    distinct = series.unique().drop_nulls().sort()
    for word in distinct:
        known.setdefault(word, len(known) + 1)
    if not len(distinct):
        return np.zeros(len(series), np.int32)
    codes = np.array([known[word] for word in distinct], np.int32)
    return series.replace_strict(distinct, pl.Series(codes), default=0, return_dtype=pl.Int32).to_numpy()
