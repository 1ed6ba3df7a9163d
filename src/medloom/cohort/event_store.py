"""A store of events: every patient's codes, times and values in memory-mapped arrays, sorted by patient and time.

A folder with the arrays of a `Packed` (`code`, `time`, `value`, `offset`; patient u holds `offset[u]:offset[u + 1]`,
and patient 0 is the empty one), `patients.parquet` (the id of patient u in line u − 1), `codes.parquet` (what code c
means in line c − 1) and `provenance.json` (what was read, and what was left out). `medloom ingest` makes it of files of
any size; cohorts and the input `events` read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medloom.cohort.ticks import TICKS, TIMELESS, ticks, times
from medloom.cohort.times import Kind
from medloom.errors import DataError
from medloom.packed import Packed, Packer, open_packed

FORMAT = 1
__all__ = ["TICKS", "TIMELESS", "EventStore", "finish_store", "is_store", "open_store", "ticks", "times", "write_store"]


@dataclass(frozen=True, slots=True)
class EventStore:
    """An opened store. `packed.meta["kind"]` says whether times are dates or numbers, `meta["codes"]` names the codes.

    `meta["units"]` and `meta["descriptions"]` have the unit and the description of each code that has one, `meta["folder"]`
    says where the store lies.
    """

    folder: Path
    packed: Packed
    patients: pl.Series
    codes: pl.DataFrame

    @property
    def kind(self) -> Kind | None:
        """Whether times are dates or numbers; None where all events are timeless."""
        return self.packed.meta["kind"]

    def provenance(self) -> dict[str, Any]:
        """What was read, and what was left out and why."""
        return json.loads((self.folder / "provenance.json").read_text(encoding="utf-8"))


def is_store(path: Path) -> bool:
    """Whether a path is the folder of a finished store."""
    return (path / "meta.json").is_file() and (path / "patients.parquet").is_file()


def open_store(folder: Path) -> EventStore:
    """Opens a store, memory-mapped. Raises DataError where the folder is none, or of another format."""
    if not is_store(folder):
        raise DataError(
            f"{folder}: no finished store of events; `medloom ingest SOURCE --to {folder}` makes one, and goes on with one that was stopped"
        )
    packed = open_packed(folder)
    if packed.meta.get("format") != FORMAT:
        raise DataError(
            f"{folder}: a store of format {packed.meta.get('format')}; this medloom reads format {FORMAT}: ingest it again"
        )
    patients = pl.read_parquet(folder / "patients.parquet")["patient"]
    codes = pl.read_parquet(folder / "codes.parquet")
    units = {code: unit for code, unit in codes.select("code", "measured_in").iter_rows() if unit}
    described: dict[str, str] = {}
    if "description" in codes.columns:
        described = {code: said for code, said in codes.select("code", "description").iter_rows() if said}
    meta = {**packed.meta, "units": units, "descriptions": described, "folder": str(folder)}
    return EventStore(folder, replace(packed, meta=meta), patients, codes)


def write_store(
    folder: Path, events: pl.DataFrame, kind: Kind | None, provenance: Mapping[str, Any], units: Mapping[str, str]
) -> EventStore:
    """A store of a frame that fits in memory: columns patient, time (ticks), code, value; in any order.

    Events of one time keep their order. `units` gives the unit of each code that has one.
    """
    patients = events["patient"].unique().sort()
    names = events["code"].unique().sort()
    known = pl.DataFrame({"patient": patients}).with_row_index("unit", offset=1)
    coded = pl.DataFrame({"code": names}).with_row_index("number", offset=1)
    joined = events.join(known, on="patient", maintain_order="left").join(coded, on="code", maintain_order="left")
    joined = joined.sort("unit", "time", maintain_order=True)
    packer = Packer(folder)
    packer.add("code", joined["number"].cast(pl.Int32).to_numpy())
    packer.add("time", joined["time"].cast(pl.Int64).to_numpy())
    packer.add("value", joined["value"].cast(pl.Float32).fill_null(float("nan")).to_numpy())
    counts = np.bincount(joined["unit"].to_numpy(), minlength=len(patients) + 1)
    packer.add("offset", np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    described = joined.group_by("code", maintain_order=True).agg(
        pl.len().alias("events"), pl.col("unit").n_unique().alias("patients"), pl.col("value").count().alias("valued")
    )
    unit = pl.Series("measured_in", [units.get(code) for code in names.to_list()], pl.String)
    return finish_store(
        folder,
        packer,
        kind,
        patients,
        pl.DataFrame({"code": names, "measured_in": unit}).join(
            described, on="code", how="left", maintain_order="left"
        ),
        provenance,
    )


def finish_store(
    folder: Path,
    packer: Packer,
    kind: Kind | None,
    patients: pl.Series,
    codes: pl.DataFrame,
    provenance: Mapping[str, Any],
) -> EventStore:
    """Ends a store whose arrays were added to `packer`. `codes` has code, measured_in, events, patients and valued, and

    description where the source has any.

    `meta.json` comes last: a folder without it is no store.
    """
    patients.alias("patient").to_frame().write_parquet(folder / "patients.parquet")
    codes.write_parquet(folder / "codes.parquet")
    (folder / "provenance.json").write_text(json.dumps(dict(provenance), indent=1), encoding="utf-8")
    packer.finish({"format": FORMAT, "kind": kind, "codes": codes["code"].to_list()})
    return open_store(folder)
