"""The prediction table: row ids, and the columns that each task's predictions give. Dense answers are files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int, Shaped

from medloom.feed import Feed
from medloom.task import Prediction


class Answers:
    """Collects the predictions of blocks of rows. `first` is the number of the cohort's first row, for file names."""

    def __init__(self, feed: Feed, masks: Path | None, first: int = 1) -> None:
        self._feed, self._masks, self._first = feed, masks, first
        self._columns: dict[str, list[Any]] = {}
        self._measured: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}

    def add(self, target: str, prediction: Prediction, rows: Int[np.ndarray, " rows"]) -> None:
        """Adds a block. Dense answers go to the folder of masks, or into the table itself where there is none."""
        for suffix, values in prediction.columns().items():
            self._columns.setdefault(f"{target}_{suffix}" if suffix else target, []).append(values)
        for suffix, dense in prediction.dense().items():
            name = f"{target}_{suffix}" if suffix else target
            legend = prediction.legend(suffix)
            kept = (
                dense
                if self._masks is None
                else [self._save(target, name, m, r, legend) for m, r in zip(dense, rows, strict=True)]
            )
            self._columns.setdefault(name, []).append(kept)
        for row, measured in zip(rows.tolist(), prediction.measurements(), strict=False):
            self._measured.setdefault(target, []).append((row, measured))

    def _save(self, target: str, name: str, mask: np.ndarray, row: int, legend: Mapping[str, int]) -> str:
        assert self._masks is not None
        self._masks.mkdir(parents=True, exist_ok=True)
        ground = self._feed.tasks[target].options.input  # type: ignore[attr-defined]
        stem = self._masks / self._stem(name, row)
        return str(self._feed.modalities[ground].save(self._feed.sources[ground], int(row), mask, stem, legend))

    def _stem(self, name: str, row: int) -> str:
        return f"{name}-{self._first + int(row):06d}"

    def _write_measurements(self, ids: pl.Series) -> None:
        """Beside the masks: a JSON file for each row, and one CSV of all, in which a later block goes on."""
        assert self._masks is not None
        self._masks.mkdir(parents=True, exist_ok=True)
        for target, lines in self._measured.items():
            named = [{"row": name, **one} for name, (_, one) in zip(ids.to_list(), lines, strict=True)]
            for (place, _), one in zip(lines, named, strict=True):
                path = self._masks / f"{self._stem(target, place)}.json"
                path.write_text(json.dumps(one, allow_nan=False, indent=1) + "\n", encoding="utf-8")
            table = pl.DataFrame(named, infer_schema_length=None)
            with open(self._masks / f"{target}-measurements.csv", "w" if self._first == 1 else "a") as handle:
                handle.write(table.write_csv(include_header=self._first == 1))

    def frame(self, row: pl.Series) -> pl.DataFrame:
        """The table; `row` are the ids of all rows that were added, in their order."""
        if self._masks is not None and self._measured:
            self._write_measurements(row)
        return pl.DataFrame([row, *(_joined(name, blocks) for name, blocks in self._columns.items())])


def _joined(name: str, blocks: list[Any]) -> pl.Series:
    if all(isinstance(block, np.ndarray) for block in blocks):
        values = np.concatenate(blocks)
        return pl.Series(name, values.tolist(), pl.String) if values.dtype == object else pl.Series(name, values)
    values = [value for block in blocks for value in block]
    if values and all(isinstance(value, np.ndarray) and value.size for value in values):
        return pl.concat([_nested(name, value) for value in values])
    return pl.Series(name, [value.tolist() if isinstance(value, np.ndarray) else value for value in values])


def _nested(name: str, values: Shaped[np.ndarray, "*shape"]) -> pl.Series:
    """One row of lists in lists, without a Python object for each number."""
    kind: pl.DataType | type[pl.DataType] = {"f": pl.Float64, "b": pl.Boolean}.get(values.dtype.kind, pl.Int64)
    for _ in range(values.ndim):
        kind = pl.List(kind)
    flat = pl.Series(name, np.ascontiguousarray(values).ravel())
    return flat.reshape((1, *values.shape)).cast(kind)
