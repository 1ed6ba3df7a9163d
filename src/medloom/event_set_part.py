"""Sets of events of a study file: codes, and what has to be true of each event, or of what came before it.

An event is judged by its own moment and by what is known then: a rise above the patient's lowest value of a week, a drug
within two days after a culture. Windows here are measured from the event, and end with it at the latest, so that a set
never knows more than was known at the time of its events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom import expression
from medloom.strict import Name, Strict, readable
from medloom.window import Window, window

WindowText = Annotated[str, readable(window)]
Codes = str | Annotated[tuple[str, ...], Field(min_length=1)]
RELATIVE = ("baseline", "ratio", "change")
"""What a condition may read besides the value, where the set has a baseline."""


def bounds(at_least: int | None, at_most: int | None, none: str) -> tuple[int, int | None]:
    """Fewest and most events, of which those left out are 1 and any number; 0 where only a most is given.

    Raises a mistake where no number of events is between them: `none` says who meets it.
    """
    least = at_least if at_least is not None else int(at_most is None)
    if at_most is not None and least > at_most:
        why = f"at_least is above at_most: {none} meets it"
        raise PydanticCustomError("part", "{why}", {"why": why})
    return least, at_most


class BeforePart(Strict):
    """A window that is measured from an event, and ends with it at the latest."""

    window: WindowText = Field(
        description='from the event, never beyond it: "[-7d, 0)", "[-48h, 0]", "[admission, 0)" since the newest admission'
    )

    @property
    def span(self) -> Window:
        """The window, read."""
        return window(self.window)

    @model_validator(mode="after")
    def _known_by_then(self) -> Self:
        if not self.span.reached:
            why = f'window {self.window} goes beyond the event, whose time this would be known only after: end it with "0)" or "0]"; of two events, name the later one and look back from it'
            raise PydanticCustomError("part", "{why}", {"why": why})
        return self


class BaselinePart(BeforePart):
    """What the value of an event is compared with: values before it."""

    take: Literal["first", "last", "min", "max", "mean"] = Field(description="which of the values in the window")
    of: str | None = Field(None, description="set whose values they are; left out: the codes of this set")


class NearPart(BeforePart):
    """How many events of another set have to be in a window before each event."""

    of: str = Field(description="name of that set; any is every event")
    at_least: int | None = Field(None, ge=0, description="events at least; 1 where at_most is left out too")
    at_most: int | None = Field(None, ge=0, description="events at most; 0: none")

    @property
    def bounds(self) -> tuple[int, int | None]:
        """Fewest and most events."""
        return bounds(self.at_least, self.at_most, "no event")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        _ = self.bounds
        return self


class CodeSetPart(Strict):
    """Codes, and what the values of their events have to be, by themselves and beside what came before them."""

    codes: Codes | None = Field(
        None,
        description='such as "icd10:I20-I25", "atc:C09", "group:sepsis" (of groups), "LAB//*", a code as it stands; or several',
    )
    any_of: Annotated[tuple[Name, ...], Field(min_length=1)] | None = Field(
        None, description="in place of codes, names of sets: an event of any of them is one of this set"
    )
    baseline: BaselinePart | None = Field(
        None,
        description="values before each event that where may compare its value with, as baseline, ratio and change",
    )
    where: Annotated[str, readable(expression.condition)] | None = Field(
        None,
        description='condition on the value of the event: "value > 4", "value >= 3 and value < 6", "value is null"; with a baseline also "ratio >= 1.5 or change >= 0.3" (value / baseline, value - baseline). Not met where there is no such value',
    )
    near: tuple[NearPart, ...] = Field(
        (), description="other events that have to be in windows before each event, or must not; all of them are asked"
    )

    @property
    def patterns(self) -> tuple[str, ...]:
        """The codes, as they are written."""
        return (self.codes,) if isinstance(self.codes, str) else self.codes or ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every set that this one is made of or looks at."""
        parts: list[BeforePart] = [*self.near, *([self.baseline] if self.baseline else [])]
        own = (self.baseline.of,) if self.baseline and self.baseline.of else ()
        return (
            *(self.any_of or ()),
            *own,
            *(one.of for one in self.near),
            *(n for one in parts for n in one.span.names),
        )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.codes is None) == (self.any_of is None):
            raise PydanticCustomError("part", "expected either codes or any_of")
        if self.where is None:
            if self.baseline is not None:
                raise PydanticCustomError("part", 'a baseline needs where, such as "ratio >= 1.5"')
            return self
        names = set(expression.columns(expression.condition(self.where)))
        if not names <= {"value", *(RELATIVE if self.baseline else ())}:
            has = f"value, {', '.join(RELATIVE)}" if self.baseline else "only value; with a baseline also " + ", ".join(RELATIVE)  # fmt: skip
            why = f"where = {self.where!r} reads {sorted(names)}; an event has {has}"
            raise PydanticCustomError("part", "{why}", {"why": why})
        return self


def circle(names: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A mistake where sets look at one another in a circle, so that none can be made first."""
    try:
        list(in_order(names))
    except CircleError as error:
        return [str(error)]
    return []


class CircleError(ValueError):
    """Sets that look at one another."""


def in_order(names: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """The sets, each after those that it looks at. Raises CircleError."""
    done: set[str] = set()
    left = list(names)
    while left:
        ready = [name for name in left if all(of in done or of not in names for of in names[name])]
        if not ready:
            raise CircleError(f"sets {' and '.join(map(repr, left[:5]))} look at one another in a circle")
        yield from ready
        done |= set(ready)
        left = [name for name in left if name not in done]
