"""What fitting needs of events: integer counts alone, so that sums over sites are exact and in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32, Int

from medloom.errors import DataError
from medloom.modalities.events.units import together
from medloom.tally import rounded

IQR_OF_NORMAL = 1.349
RANGE_90_OF_NORMAL = 3.29
"""Distance of the 5th and 95th percentile of a standard normal variable."""
RESOLUTION = 2.0**-14
"""Smallest scale relative to the centre: finer differences are lost when values are rounded for counting."""


@dataclass(frozen=True, slots=True)
class EventSummary:
    """Counts of the events that some rows see, each event once however many rows of its patient see it.

    `patients`, `valued` and `events` count, for each code, the distinct patients with an event, those with a value,
    and the events. `value_code` (a position in `codes`), `value` (rounded to 16 mantissa bits) and `count` are the
    distribution of values, in the order of code and value. `units` are those that codes are known to stand in, and
    `descriptions` what they are called. Additive
    over any groups of whole patients.
    """

    kind: str | None
    codes: tuple[str, ...]
    patients: Int[np.ndarray, " codes"]
    valued: Int[np.ndarray, " codes"]
    events: Int[np.ndarray, " codes"]
    value_code: Int[np.ndarray, " values"]
    value: Float32[np.ndarray, " values"]
    count: Int[np.ndarray, " values"]
    units: Mapping[str, str] = field(default_factory=dict)
    descriptions: Mapping[str, str] = field(default_factory=dict)


def count_events(
    kind: str | None,
    names: Sequence[str],
    unit: Int[np.ndarray, " events"],
    code: Int[np.ndarray, " events"],
    value: Float[np.ndarray, " events"],
) -> EventSummary:
    """The summary of these events; `code` counts from 1 in `names`. Codes without an event are left out."""
    here, position = np.unique(code, return_inverse=True)
    order = np.argsort(np.array([names[c - 1] for c in here.tolist()], object), kind="stable")
    rank = np.empty(len(here), np.int64)
    rank[order] = np.arange(len(here))
    position = rank[position.reshape(-1)]
    known = ~np.isnan(value)
    return EventSummary(
        kind,
        tuple(names[c - 1] for c in here[order].tolist()),
        _distinct(position, unit, len(here)),
        _distinct(position[known], unit[known], len(here)),
        np.bincount(position, minlength=len(here)).astype(np.int64),
        *_tally(position[known], rounded(value[known].astype(np.float32)), np.ones(int(known.sum()), np.int64)),
    )


def merge(summaries: Sequence[EventSummary]) -> EventSummary:
    """The summary of all sites together."""
    kinds = {summary.kind for summary in summaries if summary.kind is not None}
    if len(kinds) > 1:
        raise DataError("the times of events are dates at some sites and numbers at others; expected one kind")
    codes = tuple(sorted({code for summary in summaries for code in summary.codes}))
    place = {code: number for number, code in enumerate(codes)}
    mapped = [np.array([place[code] for code in summary.codes], np.int64) for summary in summaries]
    totals = {name: np.zeros(len(codes), np.int64) for name in ("patients", "valued", "events")}
    for summary, to in zip(summaries, mapped, strict=True):
        for name, total in totals.items():
            total[to] += getattr(summary, name)
    parts = [to[summary.value_code] for summary, to in zip(summaries, mapped, strict=True)]
    tally = _tally(
        np.concatenate([np.zeros(0, np.int64), *parts]),
        np.concatenate([np.zeros(0, np.float32), *(summary.value for summary in summaries)]),
        np.concatenate([np.zeros(0, np.int64), *(summary.count for summary in summaries)]),
    )
    return EventSummary(
        kinds.pop() if kinds else None,
        codes,
        totals["patients"],
        totals["valued"],
        totals["events"],
        *tally,
        together(summary.units for summary in summaries),
        {code: said for summary in reversed(summaries) for code, said in summary.descriptions.items()},
    )


LEVELS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
NORMAL_SCORES = (-2.0537, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 2.0537)
"""Quantiles of a standard normal variable at these levels."""


def knots(summary: EventSummary) -> Float[np.ndarray, "codes levels"]:
    """Quantiles of each code's values at `LEVELS`."""
    return np.stack([_quantile(summary, level) for level in LEVELS], axis=1)


def centre_and_scale(summary: EventSummary) -> tuple[Float[np.ndarray, " codes"], Float[np.ndarray, " codes"]]:
    """Median, and a robust standard deviation, of each code's values; centre 0 and scale 1 where it has none.

    The scale is the interquartile range as of a normal variable; where that is 0, the range from the 5th to the 95th
    percentile; where that is 0 too, 1.
    """
    low, quarter, middle, three_quarters, high = (_quantile(summary, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95))
    scale = (three_quarters - quarter) / IQR_OF_NORMAL
    scale = np.where(scale > 0, scale, (high - low) / RANGE_90_OF_NORMAL)
    scale = np.where(scale > 0, np.maximum(scale, RESOLUTION * np.abs(middle)), 1.0)
    return middle, scale


def _quantile(summary: EventSummary, q: float) -> Float[np.ndarray, " codes"]:
    """The quantile of each code's values, between neighbouring values by linear interpolation; 0 without values.

    Source: Hyndman & Fan, "Sample Quantiles in Statistical Packages", Am. Stat. 1996, definition 7.
    """
    size = np.zeros(len(summary.codes), np.int64)
    np.add.at(size, summary.value_code, summary.count)
    result = np.zeros(len(size))
    has = np.flatnonzero(size)
    if not len(has):
        return result
    first = (np.cumsum(size) - size)[has]
    reached = np.cumsum(summary.count)
    place = (size[has] - 1) * q
    below = np.floor(place).astype(np.int64)
    above = np.ceil(place).astype(np.int64)
    lower, upper = (
        summary.value[np.searchsorted(reached, first + p, "right")].astype(np.float64) for p in (below, above)
    )
    result[has] = lower + (place - below) * (upper - lower)
    return result


def _distinct(
    code: Int[np.ndarray, " events"], unit: Int[np.ndarray, " events"], codes: int
) -> Int[np.ndarray, " codes"]:
    width = int(unit.max(initial=0)) + 1
    return np.bincount(np.unique(code * width + unit) // width, minlength=codes).astype(np.int64)


def _tally(
    code: Int[np.ndarray, " many"], value: Float32[np.ndarray, " many"], count: Int[np.ndarray, " many"]
) -> tuple[Int[np.ndarray, " values"], Float32[np.ndarray, " values"], Int[np.ndarray, " values"]]:
    """Counts of equal (code, value), in the order of code and value."""
    if not len(code):
        return code, value, count
    order = np.lexsort((value, code))
    code, value, count = code[order], value[order], count[order]
    new = np.concatenate([[True], (code[1:] != code[:-1]) | (value[1:] != value[:-1])])
    first = np.flatnonzero(new)
    return code[first], value[first], np.add.reduceat(count, first)
