"""Death in hospital from the first 48 hours of intensive care (PhysioNet/CinC Challenge 2012, set A).

Reads icu-physionet2012 of the data folder: `events.csv.gz` (RecordID, minutes, parameter, value; −1 means missing) and
`outcomes.csv`. Silva et al., "Predicting in-hospital mortality of ICU patients", Computing in Cardiology 39, 2012.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from medloom.study import Study, make

ID = "p12"
FOLDS = 5
HOURS = 48.0


def stays(data: Path) -> pl.DataFrame:
    """One row a stay: the answer, what else is known of how it went, and the index time in hours."""
    frame = pl.read_csv(data / "icu-physionet2012" / "outcomes.csv", null_values=["-1"])
    names = {"RecordID": "stay", "In-hospital_death": "died", "Length_of_stay": "days", "SAPS-I": "saps"}
    return frame.rename(names).with_columns(hour=pl.lit(HOURS), log_days=pl.col("days").clip(1).log())


def course(data: Path) -> pl.DataFrame:
    """The long table, in hours; what is marked missing is left out."""
    frame = pl.read_csv(data / "icu-physionet2012" / "events.csv.gz", schema_overrides={"value": pl.Float64})
    kept = frame.filter((pl.col("parameter") != "RecordID") & (pl.col("value") >= 0))
    return kept.select(
        pl.col("RecordID").alias("stay"), (pl.col("minutes") / 60).alias("time"), "parameter", "value"
    ).unique(maintain_order=True)


def study(inputs: Mapping[str, Any], **more: Any) -> Study:
    """The study with these options of the events."""
    events = {
        "modality": "events",
        "table": "course",
        "patient": "stay",
        "code": "parameter",
        "lookback": HOURS,
        "last": 2000,
    }
    return make(
        {
            "name": "p12",
            "cohort": {"row": "stay", "patient": "stay", "at": "hour"},
            "inputs": {name: {**events, **one} for name, one in inputs.items()},
            "targets": {"death": {"task": "classify", "column": "died"}},
            "split": {"folds": FOLDS, "valid": 0.1, "calibrate": 0.1, "final": "none"},
            **more,
        }
    )
