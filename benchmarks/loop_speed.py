"""Steps a second of a tiny network at batch 32, beside a hand-written PyTorch loop. Needs no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import by_hand
from benchmarks.result import Result
from benchmarks.simulated import study, table
from medloom.prepare import prepare, read

ID = "loop-speed"
PAIRS = 7
STEPS = 3000


def run(data: Path | None) -> list[Result]:
    """Ratio of steps a second, ours to by hand; both AdamW, one cycle, clipping, one thread."""
    prepared = prepare(*read(study((16,), steps=STEPS, batch=32), table(2000, 10)))
    times, plan = by_hand.pairs(prepared, (16,), PAIRS)
    ratio, low, high = by_hand.ratio_with_interval(times[:, ::-1])
    mine, theirs = plan.steps / np.median(times, axis=0)
    return [
        Result(
            id=ID,
            metric="steps a second, ours / hand-written loop",
            value=ratio,
            low=low,
            high=high,
            higher_is_better=True,
            want=0.9,
            baseline=f"by hand {theirs:,.0f} steps a second, ours {mine:,.0f}",
            published="share of raw PyTorch: Fabric .88, Accelerate .75, Lightning .59, skorch .40 (two cores)",
            split=f"{PAIRS} alternating pairs of {STEPS} steps, network 10-16-1, batch 32, ratio of medians",
        )
    ]
