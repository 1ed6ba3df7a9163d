"""The contract of a kind of source, and the options that all sources of events share."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from medloom.parts import Strict

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Ingested:
    """What `medloom ingest` made: where it stands, and lines that say it to a person."""

    folder: Path
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """How far an ingest is: how many of what are dealt with, and of how many where that is known."""

    what: str
    done: int
    of: int | None = None


Watch = Callable[[Counted], None]
"""Is told now and then how far an ingest is. For watching only."""


def unwatched(_: Counted) -> None:
    """Nobody watches."""


class IngestSource(ABC):
    """One kind of source. `sources/<name>.py` holds the class `<Name>`; nothing else names it.

    Sources of events inherit `EventSource` and give blocks of lines; a source of anything else gives its own `ingest`.
    """

    Options: ClassVar[type[Strict]]
    """What may be said of such a source: `key=value` on the command line."""

    @staticmethod
    @abstractmethod
    def recognises(path: Path) -> bool:
        """Whether a file or folder looks like one of this kind, judged from names and headers alone."""

    @classmethod
    @abstractmethod
    def ingest(cls, path: Path, to: Path, options: Any, watch: Watch = unwatched) -> Ingested:
        """Reads the source into the folder `to`. Goes on where an earlier call was stopped. Raises DataError."""


def _zone(name: str) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise PydanticCustomError(
            "expression", "{why}", {"why": "no time zone of that name; expected one such as Europe/Berlin or UTC"}
        ) from error
    return name


def _format(text: str) -> str:
    if not re.search(r"%[YyDFsT]", text):
        raise PydanticCustomError(
            "expression", "{why}", {"why": "no format of dates; expected one such as %d/%m/%Y %H:%M"}
        )
    return text


Format = Annotated[str, AfterValidator(_format)]
Separator = Annotated[
    Literal["comma", "semicolon", "tab", "pipe"] | None,
    Field(description="what stands between the fields of text tables; left out: a tab in .tsv and .txt, else a comma"),
]
Decimal = Annotated[
    Literal["point", "comma"], Field(description="how numbers are written in text tables: 80.5, or 80,5")
]


class EventOptions(Strict):
    """Options of every source of events."""

    broken: Literal["refuse", "skip"] = Field(
        "refuse",
        description="lines that cannot be read: refuse the source and list them, or leave them out and list them",
    )
    units: Literal["refuse", "apart"] = Field(
        "refuse",
        description="values of one code in units of which no conversion is known: refuse, or keep them apart as code [unit]",
    )
    codes: Path | None = Field(
        None,
        description="CSV table of codes: code, unit (to convert to), low, high (values outside are impossible and left out)",
    )
    conversions: Path | None = Field(
        None,
        description="CSV table of conversions: code (empty: of every code), from, to, factor, offset (to = from × factor + offset)",
    )
    zone: Annotated[str, AfterValidator(_zone)] | None = Field(
        None, description="time zone of times without one, as Europe/Berlin; all times become UTC"
    )
    time_format: Format | None = Field(
        None, description="how times are written, as %d/%m/%Y %H:%M; left out: ISO 8601, or numbers"
    )
    shifted_dates: bool = Field(
        False, description="dates were shifted to hide who a patient is: times in the future are no mistake"
    )
    birth: str = Field("MEDS_BIRTH", description="code of a patient's birth; events on an earlier day are broken")
    death: str = Field("MEDS_DEATH", description="code of a patient's death")
    after_death: Literal["keep", "broken"] = Field(
        "keep",
        description="events on a day after the patient's death: keep and count them (results and bills arrive late), or take them for broken lines",
    )


AFTERWARDS = ("broken", "units", "codes", "conversions", "birth", "death", "after_death")
"""Options that nothing which was already read depends on: a stopped or refused ingest goes on with other ones."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some lines of one file, in their order.

    `frame` has `line` and `patient`, `time`, `code`, and where there are such things `value` (numbers, or text of which
    each is a number or becomes part of the code), `text` and `unit`. `broken` has `line` and `reason` of those that a
    reader could not take apart. `timeless` says that events without a time are facts of the patient, and no mistake.
    """

    file: int
    frame: pl.DataFrame
    broken: pl.DataFrame | None = None
    timeless: bool = False
    time_format: str | None = None
    """How this block's times are written, where the source knows it."""
    decimal: Decimal = "point"
    """How numbers among text values are written."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What the source counted of these lines beside events and broken ones, by name."""


class EventSource(IngestSource):
    """A source of events: its files, and their lines in blocks. How they become a store is the same for all."""

    @staticmethod
    @abstractmethod
    def opened(path: Path, options: Any) -> OpenedEvents:
        """The source, opened for reading. Raises DataError where it is no such source, or a file is missing."""

    @classmethod
    def ingest(cls, path: Path, to: Path, options: Any, watch: Watch = unwatched) -> Ingested:
        """The store of events of the source."""
        from medloom.ingest.store import make_store

        return make_store(cls.opened(path, options), to, options, watch)


@dataclass(frozen=True, slots=True)
class OpenedEvents:
    """An opened source of events. `files` are read in this order; `blocks` gives the same blocks at each call."""

    kind: str
    files: tuple[Path, ...]
    blocks: Callable[[], Iterator[Block]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What provenance says of the source: its version, its mapping, whether it was tried on real data."""
    shifted_dates: bool = False
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """What codes are called, where the source says."""
