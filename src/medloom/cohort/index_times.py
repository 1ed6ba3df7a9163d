"""When the question is asked of each patient: index times by rule, and until when each patient is observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom.cohort.event_store import TICKS, TIMELESS, EventStore, ticks
from medloom.cohort.times import read_times
from medloom.cohort.windows import NEVER, Occurrences
from medloom.errors import DataError, counted
from medloom.event_parts import END_OF_DATA, LAST_EVENT, EventCohortPart, IndexPart
from medloom.find import near
from medloom.window import duration

MOST_ROWS = 200_000_000


@dataclass(frozen=True, slots=True)
class IndexTimes:
    """Rows before anybody is left out: patient and index time of each, and the event that takes each off, or NEVER."""

    unit: Int[np.ndarray, " rows"]
    index: Int[np.ndarray, " rows"]
    until: Int[np.ndarray, " rows"]

    def take(self, held: np.ndarray) -> IndexTimes:
        """Some of the rows."""
        return IndexTimes(self.unit[held], self.index[held], self.until[held])


def observed_until(
    store: EventStore, part: EventCohortPart, sets: Mapping[str, Occurrences], declared: bool
) -> Int[np.ndarray, " patients_and_one"]:
    """The last tick at which each patient of the store is observed, TIMELESS for one who never is.

    A date or number that the study declares is one of its own data: of other stores (`declared=False`) the last event
    of the store stands in its place. Raises DataError for what is neither a rule, a set, a date nor a number.
    """
    offset, time = np.asarray(store.packed.arrays["offset"]), store.packed.arrays["time"]
    patients, some = len(offset) - 1, np.diff(offset) > 0
    last = np.full(patients, TIMELESS)
    last[some] = time[offset[1:][some] - 1]
    rule = part.observed_until
    if rule in sets:
        events = sets[str(rule)]
        some = np.diff(events.offset) > 0
        last = np.full(patients, TIMELESS)
        last[some] = events.time[events.offset[1:][some] - 1]
    elif rule == END_OF_DATA or (rule != LAST_EVENT and not declared):
        last = np.where(last == TIMELESS, TIMELESS, last.max(initial=TIMELESS))
    elif rule != LAST_EVENT:
        last = np.where(last == TIMELESS, TIMELESS, _declared(rule, store, sets))
    if part.ends is None:
        return last
    ended = sets[part.ends].next_time(np.arange(patients), np.full(patients, TIMELESS + 1))
    return np.minimum(last, ended)


def _declared(rule: str | float, store: EventStore, sets: Mapping[str, Occurrences]) -> int:
    what = "cohort.events.observed_until"
    try:
        time, kind = read_times(pl.Series([rule]), what, pl.Series(["1"]))
    except DataError as error:
        known = [LAST_EVENT, END_OF_DATA, *sets]
        raise DataError(f"{what}: {rule!r} is no rule, no set, no date and no number; {near(str(rule), known)}") from (
            error
        )
    if kind != store.kind:
        raise DataError(f"{what}: found a {kind}, and the times of the store are {store.kind}s; expected one kind")
    # A day alone is meant to its end, as events that are known to the day stand there.
    whole_day = isinstance(rule, str) and kind == "date" and len(rule.strip()) == len("2026-01-31")
    return int(ticks(time)[0]) + (86_400 * TICKS - 1 if whole_day else 0)


def asked(
    part: IndexPart, kind: str, sets: Mapping[str, Occurrences], end: Int[np.ndarray, " patients_and_one"]
) -> IndexTimes:
    """Every index time of the rule, each once a patient, in order. Those repeated by `every` stop with observation."""
    events = sets[part.at]
    timed = events.time != TIMELESS
    unit, anchor = events.unit[timed], events.time[timed]
    if part.which != "each" and len(unit):
        other = unit[1:] != unit[:-1]
        chosen = np.concatenate([[True], other] if part.which == "first" else [other, [True]])
        unit, anchor = unit[chosen], anchor[chosen]
    until = np.full(len(unit), NEVER)
    if part.until is not None:
        until = sets[part.until].next_time(unit, anchor + 1)
    delays = np.array([one.ticks(kind, TICKS) for one in part.delays], np.int64)
    index = (anchor[:, None] + delays).ravel()
    unit, until = (np.repeat(array, len(delays)) for array in (unit, until))
    if part.every is not None:
        unit, index, until = _repeated(unit, index, until, duration(part.every).ticks(kind, TICKS), end)
    order = np.lexsort([index, unit])
    unit, index, until = unit[order], index[order], until[order]
    # Of one time, the row that is taken off last stands for all.
    fresh = np.ones(len(unit), bool)
    fresh[1:] = (np.diff(unit) != 0) | (np.diff(index) != 0)
    latest = np.maximum.reduceat(until, np.flatnonzero(fresh)) if len(until) else until
    return IndexTimes(unit[fresh], index[fresh], latest)


def _repeated(
    unit: np.ndarray, index: np.ndarray, until: np.ndarray, every: int, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if every <= 0:
        raise DataError("cohort.events.index.every is shorter than the store can tell; expected such as 6h")
    stop = np.maximum(np.minimum(until, end[unit] + 1), index)
    times = -((index - stop) // every)
    if times.sum() > MOST_ROWS:
        raise DataError(
            f"cohort.events.index: every {every / TICKS:g} makes {counted(int(times.sum()), 'row')}; make it longer, or give until"
        )
    of = np.repeat(np.arange(len(unit)), times)
    number = np.arange(len(of)) - np.repeat(np.cumsum(times) - times, times)
    return unit[of], index[of] + number * every, until[of]
