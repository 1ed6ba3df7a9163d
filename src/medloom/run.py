"""The path, as functions: `fit`, `evaluate`, `explain`, `predict`. Every door calls these; there is no second path."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medloom import starting
from medloom.audit.examine import examine
from medloom.audit.finding import Audit
from medloom.bundle import Bundle, OnProblem, load
from medloom.cohort.split import Fold
from medloom.cohort.table import Cohort
from medloom.elsewhere import best_beside, judged_beside, opened
from medloom.evaluation.drift import drift, known
from medloom.evaluation.grouping import MISSING, Grouping, groupings, missing_inputs
from medloom.evaluation.result import metrics_json, target_result
from medloom.evaluation.rowwise import keep as keep_rows
from medloom.evaluation.sample_size import sample_sizes
from medloom.explain.best_columns import best_columns
from medloom.explain.evidence import Evidence, evidence
from medloom.explain.map_rows import METHODS, mapped_rows, sees_images
from medloom.explain.mapped import masks_of
from medloom.explain.rows import explained
from medloom.feed import Feed
from medloom.judging import Judged, Trained, compared, judge, judge_one, pooled, train_one
from medloom.learning import learning_curve
from medloom.parts import TrainPart
from medloom.prepare import Prepared, fingerprint, fitted, fold_table, folds, packed, prepare, whole_fold
from medloom.prepare import read as read_data
from medloom.report import compare as side_by_side
from medloom.report.compose import card, compose
from medloom.report.forms import written
from medloom.report.kept import NAME as CONTENT
from medloom.report.kept import as_json
from medloom.report.kept import opened as kept_content
from medloom.report.page import write as write_report
from medloom.report.page import write_whole
from medloom.report.standards import computed as standards
from medloom.report.standards.authors import NAME as AUTHORS
from medloom.report.standards.authors import Texts, template
from medloom.report.standards.authors import texts as read_texts
from medloom.report.story import Story
from medloom.rundir import RunFolder, write_text
from medloom.stress import Altered, altered, stressed
from medloom.stress import pooled as pooled_stress
from medloom.study import Study
from medloom.study import read as read_study
from medloom.study_text import dump_toml, with_folders
from medloom.training import distributed
from medloom.training.distributed import Ranks
from medloom.training.loop import Event, Watch
from medloom.trust import all_kept, coverage


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
    def audit(self) -> Mapping[str, Any]:
        """What the leakage audit found, as in `audit.json`; nothing where other data were judged."""
        path = self.folder / "audit.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"findings": []}

    @property
    def predictions(self) -> pl.DataFrame:
        """Answers for the rows that were judged."""
        return pl.read_parquet(self.folder / "predictions.parquet")

    def _repr_html_(self) -> str:
        """The figures for a notebook."""
        from medloom.report.notebook import run_card

        return run_card(self.metrics, self.folder)


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
    with distributed.joined(asked.train) as ranks:
        return _fit(asked, out, data, tables, watch if ranks.leads else lambda event: None, ranks)


def _fit(study: Study, out: str | Path, data: Any, tables: Mapping[str, Any] | None, watch: Watch, ranks: Ranks) -> Run:
    resolved, cohort, marks = read_data(study, data, tables)
    start = starting.opened(resolved)
    folder, identity = RunFolder(out), _identity(resolved, cohort, starting.fingerprint(resolved, start))
    texts = read_texts(resolved.folder, folder.path)
    ranks.check_same(identity)
    ranks.by_lead(folder.claim, identity, dump_toml(with_folders(resolved)))
    if folder.finished:
        ranks.by_lead(_rewrite, folder.path, texts)
        return _opened(folder.path)
    store = folder.work / "packed"
    sources = ranks.in_turn(packed, resolved, cohort, store)
    splits = folds(resolved, cohort, marks)
    ranks.by_lead(fold_table(cohort, splits).write_parquet, folder.path / "split.parquet")

    def prepared(fold: Fold) -> Prepared:
        carry = start.carried if start is not None else lambda modalities: modalities
        made = ranks.in_turn(fitted, resolved, cohort, marks, fold, sources, store, carry)
        return made if start is None else replace(made, given=start.given(resolved, made.feed.tasks))

    def observe(event: Event) -> None:
        if ranks.leads:
            folder.log(event)
        watch(event)

    masks_of(resolved, cohort)
    first = prepared(splits[0])
    groups = _groups(resolved, first.cohort, first.feed)
    found = starting.with_findings(examine(first), start, resolved, cohort, tuple(splits)) if ranks.leads else None
    if found is not None:
        write_text(folder.path / "audit.json", json.dumps(found.plain(), indent=2) + "\n")
    if len(splits) > 1:
        final, judged, story, tried = _crossed(
            resolved, splits, whole_fold(resolved, cohort, marks), prepared, folder, observe, groups
        )
    else:
        final = train_one(first, resolved.train, folder.training(), observe)
        watch(Event("judge", 0, 0))
        judged = judge_one(final, folder.path / "masks")
        story = _story(final, judged, final, groups)
        tried = altered(final.prepared, final.team, final.tasks) if ranks.leads else {}
    if resolved.evaluate.learning_curve:
        story = replace(story, curve=learning_curve(final, story.comparisons, prepared, folder, observe))
    if not ranks.leads:
        ranks.wait()
        return _opened(folder.path)
    story = replace(_trusted(story, judged, tried), audit=found, texts=texts)
    judged.table.write_parquet(folder.path / "predictions.parquet")
    _write_results(story, folder.path)
    if len(splits) == 1 or resolved.split.refits:
        feed, beside = final.prepared.feed, best_beside(final, story.comparisons)
        inputs = known(feed, final.prepared.fold.train)
        Bundle(resolved, feed.modalities, final.tasks, final.team, card(story), beside, inputs).save(
            folder.path / "bundle"
        )
    folder.finish()
    ranks.wait()
    return _opened(folder.path)


def _crossed(
    study: Study,
    splits: Sequence[Fold],
    whole: Fold,
    prepared: Callable[[Fold], Prepared],
    folder: RunFolder,
    watch: Watch,
    groups: tuple[Grouping, ...],
) -> tuple[Trained, Judged, Story, Altered]:
    """Every fold through the same path, their rows pooled; then the network that is kept, trained on all rows.

    A budget in minutes is measured in the first fold, and its steps are those of all others. The last network gets
    the median of the steps that the folds kept.
    """
    trainings = len(splits) + study.split.refits
    part, first, parts, kept, proofs, tried = study.train, None, [], [], [], []
    for place, fold in enumerate(splits, 1):
        watch(Event("fold", place, trainings))
        trained = train_one(prepared(fold), part, folder.training(f"fold-{place:03d}"), watch)
        watch(Event("judge", 0, 0))
        judged = judge_one(trained, folder.path / "masks" / f"repeat-{fold.repeat}")
        numbers = (
            pl.lit(value, pl.Int32).alias(name) for name, value in (("fold", fold.number), ("repeat", fold.repeat))
        )
        parts.append(replace(judged, table=judged.table.with_columns(numbers)))
        tried.append(altered(trained.prepared, trained.team, trained.tasks) if distributed.current().leads else {})
        kept.append(trained.kept_step)
        proofs.append({"fold": fold.number, "repeat": fold.repeat, **trained.prepared.proof})
        part = _in_steps(part, trained.steps) if part.minutes is not None else part
        first = first or trained
    assert first is not None
    final = first
    if study.split.refits:
        watch(Event("fold", trainings, trainings))
        steps = max(1, round(float(np.median(kept))))
        final = train_one(prepared(whole), _in_steps(part, steps), folder.training("whole"), watch)
    proof = {**final.prepared.proof, "folds": proofs}
    final = replace(final, prepared=replace(final.prepared, proof=proof))
    result = pooled(parts)
    return final, result, _story(final, result, first, groups, tuple(splits)), pooled_stress(tried)


def _in_steps(part: TrainPart, steps: int) -> TrainPart:
    return part.model_copy(update={"steps": steps, "epochs": None, "minutes": None})


def _story(
    final: Trained, judged: Judged, first: Trained, groups: tuple[Grouping, ...], splits: tuple[Fold, ...] = ()
) -> Story:
    """`first` is the model of the first fold: the only one, or the one that explanations are of."""
    study, fold = final.prepared.study, first.prepared.fold
    comparisons = compared(study, first.tasks, judged)
    asked = replace(first.prepared.feed, tasks=first.tasks)
    leads, cohort = distributed.current().leads, first.prepared.cohort
    return Story(
        final.prepared,
        final.team,
        final.tasks,
        comparisons,
        judged.measured,
        judged.patient,
        final.histories,
        crossed=splits,
        evidence=evidence(study, cohort, first.team, asked, fold.test, judged.measured, judged.rows, groups)
        if leads
        else Evidence(),
        rows=judged.rows,
        begun=final.begun,
        single=best_columns(first.prepared.feed, first.simple, splits),
    )


def _trusted(story: Story, judged: Judged, tried: Altered) -> Story:
    """The story with what says how far answers can be trusted."""
    prepared, tasks = story.prepared, story.tasks
    return replace(
        story,
        kept=all_kept(prepared.study, tasks, judged),
        covered=coverage(prepared.study, tasks, judged, prepared.cohort),
        stress=stressed(prepared, tasks, judged, tried),
    )


def _groups(study: Study, cohort: Cohort, feed: Feed) -> tuple[Grouping, ...]:
    """The groups of `evaluate.subgroups` over all rows. Raises DataError before anything is trained or judged."""
    asked = study.evaluate.subgroups
    return groupings(asked, cohort, missing_inputs(feed) if MISSING in asked else None)


def audit(
    study: Study | str | Path,
    *,
    data: Any = None,
    tables: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    row_ids: bool = False,
) -> Audit:
    """Looks for leaks in a study's data; no network is trained. `row_ids` allows five row ids a finding.

    Raises StudyError or DataError, as `fit` does.
    """
    asked = study if isinstance(study, Study) else read_study(study, overrides)
    resolved, cohort, marks = read_data(asked, data, tables)
    found = examine(prepare(resolved, cohort, marks), row_ids)
    return starting.with_findings(
        found, starting.opened(resolved), resolved, cohort, tuple(folds(resolved, cohort, marks))
    )


def evaluate(
    bundle: Bundle | str | Path,
    data: Any,
    out: str | Path,
    *,
    problems: OnProblem = "refuse",
    tables: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
) -> Run:
    """Judges a bundle on other data with known answers; writes the same files as `fit`, less the bundle.

    Relative paths begin at `folder`, else beside the table. Nothing is fitted here. Beside the model stands the simple model that the bundle holds, and beside the inputs those of
    the training rows. Raises BundleError, and DataError for rows that do not fit.
    """
    held = bundle if isinstance(bundle, Bundle) else load(bundle)
    there = opened(held, data, problems, tables, folder)
    study, cohort, feed = there.study, there.cohort, there.feed
    rows = np.arange(len(cohort))
    groups = _groups(study, cohort, feed)
    target = RunFolder(out)
    texts = read_texts(target.path, target.path)
    target.claim(_identity(study, cohort), dump_toml(with_folders(study)))
    judged = judge(held.team, feed, rows, cohort, target.path / "masks")
    judged = judged_beside(held, feed, judged, rows)
    prepared = Prepared.elsewhere(study, cohort, there.marks, feed)
    comparisons = compared(study, feed.tasks, judged)
    beside = evidence(study, cohort, held.team, feed, rows, judged.measured, judged.rows, groups)
    story = Story(
        prepared,
        held.team,
        held.tasks,
        comparisons,
        judged.measured,
        judged.patient,
        None,
        len(there.problems),
        rows=judged.rows,
    )
    story = _trusted(story, judged, altered(prepared, held.team, held.tasks))
    story = replace(story, drift=drift(held.inputs, known(feed, rows)), texts=texts, evidence=beside)
    judged.table.write_parquet(target.path / "predictions.parquet")
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


def explain(
    bundle: Bundle | str | Path,
    data: str | Path,
    *,
    problems: OnProblem = "refuse",
    folder: Path | None = None,
    maps: Path | None = None,
) -> Iterator[pl.DataFrame]:
    """What each column adds to the answers for rows of a table file of any size, block after block (`explain.rows`).

    Of a bundle that sees images, where in them the answers come from (`explain.map_rows`): with a folder `maps`, every
    map is written there as a file. Raises BundleError where a bundle has no network, or no input that can be explained;
    DataError for rows that do not fit.
    """
    held = bundle if isinstance(bundle, Bundle) else load(bundle)
    feeds = held.feeds(data, problems=problems, folder=folder)
    if sees_images(held.team, held.modalities):
        return mapped_rows(held.team, held.tasks, feeds, held.study.evaluate.maps.methods or METHODS, maps)
    return explained(held.team, held.tasks, feeds)


def report(run: str | Path, form: str = "html", out: str | Path | None = None) -> Path:
    """Writes a finished run's report again, as html, pdf, md or json, from what the run keeps; returns where.

    No data are read. Raises StudyError for another form, DataError where the folder holds no such run.
    """
    return written(Path(run), form, None if out is None else Path(out))


def compare(runs: Sequence[str | Path], out: str | Path | None = None) -> str:
    """What differs between runs, their figures and paired differences, as text; `out` gets the same as a page.

    Raises StudyError for fewer than two runs, DataError for a folder that holds none.
    """
    folders = [Path(run) for run in runs]
    sections = side_by_side.compared(folders)
    if out is not None:
        write_whole(side_by_side.page(sections, folders), Path(out))
    return side_by_side.plain(sections)


def _identity(study: Study, cohort: Cohort, began: str | None = None) -> dict[str, str]:
    """What a run belongs to: the resolved study, the cohort's rows, the tables that inputs have of their own, and the

    weights that its networks begin with."""
    tables = [getattr(part, "table", None) for part in study.inputs.values()]
    paths = [study.folder / table for table in tables if table is not None]
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.exists()]
    data = hashlib.sha256(f"{fingerprint(cohort)} {stamps}".encode()).hexdigest()
    start = {"start": began} if began is not None else {}
    return {"study": hashlib.sha256(dump_toml(study).encode()).hexdigest(), "data": data, **start}


def _write_results(story: Story, folder: Path) -> None:
    targets = {
        name: target_result(one, story.tasks[name].metrics(), story.labels(name), story.team.shares.get(name))
        for name, one in story.comparisons.items()
    }
    keep_rows(folder, story.rowwise())
    flow, more = [step.plain() for step in story.flow()], _more(story)
    write_text(folder / "metrics.json", metrics_json(targets, story.prepared.proof, story.counts(), flow, more))
    content = compose(story)
    write_text(folder / CONTENT, as_json(content))
    write_report(content, folder / "report.html")
    if not (folder / AUTHORS).exists():
        write_text(folder / AUTHORS, template())
    _rewrite(folder, story.texts)


def _more(story: Story) -> dict[str, Any]:
    """What parts of the evaluation found, by their key of `metrics.json`."""
    sizes: dict[str, list[Any]] = {}
    for one in sample_sizes(story.prepared):
        sizes.setdefault(one.target, []).append(one.plain())
    curve = {name: [one.plain(name) for one in story.curve] for name in story.comparisons if story.curve}
    each: dict[str, Mapping[str, Any]] = {
        "sample_size": sizes,
        "learning_curve": curve,
        "abstention": {name: one.plain() for name, one in story.kept.items()},
        "coverage": {name: one.plain() for name, one in story.covered.items()},
        "stress": {name: one.plain() for name, one in story.stress.items()},
    }
    found: dict[str, Any] = {**story.evidence.plain(), **{key: dict(of) for key, of in each.items() if of}}
    return {**found, **({"drift": [one.plain() for one in story.drift]} if story.drift else {})}


def _rewrite(folder: Path, texts: Texts) -> None:
    """The model card and the lists of standards, with what the authors have written by now."""
    said = kept_content(folder).said
    for name, text in standards.files(said, texts).items() if said else ():
        write_text(folder / name, text)


def _opened(folder: Path) -> Run:
    return Run(folder, json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
