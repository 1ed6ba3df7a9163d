"""Tables: measured numbers, categories, codes, booleans, ordered words, dates and durations, with anything missing."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from medloom.cohort.codes import LEVELS
from medloom.draw import Draw
from medloom.modalities.table.answers import RARE_PATIENTS, Coding, encode_all
from medloom.modalities.table.answers import fit as fit_coding
from medloom.modalities.table.bags import MOST_INDICATORS, bags, indicators, learnt_ids
from medloom.modalities.table.layout import BagShape, Layout
from medloom.modalities.table.options import TableOptions
from medloom.modalities.table.scaling import bin_edges, centre_and_scale
from medloom.modalities.table.selection import chosen, variances
from medloom.modalities.table.summary import TableSummary, merge, summarise
from medloom.modality import Modality, View
from medloom.packed import Packed, Source
from medloom.told import Feature, Neutral, Problem

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from medloom.batch import Field
    from medloom.cohort.table import Cohort
    from medloom.modalities.table.column import Column

CLIP = 8.0
"""Scaled numbers beyond this many robust deviations are held there, so that one typing error cannot rule a batch."""
BOUND_BYTES = 64 << 20
"""Packed tables up to this size are scaled once and held in memory."""
_BLOCK = 65_536
MISSING, OTHER, FIRST = 0, 1, 2
"""Vocabulary ids: no value; a word that is rare, or was not seen in training; the first word or bucket."""


@dataclass(frozen=True, slots=True)
class Table(Modality):
    """A fitted table: centre and scale of each number, words of each category, groups of codes by level.

    `edges` part each number into bins where numbers are embedded piecewise; `late` counts the dates of each column
    that were at or after the index time, and are read as missing. `frequent` are the groups of codes that baselines
    see; `codings` turn words into mean answers; `kept` are the places of the numbers that were selected.
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
    codes: tuple[tuple[tuple[str, ...], ...], ...] = ()
    frequent: tuple[tuple[str, ...], ...] = ()
    codings: tuple[Coding, ...] = ()
    kept: tuple[int, ...] | None = None

    @classmethod
    def complete(cls, options: TableOptions, cohort: Cohort, taken: frozenset[str]) -> TableOptions:  # type: ignore[override]
        from medloom.modalities.table import columns

        return columns.complete(options, cohort, taken)

    @classmethod
    def columns(cls, options: TableOptions) -> tuple[str, ...]:  # type: ignore[override]
        return options.table_columns

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
    def learns_from_answers(cls, options: TableOptions) -> bool:  # type: ignore[override]
        by = options.select.by if options.select else None
        return bool(options.coded) or by == "mutual_information"

    @classmethod
    def summarise(cls, options: TableOptions, source: Source, rows: np.ndarray) -> TableSummary:  # type: ignore[override]
        return summarise(options, source, rows)

    @classmethod
    def fit(cls, options: TableOptions, summaries: Sequence[TableSummary]) -> Self:  # type: ignore[override]
        total = merge(summaries)
        kept = _kept(options, total)
        values, counts = total.values, total.counts
        if kept is not None:
            values, counts = tuple(values[place] for place in kept), tuple(counts[place] for place in kept)
        scaled = [centre_and_scale(v, n) for v, n in zip(values, counts, strict=True)]
        if options.scale == "none":
            scaled = [(0.0, 1.0)] * len(scaled)
        words = tuple(tuple(sorted(w for w, n in c.items() if n >= RARE_PATIENTS)) for c in total.patients)
        codes = tuple(
            tuple(tuple(sorted(w for w, n in level.items() if n >= RARE_PATIENTS)) for level in of_column)
            for of_column in total.codes
        )
        bins = options.the("bins") if options.numeric == "piecewise" else None
        edges: tuple[tuple[float, ...], ...] = ()
        if bins is not None:
            edges = tuple(bin_edges(v, n, bins) for v, n in zip(values, counts, strict=True))
        columns = [options.columns[name] for name in options.coded]
        pairs = zip(columns, total.answers, strict=True)
        return cls(
            options=options,
            centre=tuple(centre for centre, _ in scaled),
            scale=tuple(scale for _, scale in scaled),
            seen=tuple(int(n.sum()) for n in counts),
            words=words,
            edges=edges,
            late=total.late,
            codes=codes,
            frequent=tuple(_frequent(of_column) for of_column in total.codes),
            codings=tuple(fit_coding(t, c.system, c.smoothing, options.scale == "robust", bins) for c, t in pairs),
            kept=kept,
        )

    def bind(self, source: Source) -> Source:
        """Looks up the ids of words and codes; looks up and scales the values of a small table once.

        Those of a large one stay in their file, and are scaled in each batch: the same numbers to the bit.
        """
        words = source.packed.meta["words"]
        pairs = zip(self.options.named("code"), bags(source), self.codes, strict=True)
        bound = {
            "words": tuple(np.array([MISSING, *self._ids(c, stored)]) for c, stored in enumerate(words)),
            "ids": [
                learnt_ids(str(self.options.columns[name].system), bag.words, learnt) for name, bag, learnt in pairs
            ],
            "bags": bags(source),
            "coded": encode_all(self.options, self.codings, source),
            **({"outcomes": source.bound["outcomes"]} if "outcomes" in source.bound else {}),
        }
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
        number, coded = self._numbers(source, unit)
        centre, scale = (
            np.concatenate(pair) for pair in zip((self.centre, self.scale), self._coded_scales(), strict=True)
        )
        scaled = (np.concatenate([number, coded], axis=1) - centre) / scale
        if self.options.scale == "robust":
            np.clip(scaled, -CLIP, CLIP, out=scaled)
        scaled[:, np.flatnonzero(np.array(self.seen, np.int64) == 0)] = np.nan
        value = scaled.astype(np.float32)
        missing = np.isnan(value)
        value[missing] = 0.0
        return value, missing, self._codes(source, unit)

    def _numbers(self, source: Source, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of these units: the numbers that were kept, as they are, and the mean answers of coded columns."""
        number = np.take(source.packed.arrays["number"], unit, axis=0)
        return number if self.kept is None else number[:, list(self.kept)], source.bound["coded"][unit]

    def _codes(self, source: Source, unit: np.ndarray) -> np.ndarray:
        """Vocabulary ids of these units: int64 [units, categories]."""
        stored = np.take(source.packed.arrays["code"], unit, axis=0)
        code = np.empty(stored.shape, np.int64)
        for column, ids in enumerate(source.bound["words"]):
            code[:, column] = ids[stored[:, column]]
        return code

    def _coded_scales(self) -> tuple[list[float], list[float]]:
        """Centre and scale of each number that coded columns give, in their order."""
        centre: list[float] = []
        scale: list[float] = []
        for name, coding in zip(self.options.coded, self.codings, strict=True):
            times = 1 + (self.options.columns[name].primary is not None)
            centre += [*coding.prior] * times if self.options.scale == "robust" else [0.0] * len(coding.prior) * times
            scale += [*coding.scale] * times
        return centre, scale

    def _ids(self, column: int, stored: Sequence[str]) -> list[int]:
        """Vocabulary ids of words; hashed by a digest that is the same in every process and on every machine."""
        if self.options.category == "hash":
            digests = (hashlib.blake2b(word.encode(), digest_size=8).digest() for word in stored)
            return [FIRST + int.from_bytes(digest, "big") % self.options.the("buckets") for digest in digests]
        ids = {word: index + FIRST for index, word in enumerate(self.words[column])}
        return [ids.get(word, OTHER) for word in stored]

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """Ids of each category that is embedded: words or buckets, and the two below them."""
        if self.options.category == "hash":
            return (self.options.the("buckets") + FIRST,) * len(self.options.named("category"))
        return tuple(len(self.words[place]) + FIRST for place in self._embedded("category"))

    def _embedded(self, kind: str) -> list[int]:
        """Places, among the columns of this kind, of those that get a learnt vector."""
        columns = self.options.columns
        return [p for p, name in enumerate(self.options.named(kind)) if columns[name].encoding != "target"]

    def view(self, source: Source, rows: np.ndarray, draw: Draw | None, focus: Sequence[Source] = ()) -> View:
        return View(rows)

    def batch(self, source: Source, view: View) -> Field:
        import torch

        from medloom.batch import Field

        unit = source.unit[view.rows]
        value, missing, code = self._values(source, unit)
        extra = {"missing": torch.from_numpy(missing.astype(np.float32))}
        if self.vocabulary:
            extra["codes"] = torch.from_numpy(code if self._all_embedded else code[:, self._embedded("category")])
        for place in self._embedded("code"):
            main_first = self._column_of_codes(place).primary is not None
            padded = source.bound["bags"][place].padded(unit, main_first)
            extra[f"bag_{place}"] = torch.from_numpy(source.bound["ids"][place][padded])
        return Field(torch.from_numpy(value), torch.from_numpy(unit > 0), extra=extra)

    @property
    def _all_embedded(self) -> bool:
        return len(self.vocabulary) == len(self.options.named("category"))

    def _column_of_codes(self, place: int) -> Column:
        return self.options.columns[self.options.named("code")[place]]

    def plain(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """The numbers as they are, a column of 0 and 1 for each known word or bucket, and frequent groups of codes."""
        unit = source.unit[rows]
        codes, parts = self._codes(source, unit), list(self._numbers(source, unit))
        pairs = zip(self._embedded("category"), self.vocabulary, strict=True)
        parts += [(codes[:, [column]] == np.arange(FIRST, ids)).astype(np.float64) for column, ids in pairs]
        for place in self._embedded("code"):
            column = self._column_of_codes(place)
            chapters = None if column.primary is None else self.codes[place][0]
            bag = source.bound["bags"][place]
            parts.append(indicators(bag, str(column.system), unit, self.frequent[place], chapters))
        return np.concatenate(parts, axis=1)

    @classmethod
    def measured_columns(cls, options: TableOptions) -> Mapping[str, tuple[str, float] | None]:  # type: ignore[override]
        from medloom.modalities.table.units import mistaken

        columns = options.columns
        return {
            name: mistaken(columns[name].unit_in or columns[name].unit, columns[name].molar_mass)
            for name in options.named("numeric")
        }

    def fingerprint(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """The numbers as their place among these rows, and every word, rare or not, hashed to a few numbers."""
        from medloom.fingerprint import hashed, ranked

        unit = source.unit[rows]
        number, code = source.packed.arrays["number"][unit], source.packed.arrays["code"][unit]
        return np.concatenate([ranked(np.asarray(number)), hashed(np.asarray(code))], axis=1)

    def features(self) -> tuple[Feature, ...]:
        from medloom.modalities.table import explained

        return explained.features(self)

    def exchanged(self, field: Field, other: Field, parts: Collection[str]) -> Field:
        from medloom.modalities.table import explained

        return explained.exchanged(self, field, other, parts)

    def neutral(self, encoder: nn.Module, field: Field) -> Neutral:
        from medloom.modalities.table import explained

        return explained.neutral(self, encoder, field)

    def encoder(self) -> nn.Module:
        from medloom.modalities.table.encoders import encoder

        return encoder(self.options, self._layout())

    def _layout(self) -> Layout:
        shapes = []
        for place in self._embedded("code"):
            column = self._column_of_codes(place)
            words = tuple(map(len, self.codes[place]))
            shapes.append(BagShape(f"bag_{place}", words, column.primary is not None, column.pool or "mean"))
        numbers = len(self.centre) + len(self._coded_scales()[0])
        return Layout(numbers, self._scaled_edges(), self.vocabulary, tuple(shapes))

    def _scaled_edges(self) -> tuple[tuple[float, ...], ...]:
        """Edges of the bins as the network sees numbers: scaled, and clipped where they are."""
        if self.options.numeric != "piecewise":
            return ()
        limit = CLIP if self.options.scale == "robust" else np.inf
        edges = list(self.edges)
        for name, coding in zip(self.options.coded, self.codings, strict=True):
            edges += coding.edges * (1 + (self.options.columns[name].primary is not None))
        centre, scale = (
            np.concatenate(pair) for pair in zip((self.centre, self.scale), self._coded_scales(), strict=True)
        )
        scaled = ((np.array(one) - middle) / spread for one, middle, spread in zip(edges, centre, scale, strict=True))
        return tuple(tuple(np.unique(np.clip(one, -limit, limit)).tolist()) for one in scaled)

    def problems(self, source: Source, cohort: Cohort) -> list[Problem]:
        """Rows with a category that training did not see, or saw in under 10 patients; with a date that is too late."""
        found = []
        for column, name in enumerate(source.packed.meta["category"]):
            stored = np.asarray(source.packed.arrays["code"][:, column])[source.unit]
            unseen = source.bound["words"][column][stored] == OTHER
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
        if self.kept is not None:
            facts["numeric columns kept"] = self._named(self.kept)
        for name, levels in zip(self.options.named("code"), self.codes, strict=True):
            named = zip(LEVELS[str(self.options.columns[name].system)], levels, strict=True)
            facts[f"{name}: codes learnt"] = ", ".join(f"{len(words)} of level {level}" for level, words in named)
        if self.codings:
            facts["columns as mean answers, out of fold"] = ", ".join(self.options.coded)
        for name, count in zip(self.options.named("datetime"), self.late, strict=True):
            facts[f"{name}: dates at or after the index time, read as missing"] = str(count)
        return facts

    def left_out(self) -> int:
        return 0 if self.kept is None else len(self.options.numbers) - len(self.kept)

    def learnt(self, encoder: nn.Module) -> Mapping[str, str]:
        """The numbers that gates let through, where the study has gates."""
        from medloom.modalities.table.encoders.gates import Gates

        facts = {}
        for gates in (module for module in encoder.modules() if isinstance(module, Gates)):
            facts["numeric columns that gates let through"] = self._named(gates.kept())
        return facts

    def _named(self, kept: Sequence[int]) -> str:
        names = [self.options.numbers[place] for place in kept[:20]]
        more = f" and {len(kept) - 20} more" if len(kept) > 20 else ""
        return f"{len(kept)} of {len(self.options.numbers)}: {', '.join(names)}{more}"

    def _describe_categories(self) -> str:
        count = len(self.options.named("category"))
        if self.options.category == "hash":
            return f"{count}, {self.options.the('buckets')} buckets each"
        return f"{count}, {sum(map(len, self.words))} words in all"


def _kept(options: TableOptions, total: TableSummary) -> tuple[int, ...] | None:
    if options.select is None or options.select.by == "gates":
        return None
    if total.information is not None and options.select.by == "mutual_information":
        return chosen(total.information, options.select.keep)
    return chosen(variances(total.values, total.counts), options.select.keep)


def _frequent(levels: Sequence[Mapping[str, int]]) -> tuple[str, ...]:
    """The groups of the second level that most patients have, sorted by name."""
    of_level = levels[min(1, len(levels) - 1)]
    known = [(n, word) for word, n in of_level.items() if n >= RARE_PATIENTS]
    return tuple(sorted(word for _, word in sorted(known, key=lambda one: (-one[0], one[1]))[:MOST_INDICATORS]))
