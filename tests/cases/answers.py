"""Studies of answers other than classes, and of classes that are asked otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from medloom.study import Study
from tests.cases.made import TABLE, _cohort, _study


def regress_numbers(folder: Path) -> Study:
    """A number with quantiles and gaps, a count, and a number with outliers, from a table."""
    frame = _cohort(240, 5)
    random = np.random.default_rng(6)
    base = frame["lactate"].fill_null(2.4).to_numpy() + 1.5 * (frame["ward"] == "surgical").to_numpy()
    hours = np.where(random.random(240) < 0.1, np.nan, (20 + 8 * base + random.normal(0, 4, 240)).round(1))
    frame.with_columns(
        hours=pl.Series(hours).fill_nan(None),
        visits=pl.Series(random.poisson(np.exp(0.3 * base))),
        charge=pl.Series((base + random.standard_cauchy(240)).round(2)),
    ).write_csv(folder / "cohort.csv")
    targets = {
        "hours": {"task": "regress", "column": "hours", "quantiles": [0.1, 0.5, 0.9], "coverage": 0.8},
        "visits": {"task": "regress", "column": "visits", "loss": "poisson", "coverage": 0.8},
        "charge": {"task": "regress", "column": "charge", "loss": "huber", "scale": "robust", "coverage": 0.8},
    }
    return _study(folder, {"labs": TABLE}, targets)


def survive_table(folder: Path) -> Study:
    """Time to death with censoring, ties, times of 0 and gaps, from a table; and the same to given horizons."""
    frame = _cohort(300, 7)
    random = np.random.default_rng(8)
    risk = 0.8 * frame["lactate"].fill_null(2.4).to_numpy() + 0.8 * (frame["ward"] == "surgical").to_numpy()
    dies, leaves = random.exponential(60 * np.exp(-risk + 1)), random.exponential(40, 300)
    days = np.floor(np.minimum(dies, leaves))
    unknown = random.random(300) < 0.05
    frame.with_columns(
        days=pl.Series(np.where(unknown, np.nan, days)).fill_nan(None),
        dead=pl.Series(np.where(unknown, None, np.where(dies <= leaves, "yes", "no")).tolist(), dtype=pl.String),
    ).write_csv(folder / "cohort.csv")
    followed = {"task": "survive", "time": "days", "event": "dead"}
    targets = {"death": {**followed, "bins": 8}, "early": {**followed, "horizons": [5, 12.5], "bins": 5}}
    return _study(folder, {"labs": TABLE}, targets)


def _followed(rows: int, seed: int) -> pl.DataFrame:
    """Stays with a time in days until death (1), discharge (2) or the end of follow-up (0)."""
    frame = _cohort(rows, seed)
    random = np.random.default_rng(seed + 1)
    risk = 0.8 * frame["lactate"].fill_null(2.4).to_numpy() + 0.8 * (frame["ward"] == "surgical").to_numpy()
    dies, home, leaves = random.exponential(60 * np.exp(1 - risk)), random.exponential(25, rows), random.exponential(60, rows)  # fmt: skip
    days = np.minimum(np.minimum(dies, home), leaves)
    fate = np.where(leaves == days, 0, np.where(dies == days, 1, 2))
    return frame.with_columns(days=pl.Series(np.ceil(days)), fate=pl.Series(fate))


def survive_proportional(folder: Path) -> Study:
    """Proportional hazards of an ensemble, with numbers embedded by quantiles."""
    _followed(240, 11).write_csv(folder / "cohort.csv")
    labs = {**TABLE, "encoder": "tabm", "members": 3, "numeric": "piecewise", "bins": 4}
    followed = {"task": "survive", "time": "days", "event": "fate", "censored_values": [0, 2]}
    return _study(folder, {"labs": labs}, {"death": {**followed, "hazards": "proportional", "bins": 8}})


def survive_competing(folder: Path) -> Study:
    """Death in hospital where discharge comes first for many; hazards free, and proportional."""
    _followed(300, 13).write_csv(folder / "cohort.csv")
    followed = {"task": "survive", "time": "days", "event": "fate", "competing_values": [2], "bins": 6}
    targets = {"death": followed, "early": {**followed, "horizons": [5, 10], "hazards": "proportional"}}
    return _study(folder, {"labs": TABLE}, targets)


def classify_ordered(folder: Path) -> Study:
    """Classes with an order, plain and weighted."""
    _cohort(240, 15).write_csv(folder / "cohort.csv")
    severity = {"task": "classify", "column": "severity", "order": ["mild", "moderate", "severe"]}
    return _study(folder, {"labs": TABLE}, {"severity": severity, "again": {**severity, "class_weights": "balanced"}})


def classify_focal_noise(folder: Path) -> Study:
    """Focal loss and label noise, of two classes, of three and of labels with gaps."""
    _cohort(240, 17).write_csv(folder / "cohort.csv")
    noisy = {"task": "classify", "loss": "focal", "label_noise": 0.1}
    targets = {
        "death": {**noisy, "column": "died", "class_weights": "balanced"},
        "severity": {**noisy, "column": "severity", "focal_gamma": 1.0},
        "labels": {**noisy, "columns": ["died", "sepsis"]},
    }
    return _study(folder, {"labs": TABLE}, targets)


def _weekly(series: int, weeks: int, seed: int) -> pl.DataFrame:
    """Weekly counts of wards with a season, a covariate that leads them by two weeks, and gaps."""
    random = np.random.default_rng(seed)
    week = np.arange(weeks)
    warm = 10 + 8 * np.sin(2 * np.pi * week / 26) + random.normal(0, 2, weeks)
    day = np.datetime64("2020-01-06") + 7 * week
    parts = []
    for place in range(series):
        rate = np.exp(1.5 + 0.3 * place + 0.08 * np.roll(warm, 2))
        parts.append(
            pl.DataFrame(
                {
                    "ward": [f"ward {place}"] * weeks,
                    "week": day.astype(str),
                    "cases": random.poisson(rate),
                    "warm": warm.round(2),
                    "holiday": (week % 13 == 0).astype(int),
                }
            )
        )
    table = pl.concat(parts)
    hole = pl.Series(random.random(len(table)) < 0.03)
    return table.with_columns(pl.when(~hole).then(pl.col("cases")).alias("cases"))


def forecast_panel(folder: Path) -> Study:
    """Rows made of weekly series with a covariate; two horizons, judged by the latest dates."""
    _weekly(4, 60, 19).write_csv(folder / "cohort.csv")
    panel = {
        "series": "ward", "time": "week", "value": "cases", "horizons": 2, "lags": 3, "means": [3], "season": 26,
        "covariates": ["warm"], "covariate_lags": [1, 2], "end": "2021-02-08", "known_ahead": ["holiday"],
    }  # fmt: skip
    cohort = {"table": "cohort.csv", "row": "stay", "panel": panel, "site": "ward"}
    inputs = {"past": {"modality": "table", "at": "newest", "encoder": "mlp", "hidden": [16, 8]}}
    asked = {
        "task": "forecast", "horizons": 2, "season": "last_season_", "day_of_year": "day_of_year", "series": "ward",
        "quantiles": [0.1, 0.5, 0.9],
    }  # fmt: skip
    split = {"by": "time", "valid": 0.2, "calibrate": 0.2}
    return _study(folder, inputs, {"cases": asked}, cohort=cohort, split=split)
