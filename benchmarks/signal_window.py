"""Windows of a 24-hour record of 12 leads at 500 Hz: their rate beside a plain memory map, and memory. Needs no data.

Each length of record is packed, fitted and read in a process of its own, whose peak memory is told. The plain map copies
runs of as many bytes at random places of the same file, 32 at a time, without scaling or marks of what is known.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Result

ID = "signal-window"
RATE_HZ, LEADS, SECONDS = 500, 12, 10
HOURS = (2, 24)
BATCH, BATCHES, PAIRS = 32, 20, 7

INSIDE = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from medloom.draw import Draw
from medloom.feed import Feed
from medloom.modalities.signal import Signal
from medloom.modalities.signal.options import SignalOptions
from medloom.cohort.table import make_cohort
from medloom.cohort_part import CohortPart
from medloom.feed import pack
import polars as pl, torch
folder, seconds, batch, batches, pairs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
leads = [str(n) for n in range(1, 13)]
options = SignalOptions(column="ecg", leads=leads, rate_hz=500, window_seconds=seconds, known_before_index=True)
cohort = make_cohort(CohortPart(independent_rows=True), pl.DataFrame({"ecg": ["long.hea"] * batch}), folder, {})
start = time.perf_counter()
source = pack(Signal, options, cohort, folder / "store")
packed = time.perf_counter() - start
rows = np.arange(batch)
one = Signal.fit(options, [Signal.summarise(options, source, rows[:1])])
feed = Feed({"ecg": one}, {"ecg": one.bind(source)}, {})
tiles = np.memmap(folder / "store" / "tiles.bin", np.float32, "r")
size = seconds * 500 * 12
random = np.random.default_rng(0)
def ours(number):
    start = time.perf_counter()
    for step in range(batches):
        feed.batch(rows, Draw(0, np.full(batch, number * batches + step)))
    return time.perf_counter() - start
def plain():
    start = time.perf_counter()
    for step in range(batches):
        out = np.empty((batch, size), np.float32)
        for place, at in enumerate(random.integers(0, len(tiles) - size, batch).tolist()):
            out[place] = tiles[at : at + size]
    return time.perf_counter() - start
ours(0)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
plain()
times = [(ours(n), plain()) for n in range(pairs)]
print(json.dumps({"peak_kb": peak, "packed": packed, "times": times}))
"""


def run(data: Path | None) -> list[Result]:
    """Ratio of windows a second with its range over pairs, and the memory that a longer record takes."""
    found = {hours: _measured(hours) for hours in HOURS}
    times = np.array(found[HOURS[-1]]["times"])
    ratio = times[:, 1] / times[:, 0]
    windows = BATCH * BATCHES / np.median(times, axis=0)
    few, many = (found[hours]["peak_kb"] / 1024 for hours in HOURS)
    split = f"{HOURS[-1]} h, {LEADS} leads at {RATE_HZ} Hz (WFDB format 16), windows of {SECONDS} s"
    return [
        Result(
            id=ID,
            metric="windows a second, ours / a plain memory map",
            value=float(np.median(ratio)),
            low=float(ratio.min()),
            high=float(ratio.max()),
            higher_is_better=True,
            want=0.5,
            baseline=f"plain map {windows[1]:,.0f} windows a second, ours {windows[0]:,.0f}, scaled and marked",
            split=f"{split}, {BATCH} a batch, median of {PAIRS} alternating pairs (lowest to highest)",
        ),
        Result(
            id=ID,
            metric="MiB more at the peak for 24 h than for 2 h",
            value=many - few,
            higher_is_better=False,
            want=64.0,
            baseline=f"{few:,.0f} MiB with {HOURS[0]} h, packed in {found[HOURS[0]]['packed']:.1f} s; {many:,.0f} MiB with "
            f"{HOURS[-1]} h, packed in {found[HOURS[-1]]['packed']:.0f} s",
            split=f"{split}: packing, fitting and {BATCH * BATCHES} windows, each in a process of its own",
        ),
    ]


def _measured(hours: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), hours)
        words = [sys.executable, "-c", INSIDE, folder, *map(str, (SECONDS, BATCH, BATCHES, PAIRS))]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _write(folder: Path, hours: int) -> None:
    """Noise of every lead as 16-bit numbers, a minute at a time."""
    random = np.random.default_rng(hours)
    minute = random.integers(-2000, 2000, (60 * RATE_HZ, LEADS)).astype("<i2")
    with open(folder / "long.dat", "wb") as handle:
        for _ in range(60 * hours):
            handle.write(minute.tobytes())
    lines = [f"long {LEADS} {RATE_HZ} {3600 * hours * RATE_HZ}"]
    lines += [f"long.dat 16 1000(0)/mV 16 0 0 0 0 {lead}" for lead in range(1, LEADS + 1)]
    (folder / "long.hea").write_text("\n".join(lines) + "\n")
