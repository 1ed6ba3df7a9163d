"""From a name to its class: the registry is the file system, and entry points for third parties."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from medloom.errors import StudyError

if TYPE_CHECKING:
    from medloom.ingest.source import IngestSource
    from medloom.modality import Modality
    from medloom.task import Task

EXTRAS = {
    "nibabel": "image",
    "PIL": "image",
    "SimpleITK": "image",
    "pydicom": "image",
    "fastexcel": "excel",
    "pyreadstat": "formats",
    "connectorx": "database",
    "pint": "units",
    "weasyprint": "pdf",
    "wfdb": "signal",
}
"""Which extra brings an optional package; only for the sentence that says what to install."""


def near(name: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest known names, or all of them when none is near; empty when nothing is known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(option) for option in close) + "?"
    return "known: " + ", ".join(known[:20]) + (", …" if len(known) > 20 else "") if known else ""


def need(module: str) -> Any:
    """Imports an optional package, or says which extra installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        extra = EXTRAS.get(module.split(".")[0], module)
        raise StudyError(
            f"The package '{module}' is needed here. Install it with: pip install 'medloom[{extra}]'"
        ) from error


def modality(name: str) -> type[Modality]:
    """The class of one kind of input: `modality("table")` is `medloom.modalities.table.Table`."""
    return _find("modalities", name)


def task(name: str) -> type[Task]:
    """The class of one kind of answer: `task("classify")` is `medloom.tasks.classify.Classify`."""
    return _find("tasks", name)


def source(name: str) -> type[IngestSource]:
    """The class of one kind of source: `source("fhir")` is `medloom.ingest.sources.fhir.Fhir`."""
    return _find("ingest.sources", name)


def modalities() -> list[str]:
    """Names of all modalities, ours and those of installed entry points."""
    return _names("modalities")


def tasks() -> list[str]:
    """Names of all tasks, ours and those of installed entry points."""
    return _names("tasks")


def sources() -> list[str]:
    """Names of all kinds of sources that `medloom ingest` reads, ours and those of installed entry points."""
    return _names("ingest.sources")


@cache
def _points(room: str) -> dict[str, EntryPoint]:
    """Entry points of other packages, looked up once: what is installed does not change while a process runs."""
    return {point.name: point for point in entry_points(group=f"medloom.{room}")}


@cache
def _ours(room: str) -> frozenset[str]:
    package = importlib.import_module(f"medloom.{room}")
    return frozenset(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def _names(room: str) -> list[str]:
    return sorted({*_ours(room), *_points(room)})


def _find(room: str, name: str) -> Any:
    kind = {"modalities": "modality", "tasks": "task", "ingest.sources": "source"}[room]
    if name not in _names(room):
        raise StudyError(f"unknown {kind} {name!r}; {near(name, _names(room))}")
    if name in _points(room):
        return _points(room)[name].load()
    return getattr(importlib.import_module(f"medloom.{room}.{name}"), name.capitalize())
