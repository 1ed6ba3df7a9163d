"""What there is to learn from, beside what the criteria for the size of a sample ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medloom.prepare import Prepared
from medloom.statistics.sample_size import Needed


@dataclass(frozen=True, slots=True)
class SampleSize:
    """One outcome of one target: what is needed, and the patients and events of the rows that taught.

    Patients are counted and not rows: rows of one patient tell less than as many patients do.
    """

    target: str
    outcome: str
    needed: Needed
    patients: int
    events: int | None
    several: bool = False
    """Whether patients have several rows, so that one may count among the events more than once."""

    @property
    def enough(self) -> bool:
        """Whether every criterion is met."""
        return self.patients >= self.needed.rows and (self.events is None or self.events >= (self.needed.events or 0))

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "outcome": self.outcome,
            "parameters": self.needed.parameters,
            "assumed": self.needed.assumed,
            "needed": {
                "patients": self.needed.rows,
                "events": self.needed.events,
                "criteria": {one.about: one.rows for one in self.needed.criteria},
            },
            "found": {"patients": self.patients, "events": self.events},
            "enough": self.enough,
        }


def sample_sizes(prepared: Prepared) -> tuple[SampleSize, ...]:
    """The criteria for every target that has some; nothing where nobody was trained or the study does not ask.

    Candidate predictor parameters are the plain numbers of a row, one a number and one a known category, those that a
    selection left out included.
    """
    rows, options = prepared.fold.train, prepared.study.evaluate
    if not options.sample_size or not len(rows):
        return ()
    left_out = sum(modality.left_out() for modality in prepared.feed.modalities.values())
    parameters = prepared.feed.plain(rows[:1]).shape[1] + left_out
    if not parameters:
        return ()
    found = []
    for name, task in prepared.feed.tasks.items():
        marks = prepared.marks[name]
        known = rows[np.asarray(marks.present)[rows]]
        patients = len(np.unique(prepared.cohort.patient[known]))
        for outcome, (needed, events) in task.sample_size(marks, known, parameters, options.expected_r_squared).items():
            found.append(SampleSize(name, outcome, needed, patients, events, patients < len(known)))
    return tuple(found)
