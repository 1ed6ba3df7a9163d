"""What the run says of all standards, kept with it, so that authors' texts can change without another training."""

from __future__ import annotations

from medloom.report.standards import card, probast, tripod
from medloom.report.standards.authors import Texts
from medloom.report.standards.items import CITED, Item, Standard, items
from medloom.report.standards.known import Answers, Known
from medloom.report.standards.said import Answered, Computed, Said, counted

NOTES = {
    "tripod": "What the run did is answered by the run; what only its authors know is theirs to write (authors.toml).",
    "probast": "Answers rest on what the run did. Whether a domain is of concern, and whether the model fits a question, is "
    "judged by people, best by some who did not make the model.",
}


def computed(known: Known) -> Computed:
    """Everything that a run knows of itself."""
    return Computed(
        _asked("tripod", tripod.ANSWERS, known),
        _asked("probast", probast.ANSWERS, known),
        _asked("card", card.ANSWERS, known),
        card.measured(known),
        known.content.level,
    )


def _asked(standard: Standard, answers: Answers, known: Known) -> dict[str, Said]:
    said = {key: answers[key](known) for key in items(standard) if key in answers}
    return {key: one for key, one in said.items() if one is not None}


def files(of: Computed, texts: Texts) -> dict[str, str]:
    """The files of a run by their names: the two lists, and the model card."""
    return {
        "tripod.md": markdown("TRIPOD+AI", "tripod", of.tripod_with(texts)),
        "probast.md": markdown("PROBAST+AI", "probast", of.probast_with(texts)),
        "model-card.xml": card.xml(of.card_with(texts), of.figures, of.level),
    }


def markdown(title: str, standard: str, answers: tuple[Answered, ...]) -> str:
    """A list as a table of Markdown."""
    verdicts = standard == "probast"
    head = ("Item", "About", *(("Answer",) if verdicts else ()), "State", "What is said")
    lines = [f"# {title}", "", f"{CITED['probast' if verdicts else 'tripod']}. The words of the items are ours.", ""]
    lines += [NOTES[standard], "", f"{len(answers)} items: {counted(answers)}.", ""]
    lines += [_row(head), _row(tuple("---" for _ in head))]
    for one in answers:
        said = f"*{one.text}*" if one.state == "for the authors" else one.text
        where = f" See: {', '.join(title for _, title in one.links)} (report.html)." if one.links else ""
        verdict = ((one.verdict or "–"),) if verdicts else ()
        lines.append(_row((_place(one.item), one.item.text, *verdict, one.state, said + where)))
    return "\n".join(lines) + "\n"


def _place(item: Item) -> str:
    """The number that the standard gives, and the key of `authors.toml` where that is another."""
    return item.place if item.place == item.key else f"{item.place} (`{item.key}`)"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} |"
