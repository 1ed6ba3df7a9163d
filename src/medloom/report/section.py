"""What a section of a report may hold, as plain data: whoever has something to tell makes a `Section`, the page draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal, Self

from pydantic import ConfigDict

from medloom.evaluation.intervals import Estimate
from medloom.task import Plot

Chapter = Literal["patients", "figures", "trust", "explanation", "method"]
"""Where a section stands: who the patients are, how good the answers are, why they may be believed or not, why they are
what they are, how it was made."""


class Led(str):
    """A text that leads to other places of the report, given as (anchor, title); where nothing can be led to, it names them.

    It may stand wherever a piece has a text of its own: a cell, a fact, a paragraph.
    """

    __slots__ = ("places", "text")
    text: str
    places: tuple[tuple[str, str], ...]

    def __new__(cls, text: str, places: tuple[tuple[str, str], ...]) -> Self:
        led = super().__new__(cls, f"{text} See: {', '.join(title for _, title in places)}." if places else text)
        led.text, led.places = text, places
        return led

    def __html__(self) -> str:
        """How a page draws it."""
        links = ", ".join(f'<a href="#{escape(anchor)}">{escape(title)}</a>' for anchor, title in self.places)
        return f"{escape(self.text)} See: {links}." if links else escape(self.text)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Prose."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    text: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Short sentences, one below the other."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they are."""

    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first cell of each names the row. An estimate is drawn with its interval beneath.

    `signed` columns hold differences, with their sign. `drawn` is a column whose estimates are drawn on one scale too,
    with a line at `mark`. `prose` columns are set as text, from the left.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | Estimate, ...], ...]
    signed: tuple[str, ...] = ()
    drawn: str = ""
    mark: float | None = None
    prose: tuple[str, ...] = ()


Triple = tuple[float | None, float | None, float | None]
"""A value with its low and high end; None where there is none."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What follows from acting at each threshold of a grid: the reader moves along it.

    `counts` are true positives, false positives, false negatives and true negatives at each threshold; `figures` are
    by what they are called, one a threshold. `own` is the place of the study's own threshold in the grid, `shown` are
    the places that a page without a script shows.
    """

    caption: str
    positive: str
    grid: tuple[float, ...]
    counts: tuple[tuple[int, int, int, int], ...]
    figures: Mapping[str, tuple[Triple, ...]]
    own: int
    shown: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """A small picture: a PNG in base64, drawn `width` by `height`, and in words what is to be seen on it."""

    title: str
    text: str
    png: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Images:
    """Pictures side by side under one caption. `told` says of those that would make the page too large what they show."""

    caption: str
    images: tuple[Image, ...]
    told: tuple[str, ...] = ()


Piece = Paragraph | Listing | Facts | Table | Thresholds | Images | Plot


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report under a heading of its own. `folded` ones are opened by the reader.

    `key` is unique in the report and is the anchor others link to.
    """

    key: str
    chapter: Chapter
    title: str
    pieces: tuple[Piece, ...]
    folded: bool = False
