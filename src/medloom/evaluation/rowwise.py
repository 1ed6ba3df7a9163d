"""What was measured of each judged row, kept with a run: two runs that judged the same rows are compared in pairs.

The file stays in the folder of the run, beside the predictions, and is no part of a bundle or of a report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom import find
from medloom.errors import DataError, StudyError
from medloom.fitted import dump, load
from medloom.task import Measured, Task

TABLE, TASKS = "measured.parquet", "measured.json"


@dataclass(frozen=True, slots=True)
class Rowwise:
    """What one target's model measured. `row` are row ids; `patient` are codes, equal for rows of one patient."""

    task: Task
    row: pl.Series
    patient: Int[np.ndarray, " rows"]
    measured: Measured


def keep(folder: Path, targets: Mapping[str, Rowwise]) -> None:
    """Writes all targets into the folder."""
    frames = [
        pl.DataFrame({"row": of.row, "patient": of.patient, **_columns(name, of.measured)}).with_columns(
            pl.lit(name).alias("target")
        )
        for name, of in targets.items()
    ]
    table = pl.concat(frames, how="diagonal") if frames else pl.DataFrame({"target": [], "row": [], "patient": []})
    table.write_parquet(folder / TABLE)
    tasks = {name: {"task": type(of.task).__name__.lower(), "state": dump(of.task)} for name, of in targets.items()}
    (folder / TASKS).write_text(json.dumps(tasks, indent=2) + "\n", encoding="utf-8")


def kept(folder: Path) -> dict[str, Rowwise] | None:
    """What `keep` wrote; None where the folder holds none. Raises DataError where it cannot be read."""
    if not (folder / TABLE).exists() or not (folder / TASKS).exists():
        return None
    try:
        table = pl.read_parquet(folder / TABLE)
        tasks = json.loads((folder / TASKS).read_text(encoding="utf-8"))
        return {name: _of(name, table.filter(pl.col("target") == name), held) for name, held in tasks.items()}
    except (pl.exceptions.PolarsError, ValueError, KeyError, TypeError, AttributeError, StudyError) as error:
        raise DataError(
            f"{folder}: {TABLE} or {TASKS} is damaged, or was written by another medloom; run medloom fit again"
        ) from error


def _of(name: str, table: pl.DataFrame, held: Mapping[str, object]) -> Rowwise:
    kind = find.task(str(held["task"]))
    task = load(kind, dict(held["state"]))  # type: ignore[call-overload]
    parts: dict[str, list[np.ndarray]] = {}
    for column in table.columns:
        key, bracket, _ = column.removeprefix(f"{name}.").partition("[")
        if column.startswith(f"{name}."):
            parts.setdefault(key + bracket, []).append(table[column].to_numpy())
    measured = {
        key.removesuffix("["): np.stack(arrays, axis=1) if key.endswith("[") else arrays[0]
        for key, arrays in parts.items()
    }
    return Rowwise(task, table["row"], table["patient"].to_numpy(), measured)


def _columns(name: str, measured: Measured) -> dict[str, np.ndarray]:
    """Each array a column, or a column for each of its own columns: "death.probability[0]"."""
    columns = {}
    for key, values in measured.items():
        if values.ndim == 1:
            columns[f"{name}.{key}"] = values
        else:
            flat = values.reshape(len(values), -1)
            columns |= {f"{name}.{key}[{place}]": flat[:, place] for place in range(flat.shape[1])}
    return columns
