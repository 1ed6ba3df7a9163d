"""Answers that are numbers, read from a column of the cohort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from medloom.cohort.table import LARGEST, Cohort, canonical
from medloom.errors import DataError, clause, some


def known(cohort: Cohort, name: str, missing: Sequence[str | float]) -> pl.Series:
    """A target column as text, null where it is empty or holds one of the values that mean unknown."""
    values = cohort.column(name, "target")
    if values.dtype.is_temporal():
        raise DataError(f"column {name!r} holds dates or times; expected numbers, such as days since the index time")
    text = canonical(values)
    if not missing:
        return text
    markers = [f"{marker:g}" if isinstance(marker, float) else str(marker) for marker in missing]
    return pl.select(pl.when(~text.is_in(markers)).then(text)).to_series()


def numbers(cohort: Cohort, name: str, missing: Sequence[str | float]) -> Float[np.ndarray, " rows"]:
    """A target column as numbers, NaN where unknown. Raises DataError for text and infinities, and what is too large, naming the rows."""
    text = known(cohort, name, missing)
    number = text.cast(pl.Float64, strict=False)
    strange = (number.is_null() & text.is_not_null()).to_numpy()
    refuse(cohort, name, strange, "are not numeric", 'name what means unknown: missing = ["?"]')
    result = number.fill_null(float("nan")).to_numpy().copy()
    refuse(
        cohort,
        name,
        np.abs(result) > LARGEST,
        f"are infinite or beyond {LARGEST:g}",
        "leave them empty where they are unknown",
    )
    return result


def refuse(cohort: Cohort, name: str, rows: Bool[np.ndarray, " rows"], found: str, remedy: str) -> None:
    """Raises a DataError that names these rows, if there are any."""
    if rows.any():
        ids = cohort.row.gather(np.flatnonzero(rows)).to_list()
        raise DataError(f"column {name!r}: {clause(len(ids), 'value', found)} (rows {some(ids)}); {remedy}")
