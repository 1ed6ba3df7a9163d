"""Who rows belong to: patients, or where rows are forecasts, the dates that stay together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from medloom.report.section import Led
from medloom.study import Study

Thing = TypeVar("Thing")
_PATIENTS = re.compile(r"\b([Pp])atient(s?)\b")
_ELSEWHERE = "patients from elsewhere"
_NAMES = ("chapter", "key", "name", "target")
"""Fields that others look things up by."""


@dataclass(frozen=True, slots=True)
class Who:
    """What those are called whom splits and intervals keep together."""

    one: str = "patient"
    many: str = "patients"

    @classmethod
    def of(cls, study: Study) -> Who:
        """Those of a study. Patients stay where a column or a question of a forecast has that name itself."""
        panel = study.cohort.panel
        if panel is None:
            return cls()
        own = (
            *study.targets,
            *study.inputs,
            *(value for value in panel.model_dump().values() if isinstance(value, str)),
        )
        return cls() if any(_PATIENTS.search(name) for name in own) else cls(*panel.unit)

    @property
    def heading(self) -> str:
        """Over the part of a report that tells of them."""
        return "Who the patients are" if self == Who() else "What the rows are"

    def said(self, text: str) -> str:
        """A sentence about patients as one about these."""
        if self == Who():
            return text
        text = text.replace(_ELSEWHERE, "other times or places")

        def word(found: re.Match[str]) -> str:
            name = self.many if found[2] else self.one
            return name[0].upper() + name[1:] if found[1] == "P" else name

        return _PATIENTS.sub(word, text)

    def throughout(self, thing: Thing) -> Thing:
        """The same plain data with these in every text of it."""
        return thing if self == Who() else cast(Thing, self._within(thing))

    def _within(self, thing: Any) -> Any:
        if isinstance(thing, Led):
            return Led(self.said(thing.text), thing.places)
        if isinstance(thing, str):
            return self.said(thing)
        if isinstance(thing, tuple):
            return tuple(self._within(one) for one in thing)
        if isinstance(thing, Mapping):
            return {name: self._within(value) for name, value in thing.items()}
        if is_dataclass(thing) and not isinstance(thing, type):
            texts = [one.name for one in fields(thing) if one.name not in _NAMES]
            return replace(thing, **{name: self._within(getattr(thing, name)) for name in texts})
        return thing
