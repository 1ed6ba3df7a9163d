"""Spans of time of a study file, parsed into plain values: durations such as `30d`, and windows such as `(0, 30d]`.

A window is measured from the index time. A square bracket includes its end, a round one leaves it out, as in
mathematics, so that none is ever left to a default. An end is a duration, `-inf`, `inf`, or the name of a set of
events: at the left the newest such event up to the index time, at the right the first one after it.
Source: the windows with inclusive and exclusive ends of Xu et al., "ACES: Automatic Cohort Extraction System for
Event-Stream Datasets", ICLR 2025.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

SECONDS = {"s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_557_600.0}
"""Units of durations where times are dates; a year has 365.25 days."""
_DURATION = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)) ?(s|min|h|d|w|y)?")
_WINDOW = re.compile(r"\s*([\[(])\s*([^,\s]+(?: [^,\s]+)?)\s*,\s*([^,\s]+(?: [^,\s]+)?)\s*([\])])\s*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
MOST_TICKS = 1 << 61


class WindowError(ValueError):
    """What is wrong with a duration or a window."""


@dataclass(frozen=True, slots=True)
class Duration:
    """An amount with its unit, None where the study gives none: days of dates, else the unit of the times."""

    amount: float
    unit: str | None

    def ticks(self, kind: str, per_unit: int) -> int:
        """In ticks of a store whose times are of this kind. Raises WindowError for units of what is no date."""
        if math.isinf(self.amount):
            return MOST_TICKS * 2 if self.amount > 0 else -MOST_TICKS * 2
        if kind != "date" and self.unit is not None:
            raise WindowError(
                f"{self.amount:g}{self.unit} has a unit, and the times of the store are numbers; leave the unit out"
            )
        seconds = SECONDS[self.unit or "d"] if kind == "date" else 1.0
        found = round(self.amount * seconds * per_unit)
        if abs(found) > MOST_TICKS:
            raise WindowError(f"{self.amount:g}{self.unit or ''} is longer than the store can count; write inf")
        return found


@dataclass(frozen=True, slots=True)
class Window:
    """Two ends, each a duration from the index time or the name of a set, and whether each is inside."""

    left: Duration | str
    right: Duration | str
    holds_left: bool
    holds_right: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The sets that its ends name."""
        return tuple(end for end in (self.left, self.right) if isinstance(end, str))

    @property
    def past(self) -> bool:
        """Whether it ends before the index time, so that it holds nothing of that time or later."""
        right = self.right
        return isinstance(right, Duration) and (right.amount < 0 or (right.amount == 0 and not self.holds_right))

    @property
    def reached(self) -> bool:
        """Whether it ends at the moment it is measured from at the latest, so that all of it is known by then."""
        return isinstance(self.right, Duration) and self.right.amount <= 0

    @property
    def ahead(self) -> bool:
        """Whether it begins at the index time or later, so that it holds nothing from before."""
        return isinstance(self.left, Duration) and self.left.amount >= 0


def duration(given: str | float) -> Duration:
    """The duration that is given: a number, or a text such as "24h" or "1.5 y". Raises WindowError."""
    if not isinstance(given, str):
        return Duration(float(given), None)
    found = _DURATION.fullmatch(given.strip())
    if found is None:
        raise WindowError(f"found {given!r}; expected a duration such as 24h, 30d or 1.5y ({', '.join(SECONDS)})")
    return Duration(float(found[1]), found[2])


def window(text: str) -> Window:
    """The window that a text says: `(0, 30d]`, `[-365d, 0)`, `(-inf, 0)`, `(0, discharge]`. Raises WindowError."""
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise WindowError(
            f"found {text!r}; expected a window such as (0, 30d] or [-365d, 0): a square bracket includes its end, a round one does not"
        )
    left, right = _end(found[2]), _end(found[3])
    window = Window(left, right, found[1] == "[", found[4] == "]")
    if any(isinstance(end, Duration) and math.isinf(end.amount) for end in (left, right)):
        if (_infinite(left) and (window.holds_left or left.amount > 0)) or (  # type: ignore[union-attr]
            _infinite(right) and (window.holds_right or right.amount < 0)  # type: ignore[union-attr]
        ):
            raise WindowError(f"found {text!r}; expected (-inf at the left, and inf) at the right")
    if isinstance(left, Duration) and isinstance(right, Duration):
        low, high = _seconds(left), _seconds(right)
        empty = low > high or (low == high and not (window.holds_left and window.holds_right))
        if empty:
            raise WindowError(f"found {text!r}, which nothing can be in; expected the earlier end at the left")
    return window


def _end(text: str) -> Duration | str:
    if text in ("inf", "+inf", "-inf"):
        return Duration(float(text), None)
    if _NAME.fullmatch(text):
        return text
    return duration(text)


def _infinite(end: Duration | str) -> bool:
    return isinstance(end, Duration) and math.isinf(end.amount)


def _seconds(end: Duration) -> float:
    return end.amount * SECONDS[end.unit or "d"]
