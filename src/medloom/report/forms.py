"""The forms that a report may take, from the content that its run keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from medloom.errors import StudyError
from medloom.find import near, need
from medloom.report import kept, markdown
from medloom.report.content import Content
from medloom.report.page import render, write_whole


def as_pdf(content: Content, path: Path) -> None:
    """The page, printed. Raises StudyError where the package that prints is not installed."""
    need("weasyprint").HTML(string=render(content)).write_pdf(str(path))


FORMS: Mapping[str, Callable[[Content, Path], None]] = {
    "html": lambda content, path: write_whole(render(content), path),
    "md": lambda content, path: write_whole(markdown.render(content), path),
    "json": lambda content, path: write_whole(kept.as_json(content), path),
    "pdf": as_pdf,
}
"""How each form is written."""


def written(run: Path, form: str, out: Path | None = None) -> Path:
    """Writes a run's report in a form, from its kept content alone; returns where.

    Raises StudyError for a form that does not exist, DataError where the run keeps no content.
    """
    if form not in FORMS:
        raise StudyError(f"no format {form!r} of a report; {near(form, FORMS)}")
    path = out or run / f"report.{form}"
    content = kept.opened(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    FORMS[form](content, path)
    return path
