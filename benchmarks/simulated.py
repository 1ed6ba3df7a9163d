"""A table with a known rule, for benchmarks of speed: numbers with gaps, an outcome of a few of them."""

from __future__ import annotations

import numpy as np
import polars as pl

from medloom.study import Study, make


def table(rows: int, columns: int, seed: int = 0) -> pl.DataFrame:
    """`rows` patients with `columns` normal numbers, 2 % of them missing, and an outcome of the first ten."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, columns))
    died = (values[:, :10].sum(axis=1) + random.normal(0, 2, rows) > 0).astype(int)
    values[random.random(values.shape) < 0.02] = np.nan
    frame = pl.DataFrame(values, schema=[f"x{i}" for i in range(columns)], nan_to_null=True)
    return frame.with_columns(pl.Series("died", died), pl.int_range(rows).alias("patient"))


def study(hidden: tuple[int, ...], **train: object) -> Study:
    """The study of that table: a plain network without dropout or norms, as one would write by hand."""
    return make(
        {
            "name": "speed",
            "cohort": {"patient": "patient"},
            "inputs": {
                "x": {
                    "modality": "table",
                    "known_before_index": True,
                    "encoder": "mlp",
                    "hidden": hidden,
                    "norm": "none",
                    "dropout": 0,
                    "missing_indicators": False,
                }
            },
            "targets": {"died": {"task": "classify", "column": "died"}},
            "train": {"patience": 0, **train},
        }
    )
