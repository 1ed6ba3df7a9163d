"""Stores made in a test, and what stands in them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from medloom.cohort.event_store import open_store, times
from medloom.ingest.door import ingest


def day(year: int, month: int, number: int) -> float:
    """The last moment of a day, in seconds: where an event stands of which no more than the day is known."""
    return datetime(year, month, number, 23, 59, 59, 999_999, tzinfo=UTC).timestamp()


def made(source: Path, to: Path, kind: str | None = None, **options: Any) -> list[tuple[Any, ...]]:
    """(patient, time, code, value) of every event of the store that is made of a source, in the order of the store."""
    ingest(source, to, kind, options)
    return rows(to)


def rows(folder: Path) -> list[tuple[Any, ...]]:
    """Likewise, of a store that is there. Times of dates are seconds; None is no value."""
    store = open_store(folder)
    offset = np.asarray(store.packed.arrays["offset"])
    names = ["", *store.codes["code"].to_list()]
    patient = np.repeat(np.arange(len(offset) - 1), np.diff(offset))
    ids = ["", *store.patients.to_list()]
    columns = zip(
        patient.tolist(),
        times(np.asarray(store.packed.arrays["time"])).tolist(),
        np.asarray(store.packed.arrays["code"]).tolist(),
        np.asarray(store.packed.arrays["value"]).tolist(),
        strict=True,
    )
    return [(ids[p], t, names[c], None if np.isnan(v) else round(v, 4)) for p, t, c, v in columns]


def octets(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
