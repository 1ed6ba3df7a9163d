"""Where the answers are wrong: decisions against the truth, and the groups whose probabilities are furthest off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from medloom.errors import counted
from medloom.evaluation.intervals import MODEL, Estimate
from medloom.report.section import Piece, Section, Table
from medloom.statistics.shares import share
from medloom.tasks.classify import Classify

if TYPE_CHECKING:
    from medloom.report.story import Story

MOST_CLASSES = 12
GROUPS = 10
WORST = 3
FEW = 10


def section(story: Story) -> Section | None:
    """Errors of every classification of one answer a row."""
    pieces: list[Piece] = []
    for name, task in story.tasks.items():
        measured = story.measured.get(name, {}).get(MODEL)
        if measured is None or not isinstance(task, Classify) or task.kind == "multilabel":
            continue
        probability = measured["probability"].reshape(len(measured["truth"]), -1)
        known = ~np.isnan(measured["truth"]) & np.isfinite(probability).all(axis=1)
        truth, decision = measured["truth"][known].astype(np.int64), measured["decision"][known].astype(np.int64)
        pieces += [confusion(name, task.called, truth, decision)] if len(task.classes) <= MOST_CLASSES else []
        if task.kind == "binary":
            patient, level = story.patient[name][known], story.prepared.study.evaluate.level
            found = furthest_off(name, task.called[1], truth, probability[known, 0], patient, level)
            pieces += [found] if found is not None else []
    return Section("errors", "trust", "Wrong decisions and probabilities", tuple(pieces)) if pieces else None


def confusion(
    name: str, classes: Sequence[str], truth: Int[np.ndarray, " rows"], decision: Int[np.ndarray, " rows"]
) -> Table:
    """Rows by what is true and what was decided."""
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (truth, decision), 1)
    rows = tuple(
        (f"Truly {one}", *(f"{n:,}" for n in counts[place]), f"{counts[place].sum():,}")
        for place, one in enumerate(classes)
    )
    total = ("All", *(f"{n:,}" for n in counts.sum(axis=0)), f"{counts.sum():,}")
    head = (name, *(f"Decided {one}" for one in classes), "All")
    return Table(f"{name}: judged rows by the truth and by what was decided.", head, (*rows, total))


def furthest_off(
    name: str,
    positive: str,
    truth: Int[np.ndarray, " rows"],
    probability: Float[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
) -> Table | None:
    """Of ten groups of equal size by predicted probability, those where it and the truth differ most; None where rows
    are too few for groups of ten patients.
    """
    order = np.argsort(probability, kind="stable")
    found = []
    for group in np.array_split(order, min(GROUPS, max(1, len(order) // (2 * FEW)))):
        inside = np.zeros(len(truth), bool)
        inside[group] = True
        if len(np.unique(patient[group])) < FEW:
            continue
        observed = Estimate(*share(truth == 1, inside, patient, level))
        found.append((float(probability[group].mean()), observed, probability[group], len(group)))
    if len(found) < 2:
        return None
    found.sort(key=lambda one: -abs(one[0] - (one[1].value or 0.0)))
    rows = tuple(
        (f"{held.min():.3f} to {held.max():.3f}", f"{count:,}", f"{mean:.3f}", observed)
        for mean, observed, held, count in found[:WORST]
    )
    return Table(
        f"{name}: rows in groups of equal size by the probability of “{positive}”; the {len(rows)} of {counted(len(found), 'group')} "
        "where probability and truth are furthest apart. Chance alone puts some groups off.",
        ("Probability given", "Rows", "Mean probability", "Share observed"),
        rows,
    )
