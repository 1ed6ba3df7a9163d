"""Where in images the answers come from: what maps of it are worth; and, where a study asks for it, some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom.errors import counted
from medloom.evaluation.intervals import Estimate
from medloom.explain.cases import words
from medloom.explain.mapped import LIKE, MapFigures, Mapped
from medloom.report.pictures import drawn
from medloom.report.section import Listing, Paragraph, Piece, Section, Table
from medloom.report.verdict import number

if TYPE_CHECKING:
    from medloom.report.story import Story

LIKENESS, GAIN, HIT = "Like an untrained network's", "Moves the answer by", "Highest point in the mask"
HOW = (
    f"{LIKENESS}: rank correlation of a map with that of networks whose weights were drawn anew; near 0 is good, and from "
    f"{LIKE} on the map shows the image rather than what was learnt.",
    f"{GAIN}: how much more the answer falls where the regions that a map calls high are flattened than where regions at "
    "random are; above 0 is good.",
    "Maps say which places the networks' answers hang on, and not why, nor whether a disease is there. Simple models among "
    "the members look at no place.",
)
SHOWN = "These are images of patients, which the study asked for (evaluate.maps.pictures)."
COLOURS = (
    "Colours on a map are in units of its highest size: orange speaks for the answer that is named, blue against it."
)
MARKED = "A green line runs within what a person marked."
ANSWERED = "A dashed orange line runs around what was answered."
LETTERS = "Letters at the edges of slices are the patient's sides: R right, A front, S head."


def section(story: Story) -> Section | None:
    """A table for each image and target: what each method's maps are worth."""
    found = story.evidence.mapped
    if not found:
        return None
    pieces: list[Piece] = []
    for one in found:
        pieces += _of(one, len(found) > 1)
    if any(one.figures for one in found):
        pieces.append(Listing(HOW))
    return Section("maps", "explanation", "Where in the images it looked", tuple(pieces))


def _of(one: Mapped, several: bool) -> list[Piece]:
    name = f"{one.target}, {one.input}: " if several else ""
    if not one.figures:
        return [Paragraph(f"{name}nothing was asked of the images: {one.left_out}.".capitalize())]
    gain = f"{GAIN} ({one.unit})"
    head = ("Map", LIKENESS, gain, *((HIT, "Less a point at random") if one.marked else ()))
    rows: list[tuple[str | Estimate, ...]] = []
    for method, figures in one.figures.items():
        cells = (figures.likeness, figures.gain)
        more = (figures.hit or Estimate(None), figures.over_chance or Estimate(None)) if one.marked else ()
        rows.append((words(method), *cells, *more))
    if one.marked:
        for word, figure in (("a point at random", one.chance), ("always the middle", one.middle)):
            rows.append((word, "–", "–", figure or Estimate(None), "–"))
    caption = f"{name}maps of {one.rows:,} judged rows of {counted(one.patients, 'patient')}"
    caption += f", {one.marked:,} with a mask" if one.marked else ""
    table = Table(caption[0].upper() + caption[1:], head, tuple(rows), (LIKENESS, gain, "Less a point at random"))
    return [table, *(Paragraph(text) for method, figures in one.figures.items() if (text := _judged(method, figures)))]


def _judged(method: str, figures: MapFigures) -> str:
    """What follows where a check was not passed; nothing where all were."""
    name = words(method)
    name = name[0].upper() + name[1:]
    if figures.likeness.value is not None and not figures.learnt:
        return (
            f"{name} is not to be trusted here: its maps are much the same where nothing was learnt (rank correlation "
            f"{number(figures.likeness.value)})."
        )
    if figures.gain.value is None:
        return f"{name} says nothing here: its maps are the same everywhere."
    if figures.likeness.value is None:
        return f"{_moved(name, figures)} An untrained network's maps are the same everywhere: there is no likeness to tell.".strip()
    return _moved(name, figures)


def _moved(name: str, figures: MapFigures) -> str:
    """What is said of a map that does not move the answer, or moves it and points beside what was marked."""
    if not figures.moves:
        much = "more" if figures.gain.high is not None and figures.gain.high < 0 else "about as much"
        return f"{name} is not shown to find what moves the answer: regions at random do {much}."
    if figures.over_chance is not None and not (figures.over_chance.low is not None and figures.over_chance.low > 0):
        return (
            f"{name} does not point at what was marked: its highest point lies there no oftener than a point at random. "
            "What it shows moves the answer, and is not where the finding is."
        )
    return ""


def warnings(story: Story) -> list[str]:
    """For the head of the report: maps that do not follow what was learnt, and that patients' images are shown."""
    found = [
        f"{one.target}: maps of {one.input} by {words(method)} hardly change where the network has learnt nothing; do not "
        "read them as a reason."
        for one in story.evidence.mapped
        for method, figures in one.figures.items()
        if figures.likeness.value is not None and not figures.learnt
    ]
    asked = story.prepared.study.evaluate.maps.pictures
    if asked and story.evidence.cases:
        found.append(
            "Images of patients are shown (evaluate.maps.pictures): this report holds patients' data; keep it where such "
            "data may be kept."
        )
    elif asked:
        found.append("evaluate.maps.pictures asks for pictures of single cases, and this study has none to draw.")
    return found


def cases(story: Story) -> Section | None:
    """Pictures of single rows."""
    found = story.evidence.cases
    if not found:
        return None
    panels = [panel for case in found for panel in case.panels]
    said = (
        (SHOWN, True),
        (COLOURS, any(panel.heat is not None for panel in panels)),
        (MARKED, any("truth" in panel.outlines for panel in panels)),
        (ANSWERED, any("answer" in panel.outlines for panel in panels)),
        (LETTERS, any(any(panel.sides) for panel in panels)),
    )
    told = Paragraph(" ".join(text for text, holds in said if holds))
    return Section("cases", "explanation", "Single cases", (told, *drawn(found)))
