from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from medloom.cohort.event_store import open_store
from medloom.errors import DataError
from medloom.ingest.door import ingest
from tests.ingest.making import made

SCHEMA = {
    "subject_id": pl.Int64,
    "time": pl.Datetime("us"),
    "code": pl.String,
    "numeric_value": pl.Float32,
    "text_value": pl.String,
}


def data_set(folder: Path) -> Path:
    """A data set in the official layout: nested shards, static events first."""
    for shard, lines in {
        "train/0": [
            (12, None, "gender//F", None, None),
            (12, datetime(1980, 3, 1), "MEDS_BIRTH", None, None),
            (12, datetime(2020, 1, 1, 8), "LAB//lactate", 2.5, "2.5"),
            (12, datetime(2020, 1, 1, 9), "MICRO//blood", None, "E. coli"),
        ],
        "held_out/0": [(3, datetime(2019, 1, 1), "ADMISSION", None, None)],
    }.items():
        file = folder / "data" / f"{shard}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(lines, schema=SCHEMA, orient="row").write_parquet(file)
    (folder / "metadata").mkdir()
    said = {"dataset_name": "made", "meds_version": "0.4.0", "created_at": "2026-01-01T00:00:00"}
    (folder / "metadata" / "dataset.json").write_text(json.dumps(said))
    said = {
        "code": ["ADMISSION", "LAB//lactate"],
        "description": ["", "Lactate in blood"],
        "parent_codes": [[""], [""]],
    }
    pl.DataFrame(said).write_parquet(folder / "metadata" / "codes.parquet")
    return folder


def test_a_data_set_is_recognised_and_read(tmp_path: Path) -> None:
    found = made(data_set(tmp_path / "meds"), tmp_path / "s")
    assert [(p, c, v) for p, _, c, v in found] == [
        ("12", "gender//F", None),
        ("12", "MEDS_BIRTH", None),
        ("12", "LAB//lactate", 2.5),
        ("12", "MICRO//blood=E. coli", None),
        ("3", "ADMISSION", None),
    ]
    assert found[0][1] == float("-inf")
    opened = open_store(tmp_path / "s")
    assert opened.packed.meta["descriptions"] == {"LAB//lactate": "Lactate in blood"}
    provenance = opened.provenance()
    assert provenance["said"] == {"dataset_name": "made", "meds_version": "0.4.0"}


def test_what_is_no_meds_is_named(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "meds")
    file = folder / "data" / "held_out" / "0.parquet"
    frame = pl.read_parquet(file)
    frame.rename({"subject_id": "patient_id"}).write_parquet(file)
    with pytest.raises(DataError, match="is of MEDS before 0.3"):
        ingest(folder, tmp_path / "s")
    frame.drop("time").write_parquet(file)
    with pytest.raises(DataError, match="no column 'time'"):
        ingest(folder, tmp_path / "s")
    frame.with_columns(pl.col("time").cast(pl.String)).write_parquet(file)
    with pytest.raises(DataError, match="time is String"):
        ingest(folder, tmp_path / "s")
    with pytest.raises(DataError, match="expected the folder of a MEDS"):
        ingest(tmp_path, tmp_path / "s", "meds")
