"""FHIR R4: Bundles as JSON, and NDJSON as bulk export writes it, each also as .gz."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import polars as pl
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from medloom import find
from medloom.errors import DataError
from medloom.ingest.fhir_resources import READERS, Left, Unreadable, coded, events_of, patient_of, version_fault
from medloom.ingest.source import Block, EventOptions, EventSource, OpenedEvents

LINED = (".ndjson", ".jsonl")
BLOCK_RESOURCES = 20_000
LARGEST_BUNDLE = 1 << 30
"""Bytes of a Bundle, which is read whole; NDJSON is read line by line."""
UNREAD_VALUES = ("valueRange", "valueRatio", "valueSampledData", "valueTime", "valueDateTime", "valuePeriod")
_SCHEMA = {
    "line": pl.Int64,
    "patient": pl.String,
    "time": pl.String,
    "code": pl.String,
    "value": pl.Float64,
    "text": pl.String,
    "unit": pl.String,
}
_BROKEN = {"line": pl.Int64, "reason": pl.String}


class FhirOptions(EventOptions):
    """Options of FHIR."""

    resources: str = Field(
        ",".join(READERS),
        description="kinds of resources to read, with commas between; a Claim and its ExplanationOfBenefit say the same twice",
    )

    @field_validator("resources")
    @classmethod
    def _known(cls, text: str) -> str:
        for name in text.split(","):
            if name not in READERS:
                raise PydanticCustomError(
                    "expression", "{why}", {"why": f"{name!r} is not read; {find.near(name, READERS)}"}
                )
        return text


class Fhir(EventSource):
    """A Bundle, an NDJSON file, or a folder of them."""

    Options = FhirOptions

    @staticmethod
    def recognises(path: Path) -> bool:
        """NDJSON by its name; JSON where its first letters speak of a resource."""
        files = _files(path)
        if not files or (path / "metadata" / "dataset.json").is_file():
            return False
        return _form(files[0]) in LINED or b'"resourceType"' in _beginning(files[0])

    @staticmethod
    def opened(path: Path, options: FhirOptions) -> OpenedEvents:
        """The files, by name."""
        files = _files(path)
        if not files:
            raise DataError(f"{path}: no .json or .ndjson; expected FHIR R4 as Bundles or NDJSON, also as .gz")
        for file in files:
            if _form(file) == ".json" and file.stat().st_size > LARGEST_BUNDLE:
                raise DataError(f"{file}: a Bundle of more than 1 GB, which is read whole; write it as NDJSON")
        facts = {"fhir": "R4", "resources": sorted(options.resources.split(","))}
        return OpenedEvents(
            "fhir", tuple(files), partial(_blocks, files, frozenset(options.resources.split(","))), facts
        )


def _form(file: Path) -> str:
    name = Path(file.stem) if file.suffix.lower() == ".gz" else file
    return name.suffix.lower()


def _files(path: Path) -> list[Path]:
    held = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    return [file for file in held if file.is_file() and _form(file) in (".json", *LINED)]


def _open(file: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(file, "rb") if file.suffix.lower() == ".gz" else open(file, "rb"))


def _beginning(file: Path) -> bytes:
    try:
        with _open(file) as handle:
            return handle.read(4096)
    except (OSError, EOFError, zlib.error):
        return b""


@dataclass(slots=True)
class _Gathered:
    """Events, broken lines and counts of the resources read since the last block."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    facts: list[tuple[Any, ...]] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    resources: int = 0

    def blocks(self, file: int) -> Iterator[Block]:
        """What was gathered: events with times, then facts of patients."""
        broken = pl.DataFrame(self.broken, schema=_BROKEN, orient="row")
        yield Block(file, pl.DataFrame(self.rows, schema=_SCHEMA, orient="row"), broken, counts=dict(self.counts))
        if self.facts:
            yield Block(file, pl.DataFrame(self.facts, schema=_SCHEMA, orient="row"), timeless=True)


