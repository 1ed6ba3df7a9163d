"""One fold: a team trained, calibrated and judged on rows it has not seen, beside baselines; and folds pooled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom.answers import Answers
from medloom.batch import Field
from medloom.cohort.table import Cohort
from medloom.errors import DataError
from medloom.evaluation.baseline import Fitted, answered, judge_baselines
from medloom.evaluation.intervals import MODEL, Comparison, compare
from medloom.evaluation.result import WITHOUT
from medloom.feed import Feed
from medloom.model.outputs import apart, outputs, together
from medloom.model.start import Begun
from medloom.model.team import Said, Team, stacked
from medloom.parts import TrainPart
from medloom.prepare import Prepared
from medloom.rehearsing import Rehearsed, last_part, rehearse
from medloom.rundir import TrainingFolder
from medloom.study import Study
from medloom.task import Measured, Task
from medloom.teaching import members_of, teach_networks, teach_simple
from medloom.training import distributed
from medloom.training.loop import Event, Watch


@dataclass(frozen=True, slots=True)
class Trained:
    """A team with its calibrated tasks, and the baselines of the same rows.

    `without` holds, by target and member, the task calibrated to the answers of all others. `histories` has the losses
    of each network; `kept_step` is the step whose weights it has (the median over networks), of `steps` planned.
    """

    prepared: Prepared
    team: Team
    tasks: Mapping[str, Task]
    without: Mapping[str, Mapping[str, Task]]
    simple: Fitted
    histories: tuple[Sequence[Mapping[str, float]], ...]
    kept_step: int
    steps: int
    begun: tuple[Begun, ...] = ()
    """What each network began with, where that is from elsewhere."""
    beside: Mapping[str, Mapping[str, Task]] = field(default_factory=dict)
    """After rehearsals, the task calibrated to each simple model, by target and name."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was measured: target → entrant → arrays, one entry a row with a known answer, and whose rows these are.

    `rows` are the places of these rows in the cohort.
    """

    measured: Mapping[str, Mapping[str, Measured]]
    patient: Mapping[str, Int[np.ndarray, " rows"]]
    table: pl.DataFrame = field(default_factory=pl.DataFrame)
    rows: Mapping[str, Int[np.ndarray, " rows"]] = field(default_factory=dict)


def train_one(prepared: Prepared, part: TrainPart, folder: TrainingFolder, watch: Watch) -> Trained:
    """Trains all members on the fold's rows, networks from the folder's checkpoints on where there are any.

    Shares of members and calibration are of the calibration rows, or of what rehearsals answered. Of several ranks, the
    first one alone sees to them.
    """
    study, feed, fold = prepared.study, prepared.feed, prepared.fold
    rehearsed = None
    if study.split.rehearsals:
        rehearsed = rehearse(prepared, part, folder, watch)
        part = last_part(part, study.split.rehearsals)
    taught = teach_networks(prepared, part, folder, watch)
    history = taught.histories, taught.kept_step, taught.steps, taught.begun
    if not distributed.current().leads:
        return Trained(prepared, Team(taught.networks), feed.tasks, {}, {}, *history)
    watch(Event("baselines", 0, 0))
    simple = teach_simple(prepared)
    team = Team(taught.networks, members_of(study, simple))
    team, tasks, without = _calibrated(team, feed, fold.calibrate, rehearsed)
    beside = {} if rehearsed is None else rehearsed.calibrated(feed.tasks)
    return Trained(prepared, team, tasks, without, simple, *history, beside)


def judge_one(trained: Trained, masks: Path) -> Judged:
    """The test rows of the fold, judged once: by the team, by the team less each member, and by the baselines.

    Of several ranks, the first one judges, and the others get nothing.
    """
    if not distributed.current().leads:
        return Judged({}, {})
    prepared = trained.prepared
    feed, fold = prepared.feed, prepared.fold
    calibrated = replace(feed, tasks=trained.tasks)
    judged = judge(trained.team, calibrated, fold.test, prepared.cohort, masks, trained.without)
    beside = {
        target: {name: one for name, one in each.items() if trained.team.members(target) != (name,)}
        for target, each in trained.simple.items()
        if prepared.study.evaluate.baselines
    }
    simple = judge_baselines(feed, beside, fold.calibrate, fold.test, rehearsed=trained.beside)
    measured = {name: {**ours, **simple.get(name, {})} for name, ours in judged.measured.items()}
    return replace(judged, measured=measured)


def judge(
    team: Team,
    feed: Feed,
    rows: Int[np.ndarray, " rows"],
    cohort: Cohort,
    masks: Path,
    without: Mapping[str, Mapping[str, Task]] | None = None,
) -> Judged:
    """What is measured of each target on its rows with a known answer, and the predictions of all rows.

    `without` names members whose absence is measured too, each with the task calibrated to the others' answers.
    """
    answers = Answers(feed, masks)
    parts: dict[str, dict[str, list[Measured]]] = {name: {} for name in feed.tasks}
    for block, said, truths in apart(team, feed, rows):
        for name, task in feed.tasks.items():
            prediction = task.decode(together(team, feed, name, said[name]))
            answers.add(name, prediction, block)
            known = np.isin(block, answered(feed, name, block))
            if not known.any():
                continue
            entrants = {MODEL: task.measure(prediction, truths[name])}
            for member, other in (without or {}).get(name, {}).items():
                less = together(team, feed, name, _less(said[name], member))
                entrants[WITHOUT + member] = other.measure(other.decode(less), truths[name])
            for entrant, measured in entrants.items():
                parts[name].setdefault(entrant, []).append({key: value[known] for key, value in measured.items()})
    joined = {name: {e: _joined(name, blocks) for e, blocks in each.items()} for name, each in parts.items() if each}
    known_rows = {name: answered(feed, name, rows) for name in joined}
    patient = {name: cohort.patient[of] for name, of in known_rows.items()}
    return Judged(joined, patient, answers.frame(cohort.row.gather(rows).alias("row")), known_rows)


def pooled(folds: Sequence[Judged]) -> Judged:
    """The rows of all folds together, each judged by a network that has not seen its patient.

    Rows of several repeats stand side by side and are not averaged: a mean over networks would judge an ensemble that
    nobody gets. Intervals resample patients with all their rows, so repeats do not make them narrower.
    Source: Forman & Scholz, "Apples-to-apples in cross-validation studies", SIGKDD Explorations 12, 2010.
    """
    measured: dict[str, dict[str, Measured]] = {}
    patient: dict[str, np.ndarray] = {}
    rows: dict[str, np.ndarray] = {}
    for target in dict.fromkeys(name for fold in folds for name in fold.measured):
        held = [fold for fold in folds if target in fold.measured]
        everywhere = [n for n in held[0].measured[target] if all(n in fold.measured[target] for fold in held)]
        measured[target] = {n: _joined(target, [fold.measured[target][n] for fold in held]) for n in everywhere}
        patient[target] = np.concatenate([fold.patient[target] for fold in held])
        rows[target] = np.concatenate([fold.rows[target] for fold in held])
    return Judged(measured, patient, pl.concat([fold.table for fold in folds], how="diagonal_relaxed"), rows)


def compared(study: Study, tasks: Mapping[str, Task], judged: Judged) -> dict[str, Comparison]:
    """Every target's figures with intervals over patients, and the paired differences from the baselines."""
    options = study.evaluate
    return {
        name: compare(
            tasks[name].metrics(),
            entrants,
            judged.patient[name],
            resamples=options.resamples,
            level=options.level,
            seed=study.seed,
            of=study.cohort.unit,
        )
        for name, entrants in judged.measured.items()
    }


