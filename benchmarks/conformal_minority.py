"""How often sets that promise 90 % hold the truth in a minority whose outcome is harder, through the whole path.

Simulated tables: one patient in ten belongs to a minority in whom the measurements say less. Each study is fitted,
calibrated and judged by `medloom.run.fit` twice: with limits by group, and with one limit for all. Coverage is pooled
over studies; its interval is over studies, so that it holds the chance of calibration rows too. Needs no data.
`MEDLOOM_STUDIES` sets the number of studies (60).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.result import Result
from medloom.run import fit
from medloom.study import Study, make

ID = "conformal-minority"
STUDIES, ROWS, MINORITY, COVERAGE, WANT = 60, 2400, 0.1, 0.9, 0.88


def run(data: Path | None) -> list[Result]:
    """Coverage in the minority by group limits, beside one limit for all; and the size of the sets."""
    studies = int(os.environ.get("MEDLOOM_STUDIES", STUDIES))
    measured = {by: [of_study(seed, by) for seed in range(studies)] for by in ("minority", None)}
    own, marginal = (np.array(measured[by]) for by in ("minority", None))
    return [*_of_group(own, marginal, 1, "minority", WANT), *_of_group(own, marginal, 0, "majority", None)]


def _of_group(own: np.ndarray, marginal: np.ndarray, group: int, name: str, want: float | None) -> list[Result]:
    """`own` and `marginal` are [studies, groups, (coverage, size)]."""
    split = f"{len(own)} studies of {ROWS} patients, {MINORITY:.0%} minority; half calibrate or judge"
    seeds = tuple(range(len(own)))
    apart = own[:, group] - marginal[:, group]
    found = []
    for place, metric in enumerate((f"coverage of {COVERAGE:.0%} sets, {name}", f"classes in a set, {name}")):
        value, low, high = _mean(own[:, group, place])
        other = "one limit for all {:.3f} ({:.3f} to {:.3f})".format(*_mean(marginal[:, group, place]))
        paired = "{:+.3f} ({:+.3f} to {:+.3f})".format(*_mean(apart[:, place]))
        wanted = want if place == 0 else None
        found.append(Result(ID, metric, value, place == 0, split, seeds, low, high, other, paired, want=wanted))
    return found


def _mean(values: np.ndarray) -> tuple[float, float, float]:
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def of_study(seed: int, by: str | None) -> list[list[float]]:
    """Coverage and size of sets on the test rows, of the majority and of the minority."""
    with tempfile.TemporaryDirectory() as folder:
        done = fit(study(seed, by), Path(folder) / "run", data=table(seed))
        truth = table(seed).select(
            pl.col("patient").cast(pl.String).alias("row"), pl.col("outcome").alias("truth"), "minority"
        )
        judged = done.predictions.join(truth, on="row")
    named = [row.split("; ") for row in judged["outcome_set"].to_list()]
    held = np.array([answer in sets for answer, sets in zip(judged["truth"].to_list(), named, strict=True)])
    size = np.array([len(sets) for sets in named], float)
    minority = judged["minority"].to_numpy() == 1
    return [[float(held[rows].mean()), float(size[rows].mean())] for rows in (~minority, minority)]


def table(seed: int) -> pl.DataFrame:
    """Three classes by two measurements; in the minority the measurements are half as telling."""
    random = np.random.default_rng(seed)
    minority = (random.random(ROWS) < MINORITY).astype(int)
    values = random.normal(size=(ROWS, 4))
    telling = np.where(minority == 1, 1.0, 3.0)[:, None]
    scores = telling * np.stack([values[:, 0], values[:, 1], -values[:, 0] - values[:, 1]], axis=1)
    outcome = (scores + random.gumbel(size=scores.shape)).argmax(axis=1)
    frame = pl.DataFrame(values, schema=[f"x{i}" for i in range(values.shape[1])])
    names = np.array(["benign", "borderline", "malignant"])[outcome]
    return frame.with_columns(
        pl.Series("minority", minority), pl.Series("outcome", names), pl.int_range(1, ROWS + 1).alias("patient")
    )


def study(seed: int, by: str | None) -> Study:
    """The study, with limits by group or with one limit for all."""
    target = {"task": "classify", "column": "outcome", "conformal": COVERAGE}
    return make(
        {
            "name": ID,
            "seed": seed,
            "cohort": {"row": "patient", "independent_rows": True},
            "inputs": {"x": {"modality": "table", "known_before_index": True, "hidden": [32]}},
            "targets": {"outcome": {**target, **({} if by is None else {"conformal_by": by})}},
            "split": {"test": 0.25, "calibrate": 0.25},
            "train": {"epochs": 10},
            "evaluate": {"resamples": 100, "baselines": False},
        }
    )
