"""Studies on events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from medloom.cohort.event_store import ticks, write_store
from medloom.study import Study
from tests.cases.made import COHORT, TABLE, _cohort, _study


def _with_events(folder: Path, seed: int, timeless: bool = False) -> pl.DataFrame:
    """A cohort with several index times a patient in `hour`, and what was measured of most patients."""
    cohort = _cohort(160, seed)
    random = np.random.default_rng(seed + 1)
    cohort = cohort.with_columns(pl.Series("hour", random.uniform(24, 200, len(cohort)).round(2)))
    cohort.write_csv(folder / "cohort.csv")
    count = 3000
    patients = cohort["patient"].unique().sort().to_list()[:-5]
    events = pl.DataFrame(
        {
            "patient": random.choice(patients, count),
            "time": random.uniform(0, 240, count).round(2),
            "code": random.choice(["heart rate", "lactate", "dialysis", "culture"], count),
            "value": random.normal(2, 1, count).round(2),
        }
    ).with_columns(pl.when(pl.col("code") == "dialysis").then(None).otherwise(pl.col("value")).alias("value"))
    if timeless:
        known = {
            "patient": patients,
            "code": ["sex=female", "sex=male"] * (len(patients) // 2) + ["sex=male"] * (len(patients) % 2),
        }
        events = pl.concat([events, pl.DataFrame(known)], how="diagonal")
    events.write_csv(folder / "events.csv")
    return events


def events_binary(folder: Path) -> Study:
    """A long table of events, several index times a patient, beside a table."""
    _with_events(folder, 2)
    inputs = {
        "course": {"modality": "events", "table": "events.csv", "last": 32, "width": 16, "code_width": 8},
        "labs": TABLE,
    }
    targets = {"death": {"task": "classify", "column": "died"}}
    return _study(folder, inputs, targets, cohort={**COHORT, "at": "hour"})


def events_sequences(folder: Path) -> Study:
    """The same events read one by one, by each kind of network; rows of like length together, part after part."""
    _with_events(folder, 21, timeless=True)
    events = {
        "modality": "events", "table": "events.csv", "timeless": True, "last": 24, "width": 8, "code_width": 4, "bucket": 3, "budget": 200,
    }  # fmt: skip
    inputs = {
        "memory": {**events, "encoder": "lstm", "layers": 2, "dropout": 0.1},
        "convolution": {**events, "encoder": "tcn", "layers": 2, "statistics": False},
        "attention": {
            **events,
            "encoder": "transformer",
            "heads": 2,
            "layers": 1,
            "scale": "robust",
            "statistics": False,
        },
    }
    targets = {"death": {"task": "classify", "column": "died"}, "age": {"task": "regress", "column": "age"}}
    return _study(folder, inputs, targets, cohort={**COHORT, "at": "hour"})


def events_bins(folder: Path) -> Study:
    """Events of a store in bins of time, by each kind of network over them, and as summary statistics."""
    from medloom.cohort.event_store import ticks, write_store

    events = _with_events(folder, 23, timeless=True)
    stored = events.with_columns(pl.Series("time", ticks(events["time"].fill_null(float("nan")).to_numpy())))
    write_store(folder / "events", stored, "number", {}, {})
    events = {"modality": "events", "table": "events/", "last": 100, "lookback": 48, "width": 8}
    inputs = {
        "grid": {**events, "encoder": "grid", "bin": 6, "scale": "robust", "statistics": False},
        "wide": {**events, "encoder": "grid", "bin": 12, "over": "tcn"},
        "decay": {**events, "encoder": "gru_decay", "bin": 12, "statistics": False},
        "summary": {**events, "encoder": "statistics", "dropout": 0.1},
    }
    targets = {"death": {"task": "classify", "column": "died"}}
    return _study(folder, inputs, targets, cohort={**COHORT, "at": "hour"})


def visits(folder: Path, patients: int, seed: int) -> None:
    """A store of visits with a value, an illness that the value foretells, and the end of each record."""
    random = np.random.default_rng(seed)
    who, level = np.arange(patients), random.normal(0, 1, patients)
    each = np.repeat(who, random.integers(1, 5, patients))
    when = random.integers(0, 4_000, len(each)) / 100
    onset = random.exponential(40 / np.exp(0.8 * level), patients).round(2)
    ill = who[onset < 55]
    kinds = (
        (each, when, "visit", np.full(len(each), np.nan)),
        (each, when - 0.01, "lab", (5 + level[each] + random.normal(0, 0.5, len(each))).round(2)),
        (ill, onset[ill], "ICD10//I21.4", np.full(len(ill), np.nan)),
        (who, random.uniform(45, 60, patients).round(2), "end", np.full(patients, np.nan)),
        (who, np.full(patients, np.nan), "age", random.integers(20, 90, patients).astype(float)),
    )
    frames = [
        pl.DataFrame(
            {"patient": [f"p{n:04d}" for n in one.tolist()], "time": ticks(time), "code": [code] * len(one), "value": value}
        )
        for one, time, code, value in kinds
    ]  # fmt: skip
    write_store(folder, pl.concat(frames), "number", {}, {})


WINDOWS = {
    "store": "events/",
    "sets": {"visit": "visit", "lab": "lab", "ill": "icd10:I20-I25", "end": "end", "age": "age"},
    "index": {"at": "visit"},
    "observed_until": "end",
    "exclude": [{"name": "ill already", "of": "ill", "window": "(-inf, 0)"}],
    "columns": {
        "lab": {"of": "lab", "window": "[-9, 0)", "take": "last"},
        "age": {"of": "age", "window": "(-inf, 0)", "take": "last"},
    },
    "outcomes": {
        "soon": {"of": "ill", "window": "(0, 15]"},
        "illness": {"of": "ill", "window": "(0, inf)", "take": "time"},
    },
}


def cohort_of_events(folder: Path) -> Study:
    """Rows, columns and answers made of a store that an input reads as well; windows without an answer."""
    visits(folder / "events", 160, 21)
    inputs = {
        "summary": {**TABLE, "columns": {"lab": {"kind": "numeric"}, "age": {"kind": "numeric"}}},
        "record": {"modality": "events", "table": "events/", "last": 8, "width": 16},
    }
    targets = {
        "soon": {"task": "classify", "column": "soon"},
        "illness": {"task": "survive", "time": "illness_time", "event": "illness_event", "bins": 6},
    }
    return _study(folder, inputs, targets, cohort={"events": WINDOWS})
