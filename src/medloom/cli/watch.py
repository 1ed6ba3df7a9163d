"""Progress: a bar on a terminal, plain lines otherwise; then the headline figures."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medloom.errors import PATIENT, counted
from medloom.recalibrating import Recalibrated
from medloom.run import Run, fit
from medloom.study import Study, read
from medloom.training.loop import Event, Interrupted


def fit_watched(study: Study, out: Path) -> Run:
    """Fits with progress, prints the figures; after Ctrl-C says in one line how to go on."""
    try:
        with _progress(study.name) as watch:
            run = fit(study, out, watch=watch)
    except Interrupted as stop:
        if _leads():
            print(
                f"Stopped after step {stop.step} of {stop.steps}; run the same command again to go on from there.",
                file=sys.stderr,
            )
        sys.exit(130)
    if _leads():
        print_figures(run)
    return run


def _leads() -> bool:
    """Whether this process speaks for all that `torchrun` started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _progress(name: str) -> Iterator[Callable[[Event], None]]:
    if not (_leads() and sys.stdout.isatty()):
        yield _plain
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, TextColumn("{task.fields[loss]}")) as bar:
        task = bar.add_task(f"Training {name}", total=None, loss="")

        def watch(event: Event) -> None:
            if event.kind == "judge":
                bar.update(task, description="Judging, beside baselines")
                return
            if event.kind == "begun":
                bar.console.print(f"begins with {event.text}", highlight=False, markup=False)
                return
            if event.kind == "fold":
                bar.update(task, description=f"Training {event.step} of {event.steps}: {name}", completed=0, loss="")
                return
            if event.kind == "rehearsal":
                bar.update(task, description=f"Rehearsal {event.step} of {event.steps}: {name}", completed=0, loss="")
                return
            if event.kind == "member":
                bar.update(task, description=f"Training network {event.step} of {event.steps}: {name}", completed=0)
                return
            if event.kind == "baselines":
                bar.update(task, description="Training simple models")
                return
            bar.update(task, total=event.steps, completed=event.step)
            if event.train_loss is not None:
                bar.update(task, loss=_losses(event))

        yield watch


def _plain(event: Event) -> None:
    if event.kind == "start" and event.step:
        print(f"resuming after step {event.step} of {event.steps}", flush=True)
    elif event.kind == "score":
        print(f"step {event.step}/{event.steps}  {_losses(event)}  {event.seconds:.0f} s", flush=True)
    elif event.kind == "fold":
        print(f"training {event.step} of {event.steps}", flush=True)
    elif event.kind == "rehearsal":
        print(f"rehearsal {event.step} of {event.steps}", flush=True)
    elif event.kind == "member":
        print(f"network {event.step} of {event.steps}", flush=True)
    elif event.kind == "baselines":
        print("training simple models", flush=True)
    elif event.kind == "begun":
        print(f"begins with {event.text}", flush=True)
    elif event.kind == "judge":
        print("judging, beside baselines", flush=True)


def _losses(event: Event) -> str:
    valid = "" if event.valid_loss is None else f"  valid loss {event.valid_loss:.4f}"
    return f"train loss {event.train_loss:.4f}{valid}"


def print_figures(run: Run) -> None:
    """The headline of each target with its interval, the baselines beside it, and where the report is."""
    kept = run.folder / "study.toml"
    unit = read(kept).cohort.unit if kept.exists() else PATIENT
    for name, target in run.metrics["targets"].items():
        headline = target["headline"]
        print(
            f"\n{name}: {headline.replace('_', ' ')} on {counted(target['rows'], 'row')} of {unit.counted(target['patients'])}"
        )
        entrants: dict[str, Any] = {"medloom": target["model"], **target["baselines"]}
        for entrant, figures in entrants.items():
            print(f"  {entrant.replace('_', ' '):<20} {_interval(figures[headline])}")
        for member, one in target.get("members", {}).items():
            share = "" if one["share"] is None else f"share {one['share']:.2f}, "
            print(f"  {member.replace('_', ' ')} among the members: {share}adds {_interval(one['adds'][headline])}")
        difference = target["difference"]
        if difference["baseline"] is not None:
            print(f"  difference to {difference['baseline'].replace('_', ' ')}: {_interval(difference[headline])}")
    if not run.metrics["targets"]:
        print("\nNo row with a known answer judged, so there are no figures")
    found = [one for one in run.audit["findings"] if one["severity"] != "note"]
    for one in found[:5]:
        print(f"\nleak? {one['called']} ({one['severity']}): {one['found']}")
    if len(found) > 5:
        print(f"\nand {len(found) - 5} more in audit.json")
    print(f"\nReport: {run.report.resolve()}")


def print_recalibrated(done: Recalibrated) -> None:
    """Of each target the headline and what calibration changes, before and after, on rows that set nothing."""
    for name, task in done.bundle.tasks.items():
        comparison = done.comparisons[name]
        if comparison is None:
            print(f"\n{name}: set to the local rows; figures before and after {done.notes[name]}")
            continue
        print(
            f"\n{name}: before and after, cross-fitted on {counted(comparison.rows, 'row')} of {counted(comparison.patients, 'patient')}"
        )
        metrics = task.metrics()
        shown = [n for n, m in metrics.items() if n == next(iter(metrics)) or m.group in ("calibration", "error")]
        for figure in shown:
            before, after = (comparison.estimates[entrant][figure].plain() for entrant in ("before", "model"))
            print(f"  {metrics[figure].label:<30} {_interval(before)}  →  {_interval(after)}")


def _interval(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return str(figure.get("note", "cannot be estimated"))
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
