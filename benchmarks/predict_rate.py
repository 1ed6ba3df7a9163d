"""Rows a second from a loaded bundle, and the time of one row. Needs no data."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.result import Result
from benchmarks.simulated import study, table
from medloom.run import fit

ID = "predict-rate"
ROWS, COLUMNS = 200_000, 50


def run(data: Path | None) -> list[Result]:
    """Medians over repeated calls of `Bundle.predict` in one process."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = fit(study((128, 64), epochs=1), Path(folder) / "run", data=table(5000, COLUMNS)).bundle
    frame = table(ROWS, COLUMNS, seed=1).drop("died", "patient")
    many = [_seconds(bundle, frame) for _ in range(6)][1:]
    single = [_seconds(bundle, frame[row]) for row in range(220)][20:]
    rates = ROWS / np.array(many)
    return [
        Result(
            id=ID,
            metric="rows a second",
            value=float(np.median(rates)),
            low=float(rates.min()),
            high=float(rates.max()),
            higher_is_better=True,
            want=100_000,
            split=f"{ROWS:,} × {COLUMNS} in memory, network 50-128-64-1, median of 5 calls (lowest to highest)",
        ),
        Result(
            id=ID,
            metric="milliseconds for one row",
            value=float(np.median(single) * 1e3),
            low=float(np.quantile(single, 0.025) * 1e3),
            high=float(np.quantile(single, 0.975) * 1e3),
            higher_is_better=False,
            want=5.0,
            split=f"1 × {COLUMNS}, median of 200 calls (2.5 % to 97.5 % of them)",
        ),
    ]


def _seconds(bundle: object, frame: object) -> float:
    start = time.perf_counter()
    bundle.predict(frame)  # type: ignore[attr-defined]
    return time.perf_counter() - start
