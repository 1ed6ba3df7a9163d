"""What the rows that judge hold before their index times; and, where a study asks for it, the course of some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medloom.draw import generator
from medloom.errors import counted
from medloom.evaluation.intervals import MODEL
from medloom.report.section import Paragraph, Piece, Section, Table
from medloom.task import Curve, Plot
from medloom.told import Held, Trace

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from medloom.report.story import Story

MOST_PARTS = 40
"""Parts whose shares are shown."""
SINGLE_CASES = (
    "These are data of patients, which the study asked for (evaluate.timelines). Each line is one measure, as its distance from "
    "its own mean in this row; of signals, the first window. Where a patient has several rows that follow one another, the "
    "answers are drawn over time."
)
FEWEST_ROWS = 10
"""Rows that quartiles need."""
FEWEST_TIMES = 3
"""Rows of a patient of which the answers are drawn as a course."""
MOST_CURVES = 6
"""Answers, such as classes or horizons, that are drawn over time."""
LONGEST_GAP = 10
"""Times the usual step between two rows: a longer one begins another course, such as the next stay."""
DAY = 86_400


def section(story: Story) -> Section | None:
    """A table for each input that counts what a row holds: quartiles, and the share of rows with each frequent part."""
    feed, parts = story.prepared.feed, story.parts()
    rows = parts["test"] if len(parts["test"]) else parts["train"]
    pieces: list[Piece] = []
    for name, modality in feed.modalities.items():
        held = modality.held(feed.sources[name], rows) if len(rows) else None
        if held is not None:
            pieces += _of_input(name, held)
    if not pieces:
        return None
    which = "judge" if len(parts["test"]) else "teach"
    said = Paragraph(
        f"Of the {counted(len(rows), 'row')} that {which}, before the index time of each, as the model sees them."
    )
    return Section("course", "patients", "What is known of each row", (said, *pieces), folded=True)


def _of_input(name: str, held: Held) -> list[Piece]:
    some = held.each[held.each > 0]
    low, middle, high = np.quantile(some, [0.25, 0.5, 0.75]) if len(some) >= FEWEST_ROWS else (np.nan,) * 3
    between = f"{middle:,.0f} {held.what} in the middle, half of them between {low:,.0f} and {high:,.0f}."
    if len(some) < len(held.each):
        text = f"{name}: {1 - len(some) / len(held.each):.1%} of the rows have no {held.what}."
        text += f" The others have {between}" if np.isfinite(middle) else ""
    elif np.isfinite(middle) and some.min() == some.max():
        text = f"{name}: every row has {middle:,.0f} {held.what}."
    else:
        text = f"{name}: every row has " + (between if np.isfinite(middle) else f"{held.what}.")
    text += f" {held.more}" if held.more else ""
    shown = held.shares[:MOST_PARTS]
    rest = len(held.shares) - len(shown)
    caption = f"{name}: share of rows with each" + (
        f", the {len(shown)} most frequent of {len(held.shares)}" if rest else ""
    )
    table = Table(caption, ("what", "rows with it"), tuple((code, f"{share:.1%}") for code, share in shown))
    return [Paragraph(text), *([table] if shown else [])]


def timelines(story: Story) -> Section | None:
    """The course of `evaluate.timelines` test rows, drawn at random, each under a number and not under its id."""
    feed, asked = story.prepared.feed, story.prepared.study.evaluate.timelines
    rows = story.parts()["test"]
    if not asked or not len(rows):
        return None
    order = generator(story.prepared.study.seed, "timelines").permutation(len(rows))
    pieces: list[Piece] = [Paragraph(SINGLE_CASES)]
    for number, row in enumerate(rows[order[:asked]].tolist(), 1):
        for name, modality in feed.modalities.items():
            traces = modality.timeline(feed.sources[name], row)
            pieces += _drawn(f"Case {number}: {name}", traces, _attention(story, name, traces, row), _unit(story))
        pieces += _answers(story, number, row)
    return Section("timelines", "explanation", "The course of single cases", tuple(pieces)) if len(pieces) > 1 else None


def warning(story: Story) -> str:
    """What a study that asks for single cases is told at the head of its report."""
    if timelines(story) is None:
        return "evaluate.timelines asks for the course of single cases, and no input of this study has one that can be drawn."
    return (
        "Timelines of patients are drawn (evaluate.timelines): this report holds patients' data; keep it where such "
        "data may be kept."
    )


def _attention(story: Story, name: str, traces: tuple[Trace, ...], row: int) -> Curve | None:
    """Where along a window the networks looked, over the time of its traces; None where they weigh no positions."""
    if not any(trace.window for trace in traces):
        return None
    from medloom.explain.attention import looked_once

    found = looked_once(story.team, story.prepared.feed, name, row)
    if found is None:
        return None
    share, length = found
    middle = length * ((np.arange(len(share)) + 0.5) / len(share) - 1)
    return Curve("attention (1 is an even look)", middle.tolist(), (share * len(share)).tolist())


def _unit(story: Story) -> str:
    """The unit of ages and of times between rows: days of dates, else that of the numbers."""
    if story.prepared.cohort.at_kind == "date":
        return "days"
    return story.prepared.study.cohort.time_unit or "in the unit of the times"


def _answers(story: Story, number: int, row: int) -> list[Piece]:
    """What the model said of a case whenever it was asked: a curve over time, for those with several rows that follow."""
    at, patient = story.prepared.cohort.at, story.prepared.cohort.patient
    pieces: list[Piece] = []
    for name, places in story.rows.items():
        task, measured = story.tasks[name], story.measured[name].get(MODEL)
        if at is None or measured is None or task.dense:
            continue
        own = np.flatnonzero(patient[places] == patient[row])
        own = own[np.argsort(at[places[own]], kind="stable")]
        own = _together(own, at[places[own]], float(at[row]))
        if len(own) < FEWEST_TIMES or (replies := task.replies(measured)) is None:
            continue
        dated = story.prepared.cohort.at_kind == "date"
        told = "days" if dated else story.prepared.study.cohort.time_unit
        days = DAY if dated else 1
        time = (at[places[own]] - at[places[own[0]]]) / days
        shown = range(min(MOST_CURVES, len(replies.names)))
        answers = [f"{name}: {replies.names[one]}" for one in shown]
        curves = tuple(Curve(answers[one], time.tolist(), replies.value[own, one].tolist()) for one in shown)
        first = replies.value[own, 0]
        text = (
            f"{answers[0]}, {replies.what} at {counted(len(own), 'time')}: {first[0]:.3g} at first, {first[-1]:.3g} at last, "
            f"highest {first.max():.3g} at {time[int(np.argmax(first))]:.3g}{f' {told}' * bool(told)}."
        )
        label = f"time since the first of these rows ({_unit(story)})"
        # From nothing up, so that a small rise does not look like a large one.
        chance = replies.what in ("probability", "risk")
        range_ = (0.0, float(min(1.0, 1.15 * max(max(curve.y) for curve in curves) + 0.01))) if chance else None
        title = f"Case {number}: {name} over time"
        pieces.append(Plot(title, label, replies.what, curves, text, y_range=range_))
    return pieces


def _together(rows: Int[np.ndarray, " rows"], time: Float[np.ndarray, " rows"], now: float) -> Int[np.ndarray, " some"]:
    """The rows of one course: those around a time between which no gap is far longer than most are."""
    if len(rows) < FEWEST_TIMES:
        return rows
    steps = np.diff(time)
    course = np.concatenate([[0], np.cumsum(steps > LONGEST_GAP * np.median(steps))])
    # The nearest: a row whose own answer is not known was not measured.
    return rows[course == course[int(np.argmin(np.abs(time - now)))]]


def _drawn(title: str, traces: tuple[Trace, ...], attention: Curve | None, unit: str) -> list[Piece]:
    """All traces in one figure; those of a window, which are dense, each in its own and with the attention over it."""
    if not traces:
        return []
    if not traces[0].window:
        return [_figure(title, f"time before the index time ({unit})", traces, None)]
    along = f"before the end of the window ({traces[0].window})"
    return [_figure(f"{title}, {trace.name}", along, (trace,), attention) for trace in traces]


def _figure(title: str, along: str, traces: tuple[Trace, ...], attention: Curve | None) -> Plot:
    curves = []
    for trace in traces:
        value = np.array(trace.value)
        spread = float(value.std())
        off = (value - value.mean()) / spread if spread > 0 else np.zeros(len(value))
        curves.append(Curve(trace.name, [-age for age in trace.age], off.tolist()))
    words = ", ".join(
        f"{trace.name} ({min(trace.value):g} to {max(trace.value):g}{f' {trace.unit}' * bool(trace.unit)})"
        for trace in traces
    )
    if attention is not None:
        at = attention.x[int(np.argmax(attention.y))]
        words += f"; the attention is highest at {at:.3g} {traces[0].window}, {max(attention.y):.2f} times that of an even look"
        curves.append(attention)
    return Plot(title, along, "standard deviations from the mean", tuple(curves), words)
