"""What is in the windows of rows, as columns: of before the index time for inputs, of after it for targets.

A window that was not observed to its end says nothing: its answer is empty, or censored where it is a time, and never
"it did not happen". Only where a competing event came first is it known that the event cannot come any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from medloom.cohort.event_store import TICKS
from medloom.cohort.windows import NEVER, Occurrences, Seen, Spans
from medloom.event_parts import EventColumnPart, OutcomePart
from medloom.window import SECONDS, Duration

VALUED = ("first", "last", "min", "max", "mean")
COUNTED = ("count", "happened")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a cohort of events: patient, index time, and the last tick at which the patient is observed."""

    kind: str
    unit: Int[np.ndarray, " rows"]
    index: Int[np.ndarray, " rows"]
    end: Int[np.ndarray, " rows"]

    def per_unit(self, unit: str) -> float:
        """Ticks of a unit of time; of the times' own unit where they are numbers."""
        return TICKS * (SECONDS[unit] if self.kind == "date" else 1.0)


@dataclass(frozen=True, slots=True)
class Answered:
    """Columns of an outcome, and how many rows have an answer, were not observed to its end, or were past it."""

    columns: tuple[pl.Series, ...]
    known: int
    unobserved: int
    past: int


def column(name: str, part: EventColumnPart, rows: Rows, sets: Mapping[str, Occurrences]) -> pl.Series:
    """A column of what was before the index time."""
    events = sets[part.of].valued() if part.take in VALUED else sets[part.of]
    seen = Seen.of(events, Spans.of(part.span, rows.kind, rows.unit, rows.index, sets))
    if part.take == "count":
        return pl.Series(name, seen.count)
    if part.take == "happened":
        return pl.Series(name, (seen.count > 0).astype(np.int64))
    if part.take == "since":
        newest = seen.last_time()
        # What is timeless was never at a time, so that nothing is since.
        dated = (seen.count > 0) & (newest > np.iinfo(np.int64).min)
        since = (rows.index - np.where(dated, newest, rows.index)) / rows.per_unit(part.unit)
        return _number(name, since, dated)
    value = seen.value(part.take)
    return _number(name, value, ~np.isnan(value))


def answers(name: str, part: OutcomePart, rows: Rows, sets: Mapping[str, Occurrences]) -> Iterator[Answered]:
    """The columns of an outcome, set by set."""
    spans = Spans.of(part.span, rows.kind, rows.unit, rows.index, sets)
    for one, names in part.columns(name).items():
        if part.take in ("happened", "time"):
            yield _first_of(names, part, rows, sets, one, spans)
        else:
            yield _taken(names[0], part, rows, sets[one], spans)


def _first_of(
    names: tuple[str, ...],
    part: OutcomePart,
    rows: Rows,
    sets: Mapping[str, Occurrences],
    of: str,
    spans: Spans,
) -> Answered:
    """Whether, or when, the first of the set comes, against what competes with it. Of one time, the event counts."""
    first = Seen.of(sets[of], spans.until(rows.end)).first_time()
    other = np.full(len(first), NEVER)
    if part.competing is not None:
        other = sets[part.competing].next_time(rows.unit, rows.index)
        other = np.where(other <= rows.end, other, NEVER)
    past = other < spans.begin
    came = (first < NEVER) & (first <= other) & ~past
    competed = ~came & (other < spans.stop) & ~past
    opened = ~past & (rows.end >= spans.begin - (not part.span.holds_left))
    if part.take == "happened":
        known = (came | competed | spans.observed(rows.end)) & ~past
        happened = pl.Series(names[0], came.astype(np.int64))
        return _answered((_kept(happened, known),), known, past)
    assert isinstance(part.span.left, Duration)
    start = spans.begin - (not part.span.holds_left)
    closed = np.where(spans.stop == NEVER, NEVER, spans.stop - part.span.holds_right)
    last = np.where(came, first, np.where(competed, other, np.minimum(rows.end, closed)))
    time = (np.where(opened, last, start) - start) / rows.per_unit(part.unit)
    event = np.where(came, 1, np.where(competed, 2, 0))
    columns = (_number(names[0], time, opened), _kept(pl.Series(names[1], event), opened))
    whole = opened & (came | competed | spans.observed(rows.end))
    return Answered(columns, int(whole.sum()), int((~whole & ~past).sum()), int(past.sum()))


def _taken(name: str, part: OutcomePart, rows: Rows, events: Occurrences, spans: Spans) -> Answered:
    """A count, a value, or the time to the first. The first is known once it came; all else at the window's end."""
    none = np.zeros(len(rows.unit), bool)
    whole = spans.observed(rows.end)
    seen = Seen.of(events.valued() if part.take in VALUED else events, spans.until(rows.end))
    if part.take == "count":
        return _answered((_kept(pl.Series(name, seen.count), whole),), whole, none)
    found = seen.count > 0
    if part.take == "until":
        time = (np.where(found, seen.first_time(), rows.index) - rows.index) / rows.per_unit(part.unit)
        return _answered((_number(name, time, found),), found, ~found & whole)
    known = found & (whole | (part.take == "first"))
    return _answered((_number(name, seen.value(part.take), known),), known, ~found & whole)


def _answered(columns: tuple[pl.Series, ...], known: Bool[np.ndarray, " rows"], past: np.ndarray) -> Answered:
    return Answered(columns, int(known.sum()), int((~known & ~past).sum()), int(past.sum()))


def _number(name: str, values: Float[np.ndarray, " rows"], known: Bool[np.ndarray, " rows"]) -> pl.Series:
    return _kept(pl.Series(name, np.where(known, values, 0.0)), known)


def _kept(values: pl.Series, known: Bool[np.ndarray, " rows"]) -> pl.Series:
    """Null where the answer is not known."""
    return pl.select(pl.when(pl.Series(known)).then(values).alias(values.name)).to_series()
