"""A fitted table from a frame, for the tests of tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch

from medloom.batch import Field
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.feed import pack
from medloom.modalities.table import Table
from medloom.modalities.table.options import TableOptions
from medloom.modality import View
from medloom.packed import Source


def cohort_of(columns: dict[str, Any], at: list[str] | None = None) -> Cohort:
    frame = pl.DataFrame(columns, strict=False)
    if at is not None:
        frame = frame.with_columns(pl.Series("at", at))
    from pathlib import Path

    part = CohortPart(independent_rows=True, at=None if at is None else "at")
    return make_cohort(part, frame, Path(), {})


def options_of(columns: dict[str, Any], **more: Any) -> TableOptions:
    return TableOptions.model_validate({"known_before_index": True, "columns": columns, **more})


def fitted_on(options: TableOptions, cohort: Cohort) -> tuple[Table, Source]:
    source = pack(Table, options, cohort)
    table = Table.fit(options, [Table.summarise(options, source, np.arange(len(cohort)))])
    return table, table.bind(source)


def field_of(table: Table, source: Source, rows: list[int] | None = None) -> Field:
    chosen = np.arange(len(source.unit)) if rows is None else np.array(rows)
    return table.batch(source, View(chosen))


def encoder_of(table: Table, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return table.encoder().eval()
