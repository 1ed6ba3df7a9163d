"""The evidence of a prepared study, gathered: all columns of a table, and of a very wide one those that stand out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from medloom.audit.evidence import Column, Evidence, Outcome, read_column, words_of
from medloom.audit.measure import response
from medloom.audit.proxies import NAMES_OF_IDS, NAMES_OF_SITES
from medloom.audit.strength import AFTERWARDS
from medloom.audit.twins import PERSON
from medloom.cohort.stored import BLOCK_CELLS
from medloom.feed import taken_columns
from medloom.modality import Marks
from medloom.prepare import Prepared

MOST_COLUMNS = 1_000
"""Columns up to which every one is looked at in every way."""
BINS = 20


def gather(prepared: Prepared, most: int = 20_000) -> Evidence:
    """The evidence of a prepared study; `most` rows, of whole patients, where a model has to be fitted."""
    cohort = prepared.cohort
    owner: dict[str, str] = {}
    for name, one in prepared.study.inputs.items():
        owner |= dict.fromkeys(_read_as_values(one), name)
    hidden = taken_columns(prepared.study)
    outcomes = [o for name, marks in prepared.marks.items() for o in _outcomes(name, prepared, marks)]
    named = [name for name in cohort.frame.columns if name in owner]
    columns = strongest(_columns(prepared, owner, named), outcomes, len(named))
    rest = [name for name in cohort.frame.columns if name not in owner and name not in hidden]
    others = strongest(_columns(prepared, owner, rest), outcomes, len(rest))
    place = np.full(len(cohort), -1)
    for number, rows in enumerate(prepared.fold.parts().values()):
        place[rows] = number
    ids = cohort.patient_id.hash(seed=prepared.study.seed).to_numpy()
    sample = np.arange(len(cohort))
    if len(sample) > most:
        sample = np.flatnonzero((ids >> np.uint64(20)) % np.uint64(10_000) < 10_000 * most / len(sample))
    fold_of = (ids % np.uint64(5)).astype(np.int64)
    passed = len(named) + len(rest) - len(columns) - len(others)
    return Evidence(prepared, columns, others, tuple(outcomes), place, fold_of, sample, passed)


def _columns(prepared: Prepared, owner: Mapping[str, str], names: Sequence[str]) -> Iterator[Column]:
    """Columns of the table, of which a block is read at a time: one by one, a wide file is opened as often."""
    frame = prepared.cohort.frame
    step = max(1, BLOCK_CELLS // max(1, len(frame)))
    for start in range(0, len(names), step):
        block = frame.select(list(names[start : start + step]))
        for values in block.get_columns():
            name = values.name
            if name not in owner:
                yield read_column(name, values, None)
                continue
            part = prepared.study.inputs[owner[name]]
            kind = part.columns[name].kind  # type: ignore[attr-defined]
            yield read_column(name, values, owner[name], kind == "category", part.markers(name))  # type: ignore[attr-defined]


def _read_as_values(part: Any) -> Mapping[str, Any]:
    """Columns whose values themselves are read: those of tables, and not the paths of files."""
    columns = getattr(part, "columns", None)
    return columns if isinstance(columns, Mapping) else {}


def strongest(columns: Iterable[Column], outcomes: Sequence[Outcome], many: int) -> tuple[Column, ...]:
    """All columns, in their order; of a very wide table those that tell an answer best, words and telling names first.

    What a column tells is the share of an answer's variance between bins of its rows in its order, gaps last: whatever
    the shape, and gaps among them. All of a table's columns are held to this one, so a strong leak does not hide.
    """
    if many <= MOST_COLUMNS:
        return tuple(columns)
    answers = [response(o)[o.known] for o in outcomes]
    kept: list[tuple[float, int, Column]] = []
    for place, column in enumerate(columns):
        told = max((_between(column, o, a) for o, a in zip(outcomes, answers, strict=True)), default=0.0)
        kept.append((told + _asks_for_a_look(column), -place, column))
        if len(kept) >= 2 * MOST_COLUMNS:
            kept = sorted(kept, key=lambda one: one[:2])[-MOST_COLUMNS:]
    kept = sorted(kept, key=lambda one: one[:2])[-MOST_COLUMNS:]
    return tuple(column for _, _, column in sorted(kept, key=lambda one: -one[1]))


def _between(column: Column, outcome: Outcome, answer: Float[np.ndarray, " known"]) -> float:
    """The share of the variance of an answer that lies between bins of rows in the order of a column."""
    if len(answer) < 2 * BINS or answer.std() == 0:
        return 0.0
    code = column.code[outcome.known]
    order = np.argsort(np.where(code < 0, len(column.values), code), kind="stable")
    size = len(answer) // BINS
    mean = answer[order[: size * BINS]].reshape(BINS, size).mean(axis=1)
    return float(mean.var() / answer.var())


def _asks_for_a_look(column: Column) -> float:
    """1 for words, and for names of what is known afterwards, of ids, of sites, and of what stays with a person."""
    return float(column.is_word or bool(_NAMES & set(words_of(column.name))))


_NAMES = AFTERWARDS | NAMES_OF_IDS | NAMES_OF_SITES | PERSON


def _outcomes(name: str, prepared: Prepared, marks: Marks) -> list[Outcome]:
    """What a target's marks could be told as; none for dense ones, which have no value a row."""
    task = prepared.study.targets[name].task
    values = np.asarray(marks.values)
    if task == "classify" and values.ndim == 2:
        return [Outcome(name, str(label), "binary", values[:, i]) for i, label in enumerate(marks.names)]
    if task == "classify":
        counts = np.bincount(values[values >= 0], minlength=len(marks.names))
        order = np.argsort(counts, kind="stable")
        several = [c for c in order[:: -1 if len(order) > 2 else 1] if counts[c] >= 5][:10]
        chosen = several if len(order) > 2 else several[:1]
        return [Outcome(name, str(marks.names[c]), "binary", np.where(values < 0, np.nan, values == c)) for c in chosen]
    if task == "regress":
        return [Outcome(name, "", "number", values.astype(np.float64))]
    if task == "survive":
        return [Outcome(name, "", "survival", values[:, 0].astype(np.float64), values[:, 1].astype(np.float64))]
    return []
