"""A report as one HTML file that needs no network and no script."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medloom.evaluation.intervals import Estimate
from medloom.report.content import Answer, Content, Entrant
from medloom.report.figures import Drawing, draw, training_plot
from medloom.report.verdict import Verdict, number, oriented, percent, verdict
from medloom.task import Plot

PURPOSES = {
    "train": "teaches the models",
    "valid": "stops the training and chooses settings",
    "calibrate": "sets temperature and thresholds",
    "test": "judges; scored once",
}
NAMES = {"train": "Training", "valid": "Validation", "calibrate": "Calibration", "test": "Test"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the headline plot; places are percent of its width, None where there is no value."""

    entrant: Entrant
    estimate: Estimate
    difference: Estimate | None
    at: float | None
    low: float | None
    high: float | None
    kind: str


@dataclass(frozen=True, slots=True)
class Forest:
    """The headline figure of network and baselines on one scale; ticks are (place in percent, text)."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One target, ready for the page."""

    key: str
    answer: Answer
    verdict: Verdict
    forest: Forest
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """One section of the parts of the evaluation, its plots drawn; pieces by the name of their kind."""

    key: str
    title: str
    folded: bool
    pieces: tuple[tuple[str, object], ...]


def render(content: Content) -> str:
    """The whole page as text."""
    training = content.training
    page = (
        _environment()
        .get_template("page.html.jinja")
        .render(
            content=content,
            sections=[_section(place, answer, content.level) for place, answer in enumerate(content.answers, 1)],
            training=None if training is None else draw(training_plot(training), "training"),
            purposes=PURPOSES,
            part_names=NAMES,
            told_by_chapter=_told(content),
            event_names=list(dict.fromkeys(name for part in content.parts for name in part.events)),
        )
    )
    return page + "\n"


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
    environment.filters.update(number=number, percent=percent, svg=Markup)
    environment.globals.update(oriented=oriented)
    return environment


def write(content: Content, path: Path) -> None:
    """Writes the page so that a reader finds the old one or the new one, whole, whenever the power fails."""
    page = render(content).encode()
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(page)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _told(content: Content) -> dict[str, list[Told]]:
    """Sections ready for the page, by their chapter."""
    told: dict[str, list[Told]] = {}
    for section in content.sections:
        pieces = tuple(
            ("Plot", draw(piece, f"{section.key}-{place}"))
            if isinstance(piece, Plot)
            else (type(piece).__name__, piece)
            for place, piece in enumerate(section.pieces, 1)
        )
        told.setdefault(section.chapter, []).append(Told(section.key, section.title, section.folded, pieces))
    return told


def _section(place: int, answer: Answer, level: float) -> Section:
    drawings = tuple(draw(plot, f"plot-{place}-{i}", answer.labels) for i, plot in enumerate(answer.plots, 1))
    return Section(f"target-{place}", answer, verdict(answer, level), forest(answer), drawings)


def forest(answer: Answer) -> Forest:
    """The headline figure of every entrant on one scale, with round ticks."""
    name = answer.headline.name
    entrants = (answer.network, *answer.baselines)
    estimates = [entrant.estimates[name] for entrant in entrants]
    shown = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
    ticks = _ticks(min(shown), max(shown)) if shown else [0.0, 1.0]
    first, last = ticks[0], ticks[-1]

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - first) / (last - first), 2)

    bars = []
    for entrant, estimate in zip(entrants, estimates, strict=True):
        network = entrant is answer.network
        kind = "network" if network else "best" if entrant.name == answer.best else "other"
        difference = None if network else answer.differences[entrant.name][name]
        at, low, high = place(estimate.value), place(estimate.low), place(estimate.high)
        bars.append(Bar(entrant, estimate, difference, at, low, high, kind))
    digits = max(0, -math.floor(math.log10((last - first) / (len(ticks) - 1)) + 1e-9))
    return Forest(
        tuple(bars), tuple((round(100 * i / (len(ticks) - 1), 2), _tick(tick, digits)) for i, tick in enumerate(ticks))
    )


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers that enclose both."""
    span = high - low or 0.1 * max(abs(low), abs(high)) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def _tick(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")
