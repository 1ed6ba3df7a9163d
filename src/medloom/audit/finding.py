"""What the audit found, as plain data: no patient's value, and row ids only where they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["severe", "suspicious", "note"]
SURE: Mapping[Severity, str] = {
    "severe": "almost certainly a leak",
    "suspicious": "probably a leak, unless it is known why",
    "note": "harmless as the study is, worth knowing",
}
"""How sure the audit is, in words."""
KINDS: Mapping[str, str] = {
    "same-patient": "one patient under two ids",
    "duplicate-rows": "the same row under two patients",
    "near-duplicates": "almost the same row under two patients",
    "copied-records": "the same image under two patients",
    "oversampling": "rows made up before the split",
    "too-good": "a column that predicts too well",
    "copy-of-target": "a copy or a function of the answer",
    "code-of-cases": "a value that only one answer has",
    "after-index": "a value from after the index time",
    "outcome-before-index": "an outcome that is older than the index time",
    "named-like-target": "a column named after the answer",
    "missingness": "what is missing tells the answer",
    "row-order": "the order of the rows tells the answer",
    "identifier": "the id tells the answer",
    "identifier-input": "an id is read as input",
    "site": "the site tells the answer",
    "time": "the time tells the answer",
    "target-statistics": "a mean of the answer read as input",
    "taught-the-start": "patients who judge taught the first weights",
    "fitted-on-all-rows": "a column that was fitted on all rows",
}
"""Every kind of finding, and what it is called."""
MOST_PAIRS, SHOWN_PAIRS = 1_000, 5
"""Pairs of rows that are alike: so many are kept, and so many printed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `figure` names the number in `value` that decided it ("AUROC", "rows"); `rows` counts rows.

    `columns` are columns of the table, `input` the one that reads them and `target` the answer concerned, where there
    is one. `row_ids` holds at most five, and `pairs` the ids of rows that are alike, at most `MOST_PAIRS`: none unless row
    ids were allowed.
    """

    kind: str
    severity: Severity
    found: str
    todo: str
    figure: str
    value: float
    columns: tuple[str, ...] = ()
    input: str | None = None
    target: str | None = None
    rows: int = 0
    row_ids: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def sure(self) -> str:
        """How sure the audit is, in words."""
        return SURE[self.severity]

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "called": KINDS[self.kind], "sure": self.sure}


def _alike(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The first pairs of rows that are alike, and where the others are to be found."""
    told = [f"    {one} = {other}" for one, other in pairs[:SHOWN_PAIRS]]
    return told + (
        [f"    and {len(pairs) - SHOWN_PAIRS:,} more: --ids --json has them"] if len(pairs) > SHOWN_PAIRS else []
    )


@dataclass(frozen=True, slots=True)
class Audit:
    """All findings, the gravest first. `looked_at` counts what was looked at, by name; `left_out` says what was not."""

    findings: tuple[Finding, ...]
    looked_at: Mapping[str, int]
    left_out: tuple[str, ...] = ()

    @property
    def severe(self) -> tuple[Finding, ...]:
        """The findings that are almost certainly leaks."""
        return tuple(one for one in self.findings if one.severity == "severe")

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "findings": [one.plain() for one in self.findings],
            "looked_at": dict(self.looked_at),
            "left_out": list(self.left_out),
        }

    def lines(self) -> list[str]:
        """The audit for a person to read, a line or two a finding."""
        looked = ", ".join(f"{count:,} {what}" for what, count in self.looked_at.items())
        text = [f"looked at {looked}: {len(self.findings) or 'no'} finding{'s' * (len(self.findings) != 1)}"]
        for one in self.findings:
            ids = f" (rows {', '.join(one.row_ids)})" if one.row_ids and not one.pairs else ""
            text.append(f"{one.severity}: {KINDS[one.kind]}, {one.sure} ({one.figure} {one.value:.4g})")
            text += [f"  {one.found}{ids}", *_alike(one.pairs), f"  → {one.todo}"]
        return text + [f"not looked at: {what}" for what in self.left_out]
