"""What the run and the authors say of the items of standards, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from medloom.evaluation.intervals import Estimate
from medloom.report.standards.authors import Texts, answered
from medloom.report.standards.items import Item, Standard, items

State = Literal[
    "answered by the run", "answered in part", "written by the authors", "for the authors", "not applicable"
]


@dataclass(frozen=True, slots=True)
class Said:
    """What the run says of one item, with the places of the report that show it (anchor, title).

    `verdict` answers a signalling question. Where `applies` is false, `text` is why the item does not.
    """

    text: str
    links: tuple[tuple[str, str], ...] = ()
    verdict: str = ""
    applies: bool = True


@dataclass(frozen=True, slots=True)
class Answered:
    """One item as a reader sees it."""

    item: Item
    state: State
    text: str
    verdict: str = ""
    links: tuple[tuple[str, str], ...] = ()


def together(standard: Standard, run: Mapping[str, Said], texts: Texts) -> tuple[Answered, ...]:
    """Every item in its order, what the run says followed by what the authors wrote."""
    return tuple(
        _answered(item, run.get(key), texts.of(standard, key), standard) for key, item in items(standard).items()
    )


def _answered(item: Item, said: Said | None, written: str, standard: Standard) -> Answered:
    verdict = said.verdict if said else ""
    if written and standard == "probast":
        of_run, (verdict, why) = verdict, answered(written)
        written = f"{why or 'no reason given'}{f' (The run answers: {of_run}.)' if of_run else ''}"
    if said is None:
        text = written or item.ask
        return Answered(item, "written by the authors" if written else "for the authors", text, verdict)
    if not said.applies and not written:
        return Answered(item, "not applicable", said.text, verdict, said.links)
    text = f"{said.text} Authors: {written}" if written else said.text
    state: State = "answered in part" if item.who == "both" and not written else "answered by the run"
    return Answered(item, "written by the authors" if written else state, text, verdict, said.links)


def counted(answers: tuple[Answered, ...]) -> str:
    """How many items are in which state, in words."""
    states: dict[str, int] = {}
    for one in answers:
        states[one.state] = states.get(one.state, 0) + 1
    return ", ".join(f"{number} {state}" for state, number in states.items())


@dataclass(frozen=True, slots=True)
class Measured:
    """One group of figures: each with a label, and what is to be said of them."""

    results: tuple[tuple[str, Estimate], ...]
    interpretation: str
    kind: str
    data: str
    process: str


@dataclass(frozen=True, slots=True)
class Computed:
    """What the run says, by standard and item; and its figures by the groups of the card."""

    tripod: Mapping[str, Said]
    probast: Mapping[str, Said]
    card: Mapping[str, Said]
    figures: Mapping[str, Measured]
    level: float

    def tripod_with(self, texts: Texts) -> tuple[Answered, ...]:
        """All items of TRIPOD+AI."""
        return together("tripod", self.tripod, texts)

    def probast_with(self, texts: Texts) -> tuple[Answered, ...]:
        """All signalling questions of PROBAST+AI."""
        return together("probast", self.probast, texts)

    def card_with(self, texts: Texts) -> tuple[Answered, ...]:
        """All fields of the model card."""
        return together("card", self.card, texts)
