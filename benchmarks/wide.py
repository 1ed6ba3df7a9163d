"""Tables that are very wide, or larger than memory: time and memory of `medloom fit` as a process. Makes its own data.

`MEDLOOM_WIDE=small` tries it on tables a hundredth of the size, in a minute.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.result import Result

ID = "wide"
SMALL = os.environ.get("MEDLOOM_WIDE") == "small"
WIDE = (1_000, 2_000 if SMALL else 20_000)
LONG = (10_000, 50_000) if SMALL else (1_000_000, 5_000_000)
NUMBERS, WORDS, BLOCK = 22, 6, 100_000
STEPS = 500
POLARS = "import sys, polars; polars.read_parquet(sys.argv[1])"
STUDY = """
name = "wide"
[cohort]
table = "{table}"
patient = "patient"
[inputs.x]
modality = "table"
known_before_index = true
[targets.died]
task = "classify"
column = "died"
[train]
steps = {steps}
evaluations = 4
[evaluate]
resamples = 100
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: seconds, and its peak resident megabytes in all and of its own (not mapped from files)."""

    seconds: float
    peak: float
    own: float


def run(data: Path | None) -> list[Result]:
    """Seconds of check, guess and fit on the wide table; seconds and megabytes of fit on the long ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*_wide(folder), *_long(folder)]


def expression(folder: Path, rows: int, columns: int) -> Path:
    """A matrix like one of expression: many normal numbers, an outcome of twenty of them. CSV and Parquet."""
    random = np.random.default_rng(0)
    values = random.normal(8, 2, (rows, columns)).round(3)
    died = (values[:, :20].sum(axis=1) + random.normal(0, 6, rows) > 160).astype(np.int8)
    frame = pl.DataFrame(values, schema=[f"g{i}" for i in range(columns)])
    frame = frame.with_columns(pl.Series("died", died), pl.int_range(rows).alias("patient"))
    frame.write_csv(folder / "wide.csv")
    frame.write_parquet(folder / "wide.parquet")
    return folder


def stays(path: Path, rows: int) -> Path:
    """Numbers with gaps, categories, an outcome and a patient of two rows each, written block by block."""
    parts = []
    for start in range(0, rows, BLOCK):
        part = path.with_name(f"{path.stem}-{start}.part")
        _block(start, min(BLOCK, rows - start)).write_parquet(part)
        parts.append(part)
    pl.scan_parquet(parts).sink_parquet(path, row_group_size=BLOCK)
    for part in parts:
        part.unlink()
    return path


def _block(start: int, rows: int) -> pl.DataFrame:
    random = np.random.default_rng(start)
    values = random.normal(size=(rows, NUMBERS))
    died = (values[:, :5].sum(axis=1) + random.normal(0, 2, rows) > 0).astype(np.int8)
    values[random.random(values.shape) < 0.05] = np.nan
    frame = pl.DataFrame(values, schema=[f"x{i}" for i in range(NUMBERS)], nan_to_null=True)
    words = (pl.Series(f"c{i}", random.choice([f"w{k}" for k in range(5 + i)], rows)) for i in range(WORDS))
    patient = pl.int_range(start, start + rows, eager=True) // 2
    return frame.with_columns(*words, pl.Series("died", died), patient.alias("patient"))


def cost(command: Sequence[str]) -> Cost:
    """Runs a process to its end. Raises CalledProcessError where it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        peaks = [0.0, 0.0]
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, ended))
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
    if code:
        raise subprocess.CalledProcessError(code, command)
    return Cost(seconds, *peaks)


def _watch(pid: int, peaks: list[float], ended: threading.Event) -> None:
    """Peaks of a running process in megabytes: resident in all (as the system kept it), and anonymous (sampled)."""
    while not ended.wait(0.02):
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        except OSError:
            return
        for place, name in enumerate(("VmHWM", "RssAnon")):
            found = re.search(rf"{name}:\s+(\d+)", status)
            peaks[place] = max(peaks[place], float(found.group(1)) / 1024 if found else 0.0)


def _study(folder: Path, table: str) -> Path:
    path = folder / f"{table}.toml"
    path.write_text(STUDY.format(table=table, steps=20 if SMALL else STEPS), encoding="utf-8")
    return path


def _medloom(*words: str | Path) -> Cost:
    return cost([sys.executable, "-m", "medloom", *map(str, words)])


def _wide(folder: Path) -> list[Result]:
    rows, columns = WIDE
    expression(folder, rows, columns)
    results = []
    for kind in ("csv", "parquet"):
        study = _study(folder, f"wide.{kind}")
        asked = {
            "check --data": ("check", study, "--data"),
            "guess": ("guess", folder / f"wide.{kind}", "--target", "died", "--out", folder / f"guess-{kind}.toml"),
            "fit": ("fit", study, "--out", folder / f"run-{kind}"),
        }
        for name, words in asked.items():
            results.append(_seconds(f"medloom {name}, {kind}, seconds", _medloom(*words), f"{rows:,} × {columns:,}"))
    return results


def _long(folder: Path) -> list[Result]:
    results, costs = [], []
    for rows in LONG:
        path = stays(folder / f"long-{rows}.parquet", rows)
        whole = cost([sys.executable, "-c", POLARS, str(path)])
        ours = _medloom("fit", _study(folder, path.name), "--out", folder / f"run-{rows}")
        costs.append(ours)
        size, split = path.stat().st_size / 2**20, f"{rows:,} × {NUMBERS + WORDS + 2} from Parquet, {STEPS} steps"
        results.append(_seconds(f"medloom fit, {rows:,} rows, seconds", ours, split))
        results.append(
            Result(
                id=ID,
                metric=f"medloom fit, {rows:,} rows, peak MB",
                value=ours.peak,
                higher_is_better=False,
                split=split,
                baseline=f"reading it whole with polars {whole.peak:.0f} MB; the file {size:.0f} MB; of ours {ours.own:.0f} MB not mapped",
            )
        )
    more = (costs[1].peak - costs[0].peak) * 2**20 / (LONG[1] - LONG[0])
    results.append(
        Result(
            id=ID,
            metric="bytes of memory for each further row",
            value=more,
            higher_is_better=False,
            want=100,
            baseline=f"a row holds about {8 * NUMBERS + 24 * WORDS} bytes",
            split=f"peaks of fit with {LONG[1]:,} and {LONG[0]:,} rows",
        )
    )
    path.unlink()
    return results


def _seconds(metric: str, of: Cost, split: str) -> Result:
    return Result(ID, metric, of.seconds, False, split, baseline=f"peak {of.peak:.0f} MB")
