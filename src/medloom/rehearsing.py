"""Rehearsals: teams taught by earlier rows answer the later ones, before a team is taught by all of them.

What they answered wrongly, and how far off, is what a team that is taught by everything will do with rows that are
later still. Rows that were held back for calibration would be the latest ones, which it then never learns from; rows
that taught are answered too well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from medloom.batch import Field, Output
from medloom.cohort.split import Fold, rehearsals
from medloom.errors import DataError
from medloom.evaluation.baseline import Blocks, Fitted, answered, answers_of
from medloom.model.outputs import apart
from medloom.model.team import Said, Team
from medloom.parts import TrainPart
from medloom.prepare import Prepared, fitted
from medloom.rundir import TrainingFolder
from medloom.task import Task
from medloom.teaching import members_of, teach_networks, teach_simple
from medloom.training import distributed
from medloom.training.loop import Event, Watch


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What was said of rows later than those that taught, with what is true of them.

    `said` is by target what each member said; `beside` by target and name what each simple model said. `dates` counts the
    index times of these rows by target: rows of one time rise and fall together, and say little more than one.
    """

    said: Mapping[str, list[tuple[Said, Field]]] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, list[tuple[Output, Field]]]] = field(default_factory=dict)
    dates: Mapping[str, int] = field(default_factory=dict)

    def calibrated(self, tasks: Mapping[str, Task]) -> dict[str, dict[str, Task]]:
        """Each task calibrated to each simple model."""
        return {
            target: {name: tasks[target].calibrate(answers) for name, answers in each.items()}
            for target, each in self.beside.items()
        }


def rehearse(prepared: Prepared, part: TrainPart, folder: TrainingFolder, watch: Watch) -> Rehearsed:
    """Teaches a team for each rehearsal of the study and keeps what it answers, the oldest first.

    Every rehearsal fits inputs and tasks anew, on the rows that teach in it alone. Of several ranks, the first one alone
    gets answers. Raises DataError where too few rows came before.
    """
    fold, split = prepared.fold, prepared.study.split
    every = rehearsals(split, prepared.cohort, fold)
    said: dict[str, list[tuple[Said, Field]]] = {}
    beside: dict[str, dict[str, list[tuple[Output, Field]]]] = {}
    for place, one in enumerate(every, 1):
        watch(Event("rehearsal", place, len(every)))
        again = _prepared(prepared, one, place)
        own = _part(part, split.rehearsals, len(one.train) / max(1, len(fold.train)))
        networks = teach_networks(again, own, folder.below(f"rehearsal-{place:03d}"), watch).networks
        if not distributed.current().leads:
            continue
        simple = teach_simple(again)
        for target, output, truth in _said(Team(networks, members_of(again.study, simple)), again):
            said.setdefault(target, []).append((output, truth))
        for target, name, answers in _beside(simple, again):
            beside.setdefault(target, {}).setdefault(name, []).extend(answers)
    return Rehearsed(said, beside, _dates(prepared, every))


def last_part(part: TrainPart, count: int) -> TrainPart:
    """The budget of the training after so many rehearsals: minutes are those of all of them together."""
    return part if part.minutes is None else part.model_copy(update={"minutes": part.minutes / (count + 1)})


def _part(part: TrainPart, count: int, share: float) -> TrainPart:
    """The budget of one rehearsal: steps by its share of the rows, so that each is learnt as often."""
    if part.steps is None:
        return last_part(part, count)
    return part.model_copy(update={"steps": max(1, round(part.steps * min(1.0, share)))})


def _prepared(prepared: Prepared, fold: Fold, place: int) -> Prepared:
    study = prepared.study
    split = study.split.model_copy(update={"by": "time", "column": None})
    asked = study.model_copy(update={"split": split}).within(study.folder)
    try:
        return fitted(asked, prepared.cohort, prepared.marks, fold, prepared.sources)
    except DataError as error:
        raise DataError(
            f"split.rehearsals: rehearsal {place} has too little to learn from: {error}\n"
            "give fewer rehearsals, or a smaller split.rehearsed"
        ) from error


def _said(team: Team, prepared: Prepared) -> Iterator[tuple[str, Said, Field]]:
    """What each member says of rows whose answer is known, by target."""
    feed = prepared.feed
    for target in feed.tasks:
        rows = answered(feed, target, prepared.fold.test)
        for _, said, truths in apart(team, feed, rows) if len(rows) else ():
            yield target, said[target], truths[target]  # type: ignore[misc]


def _dates(prepared: Prepared, folds: Sequence[Fold]) -> dict[str, int]:
    """How many index times the rehearsed rows with a known answer have, by target."""
    at, rows = prepared.cohort.at, np.concatenate([fold.test for fold in folds])
    assert at is not None
    return {target: len(np.unique(at[answered(prepared.feed, target, rows)])) for target in prepared.feed.tasks}


def _beside(simple: Fitted, prepared: Prepared) -> Iterator[tuple[str, str, list[tuple[Output, Field]]]]:
    for target, each in simple.items():
        blocks = Blocks.of(prepared.feed, target, prepared.fold.test)
        for name, baseline in each.items():
            yield target, name, list(answers_of(baseline, blocks))
