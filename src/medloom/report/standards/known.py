"""What a run knows of itself, as sentences that the lists of all standards share. Nothing is told that was not done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medloom.errors import counted
from medloom.evaluation.intervals import Estimate
from medloom.evaluation.sample_size import SampleSize
from medloom.report.content import Answer, Content
from medloom.report.standards.said import Said
from medloom.report.verdict import number, percent, verdict

if TYPE_CHECKING:
    from jaxtyping import Int

    from medloom.modality import Modality
    from medloom.packed import Source
    from medloom.report.story import Story

CALIBRATION = ("calibration", "intervals")
"""Groups of figures that tell whether a probability or an interval holds what it says."""
USEFULNESS = ("usefulness",)
DECISION_CURVE = "Decision curve"
BLOCK = 16_384
"""Rows whose gaps are counted at a time."""


@dataclass(frozen=True, slots=True)
class Known:
    """A run's story and content; `anchors` are the places of its report by key, with their titles.

    `missing` says of the rows that taught ("train") and of those that judged ("test") how much of their inputs is missing.
    """

    story: Story
    content: Content
    sizes: tuple[SampleSize, ...]
    anchors: Mapping[str, str]
    missing: Mapping[str, str]

    @classmethod
    def of(cls, story: Story, content: Content, sizes: tuple[SampleSize, ...]) -> Known:
        """What a run knows, counted once."""
        missing = {part: _missing(story, part) for part in ("train", "test")}
        return cls(story, content, sizes, content.anchors, missing)

    def links(self, *keys: str) -> tuple[tuple[str, str], ...]:
        """Those places that the report has, as (anchor, title)."""
        return tuple((key, self.anchors[key]) for key in keys if key in self.anchors)

    @property
    def trained(self) -> bool:
        """Whether this run trained the model; otherwise it judged a bundle on other data."""
        return self.story.trained

    @property
    def development(self) -> str:
        """Rows and patients that the model was made of."""
        parts = self.story.counts()["parts"]
        said = [
            f"{counted(p['rows'], 'row')} of {self.story.unit.counted(p['patients'])} ({name})"
            for name, p in parts.items()
            if p["rows"]
        ]
        return "; ".join(said)

    @property
    def events(self) -> str:
        """Answers in each part."""
        named = (
            f"{part.name}: {', '.join(f'{what} {n:,}' for what, n in part.events.items())}"
            for part in self.content.parts
        )
        return "; ".join(named)

    @property
    def judged(self) -> str:
        """What kind of rows the figures are of."""
        if not self.trained:
            return "The figures are of data that the model was not made of; every row of them judges."
        if self.story.crossed:
            return f"{self.content.split}. Every row was judged by models that had not seen its {self.story.unit.one}."
        return f"{self.content.split}. The test rows were scored once, by a model that had not seen their {self.story.unit.many}."

    @property
    def headlines(self) -> str:
        """The headline of every target with its interval, and what it is worth beside the best simple model."""
        return " ".join(
            f"{answer.target}: {verdict(answer, self.content.level, self.content.who).sentence}"
            for answer in self.answers
        )

    @property
    def answers(self) -> Sequence[Answer]:
        """What was found for each target."""
        return self.content.answers

    @property
    def members(self) -> str:
        """Who answers, for each target."""
        team = self.story.team
        networks = f"{len(team.networks)} network{'s' * (len(team.networks) != 1)} with {counted(team.parameters, 'parameter')}"
        said = []
        for name in self.story.tasks:
            labels = [networks if member == "network" else member.replace("_", " ") for member in team.members(name)]
            said.append(f"{name}: {' + '.join(labels)}")
        return "; ".join(said)

    @property
    def inputs(self) -> str:
        """The inputs with what was fitted of them."""
        return "; ".join(
            f"{one.name} ({one.modality}{''.join(f', {fact}: {text}' for fact, text in one.facts.items())})"
            for one in self.content.inputs
        )

    @property
    def times(self) -> str:
        """Whether each input was known before the index time: proved, or declared."""
        return "; ".join(f"{name}: {text}" for name, text in self.story.prepared.proof["index_time"].items())

    @property
    def proved(self) -> bool:
        """Whether that was proved for every input."""
        return all(text.startswith("proved") for text in self.story.prepared.proof["index_time"].values())

    @property
    def chosen(self) -> bool:
        """Whether validation rows chose the weights that were kept."""
        curve = self.content.training
        return curve is not None and bool(curve.valid_loss) and self.story.prepared.study.train.keep == "best"

    @property
    def trained_how(self) -> str:
        """How networks were trained; empty where there is none."""
        part, curve = self.story.prepared.study.train, self.content.training
        if curve is None:
            return ""
        which = "the best on the validation rows" if self.chosen else "the last"
        return f"Optimizer {part.optimizer}, schedule {part.schedule}; weights of step {curve.kept_step:,} were kept, {which}. "

    @property
    def outputs(self) -> str:
        """What the model gives out, with thresholds and what else was fitted."""
        return "; ".join(
            f"{name} ({', '.join(f'{fact}: {text}' for fact, text in task.describe().items())})"
            for name, task in self.story.tasks.items()
        )

    @property
    def measures(self) -> str:
        """All figures by their labels."""
        labels = dict.fromkeys(figure.label for answer in self.answers for figure in answer.figures)
        return ", ".join(labels)

    @property
    def first(self) -> str:
        """The part that a reader wants to know first: who taught, or who judged where nobody was taught."""
        return "train" if self.trained else "test"

    @property
    def left_out(self) -> int:
        """Rows that a criterion left out because a value it asks for is missing."""
        return sum(step.unknown for step in self.content.flow)

    @property
    def handled(self) -> str:
        """What was done about missing values, and about rows without a known answer."""
        out = (
            f" Criteria left out {counted(self.left_out, 'row')} whose value they need is missing."
            if self.left_out
            else ""
        )
        return (
            "No row is left out for a missing predictor: that it is missing is told to the model, and nothing is filled in "
            f"before the split.{out} {self.answers_missing}"
        )

    @property
    def unanswered(self) -> dict[str, int]:
        """Rows without a known answer, by target."""
        prepared = self.story.prepared
        return {name: int((~np.asarray(marks.present)).sum()) for name, marks in prepared.marks.items()}

    @property
    def answers_missing(self) -> str:
        """The same in words."""
        said = ", ".join(f"{name} {n:,}" for name, n in self.unanswered.items())
        return f"Rows without a known answer ({said}) teach and judge nothing of that target."

    @property
    def imbalance(self) -> dict[str, str]:
        """Methods against class imbalance that were asked for, by target."""
        targets = self.story.prepared.study.targets
        asked = {
            name: [
                *(["class weights"] * (getattr(part, "class_weights", "none") != "none")),
                *(["focal loss"] * (getattr(part, "loss", "") == "focal")),
            ]
            for name, part in targets.items()
        }
        return {name: " and ".join(methods) for name, methods in asked.items() if methods}

    @property
    def selected(self) -> str:
        """How numbers were selected, where they were; empty where all were kept."""
        chosen = {name: getattr(part, "select", None) for name, part in self.story.prepared.study.inputs.items()}
        said = [f"{name} by {one.by.replace('_', ' ')}" for name, one in chosen.items() if one is not None]
        return f"Numbers were selected on training rows: {', '.join(said)}." if said else ""

    @property
    def calibrated(self) -> bool:
        """Whether rows that had not taught, or rehearsals, set temperatures, thresholds or margins."""
        prepared = self.story.prepared
        return bool(len(prepared.fold.calibrate) or prepared.study.split.rehearsals)

    def of_kind(self, groups: Sequence[str], others: bool = False) -> list[tuple[str, Estimate]]:
        """Figures of the model of these groups (or of all others), with their labels."""
        found = []
        for answer in self.answers:
            metrics = self.story.tasks[answer.target].metrics()
            found += [
                (f"{answer.target}: {metric.label}", answer.network.estimates[name])
                for name, metric in metrics.items()
                if name in answer.network.estimates and (metric.group in groups) != others
            ]
        return found

    @property
    def plots(self) -> list[str]:
        """Titles of all plots."""
        return list(dict.fromkeys(plot.title for answer in self.answers for plot in answer.plots))

    def fewest(self) -> dict[str, int]:
        """The rarest answer among the judged rows of each target that counts answers."""
        rows = self.story.parts()["test"]
        tallies = {name: self.story.tally(name, rows) for name in self.story.comparisons}
        return {name: min(tally.values()) for name, tally in tallies.items() if len(tally) > 1}

    @property
    def intervals(self) -> str:
        """The headline figures with their intervals."""
        said = []
        for answer in self.answers:
            one = answer.network.estimates[answer.headline.name]
            between = "" if one.low is None else f" ({number(one.low)} to {number(one.high)})"
            said.append(f"{answer.target}: {answer.headline.label} {number(one.value)}{between}")
        return f"{'; '.join(said)} ({percent(self.content.level)} intervals)"


def _missing(story: Story, part: str) -> str:
    feed, rows = story.prepared.feed, story.parts()[part]
    said = [f"{name}: {_gaps(feed.modalities[name], feed.sources[name], rows)}" for name in feed.modalities]
    kind = "training row" if part == "train" else "judged row"
    return f"Of {counted(len(rows), kind)}: {'; '.join(said)}."


def _gaps(modality: Modality, source: Source, rows: Int[np.ndarray, " rows"]) -> str:
    """Rows without the input, and what lacks of the plain numbers of the others."""
    present = rows[source.unit[rows] > 0]
    said = f"absent for {len(rows) - len(present):,}"
    if modality.windows or not len(present):
        return said
    of_rows, of_numbers = 0, np.zeros(0, np.int64)
    for start in range(0, len(present), BLOCK):
        gaps = np.isnan(modality.plain(source, present[start : start + BLOCK]))
        of_rows += int(gaps.any(axis=1).sum())
        of_numbers = gaps.sum(axis=0) + (of_numbers if start else 0)
    if not len(of_numbers):
        return said
    return (
        f"{said}, {of_rows:,} with a missing number (in {np.count_nonzero(of_numbers)} of {len(of_numbers)} plain numbers, "
        f"of one at most {of_numbers.max() / len(present):.1%})"
    )


Answers = Mapping[str, Callable[[Known], Said | None]]
"""For each item that a run can say something of, how it does; None where this run cannot."""
