"""Training by two processes of one machine beside one: the same weights, and the time of each. Needs no data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from benchmarks.by_hand import ratio_with_interval
from benchmarks.result import Result
from benchmarks.simulated import study, table
from medloom.cohort_part import CohortPart
from medloom.parts import EvaluatePart
from medloom.study_text import dump_toml

ID = "ddp"
ROWS, COLUMNS, HIDDEN, BATCH, STEPS = 20_000, 50, (512, 256), 1_024, 300
PAIRS = 5
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def run(data: Path | None) -> list[Result]:
    """Largest difference of a weight, and the ratio of the seconds of the training loops."""
    with tempfile.TemporaryDirectory() as folder:
        runs = measure(Path(folder), PAIRS)
        _, parts = trained(Path(folder), "parts", (), f"train.micro_batch={BATCH // 2}")
    times = np.array([[two[0], one[0]] for one, two in runs])
    ratio, low, high = ratio_with_interval(times)
    two_seconds, one_seconds = np.median(times, axis=0)
    cores = os.cpu_count() or 1
    split = f"{ROWS:,} × {COLUMNS}, network 50-512-256-1, {STEPS} steps of {BATCH}, one thread a process"
    return [
        Result(
            id=ID,
            metric="largest difference of a weight, two processes and one",
            value=max(difference(one[1], two[1]) for one, two in runs),
            higher_is_better=False,
            want=1e-5,
            baseline=f"one process that computes its batch in two parts {difference(runs[0][0][1], parts):.1e}",
            split=split,
        ),
        Result(
            id=ID,
            metric="training time, two processes / one",
            value=ratio,
            low=low,
            high=high,
            higher_is_better=False,
            baseline=f"one process {one_seconds:.2f} s, two {two_seconds:.2f} s, on {cores} cores",
            split=f"{split}, {PAIRS} alternating pairs, ratio of medians",
        ),
    ]


Weights = dict[str, np.ndarray]


def measure(folder: Path, pairs: int, **train: object) -> list[tuple[tuple[float, Weights], tuple[float, Weights]]]:
    """(seconds of the loop, weights) of one process and of two, in turn."""
    table(ROWS, COLUMNS).write_parquet(folder / "cohort.parquet")
    asked = {"steps": STEPS, "batch": BATCH, "device": "cpu", "threads": 1, **train}
    part = study(HIDDEN, **asked).model_copy(
        update={
            "cohort": CohortPart(table="cohort.parquet", patient="patient"),
            "evaluate": EvaluatePart(baselines=False, resamples=100),
        }
    )
    (folder / "study.toml").write_text(dump_toml(part), encoding="utf-8")
    return [(trained(folder, f"one-{pair}", ()), trained(folder, f"two-{pair}", TORCHRUN)) for pair in range(pairs)]


def trained(folder: Path, name: str, launcher: tuple[str, ...], *overrides: str) -> tuple[float, Weights]:
    """Seconds of the training loop, and the weights, of `medloom fit` started so."""
    fit = ("-m", "medloom", "fit", str(folder / "study.toml"), *overrides, "--out", str(folder / name))
    subprocess.run(
        [sys.executable, *launcher, *fit], check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    events = [json.loads(line) for line in (folder / name / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = next(event["seconds"] for event in events if event["kind"] == "stop")
    return seconds, load_file(folder / name / "bundle" / "weights.safetensors")


def difference(one: Weights, two: Weights) -> float:
    """Largest absolute difference of any weight."""
    return max(float(np.abs(one[name].astype(np.float64) - two[name]).max()) for name in one)
