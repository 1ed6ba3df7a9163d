"""What acting at each threshold would mean: of every hundred patients, how many are flagged, and how many are missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.evaluation.intervals import MODEL
from medloom.report.section import Piece, Section, Thresholds, Triple
from medloom.statistics.clusters import Bounds, mover
from medloom.statistics.shares import share, wilson_at
from medloom.statistics.usefulness import net_benefit_interval
from medloom.tasks.classify import Classify

if TYPE_CHECKING:
    from medloom.report.story import Story

GRID = tuple(round(0.001 * step, 3) for step in range(1, 10)) + tuple(round(0.01 * step, 2) for step in range(1, 100))
"""Thresholds: finer below one percent, where rare outcomes are decided."""
SHOWN = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
MANY_ROWS = 50_000
"""Above this many rows of patients who have several, intervals stand at every fifth threshold."""
SENSITIVITY, SPECIFICITY, PPV, NPV = "Sensitivity", "Specificity", "PPV", "NPV"
FLAGGED, MISSED, BENEFIT = "Flagged per 100", "Missed per 100", "Net benefit"


def section(story: Story) -> Section | None:
    """A table of thresholds for every question with two answers."""
    pieces: list[Piece] = []
    for name, task in story.tasks.items():
        if not isinstance(task, Classify) or task.kind != "binary" or MODEL not in story.measured.get(name, {}):
            continue
        measured = story.measured[name][MODEL]
        patient = story.patient[name]
        several = f"{name}: " if len(story.tasks) > 1 else ""
        caption = f"{several}what it means to act where the probability of “{task.called[1]}” is at least the threshold"
        found = thresholds(
            measured["truth"],
            measured["probability"],
            patient,
            task.threshold[0],
            caption,
            task.called[1],
            story.prepared.study.evaluate.level,
        )
        pieces += [found] if found is not None else []
    return Section("thresholds", "figures", "Choosing a threshold", tuple(pieces)) if pieces else None


def thresholds(
    truth: Float[np.ndarray, " rows"],
    probability: Float[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    own: float,
    caption: str,
    positive: str,
    level: float,
) -> Thresholds | None:
    """Counts and figures with intervals at each threshold of the grid and at the study's own; None without both answers."""
    known = ~np.isnan(truth)
    answer, score, who = truth[known] == 1, np.asarray(probability, np.float64)[known], patient[known]
    if not answer.any() or answer.all() or np.isnan(score).any():
        return None
    inside = min(max(own, 0.001), 0.999)
    grid = tuple(sorted({*GRID, inside}))
    place, single = grid.index(inside), len(np.unique(who)) == len(who)
    # One that is written as the study's own is would stand there twice.
    shown = tuple(i for i, at in enumerate(grid) if i == place or (at in SHOWN and f"{at:.3f}" != f"{inside:.3f}"))
    counts = _counts(answer, score, grid)
    each = 1 if single or len(answer) <= MANY_ROWS else 5
    figures: dict[str, list[Triple]] = {}
    for i, (at, count) in enumerate(zip(grid, counts, strict=True)):
        wanted = i % each == 0 or i in shown
        found = _from_counts(count, at, level) if single or not wanted else _clustered(answer, score, who, at, level)
        for name, bounds in found.items():
            figures.setdefault(name, []).append(_triple(bounds, wanted))
    return Thresholds(caption, positive, grid, counts, {n: tuple(of) for n, of in figures.items()}, place, shown)


def _counts(
    answer: Bool[np.ndarray, " rows"], score: Float[np.ndarray, " rows"], grid: tuple[float, ...]
) -> tuple[tuple[int, int, int, int], ...]:
    """True positives, false positives, false negatives, true negatives, where the score is at least the threshold."""
    yes, no = np.sort(score[answer]), np.sort(score[~answer])
    found, false = len(yes) - np.searchsorted(yes, grid), len(no) - np.searchsorted(no, grid)
    return tuple((int(t), int(f), int(len(yes) - t), int(len(no) - f)) for t, f in zip(found, false, strict=True))


def _from_counts(count: tuple[int, int, int, int], at: float, level: float) -> dict[str, Bounds]:
    """Of rows of as many patients, all that is needed are the counts."""
    found, false, missed, right = count
    total = sum(count)

    def of(part: int, whole: int, times: float = 1.0) -> Bounds:
        if not whole:
            return (np.nan, np.nan, np.nan)
        low, high = wilson_at(part / whole, whole, level)
        return (times * part / whole, times * low, times * high)

    p, q = found / total, false / total
    spread = np.sqrt(p * (1 - p) * q * (1 - q))
    together = float(np.clip(-p * q / spread, -1, 1)) if spread > 0 else 0.0
    return {
        SENSITIVITY: of(found, found + missed),
        SPECIFICITY: of(right, right + false),
        PPV: of(found, found + false),
        NPV: of(right, right + missed),
        FLAGGED: of(found + false, total, 100),
        MISSED: of(missed, total, 100),
        BENEFIT: mover(of(found, total), of(false, total), at / (1 - at), together),
    }


def _clustered(
    answer: Bool[np.ndarray, " rows"],
    score: Float[np.ndarray, " rows"],
    who: Int[np.ndarray, " rows"],
    at: float,
    level: float,
) -> dict[str, Bounds]:
    """Rows of one patient count together."""
    called, every = score >= at, np.ones(len(answer), bool)

    def hundred(counted: Bool[np.ndarray, " rows"]) -> Bounds:
        value, low, high = share(counted, every, who, level)
        return (100 * value, 100 * low, 100 * high)

    return {
        SENSITIVITY: share(called, answer, who, level),
        SPECIFICITY: share(~called, ~answer, who, level),
        PPV: share(answer, called, who, level),
        NPV: share(~answer, ~called, who, level),
        FLAGGED: hundred(called),
        MISSED: hundred(answer & ~called),
        BENEFIT: net_benefit_interval(answer.astype(np.float64), score, who, level, at),
    }


def _triple(bounds: Bounds, with_interval: bool) -> Triple:
    value, low, high = (None if not np.isfinite(one) else float(f"{one:.5g}") for one in bounds)
    return (value, low, high) if with_interval else (value, None, None)
