"""The path, as functions: `fit`, `evaluate`, `predict`. Every door calls these; there is no second path."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom import find
from medloom.answers import Answers
from medloom.bundle import Bundle, OnProblem, load
from medloom.cohort.table import Cohort, read_cohort
from medloom.evaluation.baseline import answered, run_baselines
from medloom.evaluation.intervals import Comparison, compare
from medloom.evaluation.result import metrics_json, target_result
from medloom.feed import Feed, text_columns
from medloom.model.assembly import Network, assemble
from medloom.model.outputs import outputs
from medloom.prepare import Prepared, fingerprint, fold_table, prepare, with_answers
from medloom.prepare import read as read_data
from medloom.report.compose import Story, card, compose
from medloom.report.page import write as write_report
from medloom.rundir import RunFolder, write_text
from medloom.study import Study
from medloom.study import read as read_study
from medloom.study_text import dump_toml, with_folders
from medloom.task import Measured, Task
from medloom.training.loop import Event, Watch, train
from medloom.training.plan import make_plan


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its folder and its figures, as in `metrics.json`."""

    folder: Path
    metrics: Mapping[str, Any]

    @property
    def report(self) -> Path:
        """The report, one self-contained HTML file."""
        return self.folder / "report.html"

    @property
    def bundle(self) -> Bundle:
        """The fitted study, loaded from the run's folder."""
        return load(self.folder / "bundle")

    @property
    def predictions(self) -> pl.DataFrame:
        """Answers for the rows that were judged."""
        return pl.read_parquet(self.folder / "predictions.parquet")


def fit(
    study: Study | str | Path,
    out: str | Path = "run",
    *,
    data: Any = None,
    tables: Mapping[str, Any] | None = None,
    watch: Watch = lambda event: None,
    overrides: Sequence[str] = (),
) -> Run:
    """Trains, measures beside baselines, writes report and bundle into `out`; resumes where a run stopped there.

    `study` is a Study or the path of a study file; `data` a frame or a path in place of its table; `tables` frames
    for inputs that have a table of their own. Raises StudyError, DataError, and Interrupted after Ctrl-C.
    """
    asked = study if isinstance(study, Study) else read_study(study, overrides)
    resolved, cohort, marks = read_data(asked, data, tables)
    folder = RunFolder(out)
    folder.claim(_identity(resolved, cohort), dump_toml(with_folders(resolved)))
    if folder.finished:
        return _opened(folder.path)
    prepared = prepare(resolved, cohort, marks, folder.work / "packed")
    fold_table(prepared).write_parquet(folder.path / "split.parquet")
    network, history = _trained(prepared, folder, watch)
    watch(Event("judge", 0, 0))
    fold, feed = prepared.fold, prepared.feed
    tasks = {name: _calibrated(network, feed, name, fold.calibrate) for name in feed.tasks}
    judged = replace(feed, tasks=tasks)
    measured, table = judge(network, judged, fold.test, prepared.cohort, folder.path / "masks")
    simple = {}
    if resolved.evaluate.baselines:
        simple = run_baselines(feed, feed.tasks, fold.train, fold.valid, fold.calibrate, fold.test, resolved.seed)
    comparisons = _compared(resolved, judged, measured, simple, fold.test, prepared.cohort)
    story = Story(
        prepared,
        network,
        tasks,
        comparisons,
        {n: {"model": m, **simple.get(n, {})} for n, m in measured.items()},
        history,
    )
    table.write_parquet(folder.path / "predictions.parquet")
    _write_results(story, folder.path)
    Bundle(resolved, feed.modalities, tasks, network, card(story)).save(folder.path / "bundle")
    folder.finish()
    return _opened(folder.path)


