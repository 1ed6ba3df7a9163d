"""MEDS, the Medical Event Data Standard: `data/**/*.parquet`, with `metadata/dataset.json` beside it.

Source: Medical-Event-Data-Standard/meds, schema 0.4 (subject_id, time, code; numeric_value and text_value where they
are), and 0.3, which has the same columns and no text_value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from medloom.cohort.files import guarded
from medloom.errors import DataError
from medloom.ingest.lines import LINE, read_lines
from medloom.ingest.source import Block, EventOptions, EventSource, OpenedEvents

COLUMNS = ("subject_id", "time", "code", "numeric_value", "text_value")


class MedsOptions(EventOptions):
    """Options of MEDS."""

    unit: str | None = Field(None, description="column with the unit of the value: MEDS has none of its own")


class Meds(EventSource):
    """The folder of a MEDS data set. Events without a time are facts of the patient."""

    Options = MedsOptions

    @staticmethod
    def recognises(path: Path) -> bool:
        """A folder with data/ and metadata/dataset.json or metadata/codes.parquet."""
        beside = ("dataset.json", "codes.parquet")
        return (path / "data").is_dir() and any((path / "metadata" / name).is_file() for name in beside)

    @staticmethod
    def opened(path: Path, options: MedsOptions) -> OpenedEvents:
        """The shards, each held against the schema. Raises DataError naming the first that does not follow it."""
        files = sorted((path / "data").rglob("*.parquet")) if (path / "data").is_dir() else []
        if not files:
            raise DataError(f"{path}: no data/**/*.parquet; expected the folder of a MEDS data set")
        extra: set[str] = set()
        for file in files:
            extra |= _checked(file, options)
        facts = _metadata(path)
        if extra:
            facts["columns_not_read"] = sorted(extra)
        return OpenedEvents(
            "meds", tuple(files), partial(_blocks, files, options), facts, descriptions=_described(path)
        )


def _schema(file: Path) -> pl.Schema:
    return guarded(lambda: pl.scan_parquet(file).collect_schema(), file)


def _checked(file: Path, options: MedsOptions) -> set[str]:
    """Columns that are not read. Raises DataError where a column is missing or of another type."""
    schema = _schema(file)
    if "patient_id" in schema and "subject_id" not in schema:
        raise DataError(
            f"{file}: column 'patient_id' is of MEDS before 0.3; expected 'subject_id': convert the data set to MEDS 0.3 or later"
        )
    needed = [*COLUMNS[:3], *([options.unit] if options.unit else [])]
    missing = [name for name in needed if name not in schema]
    if missing:
        raise DataError(f"{file}: no column {', '.join(map(repr, missing))}; MEDS has {', '.join(COLUMNS)}")
    wrong = [
        f"{name} is {schema[name]}"
        for name, fits in (
            ("subject_id", schema["subject_id"].is_integer()),
            ("time", schema["time"].is_temporal() or schema["time"] == pl.Null),
            ("code", schema["code"] == pl.String or schema["code"] == pl.Categorical),
            ("numeric_value", "numeric_value" not in schema or schema["numeric_value"].is_numeric() or schema["numeric_value"] == pl.Null),
        )
        if not fits
    ]  # fmt: skip
    if wrong:
        raise DataError(f"{file}: {', '.join(wrong)}; MEDS has int64, timestamp, string and float32")
    return set(schema) - {*needed, *COLUMNS}


def _metadata(path: Path) -> dict[str, Any]:
    """What the data set says of itself."""
    file = path / "metadata" / "dataset.json"
    if not file.is_file():
        return {}
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not JSON: {error}") from error
    names = ("dataset_name", "dataset_version", "etl_name", "etl_version", "meds_version")
    return {"said": {name: str(said[name]) for name in names if name in said}} if isinstance(said, dict) else {}


def _described(path: Path) -> dict[str, str]:
    """What the data set calls its codes, where it says."""
    file = path / "metadata" / "codes.parquet"
    if not file.is_file() or not {"code", "description"} <= set(_schema(file)):
        return {}
    codes = guarded(lambda: pl.read_parquet(file, columns=["code", "description"]), file)
    return {str(code): str(said).strip() for code, said in codes.iter_rows() if code and said and str(said).strip()}


def _blocks(files: Sequence[Path], options: MedsOptions) -> Iterator[Block]:
    named = {"subject_id": "patient", "numeric_value": "value", "text_value": "text", LINE: "line"}
    named |= {options.unit: "unit"} if options.unit else {}
    for place, file in enumerate(files):
        schema = _schema(file)
        columns = [name for name in (*COLUMNS, options.unit) if name is not None and name in schema]
        for lines in read_lines(file, columns):
            frame = lines.frame.rename({name: new for name, new in named.items() if name in lines.frame.columns})
            yield Block(place, frame.with_columns(pl.col("code").cast(pl.String)), timeless=True)
