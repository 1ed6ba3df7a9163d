"""Tables of measurements: numeric and categorical columns, with anything missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from medloom.draw import Draw
from medloom.modalities.table.options import TableOptions
from medloom.modalities.table.summary import RARE_PATIENTS, TableSummary, centre_and_scale, merge, summarise
from medloom.modality import Modality, Problem, View
from medloom.packed import Packed, Source

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from medloom.batch import Field
    from medloom.cohort.table import Cohort

CLIP = 8.0
"""Scaled numbers beyond this many robust deviations are held there, so that one typing error cannot rule a batch."""
MISSING, OTHER = 0, 1
"""Vocabulary ids below the words: no value; a word that is rare, or was not seen in training."""


@dataclass(frozen=True, slots=True)
class Table(Modality):
    """A fitted table: centre and scale of each number, words of each category."""

    Options: ClassVar[type[TableOptions]] = TableOptions
    Summary: ClassVar[type[TableSummary]] = TableSummary

    options: TableOptions
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    seen: tuple[int, ...]
    words: tuple[tuple[str, ...], ...]

    @classmethod
    def complete(cls, options: TableOptions, cohort: Cohort, taken: frozenset[str]) -> TableOptions:  # type: ignore[override]
        from medloom.modalities.table import columns

        return columns.complete(options, cohort, taken)

    @classmethod
    def columns(cls, options: TableOptions) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(options.columns)

    @classmethod
    def keys(cls, options: TableOptions, cohort: Cohort) -> pl.Series:  # type: ignore[override]
        """The row's own id; null where every column is missing, or was not known before the index time."""
        import polars as pl

        from medloom.cohort.times import read_times

        have = set(cohort.frame.columns)
        names = [name for name in options.columns if name in have]
        keys = cohort.row
        if options.at is None and any(not cohort.frame[name].null_count() for name in names):
            return keys
        nulls = cohort.frame.select(pl.all_horizontal(pl.col(names).is_null())).to_series()
        if options.at is not None and cohort.at is not None:
            known, _ = read_times(cohort.column(options.at, "at"), f"at {options.at!r}", cohort.row)
            nulls = nulls | pl.Series(~(known < cohort.at))
        return pl.select(pl.when(~nulls).then(keys).alias("key")).to_series() if nulls.any() else keys

    @classmethod
    def mend(cls, options: TableOptions, cohort: Cohort) -> tuple[Cohort, list[Problem]]:  # type: ignore[override]
        from medloom.modalities.table import columns

        return columns.mend(options, cohort)

    @classmethod
    def read(cls, options: TableOptions, cohort: Cohort) -> Any:  # type: ignore[override]
        from medloom.modalities.table import columns

        return columns.read(options, cohort)

    @classmethod
    def pack(cls, options: TableOptions, columns: Iterable[Any], store: Path | None) -> Packed:  # type: ignore[override]
        from medloom.modalities.table.columns import pack

        return pack(options, columns, store)

    @classmethod
    def point(cls, options: TableOptions, packed: Packed, cohort: Cohort, unit: np.ndarray) -> Source:  # type: ignore[override]
        newest = None
        if options.at is not None and cohort.at is not None:
            from medloom.cohort.times import read_times

            known = read_times(cohort.column(options.at, "at"), f"at {options.at!r}", cohort.row)[0]
            newest = np.where(unit > 0, known, np.nan)
        return Source(packed, unit, cohort.patient, newest=newest)

    @classmethod
    def summarise(cls, options: TableOptions, source: Source, rows: np.ndarray) -> TableSummary:  # type: ignore[override]
        return summarise(source, rows)

    @classmethod
    def fit(cls, options: TableOptions, summaries: Sequence[TableSummary]) -> Self:  # type: ignore[override]
        total = merge(summaries)
        scaled = [centre_and_scale(v, n) for v, n in zip(total.values, total.counts, strict=True)]
        if options.scale == "none":
            scaled = [(0.0, 1.0)] * len(scaled)
        words = tuple(tuple(sorted(w for w, n in c.items() if n >= RARE_PATIENTS)) for c in total.patients)
        return cls(
            options=options,
            centre=tuple(centre for centre, _ in scaled),
            scale=tuple(scale for _, scale in scaled),
            seen=tuple(int(n.sum()) for n in total.counts),
            words=words,
        )

    def bind(self, source: Source) -> Source:
        """Scales every number once, and turns store codes into vocabulary ids."""
        number = source.packed.arrays["number"]
        value = np.empty(number.shape, np.float32)
        centre, scale, unseen = np.array(self.centre), np.array(self.scale), np.array(self.seen) == 0
        for start in range(0, len(number), 65_536):
            block = (number[start : start + 65_536] - centre) / scale
            if self.options.scale == "robust":
                block = np.clip(block, -CLIP, CLIP)
            block[:, unseen] = np.nan
            value[start : start + 65_536] = block
        missing = np.isnan(value)
        value[missing] = 0.0
        code = np.empty(source.packed.arrays["code"].shape, np.int64)
        for column, stored in enumerate(source.packed.meta["words"]):
            ids = {word: index + 2 for index, word in enumerate(self.words[column])}
            look_up = np.array([MISSING, *(ids.get(word, OTHER) for word in stored)])
            code[:, column] = look_up[source.packed.arrays["code"][:, column]]
        return replace(source, bound={"value": value, "missing": missing, "code": code})

    def view(self, source: Source, rows: np.ndarray, draw: Draw | None, focus: Sequence[Source] = ()) -> View:
        return View(rows)

    def batch(self, source: Source, view: View) -> Field:
        import torch

        from medloom.batch import Field

        unit = source.unit[view.rows]
        extra = {}
        if self.options.missing_indicators:
            extra["missing"] = torch.from_numpy(source.bound["missing"][unit]).float()
        if self.words:
            extra["codes"] = torch.from_numpy(source.bound["code"][unit])
        return Field(torch.from_numpy(source.bound["value"][unit]), torch.from_numpy(unit > 0), extra=extra)

    def plain(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """The numbers as they are, and a column of 0 and 1 for each known word."""
        unit = source.unit[rows]
        number = source.packed.arrays["number"][unit]
        codes = source.bound["code"][unit]
        hot = [codes[:, [c]] == np.arange(2, 2 + len(words)) for c, words in enumerate(self.words)]
        return np.concatenate([number, *(block.astype(np.float64) for block in hot)], axis=1)

    def encoder(self) -> nn.Module:
        from medloom.modalities.table.encoder import TableEncoder

        return TableEncoder(self.options, len(self.centre), tuple(len(words) + 2 for words in self.words))

    def problems(self, source: Source, cohort: Cohort) -> list[Problem]:
        """Rows with a category that training did not see, or saw in fewer than 10 patients."""
        found = []
        for column, name in enumerate(source.packed.meta["category"]):
            unseen = source.bound["code"][source.unit, column] == OTHER
            found += [Problem(int(row), f"{name}: category not among those learnt") for row in np.flatnonzero(unseen)]
        return found

    def describe(self) -> Mapping[str, str]:
        known = sum(map(len, self.words))
        facts = {
            "numeric columns": str(len(self.centre)),
            "categorical columns": f"{len(self.words)}, {known} words in all",
        }
        unseen = sum(n == 0 for n in self.seen)
        return {**facts, "numeric columns without a value in training": str(unseen)} if unseen else facts
