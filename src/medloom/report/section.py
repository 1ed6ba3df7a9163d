"""What a section of a report may hold, as plain data: whoever has something to tell makes a `Section`, the page draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Literal, Self

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

    `signed` columns hold differences, with their sign.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | Estimate, ...], ...]
    signed: tuple[str, ...] = ()


Piece = Paragraph | Listing | Facts | Table | Plot


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
