"""Columns of a cohort table as matrices: numbers, and codes of categories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from medloom.cohort.table import Cohort, canonical
from medloom.errors import DataError, some
from medloom.find import near
from medloom.modalities.table.options import Column, TableOptions
from medloom.modality import Problem
from medloom.packed import Packed, Packer


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A block of units: float64 numbers with NaN where missing, and categories as text with null where missing."""

    number: Float[np.ndarray, "units numeric"]
    category: tuple[pl.Series, ...]


def complete(options: TableOptions, cohort: Cohort, taken: frozenset[str]) -> TableOptions:
    """The options with every column named: those given, or every column that nothing else owns, by storage type."""
    if options.columns:
        _exist(options, cohort)
        clash = sorted(taken & set(options.columns))
        if clash:
            raise DataError(f"columns {some(clash)} hold ids, times, folds or answers; take them out of the inputs")
        return options
    unknown = [name for name in options.exclude if name not in cohort.frame.columns]
    if unknown:
        raise DataError(f"exclude: no column {unknown[0]!r}; {near(unknown[0], cohort.frame.columns)}")
    left = [name for name in cohort.frame.columns if name not in taken and name not in options.exclude]
    if not left:
        raise DataError("no column is left to read as input; every column is an id, a time, an answer or excluded")
    columns = {name: Column(kind=_storage_kind(name, cohort.frame[name], options)) for name in left}
    return options.model_copy(update={"columns": columns})


def _exist(options: TableOptions, cohort: Cohort) -> None:
    have = set(cohort.frame.columns)
    unknown = [name for name in options.columns if name not in have]
    if unknown:
        raise DataError(
            "\n".join(f"columns: no column {n!r} in the table; {near(n, cohort.frame.columns)}" for n in unknown[:10])
        )


def _storage_kind(name: str, values: pl.Series, options: TableOptions) -> str:
    if values.dtype.is_numeric() or values.dtype == pl.Null:
        return "numeric"
    if values.dtype.is_temporal():
        raise DataError(f"column {name!r} holds dates; exclude it, or make a number of it (days before the index time)")
    text = canonical(values).drop_nulls()
    text = text.filter(~text.is_in([str(marker) for marker in options.missing]))
    numbers = text.cast(pl.Float64, strict=False).is_not_null().mean() if len(text) else 1.0
    if numbers == 1.0:
        return "numeric"
    if float(str(numbers)) > 0.5:
        raise DataError(
            f"column {name!r} is text, but {float(str(numbers)):.0%} of its values are numbers; name what means missing "
            f'({name} = {{ kind = "numeric", missing = ["?"] }}) or declare kind = "category"'
        )
    return "category"


def read(options: TableOptions, cohort: Cohort) -> TableColumn:
    """The cohort's rows as numbers and categories. Raises DataError for text among numbers and impossible values."""
    _exist(options, cohort)
    numeric = [name for name, column in options.columns.items() if column.kind == "numeric"]
    number = np.empty((len(cohort), len(numeric)), np.float64)
    schema = cohort.frame.schema
    plain = [n for n in numeric if not options.markers(n) and schema[n].is_numeric()]
    position = {name: index for index, name in enumerate(numeric)}
    if plain:
        block = cohort.frame.select(pl.col(plain).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
        number[:, [position[name] for name in plain]] = block
    for name in set(numeric) - set(plain):
        number[:, position[name]] = _numbers(name, cohort, options)
    _refuse_infinite(number, numeric, cohort)
    _apply_ranges(options, number, numeric, cohort)
    categories = tuple(
        _category(n, cohort.frame[n], options) for n, c in options.columns.items() if c.kind == "category"
    )
    return TableColumn(number, categories)


def _numbers(name: str, cohort: Cohort, options: TableOptions) -> Float[np.ndarray, " units"]:
    values = cohort.frame[name]
    markers = options.markers(name)
    if values.dtype == pl.Boolean or values.dtype.is_numeric() or values.dtype == pl.Null:
        number = values.cast(pl.Float64)
    elif values.dtype == pl.String:
        text = canonical(values)
        if markers:
            text = pl.select(pl.when(~text.is_in([str(marker) for marker in markers])).then(text)).to_series()
        number = text.cast(pl.Float64, strict=False)
        broken = (number.is_null() & text.is_not_null()).arg_true()
        if len(broken):
            grouped = text.gather(broken).str.contains(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$").any()
            way = (
                "write 1234.5, not 1,234.5" if grouped else f"if they mean missing, give {name} = {{ missing = [...] }}"
            )
            why = "numbers with thousands separators" if grouped else "no numbers"
            rows = cohort.row.gather(broken).to_list()
            raise DataError(f"column {name!r}: {len(rows)} values are {why} (rows {some(rows)}); {way}")
    else:
        raise DataError(
            f"column {name!r} is declared numeric and holds {values.dtype}; exclude it or convert it to numbers"
        )
    result = number.fill_null(float("nan")).to_numpy().copy()
    for marker in markers:
        if isinstance(marker, (int, float)):
            result[result == marker] = np.nan
    return result


def mend(options: TableOptions, cohort: Cohort) -> tuple[Cohort, list[Problem]]:
    """Missing columns, text among numbers, infinite and impossible values → missing, each named."""
    frame, found = cohort.frame, []
    for name, column in options.columns.items():
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, pl.String if column.kind == "category" else pl.Float64).alias(name))
            found += [Problem(row, f"{name}: column missing") for row in range(len(frame))]
        elif column.kind == "numeric":
            number, broken = _mended(frame[name], column, options.markers(name))
            frame = frame.with_columns(number.alias(name))
            found += [Problem(int(row), f"{name}: {why}") for why, rows in broken.items() for row in rows]
    return replace(cohort, frame=frame), found


