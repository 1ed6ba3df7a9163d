"""What the run says of all standards, kept with it, so that authors' texts can change without another training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medloom import fitted
from medloom.report.standards import card, probast, tripod
from medloom.report.standards.answers import Answered, Said, asked, counted, together
from medloom.report.standards.authors import Texts
from medloom.report.standards.card import Measured
from medloom.report.standards.items import CITED
from medloom.report.standards.known import Known

FILE = "standards.json"
NOTES = {
    "tripod": "What the run did is answered by the run; what only its authors know is theirs to write (authors.toml).",
    "probast": "Answers rest on what the run did. Whether a domain is of concern, and whether the model fits a question, is "
    "judged by people, best by some who did not make the model.",
}


@dataclass(frozen=True, slots=True)
class Computed:
    """What the run says, by standard and item; and its figures by the groups of the card."""

    tripod: Mapping[str, Said]
    probast: Mapping[str, Said]
    card: Mapping[str, Said]
    figures: Mapping[str, Measured]
    level: float

    @classmethod
    def of(cls, known: Known) -> Computed:
        """Everything that a run knows of itself."""
        return cls(
            asked("tripod", tripod.ANSWERS, known),
            asked("probast", probast.ANSWERS, known),
            asked("card", card.ANSWERS, known),
            card.measured(known),
            known.content.level,
        )

    def tripod_with(self, texts: Texts) -> tuple[Answered, ...]:
        """All items of TRIPOD+AI."""
        return together("tripod", self.tripod, texts)

    def probast_with(self, texts: Texts) -> tuple[Answered, ...]:
        """All signalling questions of PROBAST+AI."""
        return together("probast", self.probast, texts)

    def card_with(self, texts: Texts) -> tuple[Answered, ...]:
        """All fields of the model card."""
        return together("card", self.card, texts)


def files(computed: Computed, texts: Texts) -> dict[str, str]:
    """The files of a run by their names: the two lists, and the model card."""
    return {
        "tripod.md": markdown("TRIPOD+AI", "tripod", computed.tripod_with(texts)),
        "probast.md": markdown("PROBAST+AI", "probast", computed.probast_with(texts)),
        "model-card.xml": card.xml(computed.card_with(texts), computed.figures, computed.level),
    }


def dump(computed: Computed) -> str:
    """What is kept with the run, as JSON."""
    return json.dumps(fitted.dump(computed), indent=1) + "\n"


def load(folder: Path) -> Computed | None:
    """What was kept with a run; None where it keeps nothing."""
    path = folder / FILE
    return fitted.load(Computed, json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


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
        lines.append(_row((one.item.key, one.item.text, *verdict, one.state, said + where)))
    return "\n".join(lines) + "\n"


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} |"
