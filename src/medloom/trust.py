"""How far answers can be trusted, beside how good they are: coverage of sets by group, and what is left to a person."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medloom.cohort.table import Cohort
from medloom.evaluation.grouping import Grouping, by_value
from medloom.evaluation.intervals import MODEL
from medloom.evaluation.kept import Kept, kept
from medloom.evaluation.subgroups import NAMED, Subgroups, subgroups
from medloom.judging import Judged
from medloom.study import Study
from medloom.task import Task


def all_kept(study: Study, tasks: Mapping[str, Task], judged: Judged) -> dict[str, Kept]:
    """Of every target that leaves rows to a person, the figures on the others."""
    options, found = study.evaluate, {}
    for name, entrants in judged.measured.items():
        one = kept(
            tasks[name].metrics(),
            entrants[MODEL],
            judged.patient[name],
            resamples=options.resamples,
            level=options.level,
            seed=study.seed,
            of=study.cohort.unit,
        )
        if one is not None:
            found[name] = one
    return found


def coverage(study: Study, tasks: Mapping[str, Task], judged: Judged, cohort: Cohort) -> dict[str, Subgroups]:
    """Of every target with limits by group or by class, how often they hold the truth in each, and how wide they are."""
    found = {}
    for name, entrants in judged.measured.items():
        grouping = _grouping(tasks[name], name, judged, cohort)
        metrics = {n: metric for n, metric in tasks[name].metrics().items() if metric.group == "intervals"}
        if grouping is None or not metrics:
            continue
        found[name] = subgroups(
            metrics,
            entrants[MODEL],
            judged.patient[name],
            (grouping,),
            resamples=study.evaluate.resamples,
            level=study.evaluate.level,
            seed=study.seed,
            minimum=NAMED,
            of=study.cohort.unit,
        )
    return found


def _grouping(task: Task, target: str, judged: Judged, cohort: Cohort) -> Grouping | None:
    by = getattr(task.options, "conformal_by", None)  # type: ignore[attr-defined]
    if by is None:
        return None
    if task.group_column() is None:
        truth = judged.measured[target][MODEL]["truth"]
        names = task.classes  # type: ignore[attr-defined]
        return Grouping("class", names, np.where(np.isnan(truth), -1, np.nan_to_num(truth)).astype(np.int64))
    if by not in cohort.frame.columns:
        return None
    return by_value(by, cohort.column(by, f"targets.{target}.conformal_by")).take(judged.rows[target])
