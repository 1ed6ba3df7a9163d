"""What the figures are when the least certain rows are left to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.errors import counted
from medloom.evaluation.intervals import MODEL
from medloom.report.section import Paragraph, Piece, Section, Table

if TYPE_CHECKING:
    from medloom.report.story import Story

SHOWN = 12
"""Figures in the table, at most."""


def section(story: Story) -> Section | None:
    """For each target that leaves rows to a person, the figures on all rows and on those that are kept."""
    if not story.kept:
        return None
    pieces: list[Piece] = [
        Paragraph(
            "Rows that the model is least certain of can be left to a person. The border of certainty was set on "
            "calibration rows; the figures are of the test rows on the model's side of it. They are better because hard "
            "rows were taken out, not because the model is: the person answers the others."
        )
    ]
    for name, one in story.kept.items():
        metrics, every = story.tasks[name].metrics(), story.comparisons[name].estimates[MODEL]
        rows = [("Share of rows that are kept", "", one.share)]
        chosen = [figure for figure in metrics if metrics[figure].group != "intervals"][:SHOWN]
        table = [(metrics[figure].label, every[figure], one.figures[figure]) for figure in chosen]
        pieces.append(
            Table(
                f"{name}: {counted(one.rows, 'row is', 'rows are')} kept",
                ("Figure", "All rows", "Rows that are kept"),
                (*rows, *table),
            )
        )
    return Section("kept", "trust", "Left to a person", tuple(pieces))