def _mended(values: pl.Series, column: Column, markers: tuple[Any, ...]) -> tuple[pl.Series, dict[str, pl.Series]]:
    text = canonical(values)
    if markers:
        text = pl.select(pl.when(~text.is_in([str(marker) for marker in markers])).then(text)).to_series()
    number = text.cast(pl.Float64, strict=False)
    marked = number.is_in([float(marker) for marker in markers if isinstance(marker, (int, float))])
    number = pl.select(pl.when(~marked).then(number)).to_series()
    infinite = number.is_infinite().fill_null(False)
    broken = {"not a number": (number.is_null() & text.is_not_null() & ~marked.fill_null(False)).arg_true()}
    broken["infinite"] = infinite.arg_true()
    unfit = infinite
    if column.range is not None:
        outside = (~number.is_between(*column.range) & number.is_not_nan() & ~infinite).fill_null(False)
        broken["outside its range"] = outside.arg_true()
        unfit = unfit | outside
    return pl.select(pl.when(~unfit).then(number)).to_series(), broken


def _refuse_infinite(number: Float[np.ndarray, "units numeric"], names: list[str], cohort: Cohort) -> None:
    infinite = np.isinf(number)
    if infinite.any():
        column = int(np.flatnonzero(infinite.any(axis=0))[0])
        rows = cohort.row.gather(np.flatnonzero(infinite[:, column])).to_list()
        raise DataError(
            f"column {names[column]!r}: {len(rows)} values are infinite (rows {some(rows)}); leave them empty if unknown"
        )


def _apply_ranges(
    options: TableOptions, number: Float[np.ndarray, "units numeric"], names: list[str], cohort: Cohort
) -> None:
    for index, name in enumerate(names):
        column = options.columns[name]
        if column.range is None:
            continue
        outside = (number[:, index] < column.range[0]) | (number[:, index] > column.range[1])
        if outside.any() and column.out_of_range == "refuse":
            rows = cohort.row.gather(np.flatnonzero(outside)).to_list()
            raise DataError(
                f"column {name!r}: {len(rows)} values are outside {column.range[0]:g} to {column.range[1]:g}"
                f'{" " + column.unit if column.unit else ""} (rows {some(rows)}); check the unit, or give out_of_range = "missing"'
            )
        number[outside, index] = np.nan


def _category(name: str, values: pl.Series, options: TableOptions) -> pl.Series:
    text = canonical(values)
    markers = [str(marker) for marker in options.markers(name)]
    markers += [f"{marker:g}" for marker in options.markers(name) if isinstance(marker, float)]
    return pl.select(pl.when(~text.is_in(markers)).then(text)).to_series() if markers else text


def pack(options: TableOptions, columns: Iterable[TableColumn], store: Path | None) -> Packed:
    """Numbers as float64 `[units, numeric]`, categories as int32 codes of a store vocabulary (0: missing)."""
    numeric = [name for name, column in options.columns.items() if column.kind == "numeric"]
    names = [name for name, column in options.columns.items() if column.kind == "category"]
    packer = Packer(store)
    packer.add("number", np.full((1, len(numeric)), np.nan))
    packer.add("code", np.zeros((1, len(names)), np.int32))
    words: list[dict[str, int]] = [{} for _ in names]
    for column in columns:
        packer.add("number", column.number)
        codes = np.zeros((len(column.number), len(names)), np.int32)
        for index, series in enumerate(column.category):
            codes[:, index] = _codes(series, words[index])
        packer.add("code", codes)
    return packer.finish({"numeric": numeric, "category": names, "words": [list(known) for known in words]})


def _codes(series: pl.Series, known: dict[str, int]) -> Int[np.ndarray, " units"]:
    """Store codes of a block, new words appended in sorted order; 0 is missing."""
    distinct = series.unique().drop_nulls().sort()
    for word in distinct:
        known.setdefault(word, len(known) + 1)
    if not len(distinct):
        return np.zeros(len(series), np.int32)
    codes = np.array([known[word] for word in distinct], np.int32)
    return series.replace_strict(distinct, pl.Series(codes), default=0, return_dtype=pl.Int32).to_numpy()
