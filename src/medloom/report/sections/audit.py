"""What the leakage audit found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.audit.finding import KINDS, Audit
from medloom.errors import counted
from medloom.report.section import Listing, Paragraph, Piece, Section, Table

if TYPE_CHECKING:
    from medloom.report.story import Story


def section(story: Story) -> Section | None:
    """All findings, the gravest first, and what was not looked at; None where other data were judged."""
    return None if story.audit is None else of(story.audit)


def of(audit: Audit) -> Section:
    """The section of an audit."""
    looked = ", ".join(counted(count, what.removesuffix("s"), what) for what, count in audit.looked_at.items())
    found = "nothing was found" if not audit.findings else f"{len(audit.findings)} found"
    pieces: list[Piece] = [
        Paragraph(
            f"Before training, the data were searched for leaks: {looked}; {found}. "
            "A search that finds nothing does not prove that there is nothing."
        )
    ]
    if audit.findings:
        rows = tuple(
            (KINDS[one.kind].capitalize(), one.severity, f"{one.figure} {one.value:.3g}", one.found, one.todo)
            for one in audit.findings
        )
        head = ("Finding", "How grave", "Evidence", "What was found", "What to do")
        pieces.append(Table("Findings, the gravest first.", head, rows, prose=head[1:]))
    if audit.left_out:
        pieces.append(Listing(tuple(f"Not looked at: {what}" for what in audit.left_out)))
    return Section("audit", "trust", "Leakage audit", tuple(pieces))


def severe(audit: Audit | None) -> tuple[str, ...]:
    """Severe findings as warnings."""
    return tuple(
        f"Leakage audit: {one.found}. {one.todo[0].upper()}{one.todo[1:]}." for one in (audit.severe if audit else ())
    )
