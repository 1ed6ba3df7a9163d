"""How good the answers are in the groups that the study asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.evaluation.intervals import Estimate
from medloom.evaluation.subgroups import Subgroup, Subgroups
from medloom.report.section import Paragraph, Piece, Section, Table
from medloom.report.verdict import number

if TYPE_CHECKING:
    from medloom.report.story import Story


def section(story: Story) -> Section | None:
    """A table for each target: figures of each group, and the headline's difference from all others."""
    found = {name: one for name, one in story.evidence.subgroups.items() if one.groups}
    if not found:
        return None
    pieces: list[Piece] = []
    for name, one in found.items():
        pieces += [_table(story, name, one), Paragraph(one.said())]
    pieces.append(
        Paragraph(
            f"Groups are judged on the test rows alone. A group that does worse may hold {story.unit.many} that are harder to judge "
            "for everyone; a group that does as well as others may still be served badly at the threshold in use."
        )
    )
    return Section("subgroups", "trust", f"In groups of {story.unit.many}", tuple(pieces))


def _table(story: Story, target: str, found: Subgroups) -> Table:
    metrics = story.tasks[target].metrics()
    shown = list(next((group.estimates for group in found.groups if group.estimates), {next(iter(metrics)): None}))
    headline = shown[0]
    against = f"{metrics[headline].label}: difference from all others"
    head = ("Group", story.unit.many.capitalize(), *(metrics[name].label for name in shown), against, "Adjusted p")
    rows = tuple(_row(group, shown) for group in found.groups)
    title = f"{target}, by group" if len(story.evidence.subgroups) > 1 else "By group"
    return Table(title, head, rows, (against,), drawn=metrics[headline].label)


def _row(group: Subgroup, shown: list[str]) -> tuple[str | Estimate, ...]:
    name = f"{group.column}: {group.name}"
    patients = f"{group.patients:,}" if group.patients is not None else "under 10"
    if not group.estimates:
        return (name, patients, *("–" for _ in shown), "too small", "–")
    contrast = group.contrasts.get(shown[0])
    figures = tuple(group.estimates[one] for one in shown)
    if contrast is None:
        return (name, patients, *figures, "–", "–")
    p = contrast.adjusted
    said = "–" if p is None else "under 0.001" if p < 0.001 else number(p)
    return (name, patients, *figures, contrast.difference, said)
