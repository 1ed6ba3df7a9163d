"""The language of mappings: one TOML file says what the tables of a source mean as events. Its mistakes are named at once."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from medloom import find
from medloom.errors import StudyError
from medloom.ingest.source import Decimal, Format, Separator
from medloom.mistakes import problems
from medloom.parts import Name, Strict

SHIPPED = Path(__file__).parent / "mappings"
HOLE = re.compile(r"\{([^{}]*)\}")
"""A column in a template."""


def holes(template: str) -> list[str]:
    """The columns that a template names: `icd{version}:{code}` has version and code."""
    return HOLE.findall(template)


class EventPart(Strict):
    """One event of each line of a table."""

    code: str | tuple[str, ...] = Field(
        description='code, with columns in braces: "icd{icd_version}:{icd_code}"; of several the first of which no column is empty; where all have an empty one there is no event'
    )
    time: str | tuple[str, ...] = Field(
        (),
        description="column with the time, or a template; of several the first that is not empty; left out: a fact of the patient, known at any time",
    )
    time_format: Format | None = Field(None, description="how these times are written; left out: as the mapping says")
    no_time: Literal["broken", "no event", "timeless"] = Field(
        "broken", description="what a line without a time is: broken, no event of this kind, or a fact of the patient"
    )
    value: str | None = Field(None, description="column with a number, or with a word that becomes part of the code")
    text: str | None = Field(None, description="column with the word, where value is empty")
    unit: str | None = Field(None, description="column with the unit of the value")
    measured_in: str | None = Field(None, description="the unit of all values, where no column says it")
    needs_value: bool = Field(False, description="without a value and a word there is no event")
    only: dict[str, tuple[str, ...]] = Field(
        {}, description="column = words: lines with another word there are no event"
    )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.unit is not None and self.measured_in is not None:
            raise PydanticCustomError("expression", "unit and measured_in: give one of them")
        if (self.unit or self.measured_in or self.needs_value) and self.value is None and self.text is None:
            raise PydanticCustomError("expression", "unit, measured_in and needs_value go with value")
        if not self.codes:
            raise PydanticCustomError("expression", "code is empty")
        if not self.times and (self.no_time != "broken" or self.time_format):
            raise PydanticCustomError("expression", "no_time and time_format go with time")
        return self

    @property
    def codes(self) -> tuple[str, ...]:
        """The templates of the code."""
        return (self.code,) if isinstance(self.code, str) else self.code

    @property
    def times(self) -> tuple[str, ...]:
        """The templates of the time: a column's name alone is one as well."""
        given = (self.time,) if isinstance(self.time, str) else self.time
        return tuple(one if "{" in one else f"{{{one}}}" for one in given)

    def columns(self) -> set[str]:
        """Every column that is named."""
        named = {column for template in (*self.codes, *self.times) for column in holes(template)}
        return named | {c for c in (self.value, self.text, self.unit) if c is not None} | set(self.only)


class TablePart(Strict):
    """One table: whose its lines are, and the events of each line."""

    table: str = Field(description="name of the file without its ending; upper and lower case are the same")
    patient: str = Field(description="column with the patient's id, or lookup.column")
    lookup: dict[Name, str] = Field({}, description="lookup = column of this table whose value is looked up there")
    empty: dict[str, tuple[str, ...]] = Field({}, description="column = words that mean that it is empty, as 0")
    events: tuple[EventPart, ...] = Field(description="the events of each line")

    @model_validator(mode="after")
    def _has_events(self) -> Self:
        # Not min_length, which would also complain of events that have mistakes of their own.
        if not self.events:
            raise PydanticCustomError("expression", "the table has no [[tables.events]]")
        return self

    def columns(self) -> set[str]:
        """Every column of the table itself that is named."""
        named = {self.patient, *self.lookup.values(), *self.empty}
        for event in self.events:
            named |= event.columns()
        return {column for column in named if column.partition(".")[0] not in self.lookup or "." not in column}

    def looked_up(self) -> set[tuple[str, str]]:
        """(lookup, column) of every column that is looked up."""
        named = {self.patient}.union(*(event.columns() for event in self.events))
        parts = [column.partition(".") for column in named]
        return {(name, column) for name, dot, column in parts if dot and name in self.lookup}


class LookupPart(Strict):
    """A table that is held in memory, so that others look things up in it."""

    table: str = Field(description="name of the file without its ending")
    key: str = Field(description="column whose values are looked up; each stands there once")


class Mapping(Strict):
    """What the tables of one kind of source mean as events."""

    name: Name = Field(description="what the mapping is called")
    title: str = Field(description="what it is of, and which version")
    tried_on_real_data: bool = Field(False, description="whether anybody has looked at what it makes of real data")
    shifted_dates: bool = Field(
        False, description="dates of this source were shifted: times in the future are no mistake"
    )
    time_format: Format | None = Field(None, description="how times are written; left out: ISO 8601, or numbers")
    separator: Separator = None
    decimal: Decimal = "point"
    recognise: tuple[str, ...] = Field(
        (), description="tables that a folder of this kind always has; others of the mapping may be absent"
    )
    lookups: dict[Name, LookupPart] = Field({}, description="tables in which others look things up")
    tables: tuple[TablePart, ...] = Field(description="the tables")

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        found: list[tuple[tuple[Any, ...], str]] = [] if self.tables else [(("tables",), "there is none")]
        for place, table in enumerate(self.tables):
            found += [
                (("tables", place, "lookup", name), f"no lookup {name!r}; {find.near(name, self.lookups)}")
                for name in table.lookup
                if name not in self.lookups
            ]
        known = {table.table for table in self.tables} | {lookup.table for lookup in self.lookups.values()}
        found += [
            (("recognise",), f"{name!r} is no table of the mapping; {find.near(name, known)}")
            for name in self.recognise
            if name not in known
        ]
        if found:
            raise PydanticCustomError("part", "mistakes inside", {"problems": found})
        return self


def read_mapping(name: str) -> Mapping:
    """A shipped mapping by its name, or that of a file. Raises StudyError with every mistake."""
    path = SHIPPED / f"{name}.toml" if name in shipped() else Path(name)
    if not path.is_file():
        raise StudyError(f"no mapping {name!r}: neither a file nor shipped; {find.near(name, shipped())}")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        return Mapping.model_validate(given)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise StudyError(
            [f"{path.name}: {_path(where)}: {text}" for where, text in problems(error, Mapping)]
        ) from error


def _path(where: tuple[Any, ...]) -> str:
    return ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in where) or "the mapping"


@cache
def shipped() -> tuple[str, ...]:
    """Names of the mappings that come with medloom."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def nearly(path: Path) -> list[str]:
    """The shipped mappings of which a folder has some tables that are always there, and the tables that it lacks."""
    from medloom.ingest.tables import tables_in

    there = tables_in(path) if path.is_dir() else {}
    found = []
    for mapping in map(read_mapping, shipped()):
        lacks = [name for name in mapping.recognise if name.lower() not in there]
        if lacks and len(lacks) < len(mapping.recognise):
            found.append(f"{mapping.name}, but lacks the tables {', '.join(lacks)}")
    return found


def recognised(path: Path) -> list[str]:
    """The shipped mappings whose tables lie in a folder."""
    from medloom.ingest.tables import tables_in

    if not path.is_dir():
        return []
    there = tables_in(path)
    mappings = [read_mapping(name) for name in shipped()]
    return [one.name for one in mappings if one.recognise and all(name.lower() in there for name in one.recognise)]
