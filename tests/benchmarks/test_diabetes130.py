"""The benchmark of readmission, on made-up encounters of the same shape: who is asked about, and what is known when."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import diabetes130
from medloom.prepare import read


def made(folder: Path, rows: int = 300) -> Path:
    random = np.random.default_rng(0)
    columns: dict[str, list[str]] = {
        name: random.integers(0, 9, rows).astype(str).tolist() for name in diabetes130.NUMBERS
    }
    words = {
        "race": ["Caucasian", "?"], "age": list(diabetes130.AGES), "weight": ["?"], "payer_code": ["MC", "?"],
        "medical_specialty": ["Cardiology", "?"], "discharge_disposition_id": ["1", "3", "11"],
        "admission_source_id": ["7", "1"], "readmitted": ["<30", ">30", "NO"], "diag_1": ["250.43", "428"],
        "diag_2": ["V45", "?"], "diag_3": ["E888", "401"],
    }  # fmt: skip
    columns |= {name: random.choice(known, rows).tolist() for name, known in words.items()}
    columns |= {
        "encounter_id": random.permutation(rows).astype(str).tolist(),
        "patient_nbr": random.integers(0, 120, rows).astype(str).tolist(),
    }
    (folder / "readmission-diabetes130").mkdir()
    path = folder / "readmission-diabetes130" / "encounters.csv"
    pl.DataFrame(columns).write_csv(path)
    with gzip.open(path.with_suffix(".csv.gz"), "wb") as zipped:
        zipped.write(path.read_bytes())
    return folder


def test_only_answers_known_at_discharge_are_read(tmp_path: Path) -> None:
    frame = diabetes130.encounters(made(tmp_path))
    _, cohort, marks = read(diabetes130.study(frame, True), frame)
    rows = cohort.frame
    assert not rows["discharge_disposition_id"].is_in(list(diabetes130.ENDED)).any() and len(rows) < len(frame)
    assert len(marks["readmitted"].values) == len(rows)
    for patient in frame["patient_nbr"].unique().to_list()[:20]:
        own = frame.filter(pl.col("patient_nbr") == patient).sort("encounter_id")
        for place, encounter in enumerate(own["encounter_id"].to_list()):
            seen = rows.filter(pl.col("encounter_id") == encounter)
            if len(seen):
                assert seen["earlier_stays"].item() == place
                assert seen["last_readmitted"].item() == (own["readmitted"][place - 1] if place else None)


def test_without_history_no_earlier_stay_is_read(tmp_path: Path) -> None:
    frame = diabetes130.encounters(made(tmp_path))
    columns = diabetes130.study(frame, False).inputs["stay"].columns  # type: ignore[attr-defined]
    assert not {*diabetes130.HISTORY, "admission_order"} & set(columns) and "diagnoses" in columns
