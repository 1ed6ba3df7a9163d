"""How long `medloom --help` takes, as a share of `import torch`. Needs no data."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.result import Result

ID = "start-up"
PAIRS = 15
HELP = [sys.executable, "-m", "medloom", "--help"]
TORCH = [sys.executable, "-c", "import torch"]


def run(data: Path | None) -> list[Result]:
    """Median ratio of alternating runs in fresh processes; the first pair warms the disk cache and does not count."""
    pairs = np.array([(seconds(HELP), seconds(TORCH)) for _ in range(PAIRS + 1)])[1:]
    ratio = float(np.median(pairs[:, 0]) / np.median(pairs[:, 1]))
    resampled = np.random.default_rng(0).integers(0, PAIRS, (2000, PAIRS))
    ratios = np.median(pairs[resampled, 0], axis=1) / np.median(pairs[resampled, 1], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    help_seconds, torch_seconds = np.median(pairs, axis=0)
    return [
        Result(
            id=ID,
            metric="medloom --help / import torch",
            value=ratio,
            low=float(low),
            high=float(high),
            higher_is_better=False,
            want=0.25,
            baseline=f"import torch {torch_seconds:.2f} s, ours {help_seconds:.2f} s",
            published="Ludwig --help 11.6 s, AutoGluon import 22.6 s (two cores)",
            split=f"{PAIRS} alternating pairs of fresh processes, ratio of medians",
        )
    ]


def seconds(command: list[str]) -> float:
    """Wall seconds of a process, from its start to its end. Raises CalledProcessError where it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start
