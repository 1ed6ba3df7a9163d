"""A bundle set to the rows of another place: what local answers say of its calibration, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medloom.batch import Field, Output
from medloom.bundle import Bundle, OnProblem, load
from medloom.draw import generator
from medloom.elsewhere import Elsewhere, opened
from medloom.errors import DataError, StudyError
from medloom.evaluation.baseline import answered
from medloom.evaluation.intervals import MODEL, Comparison, compare
from medloom.model.outputs import outputs
from medloom.task import Measured, Task

PARTS = 5
"""Parts of the local patients; each is judged by what the others set."""
BEFORE = "before"


@dataclass(frozen=True, slots=True)
class Local:
    """What one target says of local rows with a known answer, and whose rows these are."""

    output: Output
    target: Field
    patient: np.ndarray

    def __len__(self) -> int:
        return len(self.patient)

    def take(self, rows: np.ndarray) -> Local:
        """These rows of it."""
        place = torch.from_numpy(rows)
        target = replace(
            self.target,
            value=self.target.value[place],
            present=self.target.present[place],
            valid=None if self.target.valid is None else self.target.valid[place],
        )
        return Local({name: value[place] for name, value in self.output.items()}, target, self.patient[rows])


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """The bundle that was made, and figures before and after by target: None where `note` says that there are none."""

    bundle: Bundle
    comparisons: Mapping[str, Comparison | None]
    notes: Mapping[str, str]


def recalibrate(
    bundle: Bundle | str | Path,
    data: Any,
    out: str | Path,
    *,
    problems: OnProblem = "refuse",
    tables: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
) -> Recalibrated:
    """Sets every target of a bundle to local rows and saves it into `out`; the networks stay as they are.

    Relative paths begin at `folder`, else beside the table.

    Figures before and after are cross-fitted: each part of the local patients is judged by what the others set, so they
    are of rows that set nothing. The bundle that is saved is set by all rows. Raises DataError where there are too few
    rows or events, and says how many are needed; StudyError for a task that has nothing to set, and where `out` is the
    bundle itself.
    """
    if not isinstance(bundle, Bundle) and Path(out).resolve() == Path(bundle).resolve():
        raise StudyError(f"{out} is the bundle that shall be recalibrated; choose another folder for the new one")
    held = bundle if isinstance(bundle, Bundle) else load(bundle)
    there = opened(held, data, problems, tables, folder)
    tasks, comparisons, notes = {}, {}, {}
    for name, task in held.tasks.items():
        local = _local(held, there, name)
        tasks[name] = task.recalibrate([(local.output, local.target)] if len(local) else [])
        comparisons[name], notes[name] = _crossfitted(task, local, there)
    made = replace(held, tasks=tasks, card={**held.card, "recalibrated": _card(comparisons, notes)})
    made.save(out)
    return Recalibrated(made, comparisons, notes)


def _local(held: Bundle, there: Elsewhere, name: str) -> Local:
    task = held.tasks[name]
    if task.dense or task.sees_inputs:
        task.recalibrate([])
    rows = answered(there.feed, name, np.arange(len(there.cohort)))
    if not len(rows):
        raise DataError(f"targets.{name}: no local row has a known answer; expected at least 20 of each class or event")
    said: list[Output] = []
    fields: list[Field] = []
    for _, answers, known in outputs(held.team, there.feed, rows):
        output, truth = answers[name], known[name]
        assert isinstance(output, dict) and isinstance(truth, Field)
        said.append(output)
        fields.append(truth)
    whole = {key: torch.cat([one[key] for one in said]) for key in said[0]}
    valid = [one.valid for one in fields if one.valid is not None]
    target = Field(
        torch.cat([one.value for one in fields]),
        torch.cat([one.present for one in fields]),
        valid=torch.cat(valid) if valid else None,
    )
    return Local(whole, target, there.cohort.patient[rows])


def _crossfitted(task: Task, local: Local, there: Elsewhere) -> tuple[Comparison | None, str]:
    """The figures after less those before, on the same rows; or why they cannot be estimated."""
    study = there.study
    distinct, place = np.unique(local.patient, return_inverse=True)
    part = (generator(study.seed, "recalibrate").permutation(len(distinct)) % PARTS)[place]
    after: list[Measured] = []
    before: list[Measured] = []
    patient: list[np.ndarray] = []
    try:
        for number in range(PARTS):
            others, judged = (local.take(np.flatnonzero(of)) for of in (part != number, part == number))
            if not len(judged):
                continue
            fitted = task.recalibrate([(others.output, others.target)])
            after.append(fitted.measure(fitted.decode(judged.output), judged.target))
            before.append(task.measure(task.decode(judged.output), judged.target))
            patient.append(judged.patient)
    except DataError as error:
        return None, f"cannot be estimated: four fifths of the local rows are too few to be set by ({error})"
    entrants = {MODEL: _joined(after), BEFORE: _joined(before)}
    options = study.evaluate
    return (
        compare(
            task.metrics(),
            entrants,
            np.concatenate(patient),
            resamples=options.resamples,
            level=options.level,
            seed=study.seed,
        ),
        "",
    )


def _joined(parts: Sequence[Measured]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _card(comparisons: Mapping[str, Comparison | None], notes: Mapping[str, str]) -> dict[str, Any]:
    """What the card tells: rows, patients, and figures before and after with their change."""
    found: dict[str, Any] = {}
    for name, one in comparisons.items():
        if one is None:
            found[name] = {"note": notes[name]}
            continue
        each = {"before": one.estimates[BEFORE], "after": one.estimates[MODEL], "change": one.differences[BEFORE]}
        figures = {key: {figure: estimate.plain() for figure, estimate in of.items()} for key, of in each.items()}
        found[name] = {"rows": one.rows, "patients": one.patients, "parts": PARTS, **figures}
    return found
