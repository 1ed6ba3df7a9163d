"""Rows of stays and the parts that the studies share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medloom.study import Study, make

SMALL = {"epochs": 3, "evaluations": 3, "batch": 16}


COHORT = {"table": "cohort.csv", "row": "stay", "patient": "patient"}


def _study(folder: Path, inputs: dict[str, Any], targets: dict[str, Any], **more: Any) -> Study:
    whole = {"name": "case", "cohort": COHORT, "inputs": inputs, "targets": targets, "train": SMALL}
    return make({**whole, "evaluate": {"resamples": 100}, **more}).within(folder)


def _cohort(rows: int, seed: int = 0) -> pl.DataFrame:
    """Stays of patients, about three stays to two patients; outcome from a number and a category, with gaps."""
    random = np.random.default_rng(seed)
    patient = np.sort(random.integers(0, rows * 2 // 3, rows))
    lactate = random.gamma(2.0, 1.2, rows).round(2)
    ward = random.choice(["medical", "surgical", "cardiac"], rows)
    logit = 1.6 * (lactate - 2.2) + 1.2 * (ward == "surgical") - 0.4
    died = random.random(rows) < 1 / (1 + np.exp(-logit))
    severity = np.digitize(logit + random.normal(0, 0.5, rows), [-1.0, 1.0])
    frame = pl.DataFrame(
        {
            "stay": [f"s{i:04d}" for i in range(rows)],
            "patient": [f"p{code:04d}" for code in patient],
            "lactate": lactate,
            "age": random.integers(20, 90, rows),
            "ward": ward,
            "died": died.astype(int),
            "sepsis": (lactate > 2.5).astype(int),
            "severity": np.array(["mild", "moderate", "severe"])[severity],
        }
    )
    holes = random.random((rows, 2)) < 0.1
    return frame.with_columns(
        pl.when(pl.Series(holes[:, 0])).then(None).otherwise(pl.col("lactate")).alias("lactate"),
        pl.when(pl.Series(holes[:, 1])).then(None).otherwise(pl.col("sepsis")).alias("sepsis"),
    )


TABLE = {
    "modality": "table",
    "known_before_index": True,
    "encoder": "mlp",
    "hidden": [16, 8],
    "columns": {"lactate": {"kind": "numeric"}, "age": {"kind": "numeric"}, "ward": {"kind": "category"}},
}
