"""Tables: measured numbers, categories, booleans, ordered words, dates and durations, with anything missing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from medloom.draw import Draw
from medloom.modalities.table.options import TableOptions
from medloom.modalities.table.summary import RARE_PATIENTS, TableSummary, bin_edges, centre_and_scale, merge, summarise
from medloom.modality import Modality, Problem, View
from medloom.packed import Packed, Source

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from medloom.batch import Field
    from medloom.cohort.table import Cohort

CLIP = 8.0
"""Scaled numbers beyond this many robust deviations are held there, so that one typing error cannot rule a batch."""
BOUND_BYTES = 64 << 20
"""Packed tables up to this size are scaled once and held in memory."""
_BLOCK = 65_536
MISSING, OTHER, FIRST = 0, 1, 2
"""Vocabulary ids: no value; a word that is rare, or was not seen in training; the first word or bucket."""


@dataclass(frozen=True, slots=True)
class Table(Modality):
    """A fitted table: centre and scale of each number, words of each category.

    `edges` part each number into bins where numbers are embedded piecewise; `late` counts the dates of each column
    that were at or after the index time, and are read as missing.
    """

    Options: ClassVar[type[TableOptions]] = TableOptions
    Summary: ClassVar[type[TableSummary]] = TableSummary

    options: TableOptions
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    seen: tuple[int, ...]
    words: tuple[tuple[str, ...], ...]
    edges: tuple[tuple[float, ...], ...] = ()
    late: tuple[int, ...] = ()

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
        from medloom.modalities.table.columns import absent

        nulls, keys = absent(options, cohort), cohort.row
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
        return summarise(source, rows, words_matter=options.category == "embedding")

    @classmethod
    def fit(cls, options: TableOptions, summaries: Sequence[TableSummary]) -> Self:  # type: ignore[override]
        total = merge(summaries)
        scaled = [centre_and_scale(v, n) for v, n in zip(total.values, total.counts, strict=True)]
        if options.scale == "none":
            scaled = [(0.0, 1.0)] * len(scaled)
        words = tuple(tuple(sorted(w for w, n in c.items() if n >= RARE_PATIENTS)) for c in total.patients)
        edges: tuple[tuple[float, ...], ...] = ()
        if options.numeric == "piecewise":
            pairs = zip(total.values, total.counts, strict=True)
            edges = tuple(bin_edges(values, counts, options.the("bins")) for values, counts in pairs)
        return cls(
            options=options,
            centre=tuple(centre for centre, _ in scaled),
            scale=tuple(scale for _, scale in scaled),
            seen=tuple(int(n.sum()) for n in total.counts),
            words=words,
            edges=edges,
            late=total.late,
        )

    def bind(self, source: Source) -> Source:
        """Looks up the vocabulary id of each store code; looks up and scales the values of a small table once.

        Those of a large one stay in their file, and are scaled in each batch: the same numbers to the bit.
        """
        words = source.packed.meta["words"]
        bound = {"ids": tuple(np.array([MISSING, *self._ids(c, stored)]) for c, stored in enumerate(words))}
        source = replace(source, bound=bound)
        units = len(source.packed.arrays["number"])
        if source.packed.nbytes > BOUND_BYTES:
            return source
        blocks = (np.arange(start, min(start + _BLOCK, units)) for start in range(0, units, _BLOCK))
        value, missing, code = (np.concatenate(p) for p in zip(*(self._values(source, b) for b in blocks), strict=True))
        return replace(source, bound={**bound, "value": value, "missing": missing, "code": code})

    def _values(self, source: Source, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of these units: numbers as the network sees them, 0 where missing; which are missing; vocabulary ids."""
        if "value" in source.bound:
            # np.take gathers whole rows several times faster than indexing does.
            value, missing, code = (np.take(source.bound[n], unit, axis=0) for n in ("value", "missing", "code"))
            return value, missing, code
        scaled = (np.take(source.packed.arrays["number"], unit, axis=0) - np.array(self.centre)) / np.array(self.scale)
        if self.options.scale == "robust":
            np.clip(scaled, -CLIP, CLIP, out=scaled)
        scaled[:, np.array(self.seen, np.int64) == 0] = np.nan
        value = scaled.astype(np.float32)
        missing = np.isnan(value)
        value[missing] = 0.0
        return value, missing, self._codes(source, unit)

    def _codes(self, source: Source, unit: np.ndarray) -> np.ndarray:
        """Vocabulary ids of these units: int64 [units, categories]."""
        stored = np.take(source.packed.arrays["code"], unit, axis=0)
        code = np.empty(stored.shape, np.int64)
        for column, ids in enumerate(source.bound["ids"]):
            code[:, column] = ids[stored[:, column]]
        return code

    def _ids(self, column: int, stored: Sequence[str]) -> list[int]:
        """Vocabulary ids of words; hashed by a digest that is the same in every process and on every machine."""
        if self.options.category == "hash":
            digests = (hashlib.blake2b(word.encode(), digest_size=8).digest() for word in stored)
            return [FIRST + int.from_bytes(digest, "big") % self.options.the("buckets") for digest in digests]
        ids = {word: index + FIRST for index, word in enumerate(self.words[column])}
        return [ids.get(word, OTHER) for word in stored]

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """Ids of each category: words or buckets, and the two below them."""
        if self.options.category == "hash":
            return (self.options.the("buckets") + FIRST,) * len(self.options.named("category"))
        return tuple(len(words) + FIRST for words in self.words)

    def view(self, source: Source, rows: np.ndarray, draw: Draw | None, focus: Sequence[Source] = ()) -> View:
        return View(rows)

    def batch(self, source: Source, view: View) -> Field:
        import torch

        from medloom.batch import Field

        unit = source.unit[view.rows]
        value, missing, code = self._values(source, unit)
        extra = {"missing": torch.from_numpy(missing.astype(np.float32))}
        if self.vocabulary:
            extra["codes"] = torch.from_numpy(code)
        return Field(torch.from_numpy(value), torch.from_numpy(unit > 0), extra=extra)

    def plain(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """The numbers as they are, and a column of 0 and 1 for each known word or bucket."""
        unit = source.unit[rows]
        number = source.packed.arrays["number"][unit]
        codes = self._codes(source, unit)
        hot = [codes[:, [column]] == np.arange(FIRST, ids) for column, ids in enumerate(self.vocabulary)]
        return np.concatenate([number, *(block.astype(np.float64) for block in hot)], axis=1)

    def fingerprint(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """The numbers as their place among these rows, and every word, rare or not, hashed to a few numbers."""
        from medloom.fingerprint import hashed, ranked

        unit = source.unit[rows]
        number, code = source.packed.arrays["number"][unit], source.packed.arrays["code"][unit]
        return np.concatenate([ranked(np.asarray(number)), hashed(np.asarray(code))], axis=1)

    def encoder(self) -> nn.Module:
        from medloom.modalities.table.encoders import encoder

        return encoder(self.options, self._scaled_edges(), len(self.centre), self.vocabulary)

    def _scaled_edges(self) -> tuple[tuple[float, ...], ...]:
        """Edges of the bins as the network sees numbers: scaled, and clipped where they are."""
        limit = CLIP if self.options.scale == "robust" else np.inf
        pairs = zip(self.edges, self.centre, self.scale, strict=bool(self.edges))
        scaled = ((np.array(edges) - centre) / scale for edges, centre, scale in pairs)
        return tuple(tuple(np.unique(np.clip(edges, -limit, limit)).tolist()) for edges in scaled)

    def problems(self, source: Source, cohort: Cohort) -> list[Problem]:
        """Rows with a category that training did not see, or saw in under 10 patients; with a date that is too late."""
        found = []
        for column, name in enumerate(source.packed.meta["category"]):
            stored = np.asarray(source.packed.arrays["code"][:, column])[source.unit]
            unseen = source.bound["ids"][column][stored] == OTHER
            found += [Problem(int(row), f"{name}: category not among those learnt") for row in np.flatnonzero(unseen)]
        for column, name in enumerate(source.packed.meta["dates"]):
            late = np.asarray(source.packed.arrays["late"][:, column])[source.unit]
            found += [Problem(int(row), f"{name}: at or after the index time") for row in np.flatnonzero(late)]
        return found

    def describe(self) -> Mapping[str, str]:
        facts = {"numeric columns": str(len(self.centre)), "categorical columns": self._describe_categories()}
        unseen = sum(n == 0 for n in self.seen)
        if unseen:
            facts["numeric columns without a value in training"] = str(unseen)
        for name, count in zip(self.options.named("datetime"), self.late, strict=True):
            facts[f"{name}: dates at or after the index time, read as missing"] = str(count)
        return facts

    def _describe_categories(self) -> str:
        count = len(self.vocabulary)
        if self.options.category == "hash":
            return f"{count}, {self.options.the('buckets')} buckets each"
        return f"{count}, {sum(map(len, self.words))} words in all"
