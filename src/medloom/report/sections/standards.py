"""The model card, and the lists of TRIPOD+AI and PROBAST+AI, each folded."""

from __future__ import annotations

from medloom.report.section import Link, Paragraph, Section, Table
from medloom.report.standards.authors import Texts
from medloom.report.standards.card import UNSAID
from medloom.report.standards.computed import NOTES
from medloom.report.standards.items import CITED
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
    rows = tuple((one.item.text, UNSAID if one.state == "for the authors" else one.text) for one in shown)
    note = f"{CITED['card']}. The same as XML is in model-card.xml beside this report. {counted(fields).capitalize()}."
    return Section(
        "model-card",
        "method",
        "Model card",
        (Paragraph(note), Table("What the model is, for whom, and what is known of it.", ("Field", "Text"), rows)),
        folded=True,
    )


def _listed(standard: str, name: str, answers: tuple[Answered, ...]) -> Section:
    verdicts = standard == "probast"
    head = ("Item", "About", *(("Answer",) if verdicts else ()), "Who", "What is said", "Where")
    rows = []
    for one in answers:
        said = f"To write: {one.text}" if one.state == "for the authors" else one.text
        where = Link(one.links[0][1], one.links[0][0]) if one.links else "–"
        verdict = ((one.verdict or "–"),) if verdicts else ()
        rows.append((one.item.key, one.item.text, *verdict, one.state, said, where))
    note = f"{CITED[standard]}; the words are ours. {NOTES[standard]} {len(answers)} items: {counted(answers)}."
    table = Table(f"{name}, item by item.", head, tuple(rows))
    return Section(standard, "method", name, (Paragraph(note), table), folded=True)
