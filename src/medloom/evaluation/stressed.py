"""What stress scenarios did to the figures, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medloom.evaluation.intervals import MODEL, Comparison
from medloom.evaluation.shifted import Shifted
from medloom.evaluation.subgroups import Subgroups

BEFORE = "before"
"""The entrant of a comparison that is the model on the rows as they are."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One alteration: of `column`, of `input`, or of all where neither is named."""

    kind: str
    label: str
    column: str | None = None
    input: str | None = None
    size: float = 0.0

    @property
    def one_of_many(self) -> bool:
        """Whether only the worst of its kind are shown."""
        return self.column is not None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario does to a target; without figures where the data would have been refused, and `note` says so."""

    scenario: Scenario
    comparison: Comparison | None
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        named = {"kind": self.scenario.kind, "scenario": self.scenario.label}
        if self.comparison is None:
            return {**named, "note": self.note}
        figures = {name: one.plain() for name, one in self.comparison.estimates[MODEL].items()}
        changes = {name: one.plain() for name, one in self.comparison.differences[BEFORE].items()}
        return {**named, "figures": figures, "change": changes}


@dataclass(frozen=True, slots=True)
class Stressed:
    """All that one target was put through."""

    outcomes: tuple[Outcome, ...] = ()
    prevalences: tuple[Shifted, ...] = ()
    groups: Subgroups | None = None
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "scenarios": [one.plain() for one in self.outcomes],
            "prevalence": [one.plain() for one in self.prevalences],
            **({"groups": self.groups.plain()} if self.groups else {}),
            "notes": list(self.notes),
        }
