"""Studies on tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from medloom.study import Study
from tests.cases.made import COHORT, TABLE, _cohort, _study


def table_binary(folder: Path) -> Study:
    """One table, two classes."""
    _cohort(240).write_csv(folder / "cohort.csv")
    return _study(folder, {"labs": TABLE}, {"death": {"task": "classify", "column": "died"}})


def table_stacked(folder: Path) -> Study:
    """Two networks of different seeds with both simple models; classes and a number asked of the same table."""
    _cohort(240, 5).write_csv(folder / "cohort.csv")
    inputs = {"labs": {**TABLE, "columns": {"lactate": {"kind": "numeric"}, "ward": {"kind": "category"}}}}
    targets = {
        "severity": {"task": "classify", "column": "severity"},
        "age": {"task": "regress", "column": "age"},
    }
    return _study(folder, inputs, targets, model={"members": ["network", "network", "gradient_boosting", "logistic"]})


def table_several(folder: Path) -> Study:
    """Two tables, one of them absent for some rows; three targets: classes, labels with gaps, two classes weighted."""
    frame = _cohort(240, 1).with_columns(
        pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise(pl.col("age")).alias("age")
    )
    frame.write_csv(folder / "cohort.csv")
    inputs = {
        "labs": {**TABLE, "columns": {"lactate": {"kind": "numeric"}, "ward": {"kind": "category"}}},
        "person": {**TABLE, "columns": {"age": {"kind": "numeric"}}},
    }
    targets = {
        "severity": {"task": "classify", "column": "severity"},
        "labels": {"task": "classify", "columns": ["died", "sepsis"]},
        "death": {"task": "classify", "column": "died", "class_weights": "balanced", "loss_weight": 0.5},
    }
    return _study(folder, inputs, targets)


def table_ensemble(folder: Path) -> Study:
    """TabM beside a plain table: every kind of column, numbers by quantiles, hashed words; two classes and three."""
    cohort = _cohort(240, 5)
    random = np.random.default_rng(6)
    day = np.datetime64("2024-03-01") + random.integers(0, 60, len(cohort))
    hours = random.integers(0, 72, len(cohort))
    cohort.with_columns(
        pl.Series("discharge", day.astype(str)),
        pl.Series("admission", (day - random.integers(-1, 30, len(cohort))).astype(str)),
        pl.Series("surgery", [("3 h", "P1DT2H", f"{h}:30", None)[h % 4] for h in hours]),
        pl.Series("smoker", random.choice(["yes", "no", "TRUE", "0"], len(cohort))),
        pl.Series("asa", random.choice(["I", "II", "III"], len(cohort))),
    ).write_csv(folder / "cohort.csv")
    columns = {
        "lactate": {"kind": "numeric"}, "ward": {"kind": "category"}, "admission": {"kind": "datetime"},
        "surgery": {"kind": "duration", "unit": "h"}, "smoker": {"kind": "boolean"},
        "asa": {"kind": "ordinal", "order": ["I", "II", "III"]},
    }  # fmt: skip
    labs = {
        "modality": "table", "known_before_index": True, "encoder": "tabm", "hidden": [16, 8], "members": 3,
        "numeric": "piecewise", "bins": 4, "numeric_width": 4, "category": "hash", "buckets": 16, "columns": columns,
    }  # fmt: skip
    targets = {
        "death": {"task": "classify", "column": "died"},
        "severity": {"task": "classify", "column": "severity"},
    }
    person = {**TABLE, "columns": {"age": {"kind": "numeric"}}}
    return _study(folder, {"labs": labs, "person": person}, targets, cohort={**COHORT, "at": "discharge"})


def table_transformer(folder: Path) -> Study:
    """Attention between columns, periodic numbers."""
    _cohort(240, 7).write_csv(folder / "cohort.csv")
    labs = {
        "modality": "table", "known_before_index": True, "columns": TABLE["columns"], "encoder": "transformer",
        "width": 16, "blocks": 2, "heads": 4, "numeric": "periodic", "frequencies": 8,
    }  # fmt: skip
    return _study(folder, {"labs": labs}, {"labels": {"task": "classify", "columns": ["died", "sepsis"]}})


def table_codes(folder: Path) -> Study:
    """Codes in a list and in several columns, words as mean answers, earlier rows, some of the numbers kept."""
    cohort = _cohort(240, 8)
    random = np.random.default_rng(9)
    drugs = np.array(["A10BA02", "C09AA05", "C07AB02", "N02BE01"])
    codes = np.array(["250.00", "250.43", "428.0", "V45.1", "401.9", None])
    cohort.with_columns(
        pl.Series("day", random.integers(0, 200, len(cohort))),
        pl.Series("drugs", [";".join(random.choice(drugs, n)) for n in random.integers(0, 5, len(cohort))]),
        pl.Series("d1", random.choice(codes, len(cohort)).tolist(), dtype=pl.String),
        pl.Series("d2", random.choice(codes, len(cohort)).tolist(), dtype=pl.String),
    ).write_csv(folder / "cohort.csv")
    columns = {
        "lactate": {"kind": "numeric"}, "age": {"kind": "numeric"}, "stays": {"kind": "numeric"}, "last": {"kind": "numeric"},
        "ward": {"kind": "category", "encoding": "both"}, "drugs": {"kind": "code", "system": "atc", "separator": ";"},
        "dx": {"kind": "code", "system": "icd9", "columns": ["d1", "d2"], "primary": "d1", "encoding": "both"},
    }  # fmt: skip
    labs = {
        "modality": "table", "known_before_index": True, "encoder": "mlp", "hidden": [16, 8], "columns": columns,
        "select": {"by": "variance", "keep": 3},
    }  # fmt: skip
    history = {"aggregate": {"stays": "count()", "last": "last(lactate)"}}
    targets = {"death": {"task": "classify", "column": "died"}, "severity": {"task": "classify", "column": "severity"}}
    return _study(folder, {"labs": labs}, targets, cohort={**COHORT, "at": "day", "history": history})


def table_folds(folder: Path) -> Study:
    """Cross-validation, and a network trained on all rows afterwards."""
    _cohort(120, 5).write_csv(folder / "cohort.csv")
    targets = {"death": {"task": "classify", "column": "died"}}
    return _study(folder, {"labs": TABLE}, targets, split={"folds": 3, "valid": 0.15, "calibrate": 0.15})
