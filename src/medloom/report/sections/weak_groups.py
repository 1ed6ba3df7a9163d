"""Who the model gets wrong, as groups of patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.errors import Noun
from medloom.explain.weak_groups import ERROR, MINIMUM, WeakGroups
from medloom.report.section import Paragraph, Piece, Section, Table

if TYPE_CHECKING:
    from medloom.report.story import Story


def section(story: Story) -> Section | None:
    """The groups of each target with their mean errors, and which of them are clearly worse."""
    if not story.evidence.weak:
        return None
    several = len(story.evidence.weak) > 1
    pieces: list[Piece] = []
    for target, found in story.evidence.weak.items():
        name = f"{target}: " if several else ""
        worse = " and ".join(f"“{group}”" for group in found.worse)
        said = (
            f"{name}errors are larger for {worse}."
            if found.worse
            else f"{name}no group was found in which errors are clearly larger."
        )
        pieces += [Paragraph(said[0].upper() + said[1:]), _table(target, found, story.unit)]
    pieces.append(
        Paragraph(
            f"Groups were found in one half of the judged {story.unit.many}, by at most two questions about their inputs, and "
            f"judged in the other half. A group is worse where its error is above that of all others with an adjusted p "
            f"value that says so. Groups under {MINIMUM} {story.unit.many} are not shown. What was not found is not excluded."
        )
    )
    return Section(
        "weak-groups",
        "trust",
        f"{story.unit.many.capitalize()} that it gets wrong more often",
        tuple(pieces),
        folded=True,
    )


def _table(target: str, found: WeakGroups, of: Noun) -> Table:
    error = f"Mean {found.error_name}"
    against = "Difference from all others"
    rows = tuple(
        (
            group.name,
            f"{group.patients:,}",
            group.estimates[ERROR],
            group.contrasts[ERROR].difference if ERROR in group.contrasts else "–",
        )
        for group in found.groups.groups
        if group.estimates
    )
    return Table(f"{target}: errors in groups", ("Group", of.many.capitalize(), error, against), rows, (against,))
