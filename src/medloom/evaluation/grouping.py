"""Which group each row is in, by a column of the table, by site, or by how much of the input is missing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from medloom.cohort.table import Cohort, canonical
from medloom.errors import DataError, counted
from medloom.parts import SubgroupPart

if TYPE_CHECKING:
    from medloom.feed import Feed

MOST = 20
"""Groups of one column, at most; the smallest of more are one group."""
OTHER = "all others"
SITE = "site"
MISSING = "missing inputs"


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of one column: their names, and the group of each row (−1: in none, as its value is missing)."""

    column: str
    names: tuple[str, ...]
    code: Int[np.ndarray, " rows"]

    def take(self, rows: Int[np.ndarray, " some"]) -> Grouping:
        """The grouping of these rows, in this order."""
        return replace(self, code=self.code[rows])


def groupings(
    asked: Sequence[str | SubgroupPart], cohort: Cohort, missing: Int[np.ndarray, " rows"] | None = None
) -> tuple[Grouping, ...]:
    """The groups that a study asks for, over all rows of the cohort. Raises DataError for what cannot be grouped.

    `missing` counts what each row lacks (`missing_inputs`), for "missing inputs".
    """
    found = []
    for one in asked:
        if one == MISSING and missing is not None:
            found.append(by_count(MISSING, missing))
        elif one == SITE and cohort.site is not None:
            found.append(by_value(SITE, cohort.site))
        elif isinstance(one, str):
            found.append(by_value(one, cohort.column(one, "evaluate.subgroups")))
        else:
            found.append(_banded(one, cohort))
    return tuple(found)


def by_value(column: str, values: pl.Series) -> Grouping:
    """A group for each value. Raises DataError for a column of many different numbers, which needs bands."""
    if values.dtype.is_numeric() and values.n_unique() > MOST:
        raise DataError(
            f"evaluate.subgroups: column {column!r} holds {values.n_unique()} different numbers; expected groups. Give "
            f'{{ column = "{column}", cuts = [...] }}, or quantiles = 4'
        )
    text = canonical(values)
    counts = text.drop_nulls().value_counts(sort=True)
    names = counts[text.name].to_list()
    kept = names if len(names) <= MOST else names[: MOST - 1]
    kept = sorted(kept, key=_natural)
    place = {name: number for number, name in enumerate(kept)}
    others = len(names) > len(kept)
    code = [-1 if value is None else place.get(value, len(kept)) for value in text.to_list()]
    return Grouping(column, (*kept, OTHER) if others else tuple(kept), np.array(code, np.int64))


def by_bands(column: str, values: Float[np.ndarray, " rows"], cuts: Sequence[float]) -> Grouping:
    """Bands between the cuts; a value that equals a cut belongs above it."""
    ends = [f"{cut:g}" for cut in cuts]
    between = [f"{low} to under {high}" for low, high in itertools.pairwise(ends)]
    names = (f"under {ends[0]}", *between, f"{ends[-1]} and over")
    known = ~np.isnan(values)
    code = np.where(known, np.searchsorted(np.asarray(cuts), np.where(known, values, 0.0), side="right"), -1)
    return Grouping(column, names, code.astype(np.int64))


def by_count(column: str, count: Int[np.ndarray, " rows"]) -> Grouping:
    """Two groups, up to the median count and above it."""
    middle = int(np.median(count)) if len(count) else 0
    names = (
        ("nothing missing", "something missing")
        if middle == 0
        else (f"at most {middle} missing", f"over {middle} missing")
    )
    return Grouping(column, names, (count > middle).astype(np.int64))


def missing_inputs(feed: Feed) -> Int[np.ndarray, " rows"]:
    """How many numbers of its inputs each row of the cohort lacks; an input that it does not have counts at least once.

    Numbers are those that simple models get; inputs that are seen in windows (images) only count as there or not.
    """
    count = np.zeros(len(next(iter(feed.sources.values())).unit), np.int64)
    every = np.arange(len(count))
    for name, source in feed.sources.items():
        absent = (np.asarray(source.unit) == 0).astype(np.int64)
        modality = feed.modalities[name]
        numbers = 0 if modality.windows else np.isnan(modality.plain(source, every)).sum(axis=1)
        count += np.maximum(absent, numbers)
    return count


def _banded(part: SubgroupPart, cohort: Cohort) -> Grouping:
    values = cohort.column(part.column, "evaluate.subgroups")
    number = values.cast(pl.Float64, strict=False)
    words = int((number.is_null() & values.is_not_null()).sum())
    if words or number.null_count() == len(number):
        found = f"{counted(words, 'value that is', 'values that are')} not numeric" if words else "no number"
        raise DataError(
            f"evaluate.subgroups: column {part.column!r} holds {found}; cuts and quantiles need numbers. Give "
            f"the column's name alone to group by value"
        )
    held = number.fill_null(float("nan")).to_numpy()
    if part.cuts:
        return by_bands(part.column, held, part.cuts)
    assert part.quantiles is not None
    share = np.arange(1, part.quantiles) / part.quantiles
    return by_bands(part.column, held, np.unique(np.quantile(held[~np.isnan(held)], share)).tolist())


def _natural(name: str) -> tuple[int, float, str]:
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)
