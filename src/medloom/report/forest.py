"""Estimates on one scale: a point with its interval for each, and round ticks. Places are percent of the width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medloom.evaluation.intervals import Estimate
from medloom.report.content import Answer, Entrant


@dataclass(frozen=True, slots=True)
class Lane:
    """Where one estimate stands; None where there is no value or no end."""

    at: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the headline plot."""

    entrant: Entrant
    estimate: Estimate
    difference: Estimate | None
    lane: Lane
    kind: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Round ticks as (place, text); `mark` is the place of a line that the estimates are held against."""

    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, str], ...]
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Forest:
    """The headline figure of the model and its baselines."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]


def forest(answer: Answer) -> Forest:
    """The headline figure of every entrant on one scale."""
    name = answer.headline.name
    entrants = (answer.network, *answer.baselines)
    drawn = scale([entrant.estimates[name] for entrant in entrants])
    bars = []
    for entrant, lane in zip(entrants, drawn.lanes, strict=True):
        own = entrant is answer.network
        kind = "network" if own else "best" if entrant.name == answer.best else "other"
        difference = None if own else answer.differences[entrant.name][name]
        bars.append(Bar(entrant, entrant.estimates[name], difference, lane, kind))
    return Forest(tuple(bars), drawn.ticks)


def scale(estimates: Sequence[Estimate], mark: float | None = None) -> Scale:
    """Places of all estimates between round numbers that enclose them and the mark."""
    shown = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
    if shown and mark is not None:
        shown.append(mark)
    places = ticks(min(shown), max(shown)) if shown else [0.0, 1.0]
    first, last = places[0], places[-1]

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - first) / (last - first), 2)

    digits = max(0, -math.floor(math.log10((last - first) / (len(places) - 1)) + 1e-9))
    return Scale(
        tuple(Lane(place(one.value), place(one.low), place(one.high)) for one in estimates),
        tuple((round(100 * i / (len(places) - 1), 2), _tick(tick, digits)) for i, tick in enumerate(places)),
        place(mark) if shown else None,
    )


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers that enclose both."""
    span = high - low or 0.1 * max(abs(low), abs(high)) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def _tick(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")
