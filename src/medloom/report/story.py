"""Everything that a run knows when it ends: what reports and cards are told from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medloom import find
from medloom.audit.finding import Audit
from medloom.cohort.criteria import Step
from medloom.cohort.split import Fold
from medloom.errors import Noun, counted
from medloom.evaluation.baseline import answered, taught
from medloom.evaluation.drift import Drifted
from medloom.evaluation.intervals import MODEL, Comparison
from medloom.evaluation.kept import Kept
from medloom.evaluation.learning import Reached
from medloom.evaluation.rowwise import Rowwise
from medloom.evaluation.stressed import Stressed
from medloom.evaluation.subgroups import Subgroups
from medloom.explain.evidence import Evidence
from medloom.model.start import Begun
from medloom.model.team import NETWORK, Team
from medloom.prepare import Prepared
from medloom.report.standards.authors import Texts
from medloom.task import Measured, Task


@dataclass(frozen=True, slots=True)
class Story:
    """Everything a run knows when it ends. `tasks` are calibrated; `measured` is by target and entrant,
    `patient` whose rows these are.

    `histories` are the losses of each network; None where nothing was trained and a bundle judged other data.
    `problems` counts values that did not fit that bundle.
    """

    prepared: Prepared
    team: Team
    tasks: Mapping[str, Task]
    comparisons: Mapping[str, Comparison]
    measured: Mapping[str, Mapping[str, Measured]]
    patient: Mapping[str, np.ndarray]
    histories: tuple[Sequence[Mapping[str, float]], ...] | None
    problems: int = 0
    crossed: tuple[Fold, ...] = ()
    """The folds of a cross-validation, whose test rows are what the figures are of."""
    audit: Audit | None = None
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Places in the cohort of the rows that were measured, by target, in the order of `measured`."""
    drift: tuple[Drifted, ...] = ()
    """How the inputs of other data differ from those that taught."""
    kept: Mapping[str, Kept] = field(default_factory=dict)
    covered: Mapping[str, Subgroups] = field(default_factory=dict)
    stress: Mapping[str, Stressed] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)
    curve: tuple[Reached, ...] = ()
    """A learning curve, where one was asked for."""
    texts: Texts = field(default_factory=Texts)
    """What the authors wrote."""
    begun: tuple[Begun, ...] = ()
    """What the networks began with, where that is from elsewhere."""
    single: Mapping[str, str] = field(default_factory=dict)
    """The column that the best single feature is of, by target."""

    @property
    def unit(self) -> Noun:
        """What those are called whom splits and intervals keep together."""
        return self.prepared.study.cohort.unit

    def rowwise(self) -> dict[str, Rowwise]:
        """What the model measured of each row, to be kept with the run."""
        return {
            name: Rowwise(self.tasks[name], self.prepared.cohort.row.gather(rows), self.patient[name], of[MODEL])
            for name, rows in self.rows.items()
            if MODEL in (of := self.measured[name])
        }

    @property
    def trained(self) -> bool:
        """Whether this is the run that trained the model."""
        return self.histories is not None

    def parts(self) -> dict[str, np.ndarray]:
        """Rows by what they are for. After cross-validation every row that judged in a fold is a test row, and the

        other parts are those of the network that was kept.
        """
        parts = dict(self.prepared.fold.parts())
        if self.crossed:
            parts["test"] = np.unique(np.concatenate([fold.test for fold in self.crossed]))
        return parts

    def counts(self) -> dict[str, Any]:
        """Rows, patients, and answers of each part by what they are."""
        cohort = self.prepared.cohort
        parts = {
            name: {"rows": len(rows), "patients": _distinct(cohort.patient[rows])}
            for name, rows in self.parts().items()
        }
        answers = {
            target: {part: dict(self.tally(target, rows)) for part, rows in self.parts().items()}
            for target in self.tasks
        }
        counts = {"rows": len(cohort), "patients": _distinct(cohort.patient), "parts": parts, "answers": answers}
        sampled = self.sampled()
        return counts | ({"baselines": sampled} if sampled else {})

    def sampled(self) -> dict[str, dict[str, int]]:
        """Targets whose baselines learnt from a sample of the training rows: from how many, of how many."""
        study, feed = self.prepared.study, self.prepared.feed
        if not study.evaluate.baselines or not self.trained:
            return {}
        train = self.crossed[0].train if self.crossed else self.prepared.fold.train
        rows = {n: (len(taught(feed, n, train, study.seed)), len(answered(feed, n, train))) for n in self.tasks}
        return {name: {"learnt_from": some, "of": known} for name, (some, known) in rows.items() if some < known}

    def flow(self) -> tuple[Step, ...]:
        """How the rows of the table became those of the parts."""
        cohort, steps = self.prepared.cohort, list(self.prepared.cohort.flow)
        held = np.ones(len(cohort), bool)
        left_out = {} if self.crossed else self.prepared.fold.left_out
        for why, rows in left_out.items():
            held[rows] = False
            patients = _distinct(cohort.patient[held])
            steps += [Step("split", why, int(held.sum()), patients, len(rows))] * bool(len(rows))
        return tuple(steps)

    def labels(self, target: str) -> dict[str, str]:
        """What the target's model, its members and the baselines are called, by name."""
        count = len(self.team.networks)
        networks = NETWORK.capitalize() if count == 1 else counted(count, "network")
        labels = {NETWORK: networks, **{name: one.label for name, one in self.tasks[target].baselines(0).items()}}
        return {MODEL: " + ".join(labels[member] for member in self.team.members(target)), **labels}

    def tally(self, target: str, rows: np.ndarray) -> Mapping[str, int]:
        """Known answers of these rows by what they are."""
        options = self.prepared.study.targets[target]
        return find.task(options.task).tally(options, self.prepared.marks[target], rows)

    def told(self, target: str, rows: np.ndarray) -> Mapping[str, int]:
        """The same, by what answers are called for people."""
        options, tally = self.prepared.study.targets[target], self.tally(target, rows)
        return dict(zip(find.task(options.task).told(options, list(tally)), tally.values(), strict=True))


def _distinct(patient: np.ndarray) -> int:
    """How many patients these rows are of."""
    return int(np.count_nonzero(np.bincount(patient)))
