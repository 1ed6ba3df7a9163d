"""Everything a report says, as plain data. No patient's row and no row id is part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from medloom.audit.finding import Audit
from medloom.cohort.criteria import Step
from medloom.errors import PATIENT, Noun
from medloom.evaluation.intervals import MODEL, Comparison, Estimate
from medloom.evaluation.result import WITHOUT, best_baseline, is_baseline
from medloom.report.section import Section
from medloom.report.standards.authors import Texts
from medloom.report.standards.said import Computed
from medloom.report.words import heading
from medloom.task import Curve, Metric, Plot

MOST_POINTS = 300
NETWORK = "Network"
"""What a model of one network is called beside its baselines."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one figure is called, and which way is better."""

    name: str
    label: str
    higher_is_better: bool
    note: str = ""
    group: str = "overall"


@dataclass(frozen=True, slots=True)
class Entrant:
    """The network or a baseline, with its figures by name."""

    name: str
    label: str
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Share:
    """One member of a team: its share in the answer, and by how much the headline changes with it."""

    label: str
    share: float | None
    adds: Estimate


@dataclass(frozen=True, slots=True)
class Answer:
    """One target: the question in words, the network beside every baseline, and its plots.

    `figures` starts with the headline. `differences[baseline][figure]` is the network's figure minus the baseline's.
    `best` is the strongest baseline by the headline. `facts` are the task's fitted facts. `members` are those who
    answer together, where the model is more than one network.
    """

    target: str
    question: str
    figures: tuple[Figure, ...]
    network: Entrant
    baselines: tuple[Entrant, ...] = ()
    differences: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    best: str | None = None
    rows: int = 0
    patients: int = 0
    plots: tuple[Plot, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    members: tuple[Share, ...] = ()
    joins: tuple[str, ...] = ()
    """Names of the baselines that a bundle could hold."""

    @classmethod
    def of(
        cls,
        target: str,
        question: str,
        comparison: Comparison,
        metrics: Mapping[str, Metric],
        labels: Mapping[str, str],
        plots: tuple[Plot, ...] = (),
        facts: Mapping[str, str] | None = None,
        model: str = NETWORK,
        shares: Mapping[str, float] | None = None,
    ) -> Answer:
        """From a comparison on the test rows; `labels` are what baselines and members are called, by name."""
        entrants = {name: Entrant(name, labels.get(name, name), of) for name, of in comparison.estimates.items()}
        headline = next(iter(metrics))
        less = [name for name in comparison.differences if name.startswith(WITHOUT)]
        return cls(
            target=target,
            question=question,
            figures=tuple(Figure(n, m.label, m.higher_is_better, m.note, m.group) for n, m in metrics.items()),
            network=Entrant(MODEL, model, comparison.estimates[MODEL]),
            baselines=tuple(entrant for name, entrant in entrants.items() if is_baseline(name)),
            differences={name: of for name, of in comparison.differences.items() if is_baseline(name)},
            best=best_baseline(comparison, metrics),
            rows=comparison.rows,
            patients=comparison.patients,
            plots=tuple(map(thinned, plots)),
            facts=facts or {},
            members=tuple(
                Share(labels.get(member, member), (shares or {}).get(member), comparison.differences[name][headline])
                for name, member in ((name, name.removeprefix(WITHOUT)) for name in less)
            ),
        )

    @property
    def headline(self) -> Figure:
        """The figure the verdict is about."""
        return self.figures[0]

    @property
    def subject(self) -> str:
        """The model as the subject of a sentence."""
        return "the network" if self.network.label == NETWORK else "the ensemble" if self.members else "the model"

    @property
    def labels(self) -> dict[str, str]:
        """What every entrant is called, by name."""
        return {entrant.name: entrant.label for entrant in (self.network, *self.baselines)}


def thinned(plot: Plot) -> Plot:
    """The plot with at most `MOST_POINTS` points a curve, the first and the last among them, and six digits each."""
    return replace(plot, curves=tuple(_thinned(curve) for curve in plot.curves))


def _thinned(curve: Curve) -> Curve:
    last, most = len(curve.x) - 1, min(len(curve.x), MOST_POINTS)
    places = [round(i * last / max(most - 1, 1)) for i in range(most)]

    def taken(values: Sequence[float] | None) -> tuple[float, ...] | None:
        return None if values is None else tuple(float(f"{values[place]:.6g}") for place in places)

    return Curve(curve.name, taken(curve.x) or (), taken(curve.y) or (), taken(curve.low), taken(curve.high))


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the split; `events` are counts of answers by what they are called ("death: yes")."""

    name: str
    rows: int
    patients: int
    events: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Training:
    """Losses over the steps, and the step whose weights were kept. `name` tells one network from the others."""

    steps: tuple[int, ...]
    train_loss: tuple[float, ...]
    valid_steps: tuple[int, ...] = ()
    valid_loss: tuple[float, ...] = ()
    kept_step: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its modality, and what is worth knowing of it, as text."""

    name: str
    modality: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """A report. `people` says in a sentence who the patients are; `counts` are a few numbers of the cohort.
    `flow` are the steps from the table to the parts. `severe` are warnings that may make every figure void.

    `proved` are facts that were checked on the data, `declared` those that the study only asserts. `reproduce` are
    the commands that lead here again. `level` and `resamples` are those of all intervals. `sections` are what the parts
    of the evaluation tell beside this, drawn in their chapters in this order.
    """

    title: str
    people: str
    answers: tuple[Answer, ...]
    counts: Mapping[str, str] = field(default_factory=dict)
    flow: tuple[Step, ...] = ()
    severe: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    split: str = ""
    parts: tuple[Part, ...] = ()
    proved: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    trainings: tuple[Training, ...] = ()
    study_toml: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    reproduce: tuple[str, ...] = ()
    made: str = ""
    level: float = 0.95
    resamples: int = 1000
    sections: tuple[Section, ...] = ()
    said: Computed | None = None
    """What the run says of reporting standards."""
    texts: Texts = field(default_factory=Texts)
    """What its authors had written by then."""
    audit: Audit | None = None
    """What the leakage audit found; None where other data were judged. Its findings hold no row id."""
    who: Noun = PATIENT
    """What those are called that stay together where rows are split and resampled."""

    @property
    def anchors(self) -> dict[str, str]:
        """The places of the page that others may lead to, with their titles."""
        return {
            "answers": "The answer",
            **({"warnings": "Warnings"} if self.warnings else {}),
            "patients": heading(self.who),
            **({"target-1-figures": "All figures"} if self.answers else {}),
            **{section.key: section.title for section in self.sections},
            "method": "How it was made",
            "again": "How to make it again",
        }

    @property
    def training(self) -> Training | None:
        """The training of the first network."""
        return next(iter(self.trainings), None)
