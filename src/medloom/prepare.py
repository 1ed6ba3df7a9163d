"""From a study to everything that training needs: cohort, fold with its proof, and a fitted feed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom import find, machine
from medloom.cohort.event_cohort import with_groups
from medloom.cohort.split import Fold, split, whole
from medloom.cohort.stored import blocks
from medloom.cohort.table import Cohort, read_cohort
from medloom.errors import DataError, counted
from medloom.feed import Feed, fit_inputs, fit_tasks, pack, taken_columns, text_columns, with_outcomes
from medloom.modality import Budget, Marks, Modality, Pinned
from medloom.model.start import Given
from medloom.packed import Source
from medloom.parts import InputPart
from medloom.study import Study
from medloom.task import Task

Carry = Callable[[dict[str, Modality]], dict[str, Modality]]
FINGERPRINT_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Prepared:
    """A study with its data: `study` is resolved (every column named), `feed` fitted on the fold's training rows."""

    study: Study
    cohort: Cohort
    marks: Mapping[str, Marks]
    fold: Fold
    proof: Mapping[str, Any]
    feed: Feed
    sources: Mapping[str, Source] = field(default_factory=dict)
    """The inputs as packed, before anything was fitted: what another fold of the same data begins with."""
    given: tuple[Given, ...] = ()
    """Weights that networks begin with, one for each of those that are offered."""

    @classmethod
    def elsewhere(cls, study: Study, cohort: Cohort, marks: Mapping[str, Marks], feed: Feed) -> Prepared:
        """Other data, judged whole by a bundle that was trained elsewhere."""
        none = np.zeros(0, np.int64)
        fold = Fold(none, none, none, np.arange(len(cohort)))
        proof = {**fold.check(cohort), "by": "other data: every row judges, none was trained on"}
        proof["index_time"] = {
            name: time_proof(part, feed.sources[name], cohort) for name, part in study.inputs.items()
        }
        return cls(study, cohort, marks, fold, proof, feed)


def read(
    study: Study, data: Any = None, tables: Mapping[str, Any] | None = None
) -> tuple[Study, Cohort, dict[str, Marks]]:
    """The resolved study, its cohort and the answers of all rows. Raises one DataError with every mistake found."""
    study = study.model_copy(update={"cohort": with_groups(study.cohort, study.folder)}).within(study.folder)
    cohort = read_cohort(study.cohort, study.folder, data=data, text=text_columns(study), tables=tables)
    mistakes: list[str] = []
    taken = taken_columns(study)
    inputs: dict[str, InputPart] = {}
    marks: dict[str, Marks] = {}
    for name, part in study.inputs.items():
        with _collecting(mistakes, f"inputs.{name}"):
            kind = find.modality(part.modality)
            inputs[name] = kind.sized(kind.complete(part, cohort, taken), cohort, budget(study, cohort)).options
    for name, target in study.targets.items():
        with _collecting(mistakes, f"targets.{name}"):
            marks[name] = find.task(target.task).read(target, cohort)
    if mistakes:
        raise DataError("\n".join(mistakes))
    return study.model_copy(update={"inputs": inputs}).within(study.folder), cohort, marks


def budget(study: Study, cohort: Cohort) -> Budget:
    """What the network of each input may take."""
    views = sum(find.modality(part.modality).windows for part in study.inputs.values())
    train = study.train
    return Budget(len(cohort), train.minutes, train.device, max(1, views), machine.memory_bytes(), machine.cores())


def why_sized(study: Study, cohort: Cohort) -> dict[str, tuple[str, ...]]:
    """Of each input of a study that is not resolved yet, why its network has the size that it will get."""
    found = {}
    for name, part in study.inputs.items():
        kind = find.modality(part.modality)
        completed = kind.complete(part, cohort, taken_columns(study))
        found[name] = kind.sized(completed, cohort, budget(study, cohort)).why
    return found


@contextmanager
def _collecting(mistakes: list[str], path: str) -> Iterator[None]:
    """Keeps an error of the data for later, so that all are told at once."""
    try:
        yield
    except DataError as error:
        mistakes += [f"{path}: {line}" for line in str(error).splitlines()]


