"""A team that learnt to find a bright spot in pictures, for what is asked of it about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from medloom.feed import Feed
from medloom.judging import Trained, train_one
from medloom.prepare import prepare, read
from medloom.rundir import RunFolder
from medloom.study import Study, make

SIDE, SPOT = 16, 5


def frame(folder: Path, rows: int = 72) -> pl.DataFrame:
    """Half of the pictures have a bright spot, whose mask is beside them; two rows to each patient."""
    random = np.random.default_rng(7)
    names, masks = [], []
    for row in range(rows):
        image, mask = random.normal(80, 10, (SIDE, SIDE)), np.zeros((SIDE, SIDE), np.uint8)
        top, left = random.integers(0, SIDE - SPOT, 2)
        if row % 2:
            image[top : top + SPOT, left : left + SPOT] += 100
            mask[top : top + SPOT, left : left + SPOT] = 1
        for values, name in ((image.clip(0, 255).astype(np.uint8), f"image{row}.png"), (mask, f"mask{row}.png")):
            Image.fromarray(values).save(folder / name)
        names.append(f"image{row}.png")
        masks.append(f"mask{row}.png")
    return pl.DataFrame(
        {
            "patient": [f"p{row // 2:03d}" for row in range(rows)],
            "image": names,
            "mask": masks,
            "spot": [row % 2 for row in range(rows)],
        }
    )


def study(folder: Path, **more: Any) -> Study:
    frame(folder).write_csv(folder / "rows.csv")
    scan = {
        "modality": "image", "column": "image", "patch": [SIDE, SIDE], "width": 8, "levels": 3, "pooled_width": 8,
        "known_before_index": True,
    }  # fmt: skip
    whole = {
        "name": "spots",
        "cohort": {"table": "rows.csv", "patient": "patient"},
        "inputs": {"scan": scan},
        "targets": {"spot": {"task": "classify", "column": "spot"}},
        "split": {"test": 0.4},
        "train": {"steps": 40, "batch": 16, "learning_rate": 0.01, "keep": "last", "evaluations": 1},
        "evaluate": {
            "resamples": 100,
            "baselines": False,
            "maps": {"pictures": 2, "masks": {"scan": {"column": "mask"}}},
        },
    }
    return make({**whole, **more}).within(folder)


def trained(folder: Path, asked: Study) -> tuple[Trained, Feed]:
    """A trained fold, and its feed with calibrated tasks."""
    run = RunFolder(folder / "run")
    run.path.mkdir(exist_ok=True)
    found = train_one(prepare(*read(asked)), asked.train, run.training(), lambda event: None)
    return found, replace(found.prepared.feed, tasks=found.tasks)
