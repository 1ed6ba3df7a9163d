"""Large tables take the same path as small ones: the same weights and answers to the bit, and memory that stays flat."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from medloom import packed
from medloom.cohort import stored
from medloom.evaluation import baseline
from medloom.modalities import table as table_room
from medloom.modalities.table import tallies
from medloom.run import fit
from medloom.study import Study, make

ROWS = 3_000
PEAK = r"""
import re, sys
import numpy as np
from medloom.modalities import table
from medloom.modalities.table import tallies
from medloom.cohort import stored
from medloom.packed import Packed
from medloom.prepare import prepare, read
from medloom.study import make
from medloom import packed
from pathlib import Path
stored.HELD_BYTES = table.BOUND_BYTES = packed.RELEASED_BYTES = 1 << int(sys.argv[3])
tallies._CELLS = 200_000
study = make({
    "name": "flat", "cohort": {"table": sys.argv[1], "patient": "patient"},
    "inputs": {"x": {"modality": "table", "known_before_index": True}},
    "targets": {"died": {"task": "classify", "column": "died"}},
})
prepared = prepare(*read(study), store=Path(sys.argv[2]))
for _ in prepared.feed.cover(prepared.fold.test):
    pass
# The peak that getrusage tells may be the parent's.
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text()).group(1)) / 1024)
"""


def frame_of(rows: int, numbers: int = 4) -> pl.DataFrame:
    random = np.random.default_rng(0)
    # Few different values: what is counted exactly of each column does not grow with the rows.
    values = random.integers(-40, 40, (rows, numbers)) / 8
    died = (values[:, 0] + random.normal(0, 2, rows) > 0).astype(np.int8)
    values[random.random(values.shape) < 0.1] = np.nan
    frame = pl.DataFrame(values, schema=[f"x{i}" for i in range(numbers)], nan_to_null=True)
    ward = pl.Series("ward", random.choice(["a", "b", "c"], rows))
    return frame.with_columns(ward, pl.Series("died", died), (pl.int_range(rows) // 2).alias("patient"))


def study_of(path: Path) -> Study:
    return make(
        {
            "name": "large",
            "cohort": {"table": path.name, "patient": "patient", "exclude": [{"name": "low", "where": "x1 < -4.5"}]},
            "inputs": {"x": {"modality": "table", "known_before_index": True}},
            "targets": {"died": {"task": "classify", "column": "died"}},
            "train": {"steps": 30, "evaluations": 2},
            "evaluate": {"resamples": 100},
        }
    ).within(path.parent)


def shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every limit below which something is held in memory, so low that a small table is above it."""
    monkeypatch.setattr(stored, "HELD_BYTES", 0)
    monkeypatch.setattr(stored, "BLOCK_CELLS", 500)
    monkeypatch.setattr(table_room, "BOUND_BYTES", 0)
    monkeypatch.setattr(packed, "RELEASED_BYTES", 0)
    monkeypatch.setattr(tallies, "_CELLS", 1_000)
    monkeypatch.setattr(tallies, "_WAITING", 10)
    monkeypatch.setattr(baseline, "BLOCK_CELLS", 1_000)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_large_table_is_fitted_as_a_small_one_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / f"stays.{kind}"
    frame = frame_of(ROWS)
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path, row_group_size=512)
    held = fit(study_of(path), tmp_path / "held")
    shrunk(monkeypatch)
    read = fit(study_of(path), tmp_path / "read")
    assert read.predictions.equals(held.predictions)
    for name in ("weights.safetensors", "state.json"):
        one, other = (tmp_path / run / "bundle" / name for run in ("held", "read"))
        assert one.read_bytes() == other.read_bytes()
    ours, theirs = (run.metrics["targets"]["died"]["model"] for run in (read, held))
    assert ours == theirs
    assert (tmp_path / "read" / "run.json").read_text() == (tmp_path / "held" / "run.json").read_text()
    simple, others = (run.metrics["targets"]["died"]["baselines"] for run in (read, held))
    for name, figures in simple.items():
        assert figures["auroc"]["value"] == pytest.approx(others[name]["auroc"]["value"], abs=1e-12)


def test_baselines_learn_from_a_sample_and_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stays.parquet"
    frame_of(ROWS).write_parquet(path)
    monkeypatch.setattr(baseline, "MOST_ROWS", 500)
    monkeypatch.setattr(baseline, "LEAST_ROWS", 100)
    run = fit(study_of(path), tmp_path / "run")
    said = run.metrics["counts"]["baselines"]["died"]
    assert said["learnt_from"] == 500 and said["of"] == run.metrics["counts"]["parts"]["train"]["rows"]
    assert f"the baselines learnt from 500 of {said['of']:,} training rows" in run.report.read_text()
    again = fit(study_of(path), tmp_path / "again")
    assert again.metrics["targets"] == run.metrics["targets"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured as Linux does")
def test_memory_does_not_grow_with_what_the_rows_hold(tmp_path: Path) -> None:
    peaks = []
    for rows in (100_000, 400_000):
        path = tmp_path / f"{rows}.parquet"
        frame_of(rows, 20).write_parquet(path, row_group_size=20_000)
        command = [sys.executable, "-c", PEAK, str(path), str(tmp_path / f"packed-{rows}"), "20"]
        # What is in flight while a file is read depends on how many threads read it: here, one.
        alone = {**os.environ, "POLARS_MAX_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=alone)
        peaks.append(float(done.stdout))
    a_row = (peaks[1] - peaks[0]) * 2**20 / 300_000
    # A row holds 20 numbers: 160 bytes in the frame, 160 packed, 80 scaled. Ids, parts and answers are some tens.
    assert a_row < 300, peaks
    assert peaks[1] < 1.35 * peaks[0], peaks
