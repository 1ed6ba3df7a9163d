"""Share of positions that are padding in training batches of 64 stays of intensive care, as our order makes them.

Reads icu-physionet2012 of the data folder. Every event of the 48 hours is seen; an epoch is looked at as it trains.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.p12 import course, stays, study
from benchmarks.result import Result
from medloom.find import modality
from medloom.modality import Lengths
from medloom.prepare import folds, packed, read
from medloom.training.order import Order

ID = "padding"
BATCH = 64
EPOCHS = 10


def run(data: Path | None) -> list[Result]:
    """The share wasted over ten epochs, beside that of batches drawn at random; none without data."""
    if data is None or not (data / "icu-physionet2012").is_dir():
        return []
    asked = study({"encoder": "gru"})
    resolved, cohort, marks = read(asked, stays(data), {"course": course(data)})
    source = packed(resolved, cohort)["course"]
    rows = folds(resolved, cohort, marks)[0].train
    part = resolved.inputs["course"]
    fitted = modality("events").fit(part, [modality("events").summarise(part, source, rows)])
    lengths = fitted.lengths(source, rows)
    assert lengths is not None
    shares = [wasted(lengths, seed) for seed in range(3)]
    at_random = wasted(Lengths(lengths.each, 0, lengths.budget), 0)
    return [
        Result(
            id=ID,
            metric=f"share of positions that are padding, batches of {BATCH}",
            value=float(np.mean(shares)),
            low=min(shares),
            high=max(shares),
            higher_is_better=False,
            want=0.06,
            seeds=(0, 1, 2),
            baseline=f"batches drawn at random {at_random:.3f}",
            published="padded to the longest of all .71, at random .46, sorted by length .04",
            split=f"training rows of the first of five folds, {len(rows):,} stays, {EPOCHS} epochs for each of three seeds",
        )
    ]


def wasted(lengths: Lengths, seed: int) -> float:
    """Padding over all positions of the batches of some epochs."""
    each = lengths.each
    order = Order(np.arange(len(each)), BATCH, seed, lengths)
    rows, _ = order.at(0, EPOCHS * len(each) // BATCH)
    batches = each[rows].reshape(-1, BATCH)
    return float(1 - batches.sum() / (BATCH * batches.max(axis=1)).sum())
