"""How often sets and intervals hold the truth, in every group that was promised its share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.errors import counted
from medloom.evaluation.intervals import Estimate
from medloom.report.section import Paragraph, Piece, Section, Table

if TYPE_CHECKING:
    from medloom.report.story import Story


def section(story: Story) -> Section | None:
    """A table for each target whose limits are set by group or by class."""
    if not story.covered:
        return None
    pieces: list[Piece] = [
        Paragraph(
            "The limits were set on calibration rows of each group by itself, so that a minority is held as often as "
            "everybody. That is a promise on average over draws of calibration rows, for new rows that come like these; with "
            "several rows a patient it holds only nearly. A group that was too small, or not there, has the limit of all rows."
        )
    ]
    for name, found in story.covered.items():
        shown = [group for group in found.groups if group.estimates]
        figures = list(shown[0].estimates) if shown else []
        metrics = story.tasks[name].metrics()
        rows: list[tuple[str | Estimate, ...]] = [
            (f"{group.name} ({counted(group.rows or 0, 'row')})", *(group.estimates[figure] for figure in figures))
            for group in shown
        ]
        if rows:
            head = (found.groups[0].column, *(metrics[figure].label for figure in figures))
            pieces.append(Table(f"{name}: by {found.groups[0].column}", head, tuple(rows)))
        notes = [f"{group.name}: {group.note}." for group in found.groups if group.note and not group.estimates]
        pieces += [Paragraph(" ".join(notes))] * bool(notes)
    return Section("coverage", "trust", "Sets and intervals in each group", tuple(pieces))
