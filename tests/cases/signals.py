"""Studies on signals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from medloom.study import Study
from tests.cases.images import _image, _pictures
from tests.cases.made import COHORT, SMALL, TABLE, _cohort, _study


def _records(folder: Path, rows: int, seed: int) -> list[str]:
    """NumPy records of two leads of 8 to 12 seconds at 50 Hz; in every other one, the first lead beats faster."""
    random = np.random.default_rng(seed)
    names = []
    for row in range(rows):
        seconds = np.arange(int(random.integers(400, 600))) / 50
        beat = np.sin(2 * np.pi * (1.5 + 2 * (row % 2)) * seconds + random.uniform(0, 6))
        trace = np.stack([beat, random.normal(0, 0.5, len(seconds))]) + random.normal(0, 0.3, (2, len(seconds)))
        trace[1, 20:30] = np.nan
        names.append(f"record{row}.npz")
        np.savez(folder / names[-1], signal=trace.astype(np.float32), rate_hz=50.0, leads=["I", "II"])
    return names


_SIGNAL = {
    "modality": "signal", "column": "record", "rate_hz": 25, "window_seconds": 4, "stride_seconds": 2,
    "augment": {"crop": 0.2, "scale": 0.1, "noise": 0.1, "wander": 0.1, "drop_leads": 0.2, "mask": 0.2},
    "encoder": {"channels": 4, "levels": 2, "width": 8},
}  # fmt: skip


def signal_windows(folder: Path) -> Study:
    """Records with an index time within them, seen in windows; two classes and a number."""
    frame = _cohort(48, 19).with_columns(pl.Series("record", _records(folder, 48, 20)))
    random = np.random.default_rng(21)
    begins = np.datetime64("2024-03-01T08:00:00") + random.integers(0, 9_000, 48)
    frame.with_columns(
        pl.Series("begins", np.datetime_as_string(begins, "s")),
        pl.Series("at", np.datetime_as_string(begins + random.integers(5, 20, 48), "s")),
        fast=pl.Series(np.arange(48) % 2),
        beats=pl.Series(90 + 120.0 * (np.arange(48) % 2) + random.normal(0, 5, 48)),
    ).write_csv(folder / "cohort.csv")
    targets = {"fast": {"task": "classify", "column": "fast"}, "beats": {"task": "regress", "column": "beats"}}
    part = {**_SIGNAL, "starts": "begins", "highpass_hz": 0.8}
    return _study(folder, {"ecg": part}, targets, cohort={**COHORT, "at": "at"})


def signal_and_table(folder: Path) -> Study:
    """Parts of records, some missing, beside a table."""
    frame = _cohort(64, 23)
    names = [name if row % 7 else None for row, name in enumerate(_records(folder, 64, 24))]
    frame.with_columns(
        pl.Series("record", names, dtype=pl.String),
        begin=pl.lit(1.0),
        end=pl.lit(6.5),
        fast=pl.Series(np.arange(64) % 2),
    ).write_csv(folder / "cohort.csv")
    part = {
        **_SIGNAL, "known_before_index": True, "segment": ["begin", "end"], "scale": "window", "store": "int16",
        "plain": ["statistics", "bands"],
    }  # fmt: skip
    return _study(folder, {"ecg": part, "labs": TABLE}, {"fast": {"task": "classify", "column": "fast"}})


def signals_and_image(folder: Path) -> Study:
    """Two records of other lengths and a picture, each seen in windows of its own; the second record is missing of some."""
    (folder / "breath").mkdir()
    breath = [f"breath/{name}" if row % 5 else None for row, name in enumerate(_records(folder / "breath", 24, 26))]
    _pictures(folder, 24, (20, 24)).with_columns(
        pl.Series("record", _records(folder, 24, 25)), pl.Series("breath", breath, dtype=pl.String)
    ).write_csv(folder / "cohort.csv")
    ecg = {**_SIGNAL, "known_before_index": True}
    inputs = {"ecg": ecg, "breath": {**ecg, "column": "breath", "window_seconds": 7}, "scan": _image(2)}
    ill = {"ill": {"task": "classify", "column": "blob"}}
    return _study(folder, inputs, ill, train={**SMALL, "epochs": 2, "evaluations": 2, "batch": 8, "threads": 1})