def evaluate(
    bundle: Bundle | str | Path,
    data: Any,
    out: str | Path,
    *,
    problems: OnProblem = "refuse",
    tables: Mapping[str, Any] | None = None,
) -> Run:
    """Judges a bundle on other data with known answers; writes the same files as `fit`, less the bundle.

    Nothing is fitted here, so there are no baselines. Raises BundleError, and DataError for rows that do not fit.
    """
    held = bundle if isinstance(bundle, Bundle) else load(bundle)
    folder = Path(data).parent if isinstance(data, (str, Path)) else Path()
    study = held.study.within(folder)
    cohort = read_cohort(study.cohort, folder, data=data, text=text_columns(study), tables=tables)
    marks = {name: find.task(part.task).read(part, cohort) for name, part in study.targets.items()}
    feed, found = held.feed(cohort, problems)
    rows = np.arange(len(cohort))
    feed = with_answers(feed, study, marks, rows)
    target = RunFolder(out)
    target.claim(_identity(study, cohort), dump_toml(with_folders(study)))
    measured, table = judge(held.network, feed, rows, cohort, target.path / "masks")
    comparisons = _compared(study, feed, measured, {}, rows, cohort)
    prepared = Prepared.elsewhere(study, cohort, marks, feed)
    story = Story(
        prepared, held.network, held.tasks, comparisons, {n: {"model": m} for n, m in measured.items()}, (), len(found)
    )
    table.write_parquet(target.path / "predictions.parquet")
    _write_results(story, target.path)
    target.finish()
    return _opened(target.path)


def predict(
    bundle: Bundle | str | Path,
    data: str | Path,
    *,
    problems: OnProblem = "refuse",
    folder: Path | None = None,
    masks: Path | None = None,
) -> Iterator[pl.DataFrame]:
    """Answers for a table file of any size, block after block."""
    held = bundle if isinstance(bundle, Bundle) else load(bundle)
    return held.stream(data, problems=problems, folder=folder, masks=masks)


def judge(
    network: Network, feed: Feed, rows: Int[np.ndarray, " rows"], cohort: Cohort, masks: Path
) -> tuple[dict[str, Measured], pl.DataFrame]:
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
    joined: dict[str, Measured] = {
        n: {key: np.concatenate([p[key] for p in ps]) for key in ps[0]} for n, ps in parts.items() if ps
    }
    return joined, answers.frame(cohort.row.gather(rows).alias("row"))


def _identity(study: Study, cohort: Cohort) -> dict[str, str]:
    return {"study": hashlib.sha256(dump_toml(study).encode()).hexdigest(), "data": fingerprint(cohort)}


def _trained(prepared: Prepared, folder: RunFolder, watch: Watch) -> tuple[Network, Sequence[Mapping[str, float]]]:
    study, feed = prepared.study, prepared.feed
    network = assemble(feed.modalities, feed.tasks, study.model, study.seed)
    train_rows, valid_rows = (_with_any_answer(feed, rows) for rows in (prepared.fold.train, prepared.fold.valid))
    plan = folder.plan()
    if plan is None:
        weights = {name: part.loss_weight for name, part in study.targets.items()}
        plan = make_plan(study.train, network, feed, train_rows, study.seed, weights)
        folder.keep_plan(plan)

    def observe(event: Event) -> None:
        folder.log(event)
        watch(event)

    progress = train(network, feed, (train_rows, valid_rows), study.train, plan, folder.checkpoint, observe)
    return network, progress.history


def _with_any_answer(feed: Feed, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " some"]:
    known = np.zeros(len(rows), bool)
    for name in feed.tasks:
        known |= np.isin(rows, answered(feed, name, rows))
    return rows[known]


def _calibrated(network: Network, feed: Feed, target: str, rows: Int[np.ndarray, " rows"]) -> Task:
    """The task calibrated on these rows alone; as it was where there are none."""
    rows = answered(feed, target, rows)
    if not len(rows):
        return feed.tasks[target]
    blocks = outputs(network, feed, rows)
    return feed.tasks[target].calibrate((raw[target], truths[target]) for _, raw, truths in blocks)  # type: ignore[misc]


def _compared(
    study: Study,
    feed: Feed,
    measured: Mapping[str, Measured],
    simple: Mapping[str, Mapping[str, Measured]],
    rows: Int[np.ndarray, " rows"],
    cohort: Cohort,
) -> dict[str, Comparison]:
    options = study.evaluate
    result = {}
    for name, ours in measured.items():
        patient = cohort.patient[answered(feed, name, rows)]
        entrants = {"model": ours, **simple.get(name, {})}
        metrics = feed.tasks[name].metrics()
        result[name] = compare(
            metrics, entrants, patient, resamples=options.resamples, level=options.level, seed=study.seed
        )
    return result


def _write_results(story: Story, folder: Path) -> None:
    targets = {n: target_result(one, story.tasks[n].metrics()) for n, one in story.comparisons.items()}
    write_text(folder / "metrics.json", metrics_json(targets, story.prepared.proof, story.counts()))
    write_report(compose(story), folder / "report.html")


def _opened(folder: Path) -> Run:
    return Run(folder, json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