def folds(study: Study, cohort: Cohort, marks: Mapping[str, Marks]) -> tuple[Fold, ...]:
    """The folds of a study, stratified by the targets that allow it."""
    return split(study.split, cohort, strata(study, marks), study.seed)


def whole_fold(study: Study, cohort: Cohort, marks: Mapping[str, Marks]) -> Fold:
    """All rows, for the network that is kept after cross-validation."""
    return whole(study.split, cohort, strata(study, marks), study.seed)


def strata(study: Study, marks: Mapping[str, Marks]) -> list[np.ndarray]:
    """A small code a row for each target that a split can be stratified by."""
    found = [find.task(study.targets[name].task).strata(study.targets[name], one) for name, one in marks.items()]
    return [codes for codes in found if codes is not None]


def prepare(study: Study, cohort: Cohort, marks: Mapping[str, Marks], store: Path | None = None) -> Prepared:
    """Splits, packs and fits what `read` gave; `store` keeps packed arrays in files. Of several folds, the first.

    Raises StudyError or DataError.
    """
    fold = folds(study, cohort, marks)[0]
    return fitted(study, cohort, marks, fold, packed(study, cohort, store), store)


def packed(study: Study, cohort: Cohort, store: Path | None = None) -> dict[str, Source]:
    """All inputs packed: the same for every fold, as nothing of it depends on a fit."""
    sources = {}
    for name, part in study.inputs.items():
        with naming(f"inputs.{name}"):
            sources[name] = pack(find.modality(part.modality), part, cohort, store / name if store else None)
    return sources


def read_first(study: Study, cohort: Cohort) -> None:
    """Reads the first row of each input, so that files that are not there, or hold something else, are told at once.

    Raises one DataError with every mistake found.
    """
    mistakes: list[str] = []
    for name, part in study.inputs.items():
        with _collecting(mistakes, f"inputs.{name}"):
            kind = find.modality(part.modality)
            # A store is opened, and was found whole when it was made.
            if kind.stored(part, cohort) is None:
                there = np.flatnonzero(kind.keys(part, cohort).is_not_null().to_numpy())[:1]
                pack(kind, part, cohort.take(there)).packed.release()
    if mistakes:
        raise DataError("\n".join(mistakes))


def fitted(
    study: Study,
    cohort: Cohort,
    marks: Mapping[str, Marks],
    fold: Fold,
    sources: Mapping[str, Source],
    store: Path | None = None,
    carry: Carry = lambda modalities: modalities,
) -> Prepared:
    """One fold of what was read and packed, fitted on its training rows. Raises StudyError or DataError.

    `carry` gives the modalities to go on with where first weights ask for the state that they were learnt with.
    """
    proof = dict(fold.check(cohort, study.split.by))
    proof["index_time"] = {name: time_proof(part, sources[name], cohort) for name, part in study.inputs.items()}
    told = with_outcomes(study.inputs, sources, study.targets, marks, fold.train, study.seed)
    modalities = carry(fit_inputs(study.inputs, told, fold.train))
    feed = Feed(modalities, told, fitted_tasks(study, marks, fold)).bound().grouped(cohort)
    feed = with_ground(with_answers(feed, study, marks, fold.rows(), store), fold.train)
    return Prepared(study, cohort, marks, fold, proof, feed, sources)


def fitted_tasks(study: Study, marks: Mapping[str, Marks], fold: Fold) -> dict[str, Task]:
    """Every task fitted on the fold's training rows, and the answers of its other rows found to fit it."""
    tasks: dict[str, Task] = {}
    for name, target in study.targets.items():
        with naming(f"targets.{name}"):
            tasks |= fit_tasks({name: target}, marks, fold.train)
            if not tasks[name].dense:
                tasks[name].target(marks[name], fold.rows())
    return tasks


