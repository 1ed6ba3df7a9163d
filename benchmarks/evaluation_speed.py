"""Seconds for the figures of 100,000 rows: a model beside a baseline, and 20 subgroups with contrasts. Needs no data."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from scipy.special import expit

from benchmarks.result import Result
from medloom.evaluation.grouping import Grouping
from medloom.evaluation.intervals import compare
from medloom.evaluation.subgroups import subgroups
from medloom.task import Measured
from medloom.tasks._class_figures import metrics

ID = "evaluation-speed"
ROWS, RESAMPLES, COLUMNS, GROUPS = 100_000, 1000, 5, 4
THRESHOLD = 0.1


def run(data: Path | None) -> list[Result]:
    """Wall seconds for all figures with intervals, once through."""
    known, entrants, groups = metrics("binary", (THRESHOLD,)), _entrants(), _groups()
    patient = np.arange(ROWS)
    start = time.perf_counter()
    compare(known, entrants, patient, resamples=RESAMPLES)
    whole = time.perf_counter() - start
    subgroups(known, entrants["model"], patient, groups, resamples=RESAMPLES)
    both = time.perf_counter() - start
    return [
        Result(
            id=ID,
            metric=f"seconds for {len(known)} figures, {ROWS:,} rows, {COLUMNS * GROUPS} subgroups",
            value=both,
            higher_is_better=False,
            want=60.0,
            baseline=f"{whole:.1f} s of it for the model beside a baseline, {both - whole:.1f} s for the subgroups",
            split=f"{RESAMPLES} resamples of {ROWS:,} patients, {COLUMNS} columns of {GROUPS} groups",
        )
    ]


def _entrants() -> dict[str, Measured]:
    random = np.random.default_rng(0)
    x = random.normal(size=ROWS)
    truth = (random.random(ROWS) < expit(-3.2 + 1.2 * x)).astype(np.float64)
    noisy = x + random.normal(0, 0.5, ROWS)
    found: dict[str, Measured] = {}
    for name, score in (("model", x), ("logistic", noisy)):
        probability = expit(-3.2 + 1.2 * score)
        decision = (probability >= THRESHOLD).astype(np.int64)
        found[name] = {"truth": truth, "probability": probability, "decision": decision}
    return found


def _groups() -> list[Grouping]:
    random = np.random.default_rng(1)
    names = tuple(f"group {number}" for number in range(GROUPS))
    return [Grouping(f"column {number}", names, random.integers(0, GROUPS, ROWS)) for number in range(COLUMNS)]
