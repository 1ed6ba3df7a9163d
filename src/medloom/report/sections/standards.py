"""The model card, and the lists of TRIPOD+AI and PROBAST+AI, each folded."""

from __future__ import annotations

from medloom.report.section import Facts, Led, Paragraph, Section
from medloom.report.standards.authors import Texts
from medloom.report.standards.card import UNSAID
from medloom.report.standards.computed import NOTES
from medloom.report.standards.items import CITED, Standard
from medloom.report.standards.said import Answered, Computed, counted


def sections(computed: Computed, texts: Texts) -> tuple[Section, ...]:
    """What the run and its authors say, as three sections of the chapter on method."""
    return (
        _card(computed.card_with(texts)),
        _listed("tripod", "TRIPOD+AI", computed.tripod_with(texts)),
        _listed("probast", "PROBAST+AI", computed.probast_with(texts)),
    )


def _card(fields: tuple[Answered, ...]) -> Section:
    shown = [one for one in fields if one.state != "for the authors" or not one.item.optional]
    facts = {one.item.text: UNSAID if one.state == "for the authors" else one.text for one in shown}
    note = f"{CITED['card']}. The same as XML is in model-card.xml beside this report. {_counts(fields)}"
    return Section("model-card", "method", "Model card", (Paragraph(note), Facts(facts)), folded=True)


def _listed(standard: Standard, name: str, answers: tuple[Answered, ...]) -> Section:
    facts = {f"{one.item.key} {one.item.text}": Led(_told(one), one.links) for one in answers}
    note = f"{CITED[standard]}; the words are ours. {NOTES[standard]} {_counts(answers)}"
    return Section(standard, "method", name, (Paragraph(note), Facts(facts)), folded=True)


def _told(one: Answered) -> str:
    """The answer to a signalling question, what is said, and what authors have still to write."""
    if one.state == "for the authors":
        return f"To write: {one.text}"
    if one.state == "not applicable":
        return f"Not applicable: {one.text}"
    verdict = f"{one.verdict.capitalize()}. " if one.verdict else ""
    more = f" To add: {one.item.ask}" if one.state == "answered in part" else ""
    return f"{verdict}{one.text}{more}"


def _counts(answers: tuple[Answered, ...]) -> str:
    return f"{len(answers)} items: {counted(answers)}."