def _blocks(files: Sequence[Path], wanted: frozenset[str]) -> Iterator[Block]:
    medications = _medications(files) if wanted & {"MedicationRequest", "MedicationAdministration"} else {}
    for place, file in enumerate(files):
        held = _Gathered()
        for line, resource in _resources(file):
            _gather(held, line, resource, wanted, medications)
            if held.resources >= BLOCK_RESOURCES:
                yield from held.blocks(place)
                held = _Gathered()
        yield from held.blocks(place)


def _gather(held: _Gathered, line: int, resource: Any, wanted: frozenset[str], medications: dict[str, str]) -> None:
    """Adds what a resource says, or why it says nothing."""
    held.resources += 1
    if isinstance(resource, Unreadable):
        held.broken.append((line, str(resource)))
        return
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(kind, str):
        held.broken.append((line, "no FHIR resource"))
        return
    fault = version_fault(resource)
    if fault is not None:
        held.broken.append((line, fault))
        return
    if kind not in wanted:
        if kind != "Medication":
            held.counts[f"resources not read: {kind[:40]}"] += 1
        return
    try:
        patient = patient_of(resource)
        found = list(events_of(resource, medications))
    except Left as why:
        held.counts[str(why)] += 1
        return
    except Unreadable as why:
        held.broken.append((line, str(why)))
        return
    except (AttributeError, TypeError, ValueError, KeyError):
        held.broken.append((line, f"a {kind} whose fields are not those of FHIR R4"))
        return
    if kind == "Observation" and any(name in resource for name in UNREAD_VALUES):
        held.counts["values that are ranges, ratios, waves or times, left out"] += 1
    if kind == "Patient" and resource.get("deceasedBoolean") is True:
        held.counts["deaths without a time, left out"] += 1
    for event in found:
        row = (line, patient, event.time, event.code, event.value, event.text, event.unit)
        if any(
            part is not None and not isinstance(part, str) for part in (patient, event.time, event.text, event.unit)
        ):
            held.broken.append((line, f"a {kind} whose fields are not those of FHIR R4"))
        else:
            (held.facts if event.timeless else held.rows).append(row)


def _resources(file: Path) -> Iterator[tuple[int, Any]]:
    """(line or number of the entry, resource) of a file; in place of what cannot be read the reason, as Unreadable."""
    if _form(file) == ".json":
        yield from _entries(_whole(file))
        return
    number = 0
    try:
        with _open(file) as handle:
            for raw in handle:
                number += 1
                if not raw.strip():
                    continue
                try:
                    resource = json.loads(raw)
                except (ValueError, RecursionError):
                    yield number, Unreadable("not JSON")
                    continue
                if isinstance(resource, dict) and resource.get("resourceType") == "Bundle":
                    yield from ((number, inner) for _, inner in _entries(resource))
                else:
                    yield number, resource
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file}: the compressed file ends early or is damaged; fetch it again") from error


def _whole(file: Path) -> Any:
    try:
        with _open(file) as handle:
            return json.loads(handle.read())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file}: the compressed file ends early or is damaged; fetch it again") from error
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{file}: not whole JSON{where}; fetch or export it again") from error


def _entries(resource: Any) -> Iterator[tuple[int, Any]]:
    if not isinstance(resource, dict) or resource.get("resourceType") != "Bundle":
        yield 1, resource
        return
    entries = resource.get("entry") or ()
    fault = version_fault(resource)
    for number, entry in enumerate(entries if isinstance(entries, list) else [None], 1):
        inner = entry.get("resource") if isinstance(entry, dict) else None
        yield number, Unreadable(fault) if fault is not None else inner


def _medications(files: Sequence[Path]) -> dict[str, str]:
    """The code of each Medication that others may refer to: of Bundles, and of files whose name speaks of them."""
    found: dict[str, str] = {}
    for file in files:
        if _form(file) in LINED and "medication" not in file.name.lower():
            continue
        for _, resource in _resources(file):
            if isinstance(resource, dict) and resource.get("resourceType") == "Medication" and resource.get("id"):
                found[resource["id"]] = coded(resource.get("code")) or f"Medication/{resource['id']}"
    return found
