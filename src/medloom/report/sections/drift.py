"""How the inputs of other data differ from those that taught."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.evaluation.drift import LARGE, Drifted
from medloom.report.section import Paragraph, Section, Table

if TYPE_CHECKING:
    from medloom.report.story import Story

SHOWN = 10


def section(story: Story) -> Section | None:
    """The numbers that differ most; None where the bundle kept no summaries, or where it was trained here."""
    if not story.drift:
        return None
    large = sum(one.size > LARGE for one in story.drift)
    text = (
        f"{large} of {len(story.drift)} numbers differ by more than {LARGE:g} standard deviations, in their mean or in how "
        f"often they are missing. Figures here may then differ from those of the training data because {story.unit.many} do, and not "
        "because the model is worse."
    )
    head = ("Number", "Difference of the mean", "Difference of missing", "Missing in training", "Missing here")
    rows = tuple(_row(one) for one in story.drift[:SHOWN])
    table = Table("Standardised differences, other rows less training rows: the largest", head, rows)
    return Section(
        "drift", "trust", f"How these {story.unit.many} differ from those that taught", (Paragraph(text), table)
    )


def _row(one: Drifted) -> tuple[str, ...]:
    mean = "cannot be told" if one.mean is None else f"{one.mean:+.2f}"
    return (
        f"{one.input}: {one.name}",
        mean,
        f"{one.missing:+.2f}",
        f"{one.missing_there:.1%}",
        f"{one.missing_here:.1%}",
    )
