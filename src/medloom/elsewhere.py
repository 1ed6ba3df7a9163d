"""Other data with known answers, as a bundle reads them: what judging and recalibrating elsewhere begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medloom import find
from medloom.bundle import Beside, Bundle, OnProblem
from medloom.cohort.table import Cohort, read_cohort
from medloom.errors import DataError, counted, some
from medloom.evaluation.baseline import Blocks, calibrated, measured
from medloom.evaluation.intervals import Comparison
from medloom.evaluation.result import is_baseline
from medloom.feed import Feed, text_columns
from medloom.judging import Judged, Trained
from medloom.modality import Marks
from medloom.prepare import with_answers
from medloom.study import Study
from medloom.task import Member
from medloom.told import Problem


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Rows of another place or time, read and packed by a bundle, with their answers."""

    study: Study
    cohort: Cohort
    marks: Mapping[str, Marks]
    feed: Feed
    problems: tuple[Problem, ...]


def opened(
    held: Bundle,
    data: Any,
    problems: OnProblem,
    tables: Mapping[str, Any] | None,
    folder: str | Path | None = None,
) -> Elsewhere:
    """Reads other data; relative paths begin at `folder`, else beside the table.

    Raises DataError for what does not fit the bundle, and where no answer is known.
    """
    beside = Path(data).parent if isinstance(data, (str, Path)) else Path()
    study = held.study.within(beside if folder is None else Path(folder))
    cohort = read_cohort(study.cohort, study.folder, data=data, text=text_columns(study), tables=tables)
    if folder is not None:
        cohort = replace(cohort, files=Path(folder))
    lacking = [
        (name, column)
        for name, part in study.targets.items()
        for column in find.task(part.task).columns(part)
        if column not in cohort.frame.columns
    ]
    if lacking:
        told = ", ".join(f"{column!r} (of {name})" for name, column in lacking)
        raise DataError(
            f"the table has no {'column' if len(lacking) == 1 else 'columns'} {told}, and a bundle is judged by answers; "
            "give a table that holds them, or `medloom predict` for rows without"
        )
    marks = {name: find.task(part.task).read(part, cohort) for name, part in study.targets.items()}
    if not any(one.present.any() for one in marks.values()):
        raise DataError(
            f"none of the {counted(len(cohort), 'row')} has a known answer of {some(list(marks))}; expected rows with answers to judge "
            "the bundle by: give a table that holds them, or `medloom predict` for rows without"
        )
    feed, found = held.feed(cohort, problems)
    return Elsewhere(study, cohort, marks, with_answers(feed, study, marks, np.arange(len(cohort))), tuple(found))


def judged_beside(held: Bundle, feed: Feed, judged: Judged, rows: np.ndarray) -> Judged:
    """What was judged, with the simple models that the bundle holds on the same rows."""
    found = {}
    for target, entrants in judged.measured.items():
        beside = held.beside.get(target)
        more = {} if beside is None else {beside.name: measured(beside.task, beside.member, _rows(feed, target, rows))}
        found[target] = {**entrants, **more}
    return replace(judged, measured=found)


def best_beside(trained: Trained, comparisons: Mapping[str, Comparison]) -> dict[str, Beside]:
    """The best of each target's simple models that a bundle can hold, by the headline on the rows that judged.

    Where nobody judged it is the first one. A simple model that is all of the team is not held twice.
    """
    fold, feed, found = trained.prepared.fold, trained.prepared.feed, {}
    for target, each in trained.simple.items():
        members = {name: one for name, one in each.items() if isinstance(one, Member)}
        members = {name: one for name, one in members.items() if trained.team.members(target) != (name,)}
        if not members or not trained.prepared.study.evaluate.baselines:
            continue
        name = _best(trained, target, list(members), comparisons.get(target))
        task = trained.beside.get(target, {}).get(name)
        if task is None:
            task = calibrated(feed.tasks[target], members[name], _rows(feed, target, fold.calibrate))
        found[target] = Beside(name, members[name], task)
    return found


def _best(trained: Trained, target: str, names: list[str], comparison: Comparison | None) -> str:
    headline, metric = next(iter(trained.tasks[target].metrics().items()))
    estimates = {} if comparison is None else comparison.estimates
    values = {n: estimates[n][headline].value for n in names if n in estimates and is_baseline(n)}
    known = {name: value for name, value in values.items() if value is not None}
    sign = 1 if metric.higher_is_better else -1
    return max(known, key=lambda name: sign * known[name]) if known else names[0]


def _rows(feed: Feed, target: str, rows: np.ndarray) -> Blocks:
    return Blocks.of(feed, target, rows)
