"""Codes as they stand in the cells of a table: one in a cell or several, in one column or in several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from medloom.cohort import codes
from medloom.cohort.table import Cohort
from medloom.modalities.table.kinds import unmarked
from medloom.modalities.table.options import TableOptions


@dataclass(frozen=True, slots=True)
class Cells:
    """A block of one column of codes: `text` holds the codes of unit after unit, `count` how many each unit has.

    `lead` says where the first of them is the main one.
    """

    text: pl.Series
    count: Int[np.ndarray, " units"]
    lead: Bool[np.ndarray, " units"]


def cells(name: str, options: TableOptions, cohort: Cohort) -> tuple[Cells, dict[str, Bool[np.ndarray, " units"]]]:
    """The codes of a column, the main one first; and for each column of the table, the rows whose codes cannot be."""
    column = options.columns[name]
    sources = sorted(options.sources(name), key=lambda source: source != column.primary)
    parts, unfit = [], {}
    for source in sources:
        part = _split(cohort.frame[source], column.separator, options.markers(name))
        distinct = part["code"].unique()
        wrong = distinct.filter(
            pl.Series([not codes.fits(str(column.system), code) for code in distinct], dtype=pl.Boolean)
        )
        broken = np.zeros(len(cohort), bool)
        broken[part.filter(pl.col("code").is_in(wrong.to_list()))["row"].to_numpy()] = True
        unfit[source] = broken
        parts.append(part.filter(~pl.col("code").is_in(wrong.to_list())).with_columns(pl.lit(source).alias("source")))
    together = pl.concat(parts).sort("row", maintain_order=True)
    count = np.bincount(together["row"].to_numpy(), minlength=len(cohort)).astype(np.int32)
    lead = np.zeros(len(cohort), bool)
    if column.primary is not None:
        lead[together.filter(pl.col("source") == column.primary)["row"].to_numpy()] = True
    return Cells(together["code"], count, lead), unfit


def _split(values: pl.Series, separator: str | None, markers: tuple[object, ...]) -> pl.DataFrame:
    """A line for each code, with the place of its row. What means missing, and what is empty, is no code."""
    rows = pl.int_range(len(values), eager=True, dtype=pl.Int64).alias("row")
    if values.dtype == pl.List(pl.String):
        frame = pl.DataFrame([rows, values.alias("code")]).explode("code")
    elif separator is None:
        frame = pl.DataFrame([rows, unmarked(values, ()).alias("code")])
    else:
        frame = pl.DataFrame([rows, unmarked(values, ()).str.split(separator).alias("code")]).explode("code")
    return frame.with_columns(unmarked(frame["code"], markers).alias("code")).drop_nulls()
