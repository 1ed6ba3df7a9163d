"""Where along time networks looked, in the mean over rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medloom.explain.attention import Looked
from medloom.report.section import Paragraph, Piece, Section
from medloom.task import Curve, Plot

if TYPE_CHECKING:
    from medloom.report.story import Story

MOST_CURVES = 8
WARNING = (
    "Attention says what the networks weighed, not why: positions of little weight may still have shaped what stands at "
    "others, and simple models among the members look at no position. Means over patients show where it lies within a "
    "window; they say nothing of any one patient."
)


def section(story: Story) -> Section | None:
    """One plot an input: the share of the attention over a window, of all rows and of each class."""
    found = story.evidence.looked
    if not found:
        return None
    pieces: list[Piece] = [piece for one in found for piece in (_said(one), _plot(one))]
    return Section("attention", "explanation", "Where along time it looked", (*pieces, Paragraph(WARNING)))


def _said(one: Looked) -> Paragraph:
    return Paragraph(
        f"In {one.input}, half of the attention lies on {one.half:.0%} of a window of {one.length:.4g} {one.unit} in the median "
        f"over windows of {one.rows:,} judged rows; an even look would need half of it."
    )


def _plot(one: Looked) -> Plot:
    curves = tuple(
        Curve(name, tuple(_middles(one, len(share))), tuple((share * len(share)).tolist()))
        for name, share in list(one.share.items())[:MOST_CURVES]
    )
    first = one.share[next(iter(one.share))]
    at = float(_middles(one, len(first))[int(np.argmax(first))])
    text = (
        f"Of all rows the attention is highest about {at:.3g} {one.unit} into the window, "
        f"{float(first.max() * len(first)):.2f} times that of an even look."
    )
    title = f"{one.input}: attention over a window, 1 is an even look"
    return Plot(title, f"from the window's beginning ({one.unit})", "attention", curves, text)


def _middles(one: Looked, parts: int) -> list[float]:
    return ((np.arange(parts) + 0.5) * one.length / parts).tolist()
