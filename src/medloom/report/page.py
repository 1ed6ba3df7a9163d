"""A report as one HTML file that needs no network. Its only script moves along the tables of thresholds."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medloom.errors import PATIENT, counted
from medloom.evaluation.intervals import Estimate
from medloom.report import section as parts
from medloom.report.content import Answer, Content, Figure
from medloom.report.figures import Drawing, draw, training_plot
from medloom.report.forest import Forest, Scale, forest, scale
from medloom.report.verdict import Verdict, capital, number, oriented, percent, verdict
from medloom.report.words import CHAPTERS, GROUPS, PARTS, PURPOSES, heading, how_to_read, inside
from medloom.task import Plot

MOST_DRAWINGS = 48
"""Plots that are drawn; those beyond are told in words, so that the page of many questions stays small."""
MOST_LIVE = 12
"""Tables of thresholds with a slider; those beyond show some thresholds only."""
MANY_ANSWERS = 2
"""More answers than this are summed up in a table first."""


@dataclass(frozen=True, slots=True)
class Section:
    """One target, ready for the page; `told` are the texts of plots that are not drawn."""

    key: str
    answer: Answer
    verdict: Verdict
    forest: Forest
    groups: tuple[tuple[str, tuple[Figure, ...]], ...]
    drawings: tuple[Drawing, ...]
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """One section of the parts of the evaluation; pieces as (name of their kind, piece, what was made ready of it)."""

    key: str
    title: str
    folded: bool
    pieces: tuple[tuple[str, Any, Any], ...]


def render(content: Content) -> str:
    """The whole page as text."""
    told = _told(content)
    kinds = {kind for chapter in told.values() for one in chapter for kind, _, _ in one.pieces}
    sections = list(_sections(content))
    return page(
        "page.html.jinja",
        "Thresholds" in kinds,
        images="Images" in kinds,
        content=content,
        sections=sections,
        several=len(sections) > MANY_ANSWERS,
        contents=_contents(content, sections, told),
        trainings=[
            draw(training_plot(training), f"training-{place}") for place, training in enumerate(content.trainings, 1)
        ],
        told_by_chapter=told,
        event_names=list(dict.fromkeys(name for part in content.parts for name in part.events)),
    )


def page(template: str, live: bool, images: bool = False, **what: Any) -> str:
    """A page of one of the templates; `live` ones hold the script, which their policy names by its hash.

    Only pages with `images` may show any, and those from the page itself alone.
    """
    script = _script() if live else ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; style-src 'unsafe-inline'" + (f"; script-src 'sha256-{digest}'" if live else "")
    policy += "; img-src data:" if images else ""
    return _environment().get_template(template).render(script=script, policy=policy, **what) + "\n"


@cache
def _script() -> str:
    return files("medloom.report").joinpath("page.js").read_text(encoding="utf-8").strip()


@cache
def _environment() -> Environment:
    """The template's surroundings; compiled once a process."""
    environment = Environment(
        loader=PackageLoader("medloom.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, percent=percent, svg=Markup, json=_json, capital=capital, inside=inside)
    environment.globals.update(oriented=oriented, purposes=PURPOSES, part_names=PARTS, chapters=CHAPTERS)
    environment.globals.update(how_to_read=how_to_read, heading=heading, decimals=_decimals, counted=counted)
    return environment


def _json(plain: Any) -> Markup:
    """JSON that may stand in a script element: nothing in it can end the element."""
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _decimals(piece: parts.Thresholds) -> list[int]:
    """Decimals of each figure: of a hundred, one."""
    return [1 if "100" in name else 3 for name in piece.figures]


def write(content: Content, path: Path) -> None:
    """Writes the page so that a reader finds the old one or the new one, whole, whenever the power fails."""
    write_whole(render(content), path)


def write_whole(text: str, path: Path) -> None:
    """Writes a text in place of the old one, whole or not at all."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _contents(content: Content, sections: list[Section], told: dict[str, list[Told]]) -> list[tuple[str, str]]:
    """The table of contents: anchors and what they lead to."""
    found = [("answers", "Answer" if len(sections) == 1 else "Answers")]
    found += [("warnings", "Warnings")] if content.warnings else []
    found += [("patients", content.who.many.capitalize() if content.who == PATIENT else "Rows")]
    found += [(f"{one.key}-figures", _short("Figures", one, sections)) for one in sections]
    found += [("more-figures", "More figures")] if told.get("figures") else []
    found += [("trust", "Trust")] if told.get("trust") else []
    found += [("rests-on", "Explanation")] if told.get("explanation") else []
    return [*found, ("method", "Method"), ("again", "Make again")]


def _short(word: str, section: Section, sections: list[Section]) -> str:
    return word if len(sections) == 1 else f"{word}: {section.answer.target}"


def pieces(section: parts.Section, live: Iterator[int] | None = None) -> Told:
    """A section ready for a page. `live` counts tables of thresholds over the whole page."""
    live = live or count()
    ready = tuple(
        (type(piece).__name__, piece, _ready(piece, f"{section.key}-{place}", live))
        for place, piece in enumerate(section.pieces, 1)
    )
    return Told(section.key, section.title, section.folded, ready)


def _ready(piece: parts.Piece, key: str, live: Iterator[int]) -> Any:
    if isinstance(piece, Plot):
        return draw(piece, key)
    if isinstance(piece, parts.Thresholds):
        return key if next(live) < MOST_LIVE else ""
    return _scale(piece) if isinstance(piece, parts.Table) and piece.drawn else None


def _scale(table: parts.Table) -> Scale:
    cells = [row[table.head.index(table.drawn)] for row in table.rows]
    return scale([cell if isinstance(cell, Estimate) else Estimate(None) for cell in cells], table.mark)


def _told(content: Content) -> dict[str, list[Told]]:
    """Sections ready for the page, by their chapter."""
    told: dict[str, list[Told]] = {}
    live = count()
    for section in content.sections:
        told.setdefault(section.chapter, []).append(pieces(section, live))
    return told


def _sections(content: Content) -> Iterator[Section]:
    left = MOST_DRAWINGS
    for place, answer in enumerate(content.answers, 1):
        drawn, told = answer.plots[: max(0, left)], answer.plots[max(0, left) :]
        left -= len(drawn)
        yield Section(
            f"target-{place}",
            answer,
            verdict(answer, content.level, content.who),
            forest(answer),
            tuple(grouped(answer)),
            tuple(draw(plot, f"plot-{place}-{i}", answer.labels) for i, plot in enumerate(drawn, 1)),
            tuple(f"{plot.title}: {plot.text}" for plot in told),
        )


def grouped(answer: Answer) -> Iterator[tuple[str, tuple[Figure, ...]]]:
    """The figures by what they are about, the headline's group first; a single group has no title."""
    names = list(dict.fromkeys(figure.group for figure in answer.figures))
    for name in names:
        title = GROUPS.get(name, capital(name)) if len(names) > 1 else ""
        yield title, tuple(figure for figure in answer.figures if figure.group == name)
