"""Runs: parts of a source, sorted by patient and kept on disk until all is read. Each is whole or not there.

A run names its own patients and its own pairs of code and unit, so that none needs another to be read. Line numbers
carry the number of their file in front (`FILE_BITS`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int, Shaped

from medloom.cohort.event_store import TIMELESS
from medloom.cohort.times import Kind
from medloom.ingest.clean import BROKEN, Events, Rules, clean
from medloom.ingest.source import Block
from medloom.packed import Packer

RUN_ROWS = 2_000_000
"""Lines of a run: what is held in memory while a source is read."""
FILE_BITS = 40
"""Line l of file f is f · 2⁴⁰ + l."""
COLUMNS = {"pair": np.int32, "time": np.int64, "value": np.float64, "line": np.int64}
"""The arrays of a run."""
NO_VALUE = "\x00"
"""Stands for the unit of events without a value, which need none."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: `pair` (the place in the table of pairs), `time`, `value` and `line` of each event, by patient."""

    folder: Path
    meta: Mapping[str, Any]

    @property
    def events(self) -> int:
        """How many events it holds."""
        return int(self.meta["events"])

    def patients(self) -> pl.DataFrame:
        """Its patients, sorted, with how many events each has."""
        return pl.read_parquet(self.folder / "patients.parquet")

    def stretch(self, name: str, begin: int, end: int) -> Shaped[np.ndarray, " events"]:
        """Some events of an array. Read, not mapped: mapped pages of all runs together would be the memory of the source."""
        dtype = np.dtype(COLUMNS[name])
        return np.fromfile(self.folder / f"{name}.bin", dtype, end - begin, offset=begin * dtype.itemsize)

    def pairs(self) -> pl.DataFrame:
        """Its pairs of code and unit, with how many events have each."""
        return pl.read_parquet(self.folder / "pairs.parquet")

    def broken(self) -> pl.DataFrame:
        """Its broken lines."""
        return pl.read_parquet(self.folder / "broken.parquet")


def open_run(folder: Path) -> Run | None:
    """The run of a folder; None where it was not finished."""
    described = folder / "meta.json"
    return Run(folder, json.loads(described.read_text(encoding="utf-8"))["meta"]) if described.is_file() else None


def groups(blocks: Iterable[Block], rows: int) -> Iterator[list[Block]]:
    """Blocks together until they have so many lines: the same at each reading of a source."""
    held: list[Block] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block.frame) + (0 if block.broken is None else len(block.broken))
        if count >= rows:
            yield held
            held, count = [], 0
    if held:
        yield held


def write_run(folder: Path, blocks: Sequence[Block], rules: Rules) -> Run:
    """Cleans blocks and keeps them as one run."""
    parts = [_numbered(clean(block, rules), block.file) for block in blocks]
    events = pl.concat([part.frame for part in parts], rechunk=True)
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    patients = events["patient"].unique().sort()
    pair, pairs = _pairs(events)
    patient = _places(events["patient"], patients)
    order = _order(patient)
    packer = Packer(folder)
    for name, values in (
        ("pair", pair),
        ("time", events["time"].to_numpy()),
        ("value", events["value"].fill_null(float("nan")).to_numpy()),
        ("line", events["line"].to_numpy()),
    ):
        packer.add(name, values if order is None else values[order])
    count = np.bincount(patient, minlength=len(patients)).astype(np.int32)
    pl.DataFrame({"patient": patients, "events": count}).write_parquet(folder / "patients.parquet")
    pairs.write_parquet(folder / "pairs.parquet")
    pl.concat([part.broken.cast(BROKEN) for part in parts]).write_parquet(folder / "broken.parquet")  # type: ignore[arg-type]
    timed = bool((events["time"] != TIMELESS).any())
    meta: dict[str, Any] = {
        "events": len(events),
        "counts": dict(sorted(counts.items())),
        "kind": rules.kind,
        "timed": timed,
    }
    packer.finish(meta)
    return Run(folder, meta)


def kind_of_run(run: Run) -> Kind | None:
    """Whether the run's times are dates or numbers; None where it has none."""
    return run.meta["kind"]


def _numbered(events: Events, file: int) -> Events:
    line = pl.col("line") + (file << FILE_BITS)
    return Events(events.frame.with_columns(line), events.broken.cast(BROKEN).with_columns(line), events.counts)  # type: ignore[arg-type]


def _order(patient: Int[np.ndarray, " events"]) -> Int[np.ndarray, " events"] | None:
    """The order by patient; None where they stand so already, as in most exports."""
    if (patient[1:] >= patient[:-1]).all():
        return None
    return pl.Series(patient).arg_sort().to_numpy()


def _pairs(events: pl.DataFrame) -> tuple[Int[np.ndarray, " events"], pl.DataFrame]:
    """The pair of code and unit of each event, and what the pairs are."""
    codes, units = events["code"].unique().sort(), events["unit"].unique().drop_nulls().sort()
    code = _places(events["code"], codes).astype(np.int64)
    wide = len(units) + 1
    both = code * wide
    if len(units):
        unit = events["unit"].cast(pl.Enum(units)).to_physical().cast(pl.Int64)
        both = both + (unit.fill_null(-1).to_numpy() + 1)
    if len(codes) * wide <= 50_000_000:
        count = np.bincount(both, minlength=len(codes) * wide)
        known = np.flatnonzero(count)
        place = np.zeros(len(count), np.int32)
        place[known] = np.arange(len(known), dtype=np.int32)
        pair, count = place[both], count[known]
    else:
        known, inverse, count = np.unique(both, return_inverse=True, return_counts=True)
        pair = inverse.astype(np.int32)
    names = [NO_VALUE, *units.to_list()]
    table = pl.DataFrame(
        {
            "code": codes.gather(known // wide),
            "unit": pl.Series(names, dtype=pl.String).gather(known % wide),
            "events": pl.Series(count, dtype=pl.Int64),
        }
    )
    return pair, table


def _places(values: pl.Series, known: pl.Series) -> Int[np.ndarray, " events"]:
    """The place of each value among `known`."""
    if not len(values):
        return np.zeros(0, np.int32)
    return values.cast(pl.Enum(known)).to_physical().cast(pl.Int32).to_numpy()
