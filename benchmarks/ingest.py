"""`medloom ingest` of a long table: speed beside a plain polars scan and sort of the same file, and its peak memory.

Events are simulated: 10 million of 10,000 patients in a CSV, in no order. With MEDLOOM_BENCH_FULL=1 in the environment
also 100 million, for the memory alone. Each measurement is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.result import Result

ID = "ingest"
EVENTS, MANY = 10_000_000, 100_000_000
REPEATS = 2
BLOCK = 1_000_000
SCAN = "import polars as pl; pl.scan_csv({source!r}, try_parse_dates=True).sort('patient', 'time').collect()"
INGEST = "from medloom.ingest.door import ingest; ingest({source!r}, {to!r})"
CHILD = """
import json, resource, sys, time
import polars, medloom.ingest.store
start = time.perf_counter()
{what}
print(json.dumps([time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def run(data: Path | None) -> list[Result]:
    """The share of polars' speed, events a second, and peak memory at each size."""
    with tempfile.TemporaryDirectory(prefix="medloom-bench-") as folder:
        results = measured(Path(folder), EVENTS)
        if os.environ.get("MEDLOOM_BENCH_FULL"):
            results += [peak(Path(folder), MANY, results[-1].value)]
    return results


def measured(folder: Path, events: int) -> list[Result]:
    """Speed and memory of one size, the two readers in turn."""
    source = simulated(folder / "events.csv", events)
    plain, ours = [], []
    for turn in range(REPEATS):
        plain.append(child(SCAN.format(source=str(source))))
        ours.append(child(INGEST.format(source=str(source), to=str(folder / f"store-{turn}"))))
    seconds, baseline = min(one[0] for one in ours), min(one[0] for one in plain)
    split = f"{events:,} simulated events, the best of {REPEATS} runs each"
    return [
        Result(ID, "share of the speed of a polars scan and sort", baseline / seconds, True, split, baseline=f"polars {baseline:.1f} s", want=0.5),
        Result(ID, "events a second", events / seconds, True, split, baseline=f"polars {events / baseline:,.0f}"),
        Result(ID, f"peak memory at {events / 1e6:g} million events, MB", max(one[1] for one in ours), False, split, baseline=f"polars {max(one[1] for one in plain):,.0f} MB"),
    ]  # fmt: skip


def peak(folder: Path, events: int, smaller: float) -> Result:
    """Peak memory of a larger size, which should be that of the smaller one."""
    seconds, memory = child(INGEST.format(source=str(simulated(folder / "many.csv", events)), to=str(folder / "many")))
    split = f"{events:,} simulated events, {seconds:.0f} s"
    return Result(ID, f"peak memory at {events / 1e6:g} million events, MB", memory, False, split, want=1.5 * smaller)


def child(what: str) -> tuple[float, float]:
    """(seconds, peak MB) of a few statements in a process of their own."""
    done = subprocess.run([sys.executable, "-c", CHILD.format(what=what)], capture_output=True, text=True, check=True)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def simulated(path: Path, events: int) -> Path:
    """A long table of about 1,000 events a patient in no order: 300 measurements, some without a value."""
    rng = np.random.default_rng(0)
    patients = max(1, events // 1_000)
    with open(path, "wb") as handle:
        for start in range(0, events, BLOCK):
            size = min(BLOCK, events - start)
            code = rng.integers(0, 300, size)
            seconds = rng.integers(1_262_304_000, 1_577_836_800, size)
            frame = pl.DataFrame(
                {
                    "patient": rng.integers(10_000_000, 10_000_000 + patients, size),
                    "time": pl.Series(seconds * 1_000_000).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M:%S"),
                    "code": pl.Series([f"LAB/{number}" for number in range(50_800, 51_100)]).gather(code),
                    "value": pl.Series(np.round(rng.lognormal(2, 1, size), 2)).set(pl.Series(code < 30), None),
                    "unit": pl.Series(["mg/dL", "mmol/L", "%"]).gather(code % 3),
                }
            )
            frame.write_csv(handle, include_header=start == 0)
    return path
