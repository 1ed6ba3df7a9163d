"""What a question is about where its answer is made of events or of a panel, in words."""

from __future__ import annotations

import re

from medloom.errors import counted
from medloom.study import Study

_SOON = re.compile(r"[(\[]\s*0\s*,\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*[)\]]")
_UNITS = {"s": "second", "min": "minute", "h": "hour", "d": "day", "w": "week", "y": "year"}


def within(window: str) -> str:
    """A window from the index time on: `(0, 48h]` is "within 48 hours"; any other as it is written."""
    found = _SOON.fullmatch(window.strip())
    if found is None:
        return f"in {window}"
    number, unit = found.groups()
    word = _UNITS.get(unit, unit)
    return f"within {number} {word}{'s' * (number != '1')}" if word else f"within {number}"


def question(study: Study, target: str) -> str | None:
    """Whether something happens and within which time, or which values are forecast; None where neither is asked."""
    panel = study.cohort.panel
    if panel is not None and study.targets[target].task == "forecast":
        return f"{panel.value.replace('_', ' ')}: what will the next {counted(panel.horizons, 'value')} be?"
    column = getattr(study.targets[target], "column", None)
    outcomes = study.cohort.events.outcomes if study.cohort.events is not None else {}
    for name, one in outcomes.items():
        for of, columns in one.columns(name).items():
            if one.take == "happened" and columns == (column,):
                return f"{column} ({of.replace('_', ' ')} {within(one.window)}): yes or no?"
    return None
