"""The forms that a report may take, from the content that its run keeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from medloom.errors import StudyError
from medloom.find import near, need
from medloom.report import kept, markdown
from medloom.report.content import Content
from medloom.report.page import render, write_whole
from medloom.report.sections import standards
from medloom.report.standards.authors import Texts, texts


def as_pdf(content: Content, path: Path) -> None:
    """The page, printed. Raises StudyError where the package that prints is not installed."""
    need("weasyprint").HTML(string=coloured(render(content))).write_pdf(str(path))


def coloured(page: str) -> str:
    """The page with the colours of its drawings spelt out, as on light paper: what prints knows no variables in SVG."""
    colours: dict[str, str] = {}
    for name, value in re.findall(r"(--[\w-]+):\s*([^;}]+)", page[page.find(":root") :]):
        colours.setdefault(name, value.strip())

    def spelt(svg: re.Match[str]) -> str:
        return re.sub(r"var\((--[\w-]+)\)", lambda one: colours.get(one[1], one[0]), svg[0])

    return re.sub(r"<svg.*?</svg>", spelt, page, flags=re.DOTALL)


FORMS: Mapping[str, Callable[[Content, Path], None]] = {
    "html": lambda content, path: write_whole(render(content), path),
    "md": lambda content, path: write_whole(markdown.render(content), path),
    "json": lambda content, path: write_whole(kept.as_json(content), path),
    "pdf": as_pdf,
}
"""How each form is written."""


def retold(content: Content, run: Path) -> Content:
    """The content with its lists of standards made again: with what the authors have written by now, and its links.

    What stood beside the study file is kept with the content. Raises StudyError for mistakes in the run's own file.
    """
    if content.said is None:
        return content
    inside, kept_texts = texts(run, run).written, content.texts.written
    both = {name: {**kept_texts.get(name, {}), **inside.get(name, {})} for name in {*inside, *kept_texts}}
    made = {one.key: one for one in standards.sections(content.said, Texts(both))}
    return replace(content, sections=tuple(made.get(one.key, one) for one in content.sections))


def written(run: Path, form: str, out: Path | None = None) -> Path:
    """Writes a run's report in a form, from its kept content alone; returns where.

    Raises StudyError for a form that does not exist, DataError where the run keeps no content.
    """
    if form not in FORMS:
        raise StudyError(f"no format {form!r} of a report; {near(form, FORMS)}")
    path = out or run / f"report.{form}"
    content = retold(kept.opened(run), run)
    path.parent.mkdir(parents=True, exist_ok=True)
    FORMS[form](content, path)
    return path
