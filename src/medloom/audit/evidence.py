"""What the audit looks at: the columns of the inputs, the answers, and fingerprints of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from medloom.cohort.table import Cohort, canonical
from medloom.cohort.times import parse_times
from medloom.prepare import Prepared

FEW_CODES = 6
"""Numbers with at most so many different values are looked at as codes as well."""


@dataclass(frozen=True)
class Column:
    """A column of the table: `number` with NaN where missing (all NaN for words), `code` −1 where missing.

    `values` are the distinct values in the order of their codes; `input` is the input that reads it, if any does.
    """

    name: str
    input: str | None
    is_word: bool
    number: Float[np.ndarray, " rows"]
    code: Int[np.ndarray, " rows"]
    values: Sequence[Any] | Float[np.ndarray, " values"]

    @property
    def present(self) -> Bool[np.ndarray, " rows"]:
        """Where there is a value."""
        return self.code >= 0

    @cached_property
    def tally(self) -> Int[np.ndarray, " values"]:
        """Rows of each value."""
        return np.bincount(self.code[self.code >= 0], minlength=len(self.values))

    @property
    def is_fine(self) -> bool:
        """Whether this is a measured number: many values, none of which is most of them."""
        return not self.is_word and len(self.values) > 30 and self.tally.max() < 0.5 * self.tally.sum()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that could be told: a class against all others, a number, or a time with its event.

    `value` is 0 or 1, a number, or the time; NaN where unknown. `event` stands beside a time.
    """

    target: str
    label: str
    kind: Literal["binary", "number", "survival"]
    value: Float[np.ndarray, " rows"]
    event: Float[np.ndarray, " rows"] | None = None

    @property
    def known(self) -> Bool[np.ndarray, " rows"]:
        """Where the answer is known."""
        return ~np.isnan(self.value)

    @property
    def asked(self) -> str:
        """What it is called in a sentence."""
        return f"{self.target} = {self.label}" if self.label else self.target


@dataclass(frozen=True)
class Evidence:
    """Everything that the audit looks at. `part` says for each row which part of the split it is in, −1 for none.

    `fold_of` deals patients to five parts for scores out of sample; `sample` are rows for what takes long; `passed`
    counts columns of a very wide table that were passed over.
    """

    prepared: Prepared
    columns: tuple[Column, ...]
    others: tuple[Column, ...]
    outcomes: tuple[Outcome, ...]
    part: Int[np.ndarray, " rows"]
    fold_of: Int[np.ndarray, " rows"]
    sample: Int[np.ndarray, " some"]
    passed: int = 0

    @property
    def cohort(self) -> Cohort:
        """The rows."""
        return self.prepared.cohort

    @property
    def answer_words(self) -> frozenset[str]:
        """Words of the targets' names and columns, in lower case."""
        from medloom import find

        study = self.prepared.study
        names = [*study.targets]
        names += [c for part in study.targets.values() for c in find.task(part.task).columns(part)]
        return frozenset(word for name in names for word in words_of(name) if len(word) > 3)

    @cached_property
    def fingerprint(self) -> Float[np.ndarray, "rows features"]:
        """Features of every row, in which rows that are almost the same lie close together.

        Of all inputs but those that can tell a copy by themselves (`copies.py`).
        """
        rows, feed = np.arange(len(self.cohort)), self.prepared.feed
        compared = {name: one for name, one in feed.modalities.items() if one.copies_within is None}
        parts = [np.zeros((len(rows), 0))]
        parts += [modality.fingerprint(feed.sources[name], rows) for name, modality in compared.items()]
        return np.nan_to_num(np.concatenate(parts, axis=1).astype(np.float64))


def words_of(name: str) -> list[str]:
    """The words of a column's name, in lower case: `DischargeDate_2` → discharge, date, 2."""
    import re

    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def read_column(
    name: str, values: pl.Series, owner: str | None, as_words: bool = False, markers: Sequence[Any] = ()
) -> Column:
    """A column as numbers where all its values are, dates among them; else as words."""
    if values.dtype.is_numeric() and not as_words and not markers:
        return _of_numbers(name, owner, values.cast(pl.Float64).to_numpy())
    text = canonical(values)
    if markers:
        marks = [str(m) for m in markers] + [f"{m:g}" for m in markers if isinstance(m, float)]
        text = pl.select(pl.when(~text.is_in(marks)).then(text)).to_series()
    number, known = _numbers(values, text)
    is_word = as_words or bool((known & np.isnan(number)).any())
    code = np.full(len(values), -1, np.int64)
    if is_word:
        distinct = text.unique().drop_nulls().sort()
        if len(distinct):
            code = (text.rank("dense").cast(pl.Int64) - 1).fill_null(-1).to_numpy()
        return Column(name, owner, True, np.full(len(values), np.nan), code, tuple(distinct.to_list()))
    return _of_numbers(name, owner, number)


def _of_numbers(name: str, owner: str | None, number: Float[np.ndarray, " rows"]) -> Column:
    code, have = np.full(len(number), -1, np.int64), np.isfinite(number)
    values, code[have] = np.unique(number[have], return_inverse=True)
    return Column(name, owner, False, np.where(have, number, np.nan), code, values)


def _numbers(values: pl.Series, text: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of a column, NaN where there is none, and where there is a value at all."""
    known = text.is_not_null().to_numpy()
    if values.dtype.is_temporal() and values.dtype not in (pl.Date, pl.Datetime):
        return values.to_physical().cast(pl.Float64).fill_null(float("nan")).to_numpy(), known
    if values.dtype == pl.Boolean:
        return values.cast(pl.Float64).fill_null(float("nan")).to_numpy(), known
    source = text if values.dtype == pl.String else values
    times, _, broken = parse_times(source)
    number = np.where(broken, np.nan, times)
    if values.dtype != pl.String:
        known = ~np.isnan(number)
    else:
        number = np.where(known, number, np.nan)
    return number, known
