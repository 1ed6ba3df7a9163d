"""From a cohort to batches: packs inputs once, fits them on training rows, and feeds training and prediction alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int

from medloom import find
from medloom.batch import BASE, GROUP, Batch, Field
from medloom.cohort.table import Cohort, canonical
from medloom.draw import Draw, generator
from medloom.errors import DataError
from medloom.mixup import Mixup, mixed
from medloom.modality import Lengths, Marks, Modality, Outcomes, Pinned, View
from medloom.packed import Source, open_packed
from medloom.pairing import paired, pieces
from medloom.parts import InputPart
from medloom.task import Task

COVER_BLOCK = 4_096
"""Rows predicted at a time where each has one view."""
WINDOWED_BLOCK = 256
"""Rows predicted at a time where an input is seen in windows."""
LAID_BLOCK = 8
"""Rows predicted at a time where answers are laid on windows, if they have no more windows together than
`LAID_VIEWS`; one at a time otherwise, so that what is lifted of a large image can be let go."""
LAID_VIEWS = 16
VIEWS_BLOCK = 64
"""Windows gathered at a time, which bounds memory whatever the length of a record."""
VIEWS_ELEMENTS = 1 << 24
"""And no more than hold about this many numbers."""
VIEW_BYTES = 2 << 20
"""What a window touches of a mapped file at most: the system maps up to 2 MB around each place that is read."""

ANSWER_PARTS = 5
"""Parts of the training rows, each of which learns from the answers of the others (see `with_outcomes`)."""


def pack(kind: type[Modality], options: InputPart, cohort: Cohort, store: Path | None = None) -> Source:
    """All units that the cohort's rows point at, read once in blocks. A finished `store` is opened, not made again.

    What lies packed in a store of its own is not read at all.
    """
    ready = kind.stored(options, cohort)
    if ready is not None:
        return kind.point(options, ready.packed, cohort, ready.unit)
    keys = kind.keys(options, cohort)
    present = np.flatnonzero(keys.is_not_null().to_numpy())
    unit = np.zeros(len(cohort), np.int64)
    first = np.zeros(0, np.int64)
    if len(present):
        known = keys.gather(present)
        if known.n_unique() == len(known):
            first, unit[present] = present, np.arange(1, len(present) + 1)
        else:
            codes = known.rank("dense").to_numpy().astype(np.int64)
            unit[present] = codes
            first = present[np.unique(codes, return_index=True)[1]]
    if store is not None and (store / "meta.json").exists():
        packed = open_packed(store)
    else:
        packed = kind.pack(
            options, (kind.read(options, block) for block in _blocks(kind, options, cohort, first)), store
        )
    return kind.point(options, packed, cohort, unit)


def _blocks(
    kind: type[Modality], options: InputPart, cohort: Cohort, first: Int[np.ndarray, " units"]
) -> Iterator[Cohort]:
    """The first rows of all units, in blocks. In the order of the table they are read on the way through it.

    Units of several rows each come in the order of their keys: their columns are held in memory.
    """
    names = kind.columns(options) or cohort.frame.columns
    if options.at is not None:
        names = [*dict.fromkeys([*names, options.at])]
    if (np.diff(first) > 0).all():
        yield from cohort.blocks(first, kind.read_block, names)
        return
    held = cohort.holding(names)
    for start in range(0, len(first), kind.read_block):
        yield held.take(first[start : start + kind.read_block])


@dataclass(frozen=True, slots=True)
class Feed:
    """Fitted inputs and tasks over one cohort's sources: rows in, `Batch` out.

    `marks` hold row-wise targets, `laid` dense ones as (input, source). A feed for prediction has neither.
    """

    modalities: Mapping[str, Modality]
    sources: Mapping[str, Source]
    tasks: Mapping[str, Task]
    marks: Mapping[str, Marks] = field(default_factory=dict)
    laid: Mapping[str, tuple[str, Source]] = field(default_factory=dict)
    beneath: Mapping[str, Mapping[str, Source]] = field(default_factory=dict)
    """Masks that stand beside a target, by the input that they lie on (see `Task.beneath`)."""
    pinned: Mapping[str, Mapping[str, Pinned]] = field(default_factory=dict)
    """Places that stand beside a target, by the input that they were marked on (see `Task.pins`)."""
    groups: Mapping[str, Int[np.ndarray, " rows"]] = field(default_factory=dict)
    """Groups of rows, as codes of their names, of those targets whose limits differ between groups."""
    bases: Mapping[str, Float[np.ndarray, "rows numbers"]] = field(default_factory=dict)
    """What answers are told relative to, of those targets that ask for it."""
    mixup: Mixup | None = None
    """How the rows of training batches are mixed with others; nothing of it reaches a prediction."""

    def bound(self) -> Feed:
        """The feed with every source bound to its fitted modality."""
        return replace(self, sources={n: self.modalities[n].bind(s) for n, s in self.sources.items()})

    def grouped(self, cohort: Cohort, needed: bool = True) -> Feed:
        """The feed with the groups and bases that its tasks ask for.

        A column of groups that is not there raises DataError if `needed`; one of bases does so always.
        """
        asked = {name: task.group_column() for name, task in self.tasks.items()}
        held = {
            name: group_codes(cohort.column(column, f"targets.{name}.conformal_by"))
            for name, column in asked.items()
            if column is not None and (needed or column in cohort.frame.columns)
        }
        bases = {name: found for name, task in self.tasks.items() if (found := task.base(cohort)) is not None}
        return replace(self, groups=held, bases=bases)

    def beside(self, target: str, rows: Int[np.ndarray, " rows"]) -> dict[str, torch.Tensor]:
        """What stands beside the output of these rows: their group and their base, where the task asks for it."""
        held = {GROUP: self.groups, BASE: self.bases}
        return {key: torch.from_numpy(of[target][rows]) for key, of in held.items() if target in of}

    @property
    def windowed(self) -> str | None:
        """The first input that may be seen in several views a row; of inputs that are all seen whole, the first."""
        windows = [name for name, modality in self.modalities.items() if modality.windows]
        several = [name for name in windows if not self.modalities[name].options.seen_whole]  # type: ignore[attr-defined]
        return next(iter([*several, *windows]), None)

    def batch(self, rows: Int[np.ndarray, " rows"], draw: Draw) -> Batch:
        """A training batch: one view a row, its randomness a function of the draw and the row.

        Inputs of one kind see the same place of a row; what else happens to them, each draws for itself.
        """
        if self.mixup is not None:
            other, share = self.mixup.drawn(rows, draw)
            twice = replace(draw, epoch=np.concatenate([draw.epoch, draw.epoch]))
            return mixed(replace(self, mixup=None).batch(np.concatenate([rows, other]), twice), share)
        views: dict[str, View] = {}
        kinds: set[str] = set()
        for name, modality in self.modalities.items():
            focus = tuple(source for ground, source in self.laid.values() if ground == name)
            kind = type(modality).__name__
            own = draw if kind not in kinds else replace(draw, of=name)
            kinds.add(kind)
            views[name] = modality.view(self.sources[name], rows, own, focus)
        return self._gather(views, rows, draw)

    def with_mixup(self, rows: Int[np.ndarray, " train"], strength: float) -> Feed:
        """The feed whose training batches have these rows mixed in; itself where the strength is 0."""
        return replace(self, mixup=Mixup(rows, strength)) if strength else self

    def lengths(self, rows: Int[np.ndarray, " rows"]) -> Lengths | None:
        """How long each row is to all inputs together; None where no input says."""
        found = [m.lengths(self.sources[n], rows) for n, m in self.modalities.items()]
        told = [one for one in found if one is not None]
        if not told:
            return None
        each = np.stack([one.each for one in told]).sum(axis=0)
        return Lengths(each, max(one.pool for one in told), min(one.budget for one in told))

    def cover(
        self, rows: Int[np.ndarray, " rows"], block: int | None = None, most: int | None = None
    ) -> Iterator[tuple[np.ndarray, dict[str, View], Batch]]:
        """Prediction batches that cover all of each row: (rows, views, batch) for batch after batch.

        Where inputs are seen in windows, the batch has one entry a window, and the other inputs repeat the row. Rows
        with many windows have several batches. With `most`, no more windows of a row are seen, evenly spaced.
        """
        for part, batches in self.covering(rows, block, most):
            for views, batch in batches:
                yield part, views, batch

    def covering(
        self, rows: Int[np.ndarray, " rows"], block: int | None = None, most: int | None = None
    ) -> Iterator[tuple[np.ndarray, Iterator[tuple[dict[str, View], Batch]]]]:
        """Blocks of rows, each with the batches that together cover it: made as they are asked for, in order.

        Where answers are laid on windows, a block is one row, or several small ones.
        """
        if self.windowed is None:
            step = block or self.at_once(rows, COVER_BLOCK)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                yield part, iter((self._viewed(part, {}),))
            return
        whole = any(task.sees_inputs for task in self.tasks.values())
        laid = bool(self.laid) or any(task.dense for task in self.tasks.values())
        step = block or (1 if whole else LAID_BLOCK if laid else WINDOWED_BLOCK)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            windows = {n: m.view(self.sources[n], part, None) for n, m in self.modalities.items() if m.windows}
            views = paired(part, windows, most)
            if laid and not block and len(part) > 1 and len(views[self.windowed].rows) > LAID_VIEWS:
                yield from self.covering(part, 1, most)
                continue
            size = max(1, len(views[self.windowed].rows)) if whole else self._views_at_once(views)
            yield part, (self._viewed(one[self.windowed].rows, one) for one in pieces(views, size))

    def _views_at_once(self, views: Mapping[str, View]) -> int:
        """Windows gathered at a time: fewer where each is large."""
        each = 0
        for name, view in views.items():
            first = View(view.rows[:1], {key: array[:1] for key, array in view.at.items()})
            each += self.modalities[name].batch(self.sources[name], first).value.numel() if len(view.rows) else 1
        return int(np.clip(VIEWS_ELEMENTS // max(1, each), 1, VIEWS_BLOCK))

    def _viewed(self, rows: Int[np.ndarray, " views"], views: dict[str, View]) -> tuple[dict[str, View], Batch]:
        """The batch of these views, of inputs that have none in prediction's own way."""
        every = {n: views[n] if n in views else m.view(self.sources[n], rows, None) for n, m in self.modalities.items()}
        return every, self._gather(every, rows)

    def at_once(self, rows: Int[np.ndarray, " rows"], most: int) -> int:
        """Rows predicted at a time: fewer than `most` where they are long."""
        lengths = self.lengths(rows)
        if lengths is None:
            return most
        return int(np.clip(lengths.budget // max(1, int(lengths.each.max(initial=0))), 1, most))

    def targets(self, rows: Int[np.ndarray, " rows"]) -> dict[str, Field]:
        """Row-wise targets of these rows."""
        return {name: self.tasks[name].target(marks, rows) for name, marks in self.marks.items()}

    def plain(self, rows: Int[np.ndarray, " rows"]) -> np.ndarray:
        """Simple numbers of all inputs side by side, for the baselines."""
        parts = [m.plain(self.sources[n], rows) for n, m in self.modalities.items()]
        for source in self.sources.values():
            source.packed.release()
        return np.concatenate(parts, axis=1).astype(np.float64)

    def _gather(self, views: Mapping[str, View], rows: Int[np.ndarray, " rows"], draw: Draw | None = None) -> Batch:
        inputs = {n: m.batch(self.sources[n], views[n]) for n, m in self.modalities.items()}
        for hiding in filter(None, (task.hiding() for task in self.tasks.values())):
            inputs[hiding.input] = self.modalities[hiding.input].hide(inputs[hiding.input], hiding, rows, draw)
        targets = self.targets(rows)
        for name, (ground, source) in self.laid.items():
            targets[name] = self.modalities[ground].batch(source, views[ground])
        for name, sources in self.beneath.items():
            laid = {ground: self.modalities[ground].batch(one, views[ground]) for ground, one in sources.items()}
            extra = {ground: one.value for ground, one in laid.items()}
            extra |= {f"{ground}.present": one.present for ground, one in laid.items()}
            targets[name] = replace(targets[name], extra={**targets[name].extra, **extra})
        for name, marked in self.pinned.items():
            extra = {f"{ground}.place": torch.from_numpy(one.place[rows]) for ground, one in marked.items()}
            extra |= {f"{ground}.step": torch.from_numpy(one.step[rows]) for ground, one in marked.items()}
            targets[name] = replace(targets[name], extra={**targets[name].extra, **extra})
        for name, source in self.sources.items():
            if self.modalities[name].windows:
                source.packed.release(max(inputs[name].value.nbytes, VIEW_BYTES * len(views[name].rows)))
            else:
                source.packed.release()
        return Batch(inputs, targets, torch.from_numpy(rows), torch.ones(len(rows)))


def group_codes(values: pl.Series) -> Int[np.ndarray, " rows"]:
    """A code for each value that is the same in every table and holds no name; 0 where it is missing."""
    text = canonical(values)
    names = text.unique().drop_nulls().to_list()
    digests = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big") + 1 for name in names]
    code = dict(zip(names, digests, strict=True))
    return np.array([0 if name is None else code[name] for name in text.to_list()], np.int64)


def fit_inputs(
    parts: Mapping[str, InputPart], sources: Mapping[str, Source], rows: Int[np.ndarray, " rows"]
) -> dict[str, Modality]:
    """Every modality fitted on these rows alone."""
    fitted = {}
    for name, options in parts.items():
        kind = find.modality(options.modality)
        fitted[name] = kind.fit(options, [kind.summarise(options, sources[name], rows)])
        sources[name].packed.release()
    return fitted


def with_outcomes(
    parts: Mapping[str, InputPart],
    sources: Mapping[str, Source],
    targets: Mapping[str, Any],
    marks: Mapping[str, Marks],
    rows: Int[np.ndarray, " rows"],
    seed: int,
) -> dict[str, Source]:
    """The sources, with the answers of these rows for those inputs that learn from them (docs/adr/0012).

    Raises DataError where an input asks and no target has answers that are numbers.
    """
    asking = [n for n, part in parts.items() if find.modality(part.modality).learns_from_answers(part)]
    if not asking:
        return dict(sources)
    found = [find.task(targets[name].task).outcomes(targets[name], one) for name, one in marks.items()]
    known = [values[rows] for values in found if values is not None]
    if not known:
        raise DataError(
            f"inputs.{asking[0]}: learns from answers, and no target of the study has answers that are numbers"
        )
    ends = np.cumsum([values.shape[1] for values in known]).tolist()
    spans = tuple(zip([0, *ends[:-1]], ends, strict=True))
    values = np.concatenate(known, axis=1)
    told = dict(sources)
    for name in asking:
        fold = _parts_of(sources[name].patient[rows], seed)
        told[name] = replace(sources[name], bound={"outcomes": Outcomes(rows, values, fold, spans)})
    return told


def _parts_of(patient: Int[np.ndarray, " rows"], seed: int) -> Int[np.ndarray, " rows"]:
    """A part for each row, at random, the same for all rows of a patient."""
    distinct, place = np.unique(patient, return_inverse=True)
    order = generator(seed, "parts of training rows").permutation(len(distinct))
    return order[place] % ANSWER_PARTS


def fit_tasks(parts: Mapping[str, Any], marks: Mapping[str, Marks], rows: Int[np.ndarray, " rows"]) -> dict[str, Task]:
    """Every task fitted on these rows alone."""
    fitted = {}
    for name, options in parts.items():
        kind = find.task(options.task)
        fitted[name] = kind.fit(options, [kind.summarise(options, marks[name], rows)])
    return fitted


def taken_columns(study: Any) -> frozenset[str]:
    """Columns that are ids, times, folds or answers: never read as input."""
    cohort = study.cohort
    named: Sequence[str | None] = (
        cohort.row,
        cohort.patient,
        cohort.person,
        cohort.at,
        cohort.site,
        study.split.column,
    )
    answers = [column for part in study.targets.values() for column in find.task(part.task).columns(part)]
    times = [part.at for part in study.inputs.values()]
    times += cohort.history.known_at.values() if cohort.history else []
    times += [cohort.answered, *(cohort.panel.aside if cohort.panel else ())]
    answers += cohort.events.answers() if cohort.events else []
    answers += [one.column for one in study.evaluate.maps.masks.values()]
    return frozenset(name for name in (*named, *answers, *times) if name)


def text_columns(study: Any) -> frozenset[str]:
    """Columns of a CSV that must stay as written: answers, and whatever inputs declare as categories."""
    answers = [column for part in study.targets.values() for column in find.task(part.task).columns(part)]
    words = [c for part in study.inputs.values() for c in getattr(part, "text_columns", tuple)()]
    words += [one.column for one in study.evaluate.maps.masks.values()]
    return frozenset([*answers, *words, *([study.split.column] if study.split.column else [])])
