"""Teams that were trained a little, for what is asked of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medloom.feed import Feed
from medloom.judging import Trained, train_one
from medloom.prepare import prepare, read
from medloom.rundir import RunFolder
from medloom.study import Study, make

COLUMNS = {
    "strong": {"kind": "numeric"},
    "copy": {"kind": "numeric"},
    "noise": {"kind": "numeric"},
    "other": {"kind": "numeric"},
    "ward": {"kind": "category"},
}


def rows(count: int = 900, seed: int = 0) -> pl.DataFrame:
    """The answer comes from `strong` and `ward` alone; `copy` follows `strong`; two rows to most patients."""
    random = np.random.default_rng(seed)
    strong = random.normal(size=count)
    ward = random.choice(["a", "b", "c"], count)
    logit = 2.0 * strong + 2.0 * (ward == "b") - 0.7
    frame = pl.DataFrame(
        {
            "patient": [f"p{code:04d}" for code in np.sort(random.integers(0, count // 2, count))],
            "strong": strong,
            "copy": strong + 0.1 * random.normal(size=count),
            "noise": random.normal(size=count),
            "other": random.normal(size=count),
            "ward": ward,
            "died": (random.random(count) < 1 / (1 + np.exp(-logit))).astype(int),
            "hours": (10 + 3 * strong + random.normal(size=count)).round(3),
        }
    )
    holes = pl.Series(random.random(count) < 0.1)
    return frame.with_columns(pl.when(holes).then(None).otherwise(pl.col("noise")).alias("noise"))


def study(folder: Path, frame: pl.DataFrame | None = None, **more: Any) -> Study:
    (rows() if frame is None else frame).write_csv(folder / "rows.csv")
    whole = {
        "name": "asked",
        "cohort": {"table": "rows.csv", "patient": "patient"},
        "inputs": {"labs": {"modality": "table", "known_before_index": True, "hidden": [16, 8], "columns": COLUMNS}},
        "targets": {"death": {"task": "classify", "column": "died"}},
        "split": {"test": 0.4},
        "train": {"epochs": 12, "batch": 32},
        "evaluate": {"resamples": 100},
    }
    return make({**whole, **more}).within(folder)


def trained(folder: Path, **more: Any) -> tuple[Trained, Feed]:
    """A trained fold, and its feed with calibrated tasks."""
    asked = study(folder, **more)
    run = RunFolder(folder / "run")
    run.path.mkdir(exist_ok=True)
    found = train_one(prepare(*read(asked)), asked.train, run.training(), lambda event: None)
    return found, replace(found.prepared.feed, tasks=found.tasks)
