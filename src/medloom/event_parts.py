"""The section `cohort.events` of a study file: rows, columns and answers made of a store of events."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.event_set_part import Codes, CodeSetPart, WindowText, bounds, circle
from medloom.find import near
from medloom.strict import Name, Strict, readable
from medloom.window import Duration, Window, duration, window

ANY = "any"
"""The set of all events, which no study has to name."""
LAST_EVENT, END_OF_DATA = "last event", "end of data"


def _positive(given: str | float) -> None:
    if duration(given).amount <= 0:
        raise ValueError(f"found {given!r}; expected a duration above 0, such as 6h")


def _from_now(given: str | float) -> None:
    if duration(given).amount < 0:
        raise ValueError(f"found {given!r}; expected a duration from 0 on, such as 24h")


def _as_text(value: Any) -> Any:
    """Dates that TOML reads as dates, as they were written."""
    return value.isoformat(" ") if isinstance(value, datetime.datetime) else (
        value.isoformat() if isinstance(value, datetime.date) else value
    )  # fmt: skip


def _codes(of: Codes) -> tuple[str, ...]:
    return (of,) if isinstance(of, str) else of


class IndexPart(Strict):
    """When the question is asked of a patient: each such time is a row."""

    at: str = Field(description="set whose events the index times go by, such as admissions, discharges or visits")
    which: Literal["each", "first", "last"] = Field("each", description="each of a patient's, the first, or the last")
    after: Annotated[str | float, readable(_from_now)] | tuple[
        Annotated[str | float, readable(_from_now)], ...
    ] = Field(0.0, description='how long after the event, such as "24h"; or several, such as ["1y", "2y"]')  # fmt: skip
    every: Annotated[str | float, readable(_positive)] | None = Field(
        None, description='a row again and again from there on, such as "6h", until `until` or the end of observation'
    )
    until: str | None = Field(
        None, description="set of events that end it (discharges): no index time at or after the next of them"
    )

    @property
    def delays(self) -> tuple[Duration, ...]:
        """`after`, each of them."""
        return tuple(duration(one) for one in (self.after if isinstance(self.after, tuple) else (self.after,)))


class WindowPart(Strict):
    """Events of a set in a window around the index time."""

    of: str = Field(description="name of a set; any is every event")
    window: WindowText = Field(
        description='from the index time: "(0, 30d]", "[-365d, 0)", "(-inf, 0)", "(0, discharge]"; [ and ] include their end, ( and ) do not'
    )

    @property
    def span(self) -> Window:
        """The window, read."""
        return window(self.window)


class WindowCriterionPart(WindowPart):
    """Who is in the study, or out of it, by how many events are in a window."""

    name: str = Field(min_length=1, max_length=200, description="what the criterion is called in the cohort flow")
    at_least: int | None = Field(None, ge=0, description="events at least; 1 where at_most is left out too")
    at_most: int | None = Field(None, ge=0, description="events at most")
    looks_ahead: bool = Field(
        False,
        description="declares that who is in the study hangs on what comes after the index time; such a criterion is not asked when predicting",
    )

    @property
    def bounds(self) -> tuple[int, int | None]:
        """Fewest and most events."""
        return bounds(self.at_least, self.at_most, "nobody")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        _ = self.bounds
        if self.span.past == self.looks_ahead:
            why = (
                "ends before the index time; take looks_ahead out"
                if self.looks_ahead
                else 'reaches the index time or beyond: end it with "0)", or declare looks_ahead = true'
            )
            raise PydanticCustomError("part", "{why}", {"why": f"window {self.window} {why}"})
        return self


class EventColumnPart(WindowPart):
    """A column of what was before the index time, for inputs and criteria."""

    take: Literal["count", "happened", "first", "last", "min", "max", "mean", "since"] = Field(
        description="count of events; happened: 1 or 0; first, last, min, max, mean of the values; since: time from the newest event to the index time"
    )
    unit: Literal["s", "min", "h", "d", "w", "y"] = Field("d", description="unit of since, where times are dates")

    @model_validator(mode="after")
    def _before(self) -> Self:
        if not self.span.past:
            why = (
                f'window {self.window} holds the index time or what comes later, which is never read: end it with "0)"'
            )
            raise PydanticCustomError("part", "{why}", {"why": why})
        return self


class OutcomePart(Strict):
    """What happens from the index time on: columns that targets read, and inputs never do."""

    of: Codes = Field(description="name of a set; or several, each with a column <outcome>_<set> of its own")
    window: WindowText = Field(
        description='from the index time, never before it: "(0, 30d]", "[24h, 48h)", "(0, inf)", "(0, discharge]"'
    )
    take: Literal["happened", "time", "until", "count", "first", "last", "min", "max", "mean"] = Field(
        "happened",
        description="happened: 1 or 0; time: columns <outcome>_time and <outcome>_event, as survive reads them; until: time to the first event; count; first, last, min, max, mean of the values. Where the window was not observed to its end: empty, and for time censored",
    )
    competing: str | None = Field(
        None,
        description="happened, time: set of events (death) after which this one cannot come: 0 in happened, 2 in <outcome>_event. Left out: whoever has them is not observed any longer, where cohort.events.ends says so",
    )
    unit: Literal["s", "min", "h", "d", "w", "y"] = Field("d", description="unit of times, where times are dates")

    @property
    def span(self) -> Window:
        """The window, read."""
        return window(self.window)

    def columns(self, name: str) -> dict[str, tuple[str, ...]]:
        """Set → its columns."""
        sets = _codes(self.of)
        names = {one: name if isinstance(self.of, str) else f"{name}_{one}" for one in sets}
        ends = ("_time", "_event") if self.take == "time" else ("",)
        return {one: tuple(called + end for end in ends) for one, called in names.items()}

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        span, why = self.span, None
        if not span.ahead:
            why = f"window {self.window} begins before the index time: an answer lies at or after it"
        elif self.competing is not None and self.take not in ("happened", "time"):
            why = f'competing goes with take = "happened" or "time", and take is "{self.take}"'
        elif self.take not in ("time", "until", "first") and self.competing is None and _endless(span):
            why = f"window {self.window} has no end, so that it is never observed whole: give it one"
        if why:
            raise PydanticCustomError("part", "{why}", {"why": why})
        return self


def _endless(span: Window) -> bool:
    return isinstance(span.right, Duration) and span.right.amount == float("inf")


class EventCohortPart(Strict):
    """Rows made of a store of events, in place of a table."""

    store: str = Field(
        min_length=1, description="folder of the store, relative to the study file, as `medloom ingest` makes it"
    )
    groups: str | None = Field(
        None, description="CSV file with the columns code and group, for codes such as group:sepsis"
    )
    sets: dict[Name, CodeSetPart | Codes] = Field(min_length=1, description="codes by a name of their own")
    index: IndexPart
    observed_until: Annotated[float | str, BeforeValidator(_as_text)] = Field(
        description='until when a patient is observed: "last event" of the patient; "end of data", the last of the store; a set, whose last event of the patient it is; a date or number that holds for all'
    )
    ends: str | None = Field(
        None, description="set of events (death) with which observation ends, and after which there is no row"
    )
    include: tuple[WindowCriterionPart, ...] = Field(
        (), description="criteria that a row must meet, in order, before those of cohort.include"
    )
    exclude: tuple[WindowCriterionPart, ...] = Field((), description="criteria that a row must not meet")
    columns: dict[Name, EventColumnPart] = Field({}, description="columns of what was before the index time")
    outcomes: dict[Name, OutcomePart] = Field({}, description="what happens from the index time on, for targets")

    @property
    def name(self) -> str:
        """What the folder of the store is called, wherever it lies."""
        return PurePath(self.store).name

    def code_set(self, name: str) -> CodeSetPart:
        """A set of the study, or that of all events."""
        found = self.sets.get(name, "*")
        return found if isinstance(found, CodeSetPart) else CodeSetPart(codes=found)

    def answers(self) -> tuple[str, ...]:
        """All columns of the outcomes, which no input reads."""
        outcomes = (one.columns(name).values() for name, one in self.outcomes.items())
        return tuple(column for each in outcomes for columns in each for column in columns)

    def _named(self) -> Iterable[tuple[str, str]]:
        """Every place that names a set, with the name."""
        for name in self.sets:
            yield from ((f"sets.{name}", of) for of in self.code_set(name).names)
        index = {"index.at": self.index.at, "index.until": self.index.until, "ends": self.ends}
        yield from ((path, name) for path, name in index.items() if name is not None)
        for kind, criteria in (("include", self.include), ("exclude", self.exclude)):
            for one in criteria:
                yield from ((f"{kind} {one.name!r}", name) for name in (one.of, *one.span.names))
        for name, column in self.columns.items():
            yield from ((f"columns.{name}", of) for of in (column.of, *column.span.names))
        for name, outcome in self.outcomes.items():
            competing = (outcome.competing,) if outcome.competing else ()
            yield from ((f"outcomes.{name}", of) for of in (*_codes(outcome.of), *competing, *outcome.span.names))

    @model_validator(mode="after")
    def _sets_exist(self) -> Self:
        known = {*self.sets, ANY}
        wrong = [f"{path}: no set {name!r}; {near(name, known)}" for path, name in self._named() if name not in known]
        wrong += circle({name: self.code_set(name).names for name in self.sets})
        columns = [*self.columns, *self.answers()]
        twice = sorted({name for name in columns if columns.count(name) > 1})
        wrong += [f"{twice[0]!r} is the name of several columns; give each its own"] if twice else []
        if wrong:
            raise PydanticCustomError("part", "{why}", {"why": "; ".join(wrong)})
        return self
