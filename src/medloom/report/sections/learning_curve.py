"""Whether more patients would help: what is reached with shares of those who taught."""

from __future__ import annotations

from collections.abc import Sequence

from medloom.errors import PATIENT, Noun
from medloom.evaluation.intervals import MODEL, Estimate
from medloom.evaluation.learning import Reached
from medloom.report.content import Answer
from medloom.report.section import Paragraph, Piece, Section, Table
from medloom.report.verdict import number
from medloom.task import Curve, Plot


def section(curve: Sequence[Reached], answers: Sequence[Answer], of: Noun = PATIENT) -> Section | None:
    """A plot and a table for each target; None where no learning curve was asked for."""
    if not curve:
        return None
    pieces: list[Piece] = [
        Paragraph(
            f"The same study, taught by shares of its training {of.many}; each part lies within the next larger one. All are "
            "judged on the same test rows, and rows that validate and calibrate are the same throughout. Where the curve "
            f"still rises at its end, more {of.many} would help; where it is flat, more of the same would add little. Each share "
            "was trained once: what chance does to one training is not in the intervals. A budget in epochs gives small "
            "shares fewer steps."
        )
    ]
    for answer in answers:
        pieces += [*_plot(curve, answer, of), _table(curve, answer, of)]
    notes = [f"{one.share:.0%} of the {of.many}: {one.note}." for one in curve if one.note]
    pieces += [Paragraph(" ".join(notes))] * bool(notes)
    return Section("learning-curve", "trust", "Learning curve", tuple(pieces))


def _headline(one: Reached, answer: Answer, entrant: str) -> Estimate | None:
    comparison = one.comparisons.get(answer.target)
    figures = {} if comparison is None else comparison.estimates.get(entrant, {})
    return figures.get(answer.headline.name)


def _entrants(answer: Answer) -> list[str]:
    return [MODEL, *([answer.best] if answer.best else [])]


def _plot(curve: Sequence[Reached], answer: Answer, of: Noun) -> list[Plot]:
    curves, said = [], []
    for entrant in _entrants(answer):
        points = [(one.patients, _headline(one, answer, entrant)) for one in curve]
        known = [(x, e.value, e.low, e.high) for x, e in points if e is not None and e.value is not None]
        if not known:
            continue
        patients, values, lows, highs = (list(part) for part in zip(*known, strict=True))
        banded = entrant == MODEL and all(v is not None for v in (*lows, *highs))
        curves.append(
            Curve(_label(answer, entrant), patients, values, lows if banded else None, highs if banded else None)
        )
        said.append(f"{_label(answer, entrant)} from {number(values[0])} with {patients[0]:,} to {number(values[-1])}")
    if not curves:
        return []
    title = f"{answer.target}: {answer.headline.label} by training {of.many}"
    text = f"{answer.headline.label} by the number of training {of.many}: {'; '.join(said)}."
    return [Plot(title, f"Training {of.many}", answer.headline.label, tuple(curves), text)]


def _table(curve: Sequence[Reached], answer: Answer, of: Noun) -> Table:
    entrants = _entrants(answer)
    rows = []
    for one in curve:
        figures = [_headline(one, answer, entrant) or "cannot be estimated" for entrant in entrants]
        gain: str | Estimate = "–"
        comparison = one.comparisons.get(answer.target)
        if answer.best and comparison is not None and answer.best in comparison.differences:
            gain = comparison.differences[answer.best][answer.headline.name]
        rows.append(
            (f"{one.share:.0%}", f"{one.patients:,}", f"{one.rows:,}", *figures, *([gain] if answer.best else []))
        )
    head = ("Share", of.many.capitalize(), "Rows", *(_label(answer, entrant) for entrant in entrants), "Difference")
    caption = f"{answer.target}: {answer.headline.label} reached with each share of the training {of.many}."
    return Table(caption, head if answer.best else head[:-1], tuple(rows), ("Difference",))


def _label(answer: Answer, entrant: str) -> str:
    return answer.network.label if entrant == MODEL else answer.labels[entrant]
