"""What a classification asks, and what it was fitted to, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medloom.errors import counted
from medloom.tasks._conformal import said

if TYPE_CHECKING:
    from medloom.tasks.classify import Classify


_PLAIN = {"0": "no", "1": "yes", "false": "no", "true": "yes", "n": "no", "y": "yes"}


def words_of(names: Sequence[str]) -> tuple[str, ...]:
    """What two classes are called for people: no and yes where they are written as 0 and 1, false and true, n and y."""
    words = tuple(_PLAIN.get(name.lower(), name) for name in names)
    return words if set(words) == {"no", "yes"} and len(names) == 2 else tuple(names)


def question(task: Classify) -> str:
    """What is asked, as a sentence."""
    if task.kind == "binary":
        plain = task.called[1].lower() == "yes"
        return f"{task.options.column}: {'yes or no' if plain else f'{task.classes[1]} or {task.classes[0]}'}?"
    if task.options.order:
        return f"{task.options.column}: how far from {task.classes[0]} to {task.classes[-1]}?"
    names = ", ".join(task.classes[:12]) + (", …" if len(task.classes) > 12 else "")
    return (
        f"Which of these apply: {names}?" if task.kind == "multilabel" else f"{task.options.column}: which of {names}?"
    )


def describe(task: Classify) -> dict[str, str]:
    """Fitted facts: rows of each class, the threshold, and what calibration and local rows set."""
    counts = ", ".join(f"{name} {n:,}" for name, n in zip(task.called, task.counts, strict=True))
    facts = {"training rows": counts}
    if task.kind == "binary":
        facts = {
            "asked for": task.called[1],
            **facts,
            "threshold": f"{task.threshold[0]:.3f} ({task.options.threshold})",
        }
    if task.options.order:
        facts["order"] = " < ".join(task.classes)
    if task.options.loss == "focal":
        facts["loss"] = f"focal, gamma {task.options.gamma():g}; probabilities are those after calibration"
    if task.options.label_noise:
        facts["label noise"] = f"{task.options.label_noise:g} of answers taken to be recorded wrongly"
    return {**facts, **_facts(task)}


def _facts(task: Classify) -> dict[str, str]:
    """What calibration and local rows set."""
    way = task.options.calibration
    facts = {"temperature": ", ".join(f"{t:.3f}" for t in task.temperature) if task.calibrated else "not calibrated"}
    if task.calibrated and task.intercept:
        facts["intercept"] = ", ".join(f"{value:+.3f}" for value in task.intercept)
    if task.calibrated and way == "isotonic":
        facts = {"calibration": f"isotonic, {counted(sum(len(curve.score) for curve in task.steps), 'point')}"}
    if task.options.conformal is not None:
        each = [said(one, task.options.conformal, task.group_column()) for one in task.limits]
        by = [f"{name}: {text}" for name, text in zip(task.classes, each, strict=False)] if len(each) > 1 else each
        facts["sets"] = "; ".join(by) or "not calibrated: every class is in every set"
    if task.options.abstain is not None:
        facts["left to a person"] = f"the least certain {task.options.abstain:.0%} of calibration rows set the border"
        if task.certain is None:
            facts["left to a person"] = "not calibrated: no row is left"
    for line in task.local:
        shift = ", ".join(f"{value:+.3f}" for value in line.intercept)
        facts["recalibrated to local rows"] = f"slope {line.slope:.3f}, intercept {shift}"
    return facts
