"""What the rows that judge hold before their index times; and, where a study asks for it, the course of some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medloom.draw import generator
from medloom.report.section import Paragraph, Piece, Section, Table
from medloom.task import Curve, Plot
from medloom.told import Held, Trace

if TYPE_CHECKING:
    from medloom.report.compose import Story

MOST_PARTS = 40
"""Parts whose shares are shown."""
SINGLE_CASES = (
    "These are data of patients, which the study asked for (evaluate.timelines). Each line is one measure, as its distance from "
    "its own mean in this row; of signals, the first window."
)
FEWEST_ROWS = 10
"""Rows that quartiles need."""


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
    said = Paragraph(f"Of the {len(rows):,} rows that {which}, before the index time of each, as the model sees them.")
    return Section("course", "patients", "What is known of each row", (said, *pieces), folded=True)


def _of_input(name: str, held: Held) -> list[Piece]:
    none = float((held.each == 0).mean())
    text = f"{name}: {none:.1%} of the rows have no {held.what}."
    some = held.each[held.each > 0]
    if len(some) >= FEWEST_ROWS:
        low, middle, high = np.quantile(some, [0.25, 0.5, 0.75])
        text += f" The others have {middle:,.0f} {held.what} in the middle, half of them between {low:,.0f} and {high:,.0f}."
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
            pieces += _drawn(f"Case {number}: {name}", traces, _attention(story, name, traces, row))
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


def _drawn(title: str, traces: tuple[Trace, ...], attention: Curve | None) -> list[Piece]:
    """All traces in one figure; those of a window, which are dense, each in its own and with the attention over it."""
    if not traces:
        return []
    if not traces[0].window:
        return [_figure(title, "time before the index time", traces, None)]
    along = f"before the end of the window ({traces[0].window})"
    return [_figure(f"{title}, {trace.name}", along, (trace,), attention) for trace in traces]


def _figure(title: str, along: str, traces: tuple[Trace, ...], attention: Curve | None) -> Plot:
    curves = []
    for trace in traces:
        value = np.array(trace.value)
        spread = float(value.std())
        off = (value - value.mean()) / spread if spread > 0 else np.zeros(len(value))
        curves.append(Curve(trace.name, [-age for age in trace.age], off.tolist()))
    words = ", ".join(f"{trace.name} ({min(trace.value):g} to {max(trace.value):g})" for trace in traces)
    if attention is not None:
        at = attention.x[int(np.argmax(attention.y))]
        words += f"; the attention is highest at {at:.3g} {traces[0].window}, {max(attention.y):.2f} times that of an even look"
        curves.append(attention)
    return Plot(title, along, "standard deviations from the mean", tuple(curves), words)
