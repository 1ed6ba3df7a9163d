"""A study of records as a user writes it: convolutions, a network and a ridge together, report and bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import medloom
from medloom.run import Run, fit
from medloom.study import make


def table(folder: Path, rows: int = 80) -> pl.DataFrame:
    """Records of four seconds of slow noise; every other one holds a second of a 5 Hz wave somewhere."""
    random = np.random.default_rng(0)
    names = []
    for row in range(rows):
        trace = np.convolve(random.normal(0, 1, 204), np.ones(5) / 5, "valid").astype(np.float32)
        if row % 2:
            start = int(random.integers(0, 150))
            trace[start : start + 50] += 1.5 * np.sin(2 * np.pi * 5 * np.arange(50) / 50)
        names.append(f"r{row}.npy")
        np.save(folder / names[-1], trace[None])
    frame = pl.DataFrame({"row": [f"s{i}" for i in range(rows)], "path": names, "burst": np.arange(rows) % 2})
    frame.write_csv(folder / "cohort.csv")
    return frame


def study(folder: Path, encoder: dict[str, Any]) -> Any:
    eeg = {
        "modality": "signal", "column": "path", "known_before_index": True, "file_rate_hz": 50, "rate_hz": 50,
        "window_seconds": 2, "plain": ["bands", "convolutions"], "convolution_parts": [1, 3],
        "encoder": encoder,
    }  # fmt: skip
    return make(
        {
            "name": "burst",
            "cohort": {"table": "cohort.csv", "row": "row", "independent_rows": True},
            "inputs": {"eeg": eeg},
            "targets": {"burst": {"task": "classify", "column": "burst"}},
            "split": {"test": 0.4, "valid": 0.0, "calibrate": 0.0},
            "model": {"members": ["network", "ridge"]},
            "train": {"epochs": 4, "batch": 16},
            "evaluate": {"resamples": 100, "baselines": False},
        }
    ).within(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("burst")
    table(folder)
    return fit(study(folder, {"kind": "cnn_rnn", "channels": 4, "levels": 2, "hidden": 4, "width": 8}), folder / "run")


def test_members_are_judged_and_the_report_says_where_they_looked(run: Run) -> None:
    found = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    target = found["targets"]["burst"]
    assert set(target["members"]) == {"network", "ridge"}
    assert target["members"]["network"]["without"]["auroc"]["value"] > 0.9, "the ridge alone tells bursts from noise"
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "Where along time it looked" in report
    assert "eeg" in json.dumps(found)


def test_the_bundle_says_the_same_of_one_row_and_of_all(run: Run) -> None:
    folder = run.folder.parent
    frame = pl.read_csv(folder / "cohort.csv").with_columns(path=str(folder) + "/" + pl.col("path"))
    bundle = medloom.load(run.folder / "bundle")
    whole = bundle.predict(frame)
    one = bundle.predict(frame[3:4])
    numbers = [name for name, kind in whole.schema.items() if kind.is_float()]
    assert numbers
    np.testing.assert_allclose(one.select(numbers).to_numpy(), whole[3:4].select(numbers).to_numpy(), atol=1e-5)