def _joined(target: str, blocks: Sequence[Measured]) -> Measured:
    if len({tuple(block[key].shape[1:] for key in blocks[0]) for block in blocks}) > 1:
        raise DataError(
            f"targets.{target}: the folds were fitted to different answers (a class that one fold lacks?); "
            "give fewer folds, or pool rare answers"
        )
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def _less(said: Mapping[str, Any], member: str) -> dict[str, Any]:
    return {name: output for name, output in said.items() if name != member}


def _calibrated(
    team: Team, feed: Feed, rows: Int[np.ndarray, " rows"], rehearsed: Rehearsed | None
) -> tuple[Team, dict[str, Task], dict[str, dict[str, Task]]]:
    """Shares of the members, tasks calibrated to what they say together, and tasks calibrated without each of them.

    All of it on these rows alone, or on what was rehearsed; as it was where there are none.
    """
    tasks, without = {}, {}
    for name, task in feed.tasks.items():
        known = answered(feed, name, rows)
        members = team.members(name)
        if len(members) == 1 and rehearsed is None:
            blocks = outputs(team, feed, known) if len(known) else ()
            tasks[name] = _set(task, ((raw[name], truths[name]) for _, raw, truths in blocks), len(known))
            continue
        held = _held(team, feed, name, known) if rehearsed is None else rehearsed.said.get(name, [])
        if held and len(members) > 1:
            team = team.sharing(name, stacked(task, held, None if rehearsed is None else rehearsed.dates[name]))
        tasks[name] = _set(task, [(team.together(name, task, said), truth) for said, truth in held], len(held))
        without[name] = {
            member: _set(
                task, [(team.together(name, task, _less(said, member)), truth) for said, truth in held], len(held)
            )
            for member in members
            if len(members) > 1
        }
    return team, tasks, without


def _held(team: Team, feed: Feed, target: str, rows: Int[np.ndarray, " rows"]) -> list[tuple[Said, Field]]:
    """What each member says of these rows, with what is true."""
    return [(said[target], truths[target]) for _, said, truths in apart(team, feed, rows)] if len(rows) else []  # type: ignore[misc]


def _set(task: Task, answers: Iterable[tuple[Any, Any]], count: int) -> Task:
    return task.calibrate(answers) if count else task
