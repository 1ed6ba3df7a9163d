"""One fold: a network trained, calibrated and judged on rows it has not seen, beside baselines; and folds pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom.answers import Answers
from medloom.cohort.table import Cohort
from medloom.errors import DataError
from medloom.evaluation.baseline import answered, run_baselines
from medloom.evaluation.intervals import MODEL, Comparison, compare
from medloom.feed import Feed
from medloom.model.assembly import Network, assemble
from medloom.model.outputs import outputs
from medloom.parts import TrainPart
from medloom.prepare import Prepared
from medloom.rundir import TrainingFolder
from medloom.study import Study
from medloom.task import Measured, Task
from medloom.training import distributed
from medloom.training.loop import Watch, train
from medloom.training.plan import Plan, make_plan


@dataclass(frozen=True, slots=True)
class Trained:
    """A network with its calibrated tasks. `kept_step` is the step whose weights it has, of `steps` planned."""

    prepared: Prepared
    network: Network
    tasks: Mapping[str, Task]
    history: Sequence[Mapping[str, float]]
    kept_step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What was measured: target → entrant → arrays, one entry a row with a known answer, and whose rows these are."""

    measured: Mapping[str, Mapping[str, Measured]]
    patient: Mapping[str, Int[np.ndarray, " rows"]]
    table: pl.DataFrame = field(default_factory=pl.DataFrame)


def train_one(prepared: Prepared, part: TrainPart, folder: TrainingFolder, watch: Watch) -> Trained:
    """Trains on the fold's rows, from the folder's checkpoint on where there is one, and calibrates."""
    study, feed, fold = prepared.study, prepared.feed, prepared.fold
    network = assemble(feed.modalities, feed.tasks, study.model, study.seed)
    train_rows, valid_rows = (_with_any_answer(feed, rows) for rows in (fold.train, fold.valid))
    weights = {name: target.loss_weight for name, target in study.targets.items()}
    plan = distributed.current().in_turn(_planned, folder, part, network, feed, train_rows, study.seed, weights)
    progress = train(network, feed, (train_rows, valid_rows), part, plan, folder.checkpoint, watch)
    kept = progress.best_step if part.keep == "best" and progress.best_loss is not None else progress.step
    tasks = {name: _calibrated(network, feed, name, fold.calibrate) for name in feed.tasks}
    return Trained(prepared, network, tasks, progress.history, kept, plan.steps)


def _planned(
    folder: TrainingFolder,
    part: TrainPart,
    network: Network,
    feed: Feed,
    rows: Int[np.ndarray, " train"],
    seed: int,
    weights: Mapping[str, float],
) -> Plan:
    """The plan that the training began with; made and kept where it begins now."""
    plan = folder.plan()
    if plan is None:
        plan = make_plan(part, network, feed, rows, seed, weights, distributed.current())
        folder.keep_plan(plan)
    return plan


def judge_one(trained: Trained, masks: Path) -> Judged:
    """The test rows of the fold, judged once: by the network, and by the baselines trained on the same rows.

    Of several ranks, the first one judges, and the others get nothing.
    """
    if not distributed.current().leads:
        return Judged({}, {})
    prepared = trained.prepared
    study, feed, fold = prepared.study, prepared.feed, prepared.fold
    judged = judge(trained.network, replace(feed, tasks=trained.tasks), fold.test, prepared.cohort, masks)
    if not study.evaluate.baselines:
        return judged
    simple = run_baselines(feed, feed.tasks, fold.train, fold.valid, fold.calibrate, fold.test, study.seed)
    measured = {name: {**ours, **simple.get(name, {})} for name, ours in judged.measured.items()}
    return replace(judged, measured=measured)


def judge(network: Network, feed: Feed, rows: Int[np.ndarray, " rows"], cohort: Cohort, masks: Path) -> Judged:
    """What is measured of each target on its rows with a known answer, and the predictions of all rows."""
    answers = Answers(feed, masks)
    parts: dict[str, list[Measured]] = {name: [] for name in feed.tasks}
    for block, raw, truths in outputs(network, feed, rows):
        for name, task in feed.tasks.items():
            prediction = task.decode(raw[name])
            answers.add(name, prediction, block)
            known = np.isin(block, answered(feed, name, block))
            if known.any():
                measured = task.measure(prediction, truths[name])
                parts[name].append({key: value[known] for key, value in measured.items()})
    joined = {name: {MODEL: _joined(name, blocks)} for name, blocks in parts.items() if blocks}
    patient = {name: cohort.patient[answered(feed, name, rows)] for name in joined}
    return Judged(joined, patient, answers.frame(cohort.row.gather(rows).alias("row")))


def pooled(folds: Sequence[Judged]) -> Judged:
    """The rows of all folds together, each judged by a network that has not seen its patient.

    Rows of several repeats stand side by side and are not averaged: a mean over networks would judge an ensemble that
    nobody gets. Intervals resample patients with all their rows, so repeats do not make them narrower.
    Source: Forman & Scholz, "Apples-to-apples in cross-validation studies", SIGKDD Explorations 12, 2010.
    """
    measured: dict[str, dict[str, Measured]] = {}
    patient: dict[str, np.ndarray] = {}
    for target in dict.fromkeys(name for fold in folds for name in fold.measured):
        held = [fold for fold in folds if target in fold.measured]
        everywhere = [n for n in held[0].measured[target] if all(n in fold.measured[target] for fold in held)]
        measured[target] = {n: _joined(target, [fold.measured[target][n] for fold in held]) for n in everywhere}
        patient[target] = np.concatenate([fold.patient[target] for fold in held])
    return Judged(measured, patient, pl.concat([fold.table for fold in folds], how="diagonal_relaxed"))


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


def _with_any_answer(feed: Feed, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " some"]:
    known = np.zeros(len(rows), bool)
    for name in feed.tasks:
        known |= np.isin(rows, answered(feed, name, rows))
    return rows[known]


def _calibrated(network: Network, feed: Feed, target: str, rows: Int[np.ndarray, " rows"]) -> Task:
    """The task calibrated on these rows alone; as it was where there are none."""
    rows = answered(feed, target, rows)
    if not len(rows) or not distributed.current().leads:
        return feed.tasks[target]
    blocks = outputs(network, feed, rows)
    return feed.tasks[target].calibrate((raw[target], truths[target]) for _, raw, truths in blocks)  # type: ignore[misc]