def with_answers(
    feed: Feed, study: Study, marks: Mapping[str, Marks], rows: Int[np.ndarray, " rows"], store: Path | None = None
) -> Feed:
    """The feed with the answers of its rows: row-wise ones checked against the fitted task, dense ones laid."""
    laid = {}
    for name, ground in study.dense_targets().items():
        with naming(f"targets.{name}"):
            source = feed.sources[ground]
            laid[name] = (
                ground,
                feed.modalities[ground].lay(source, marks[name], store / f"{name}-marks" if store else None),
            )
    rowwise = {name: one for name, one in marks.items() if name not in laid}
    for name, one in rowwise.items():
        with naming(f"targets.{name}"):
            feed.tasks[name].target(one, rows)
    beneath = {}
    for name, one in rowwise.items():
        with naming(f"targets.{name}"):
            under = find.task(study.targets[name].task).beneath(study.targets[name], one)
            beneath[name] = {
                ground: feed.modalities[ground].lay(
                    feed.sources[ground], masks, store / f"{name}-{ground}-marks" if store else None
                )
                for ground, masks in under.items()
            }
    held = {name: one for name, one in beneath.items() if one}
    return replace(feed, marks=rowwise, laid=laid, beneath=held, pinned=_pinned(feed, study, rowwise))


def _pinned(feed: Feed, study: Study, marks: Mapping[str, Marks]) -> dict[str, dict[str, Pinned]]:
    """Places that targets want marked on inputs, by target and input."""
    found = {}
    for name, one in marks.items():
        with naming(f"targets.{name}"):
            wanted = find.task(study.targets[name].task).pins(study.targets[name], one)
            pinned = {ground: feed.modalities[ground].pin(feed.sources[ground], of) for ground, of in wanted.items()}
        if pinned:
            found[name] = pinned
    return found


def with_ground(feed: Feed, train: Int[np.ndarray, " rows"]) -> Feed:
    """The feed whose dense tasks know what training rows are drawn on.

    Raises DataError where all that is laid on training rows is empty: nothing but emptiness would be learnt.
    """
    tasks = dict(feed.tasks)
    for name, (ground, source) in feed.laid.items():
        rows = train[source.unit[train] > 0]
        truth = feed.modalities[ground].truth(source, rows)
        if not any(values.any() for values in truth.values):
            raise DataError(
                f"targets.{name}: no mask of {counted(len(rows), 'training row')} marks anything on {ground!r}; expected some that "
                "do: look whether the column names the right files, and whether labels has the values that are in them"
            )
        tasks[name] = tasks[name].with_ground(truth)
    return replace(feed, tasks=tasks)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Says which part of the study an error of the data belongs to."""
    try:
        yield
    except DataError as error:
        raise DataError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from error


def time_proof(part: InputPart, source: Source, cohort: Cohort) -> str:
    """Whether nothing at or after the index time is read: proved from the values' own times, or declared."""
    if source.newest is None or cohort.at is None:
        return "declared: known_before_index = true"
    known = ~np.isnan(source.newest)
    late = known & ~(source.newest < cohort.at)
    if late.any():
        raise DataError(f"{counted(int(late.sum()), 'row')} would read values at or after their index time")
    return f"proved: the newest value of each of {counted(int(known.sum()), 'row')} is older than its index time"


def fingerprint(cohort: Cohort) -> str:
    """A digest of the cohort's table, to tell whether the data changed since a run began."""
    digest = hashlib.sha256()
    for block in blocks(cohort.frame, FINGERPRINT_ROWS):
        digest.update(block.hash_rows(seed=0).to_numpy().tobytes())
    digest.update("\x1f".join(cohort.frame.columns).encode())
    return digest.hexdigest()


def fold_table(cohort: Cohort, folds: Sequence[Fold]) -> pl.DataFrame:
    """Row ids with the part each is in, "left out" where it is in none; with several folds, once for each of them."""
    tables = []
    for fold in folds:
        code = np.zeros(len(cohort), np.uint8)
        for place, rows in enumerate(fold.parts().values(), 1):
            code[rows] = place
        part = pl.Series(["left out", *fold.parts()]).gather(pl.Series(code))
        table = pl.DataFrame({"row": cohort.row, "part": part})
        numbers = {"fold": fold.number, "repeat": fold.repeat} if len(folds) > 1 else {}
        tables.append(table.with_columns(pl.lit(value, pl.Int32).alias(name) for name, value in numbers.items()))
    return pl.concat(tables)
