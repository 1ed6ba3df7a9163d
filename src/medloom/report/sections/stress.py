"""What happens to the figures when the data are not as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.errors import counted
from medloom.evaluation.intervals import MODEL, Estimate
from medloom.evaluation.stressed import BEFORE, Stressed
from medloom.report.section import Listing, Paragraph, Piece, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medloom.evaluation.shifted import Shifted
    from medloom.report.story import Story
    from medloom.task import Metric


def section(story: Story) -> Section | None:
    """For each target a table of scenarios with the change of each figure, and of periods and sites."""
    if not story.stress:
        return None
    pieces: list[Piece] = [
        Paragraph(
            "The finished model on the same test rows, altered. Nothing was trained or calibrated anew. A change is the "
            "figure on altered rows less that on the rows as they are, with a paired interval."
        )
    ]
    for name, one in story.stress.items():
        pieces += _pieces(name, one, story.tasks[name].metrics())
    return Section("stress", "trust", "When the data are different", tuple(pieces))


def _pieces(name: str, one: Stressed, metrics: Mapping[str, Metric]) -> list[Piece]:
    pieces: list[Piece] = []
    done = [outcome for outcome in one.outcomes if outcome.comparison is not None]
    if done and done[0].comparison is not None:
        figures = list(done[0].comparison.estimates[MODEL])
        head, first = (
            ("Scenario", metrics[figures[0]].label, *(f"Change of {metrics[f].label}" for f in figures)),
            figures[0],
        )
        rows: list[tuple[str | Estimate, ...]] = []
        for outcome in done:
            assert outcome.comparison is not None
            change = outcome.comparison.differences[BEFORE]
            rows.append(
                (outcome.scenario.label, outcome.comparison.estimates[MODEL][first], *(change[f] for f in figures))
            )
        pieces.append(Table(f"{name}: altered inputs", head, tuple(rows), signed=head[2:]))
    if one.prevalences:
        figures = list(one.prevalences[0].figures)
        # Two tables: one of figures and changes side by side is wider than a phone, and than a printed page.
        head = ("Prevalence", *(metrics[f].label for f in figures))
        moved, changed = (_cells(one.prevalences, figures, changes) for changes in (False, True))
        pieces.append(Table(f"{name}: at another prevalence", head, moved))
        pieces.append(Table(f"{name}: changes at another prevalence", head, changed, signed=head[1:]))
    if one.groups is not None and any(group.estimates for group in one.groups.groups):
        shown = [group for group in one.groups.groups if group.estimates]
        figures = list(shown[0].estimates)
        head = ("Group", *(metrics[f].label for f in figures))
        cells: tuple[tuple[str | Estimate, ...], ...] = tuple(
            (
                f"{group.column}: {group.name} ({counted(group.rows or 0, 'row')})",
                *(group.estimates[f] for f in figures),
            )
            for group in shown
        )
        pieces.append(Table(f"{name}: by period and site", head, cells))
    refused = [f"{outcome.scenario.label}: {outcome.note}" for outcome in one.outcomes if outcome.comparison is None]
    small = [f"{g.column}: {g.name}: {g.note}" for g in (one.groups.groups if one.groups else ()) if not g.estimates]
    notes = (*refused, *small, *one.notes)
    return [*pieces, *([Listing(notes)] if notes else [])]


def _cells(
    prevalences: Sequence[Shifted], figures: Sequence[str], changes: bool
) -> tuple[tuple[str | Estimate, ...], ...]:
    """The figures at each prevalence, or how they change."""
    each = [(at.label, at.changes if changes else at.figures) for at in prevalences]
    return tuple((label, *(held[figure] for figure in figures)) for label, held in each)
