"""The tables of the benchmark `tables`: those of scikit-learn, made ones with a known optimum, and two of hospitals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

MADE_ROWS = 2_000
READMISSION_PATIENTS = 10_000


@dataclass(frozen=True, slots=True)
class TableSet:
    """A table with its answer in `answer`, the patient in `patient` where rows share one, and options of its input.

    `chance` is the probability of the positive answer that made each row, where a table was made.
    """

    frame: pl.DataFrame
    patient: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    positive: str | None = None
    chance: np.ndarray | None = None


def made(logit: Callable[[np.ndarray, np.random.Generator], np.ndarray], columns: int, seed: int) -> TableSet:
    """Independent normal columns, and an answer drawn with the probability that `logit` gives."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (MADE_ROWS, columns))
    chance = 1 / (1 + np.exp(-logit(values, random)))
    frame = pl.DataFrame({f"x{i}": values[:, i] for i in range(columns)})
    return TableSet(frame.with_columns(answer=(random.random(MADE_ROWS) < chance).astype(np.int64)), chance=chance)


def linear(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A weighted sum of all columns."""
    return values @ random.normal(0, 0.7, values.shape[1])


def interaction(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The sign of a product: no column alone says anything."""
    return 3.0 * np.sign(values[:, 0] * values[:, 1])


def sparse(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Three columns of many, one of them with an optimum in the middle."""
    return 1.5 * values[:, 0] - 1.5 * values[:, 1] + 1.5 * (1 - values[:, 2] ** 2)


def noisy(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Little signal."""
    return 0.5 * values[:, 0] + 0.5 * np.abs(values[:, 1]) - 0.4


def heavy_tailed(seed: int) -> TableSet:
    """Two thresholds on columns with extreme values."""
    random = np.random.default_rng(seed)
    values = random.standard_t(1.5, (MADE_ROWS, 6)) * np.exp(random.normal(0, 1, 6))
    middle = np.median(np.abs(values), axis=0)
    logit = 2.0 * (np.abs(values[:, 0]) > middle[0]) + 2.0 * (values[:, 1] > 0) - 2.0
    chance = 1 / (1 + np.exp(-logit))
    frame = pl.DataFrame({f"x{i}": values[:, i] for i in range(6)})
    return TableSet(frame.with_columns(answer=(random.random(MADE_ROWS) < chance).astype(np.int64)), chance=chance)


def shipped(name: str) -> TableSet:
    """A table that scikit-learn ships; of a number to predict, whether it is above the median."""
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    answer = data.target > np.median(data.target) if name == "diabetes" else data.target
    frame = pl.DataFrame({f"x{i}": data.data[:, i] for i in range(data.data.shape[1])})
    return TableSet(frame.with_columns(answer=np.asarray(answer).astype(np.int64)))


def readmission(data: Path) -> TableSet:
    """Readmission within 30 days, all encounters of some patients (readmission-diabetes130/encounters.csv.gz)."""
    frame = pl.read_csv(data / "readmission-diabetes130" / "encounters.csv.gz", infer_schema=False)
    patients = frame["patient_nbr"].unique().sort()
    kept = patients.gather(np.random.default_rng(0).choice(len(patients), READMISSION_PATIENTS, replace=False))
    frame = frame.filter(pl.col("patient_nbr").is_in(kept.to_list()))
    numbers = [name for name in frame.columns if name.startswith(("num", "time_"))]
    left_out = ["encounter_id", "patient_nbr", "weight", "readmitted", *numbers]
    words = [name for name in frame.columns if name not in left_out and frame[name].n_unique() > 1]
    ages = [f"[{low}-{low + 10})" for low in range(0, 100, 10)]
    columns: dict[str, dict[str, Any]] = {name: {"kind": "numeric"} for name in numbers}
    columns |= {name: {"kind": "category"} for name in words}
    columns["age"] = {"kind": "ordinal", "order": ages}
    answer = (frame["readmitted"] == "<30").cast(pl.Int64).alias("answer")
    options = {"columns": columns, "missing": ["?"]}
    return TableSet(frame.select("patient_nbr", *columns).with_columns(answer), "patient_nbr", options)


def icu(data: Path) -> TableSet:
    """Death in hospital from the last, least and greatest value of each variable of 48 hours (icu-physionet2012)."""
    folder = data / "icu-physionet2012"
    events = pl.read_csv(folder / "events.csv.gz", schema_overrides={"value": pl.Float64})
    events = events.filter((pl.col("parameter") != "RecordID") & (pl.col("value") >= 0)).sort("minutes")
    value = pl.col("value")
    found = events.group_by("RecordID", "parameter").agg(
        value.last().alias("last"), value.min().alias("min"), value.max().alias("max")
    )
    wide = found.unpivot(index=["RecordID", "parameter"], variable_name="what", value_name="value")
    wide = wide.with_columns(column=pl.col("parameter") + "_" + pl.col("what")).pivot(
        "column", index="RecordID", values="value"
    )
    answers = pl.read_csv(folder / "outcomes.csv").select("RecordID", pl.col("In-hospital_death").alias("answer"))
    frame = answers.join(wide, on="RecordID", how="left", maintain_order="left").drop("RecordID")
    return TableSet(frame.select("answer", *sorted(set(frame.columns) - {"answer"})))


def every(data: Path | None) -> dict[str, Callable[[], TableSet]]:
    """All tables by name; the hospitals' where their folder is given and holds them."""
    sets: dict[str, Callable[[], TableSet]] = {
        name: partial(shipped, name) for name in ("breast_cancer", "wine", "digits", "diabetes")
    }
    simple = {"linear": (linear, 10), "interaction": (interaction, 6), "sparse": (sparse, 40), "noisy": (noisy, 10)}
    for seed, (name, (logit, columns)) in enumerate(simple.items()):
        sets[name] = partial(made, logit, columns, seed)
    sets["heavy_tailed"] = partial(heavy_tailed, 4)
    for name, read in {"readmission-diabetes130": readmission, "icu-physionet2012": icu}.items():
        if data is not None and (data / name).is_dir():
            sets[name] = partial(read, data)
    return sets
