"""An item with what the run and the authors say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from medloom.report.standards.authors import Texts, answered
from medloom.report.standards.items import Item, Standard, items
from medloom.report.standards.known import Known

State = Literal["answered by the run", "the run in part", "written by the authors", "for the authors", "not applicable"]


@dataclass(frozen=True, slots=True)
class Said:
    """What the run says of one item, with the places of the report that show it (anchor, title).

    `verdict` answers a signalling question. Where `applies` is false, `text` is why the item does not.
    """

    text: str
    links: tuple[tuple[str, str], ...] = ()
    verdict: str = ""
    applies: bool = True


Answers = Mapping[str, Callable[[Known], Said | None]]
"""For each item that a run can say something of, how it does; None where this run cannot."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One item as a reader sees it."""

    item: Item
    state: State
    text: str
    verdict: str = ""
    links: tuple[tuple[str, str], ...] = ()


def asked(standard: Standard, answers: Answers, known: Known) -> dict[str, Said]:
    """What the run says of every item that it can say something of."""
    said = {key: answer(known) for key, answer in answers.items() if key in items(standard)}
    return {key: one for key, one in said.items() if one is not None}


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
    state: State = "the run in part" if item.who == "both" and not written else "answered by the run"
    return Answered(item, "written by the authors" if written else state, text, verdict, said.links)


def counted(answers: tuple[Answered, ...]) -> str:
    """How many items are in which state, in words."""
    states: dict[str, int] = {}
    for one in answers:
        states[one.state] = states.get(one.state, 0) + 1
    return ", ".join(f"{number} {state}" for state, number in states.items())
