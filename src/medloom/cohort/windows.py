"""Events of a set within windows of rows: where each window begins and ends among them, and what is in it.

All times are whole ticks of the store. A window becomes `[begin, stop)` in ticks, so that an end that is included and
one that is not differ by one tick, and nothing is ever compared within a tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.cohort.event_store import TICKS, TIMELESS, EventStore
from medloom.window import Duration, Window

NEVER = np.iinfo(np.int64).max
"""Later than every time."""


@dataclass(frozen=True, slots=True)
class Occurrences:
    """The events of one set: patient u of the store has those from `offset[u]` to `offset[u + 1]`, in order of time."""

    time: Int[np.ndarray, " events"]
    value: Float[np.ndarray, " events"]
    offset: Int[np.ndarray, " patients_and_two"]

    @classmethod
    def at(cls, store: EventStore, place: Int[np.ndarray, " events"]) -> Occurrences:
        """Those at these places of the store, in order."""
        arrays = store.packed.arrays
        found = np.searchsorted(place, np.asarray(arrays["offset"]))
        return cls(np.asarray(arrays["time"][place]), np.asarray(arrays["value"][place]), found)

    def valued(self) -> Occurrences:
        """Those that have a value."""
        held = ~np.isnan(self.value)
        before = np.concatenate([[0], np.cumsum(held)])
        return Occurrences(self.time[held], self.value[held], before[self.offset])

    @property
    def unit(self) -> Int[np.ndarray, " events"]:
        """The patient of each."""
        return np.repeat(np.arange(len(self.offset) - 1), np.diff(self.offset))

    def first_from(self, unit: Int[np.ndarray, " rows"], begin: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """Of each row's patient, the place of the first event at or after `begin`; the end of the patient's where there is none.

        All rows halve their ranges together: as many steps as the longest record has binary digits.
        """
        low, high = self.offset[unit].astype(np.int64), self.offset[unit + 1].astype(np.int64)
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = (low + high) // 2
            open_ = low < high
            earlier = np.zeros(len(low), bool)
            earlier[open_] = self.time[middle[open_]] < begin[open_]
            low, high = np.where(earlier, middle + 1, low), np.where(open_ & ~earlier, middle, high)
        return low

    def next_time(self, unit: Int[np.ndarray, " rows"], begin: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """The time of the first event at or after `begin`, NEVER where there is none."""
        place = self.first_from(unit, begin)
        found = place < self.offset[unit + 1]
        return np.where(found, _taken(self.time, place, found), NEVER)

    def newest_before(self, unit: Int[np.ndarray, " rows"], stop: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """The time of the newest event before `stop`, NEVER where there is none."""
        place = self.first_from(unit, stop) - 1
        found = place >= self.offset[unit]
        return np.where(found, _taken(self.time, place, found), NEVER)


@dataclass(frozen=True, slots=True)
class Spans:
    """A window of each row: `[begin, stop)` in ticks. A row whose named end never came has nothing at the left of it

    (no window at all) or, at the right, no end.
    """

    unit: Int[np.ndarray, " rows"]
    begin: Int[np.ndarray, " rows"]
    stop: Int[np.ndarray, " rows"]

    @classmethod
    def of(
        cls,
        window: Window,
        kind: str,
        unit: Int[np.ndarray, " rows"],
        index: Int[np.ndarray, " rows"],
        sets: Mapping[str, Occurrences],
    ) -> Spans:
        """The window around each index time. Raises WindowError for units of times that are numbers."""
        if isinstance(window.left, str):
            begin = sets[window.left].newest_before(unit, index + 1)
        else:
            begin = _shifted(index, window.left, kind)
        if isinstance(window.right, str):
            stop = sets[window.right].next_time(unit, index + 1)
        else:
            stop = _shifted(index, window.right, kind)
        begin = np.where(np.isin(begin, (TIMELESS, NEVER)), begin, begin + (not window.holds_left))
        stop = np.where(np.isin(stop, (TIMELESS, NEVER)), stop, stop + window.holds_right)
        return cls(unit, begin, np.maximum(begin, stop))

    def until(self, end: Int[np.ndarray, " rows"]) -> Spans:
        """As far as it was observed: nothing after the tick `end` of each row."""
        return Spans(self.unit, self.begin, np.maximum(self.begin, np.minimum(self.stop, end + 1)))

    def observed(self, end: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
        """Rows that were observed to the last tick of their window."""
        return self.stop - 1 <= end


@dataclass(frozen=True, slots=True)
class Seen:
    """The events of a set in each row's window: places `start:stop`."""

    events: Occurrences
    start: Int[np.ndarray, " rows"]
    stop: Int[np.ndarray, " rows"]

    @classmethod
    def of(cls, events: Occurrences, spans: Spans) -> Seen:
        """Those of a set in these windows."""
        start = events.first_from(spans.unit, spans.begin)
        return cls(events, start, np.maximum(start, events.first_from(spans.unit, spans.stop)))

    @property
    def count(self) -> Int[np.ndarray, " rows"]:
        """How many."""
        return self.stop - self.start

    def first_time(self) -> Int[np.ndarray, " rows"]:
        """The time of the first, NEVER where there is none."""
        return np.where(self.count > 0, _taken(self.events.time, self.start, self.count > 0), NEVER)

    def last_time(self) -> Int[np.ndarray, " rows"]:
        """The time of the last, NEVER where there is none."""
        return np.where(self.count > 0, _taken(self.events.time, self.stop - 1, self.count > 0), NEVER)

    def value(self, take: str) -> Float[np.ndarray, " rows"]:
        """First, last, min, max or mean of the values, NaN where there is none. Ask it of events that are `valued`."""
        some = self.count > 0
        if take in ("first", "last"):
            place = self.start if take == "first" else self.stop - 1
            return np.where(some, _taken(self.events.value, place, some), np.nan)
        return self._reduced(take, some)

    def _reduced(self, take: str, some: Bool[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        reduce = {"min": np.minimum, "max": np.maximum, "mean": np.add}[take]
        found = np.full(len(some), np.nan)
        if some.any():
            ends = np.stack([self.start[some], self.stop[some]], axis=1).ravel()
            padded = np.append(self.events.value.astype(np.float64), 0.0)
            found[some] = reduce.reduceat(padded, ends)[::2]
        return found / np.where(some, self.count, 1) if take == "mean" else found


def _shifted(index: Int[np.ndarray, " rows"], by: Duration, kind: str) -> Int[np.ndarray, " rows"]:
    if np.isinf(by.amount):
        return np.full(len(index), NEVER if by.amount > 0 else TIMELESS)
    return index + by.ticks(kind, TICKS)


def _taken(values: np.ndarray, place: Int[np.ndarray, " rows"], known: Bool[np.ndarray, " rows"]) -> np.ndarray:
    """Values at these places, 0 where the place is not known."""
    if not len(values):
        return np.zeros(len(place), values.dtype)
    return np.where(known, values[np.where(known, place, 0)], 0)
