"""The events of each set of a study: those of its codes that are what the set says, by themselves and by what was before.

A set looks only back from each of its events, so that to use it never tells more than was known at their time. Values
are stored with seven digits; what is reckoned of two of them is rounded to as many, so that 1.4 is 0.3 above 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from medloom.cohort.criteria import compiled
from medloom.cohort.event_store import TIMELESS, EventStore
from medloom.cohort.windows import Occurrences, Seen, Spans
from medloom.event_set_part import BaselinePart, BeforePart, CodeSetPart, in_order
from medloom.expression import condition

DIGITS = 6
"""Decimal places that are kept of a number between 1 and 10."""


def occurrences(
    store: EventStore, kind: str, sets: Mapping[str, CodeSetPart], held: Mapping[str, Bool[np.ndarray, " codes"]]
) -> dict[str, Occurrences]:
    """The events of every set, by its name. `held` says which codes each holds; place 0 is no code.

    Raises WindowError for units of times that are numbers.
    """
    asked = {of for one in sets.values() for of in one.any_of or ()}
    found: dict[str, Occurrences] = {}
    places: dict[str, np.ndarray] = {}
    for name in in_order({name: one.names for name, one in sets.items()}):
        one = sets[name]
        if one.any_of is None:
            place = _of_codes(store, held[name])
        else:
            place = np.unique(np.concatenate([places[of] for of in one.any_of]))
        if one.where is not None or one.near:
            place = place[_meets(store, kind, one, place, found)]
        found[name] = Occurrences.at(store, place)
        if name in asked:
            places[name] = place
    return {name: found[name] for name in sets}


def _of_codes(store: EventStore, held: Bool[np.ndarray, " codes"]) -> Int[np.ndarray, " events"]:
    code = store.packed.arrays["code"]
    return np.arange(len(code)) if held[1:].all() else np.flatnonzero(held[code])


def _meets(
    store: EventStore, kind: str, one: CodeSetPart, place: Int[np.ndarray, " events"], sets: Mapping[str, Occurrences]
) -> Bool[np.ndarray, " events"]:
    """Which of the events at these places are what the set says. What is unknown of an event does not speak for it."""
    events = Occurrences.at(store, place)
    held = np.ones(len(place), bool)
    for near in one.near:
        count = _before(near, kind, events, sets[near.of], sets).count
        least, most = near.bounds
        held &= (count >= least) & (True if most is None else count <= most)
    if one.where is None:
        return held
    read = {"value": events.value}
    if one.baseline is not None:
        read |= _compared(events.value, _baseline(one.baseline, kind, events, sets))
    frame = pl.DataFrame(read).fill_nan(None)
    meets = frame.select(compiled(condition(one.where), frame)).to_series().fill_null(False)
    return held & meets.to_numpy()


def _before(
    part: BeforePart, kind: str, events: Occurrences, others: Occurrences, sets: Mapping[str, Occurrences]
) -> Seen:
    """The others in the window of each event; none where an event has no time."""
    timed = events.time != TIMELESS
    index = np.where(timed, events.time, 0)
    spans = Spans.of(part.span, kind, events.unit, index, sets)
    nothing = np.where(timed, spans.begin, 0)
    return Seen.of(others, Spans(spans.unit, nothing, np.where(timed, spans.stop, nothing)))


def _baseline(
    part: BaselinePart, kind: str, events: Occurrences, sets: Mapping[str, Occurrences]
) -> Float[np.ndarray, " events"]:
    """The value that each event is compared with, NaN where there is none."""
    others = (events if part.of is None else sets[part.of]).valued()
    return _before(part, kind, events, others, sets).value(part.take)


def _compared(value: Float[np.ndarray, " events"], baseline: Float[np.ndarray, " events"]) -> dict[str, np.ndarray]:
    """Baseline, ratio and change. There is no ratio to what is not above 0."""
    now = value.astype(np.float64)
    above = np.where(baseline > 0, baseline, np.nan)
    ratio = now / above
    change = now - baseline
    return {
        "baseline": baseline.astype(np.float32),
        "ratio": _rounded(ratio, np.abs(ratio)),
        "change": _rounded(change, np.fmax(np.abs(now), np.abs(baseline))),
    }


def _rounded(number: Float[np.ndarray, " events"], scale: Float[np.ndarray, " events"]) -> Float[np.ndarray, " events"]:
    """To as many digits as numbers of this scale are stored with."""
    sound = np.where(scale > 0, scale, 1.0)
    ten = 10.0 ** np.clip(DIGITS - np.floor(np.log10(sound)), -30, 30)
    return np.rint(number * ten) / ten
