"""What a page must hold for everyone to read it: rules over its HTML, with what breaks them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link"}
LANDMARKS = ("header", "nav", "main")
INLINE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
"""The only kind of picture that a page may hold."""
WIDEST_CH = 40
"""Words in a row longer than this would push a phone's page wide, unless they may break."""


class Reader(HTMLParser):
    """Elements with their attributes and what they stand in; every tag that is opened is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.above: list[list[tuple[str, dict[str, str | None]]]] = []
        self.words: list[str] = []
        self.said: dict[int, str] = {}
        self._places: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.above.append(list(self.open))
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))
            self._places.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.above.append(list(self.open))
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag, f"{tag} closed out of order"
        self._places.pop()

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {tag for tag, _ in self.open}:
            self.words.append(data)
            for place in self._places:
                self.said[place] = self.said.get(place, "") + data

    def of(self, *tags: str) -> list[tuple[str, dict[str, str | None]]]:
        return [element for element in self.elements if element[0] in tags]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def faults(html: str) -> list[str]:
    """Every rule that the page breaks, in words."""
    read = Reader(html)
    return [*_structure(read), *_names(read), *_tables(read), *_safety(html, read)]


def _structure(read: Reader) -> Iterator[str]:
    if read.open:
        yield f"left open: {read.open}"
    if not any(tag == "html" and a.get("lang") for tag, a in read.elements):
        yield "no language"
    levels = [int(tag[1]) for tag, _ in read.of("h1", "h2", "h3", "h4", "h5", "h6")]
    if levels[:1] != [1] or levels.count(1) != 1:
        yield "not one heading of the first level"
    yield from (f"heading {b} after {a}" for a, b in itertools.pairwise(levels) if b > a + 1)
    for landmark in LANDMARKS:
        if len(read.of(landmark)) != 1:
            yield f"not one {landmark}"
    for (tag, _), above in zip(read.elements, read.above, strict=True):
        if tag in ("p", "table", "figure") and not {"header", "main", "nav", "svg"} & {t for t, _ in above}:
            yield f"{tag} outside the landmarks"


def _names(read: Reader) -> Iterator[str]:
    ids = [a["id"] for _, a in read.elements if "id" in a]
    yield from (f"id twice: {one}" for one in {i for i in ids if ids.count(i) > 1})
    labelled = {a.get("for") for tag, a in read.elements if tag == "label"}
    for place, (tag, a) in enumerate(read.elements):
        for key in ("aria-labelledby", "for", "aria-describedby"):
            yield from (f"{key} leads nowhere: {one}" for one in (a.get(key) or "").split() if one not in ids)
        href = a.get("href") or ""
        if href.startswith("#") and href[1:] not in ids:
            yield f"link leads nowhere: {href}"
        if tag == "a" and not read.said.get(place, "").strip():
            yield "link without words"
        if tag in ("h1", "h2", "h3", "th", "caption", "summary", "figcaption") and not read.said.get(place, "").strip():
            yield f"empty {tag}"
        if tag == "input" and a.get("id") not in labelled:
            yield "input without a label"
        if a.get("role") == "img" and not a.get("aria-labelledby"):
            yield "picture without a name"
        if a.get("role") == "region" and not a.get("aria-label"):
            yield "region without a name"
        if tag in ("section", "nav") and not (a.get("aria-labelledby") or a.get("aria-label")):
            yield f"{tag} without a name"


def _tables(read: Reader) -> Iterator[str]:
    if len(read.of("table")) != len(read.of("caption")):
        yield "a table without a caption"
    yield from ("th without a scope" for _, a in read.of("th") if a.get("scope") not in {"row", "col", "rowgroup"})
    for (tag, a), above in zip(read.elements, read.above, strict=True):
        if tag == "table" and "forest" not in (a.get("class") or "") and "members" not in (a.get("class") or ""):
            inside = [c for _, b in above for c in (b.get("class") or "").split()]
            if not {"wide", "live"} & set(inside):
                yield "a table that may be wider than a phone outside .wide"


def _safety(html: str, read: Reader) -> Iterator[str]:
    for tag, a in read.elements:
        # Base64 may hold any letters: a picture is held against `INLINE` as a whole.
        named = [
            value or "" for name, value in a.items() if not name.startswith("xmlns") and not INLINE.match(value or "")
        ]
        yield from (f"asks the network: {tag}" for value in named if re.search(r"(?:https?:)?//\w", value))
    if re.search(r"url\((?!#)", html):
        yield "a url() in the styles"
    yield from (f"<{tag}> is not allowed" for tag, _ in read.of("link", "iframe", "object", "embed", "base", "form"))
    for _, a in read.of("img"):
        if not INLINE.fullmatch(a.get("src") or ""):
            yield "a picture that is not in the page"
        if not a.get("alt") or not a.get("width") or not a.get("height"):
            yield "a picture without words or without a size"
    for tag, a in read.elements:
        yield from (f"{name} on {tag}" for name in a if name.startswith("on"))
        if tag == "script" and "src" in a:
            yield "a script from elsewhere"
