"""Training on 100,000 rows × 50 columns: time beside a hand-written loop, and memory. Needs no data."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import by_hand
from benchmarks.result import Result
from benchmarks.simulated import study, table
from medloom.prepare import prepare, read

ID = "table-fit"
ROWS, COLUMNS, HIDDEN = 100_000, 50, (128, 64)
PAIRS = 5
MEMORY = """
import json, resource, sys, tempfile
import medloom.run, medloom.cohort_part, torch.optim, sklearn.ensemble, sklearn.linear_model, sklearn.pipeline, scipy.stats, torch._dynamo, matplotlib.pyplot
from benchmarks.simulated import study
torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
part = study((128, 64), epochs=2).model_copy(update={"cohort": medloom.cohort_part.CohortPart(table=sys.argv[1], patient="patient")})
part = part.model_copy(update={"evaluate": medloom.parts.EvaluatePart(baselines=False)})
with tempfile.TemporaryDirectory() as folder:
    medloom.run.fit(part, folder + "/run")
print(json.dumps({"before": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def run(data: Path | None) -> list[Result]:
    """Ratio of training time, ours to by hand; and megabytes that a whole fit adds to the process that imported it."""
    frame = table(ROWS, COLUMNS)
    prepared = prepare(*read(study(HIDDEN, epochs=10), frame))
    times, plan = by_hand.pairs(prepared, HIDDEN, PAIRS)
    ratio, low, high = by_hand.ratio_with_interval(times)
    mine, theirs = np.median(times, axis=0)
    packed = sum(source.packed.nbytes for source in prepared.feed.sources.values()) / 2**20
    grown = memory_growth(frame)
    return [
        Result(
            id=ID,
            metric="training time, ours / hand-written loop",
            value=ratio,
            low=low,
            high=high,
            higher_is_better=False,
            want=1.1,
            baseline=f"by hand {theirs:.2f} s, ours {mine:.2f} s",
            split=f"{ROWS:,} × {COLUMNS}, network 50-128-64-1, {plan.steps} steps of {plan.batch}, {PAIRS} alternating pairs",
        ),
        Result(
            id=ID,
            metric="MB that a whole fit adds to the imported process",
            value=grown,
            higher_is_better=False,
            want=3 * packed + 100,
            baseline=f"packed {packed:.0f} MB; wanted below 3 × packed + 100 MB",
            split=f"{ROWS:,} × {COLUMNS} from Parquet, peak resident memory of a fresh process",
        ),
    ]


def memory_growth(frame: object) -> float:
    """Peak resident megabytes of a fit in a fresh process, less those after imports."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cohort.parquet"
        frame.write_parquet(path)  # type: ignore[attr-defined]
        done = subprocess.run([sys.executable, "-c", MEMORY, str(path)], check=True, capture_output=True, text=True)
    kilobytes = json.loads(done.stdout.splitlines()[-1])
    return float(kilobytes["peak"] - kilobytes["before"]) / 1024
