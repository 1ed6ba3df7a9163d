"""The prediction table: row ids, and the columns that each task's predictions give. Dense answers are files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom.feed import Feed
from medloom.task import Prediction


class Answers:
    """Collects the predictions of blocks of rows. `first` is the number of the cohort's first row, for file names."""

    def __init__(self, feed: Feed, masks: Path | None, first: int = 1) -> None:
        self._feed, self._masks, self._first = feed, masks, first
        self._columns: dict[str, list[Any]] = {}

    def add(self, target: str, prediction: Prediction, rows: Int[np.ndarray, " rows"]) -> None:
        """Adds a block. Dense answers go to the folder of masks, or into the table itself where there is none."""
        for suffix, values in prediction.columns().items():
            self._columns.setdefault(f"{target}_{suffix}" if suffix else target, []).append(values)
        dense = prediction.dense()
        if dense is not None:
            kept = (
                dense if self._masks is None else [self._save(target, m, r) for m, r in zip(dense, rows, strict=True)]
            )
            self._columns.setdefault(target, []).append(kept)

    def _save(self, target: str, mask: np.ndarray, row: int) -> str:
        assert self._masks is not None
        self._masks.mkdir(parents=True, exist_ok=True)
        ground = self._feed.tasks[target].options.input  # type: ignore[attr-defined]
        stem = self._masks / f"{target}-{self._first + int(row):06d}"
        return str(self._feed.modalities[ground].save(self._feed.sources[ground], int(row), mask, stem))

    def frame(self, row: pl.Series) -> pl.DataFrame:
        """The table; `row` are the ids of all rows that were added, in their order."""
        return pl.DataFrame([row, *(_joined(name, blocks) for name, blocks in self._columns.items())])


def _joined(name: str, blocks: list[Any]) -> pl.Series:
    if all(isinstance(block, np.ndarray) for block in blocks):
        values = np.concatenate(blocks)
        return pl.Series(name, values.tolist(), pl.String) if values.dtype == object else pl.Series(name, values)
    return pl.Series(
        name, [value.tolist() if isinstance(value, np.ndarray) else value for block in blocks for value in block]
    )
