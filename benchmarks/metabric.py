"""Survival with breast cancer (METABRIC): our network beside Cox and boosting, in folds and on the official test rows.

Reads survival-metabric of the data folder: `train.csv` (1,523 rows) and `test.csv` (381), as in the repository of
DeepSurv (Katzman et al., BMC Medical Research Methodology 18, 2018). Settings were chosen in other cross-validation of
the training file; the test file is scored once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.result import Result, commit_of
from medloom.judging import judge_one, train_one
from medloom.prepare import fitted, folds, packed, read
from medloom.rundir import RunFolder
from medloom.statistics import survival
from medloom.study import Study, make
from medloom.task import Measured

ID = "metabric"
REPOSITORY = Path(__file__).parents[1]
FOLDS, REPEATS = 5, 5
SEED = 1
HORIZONS = (60, 120, 180, 240)
RESAMPLES = 1_000
TABLE: Mapping[str, Any] = {"encoder": "tabm", "hidden": [64]}
TRAIN: Mapping[str, Any] = {"epochs": 15}
"""A fixed budget: the tenth of the rows that could stop the training is worth more as training rows."""
PUBLISHED = {
    "concordance": "in folds: Cox .634, Cox with splines .645, ensemble of Cox networks on splines .649; test: Cox .632, Cox with splines .646, DeepSurv .643, random forest .624",
    "brier": "test: Cox .179, averaged survival curves .1746 (range of times not said)",
}

Judged = tuple[Mapping[str, Measured], np.ndarray]
"""What each entrant measured on the rows of one fold, and the number of each row's patient."""


def run(data: Path | None) -> list[Result]:
    """Concordance and integrated Brier score in folds of the training file, and on the test file; none without data."""
    folder = None if data is None else data / "survival-metabric"
    if folder is None or not folder.is_dir():
        return []
    train, test = (pl.read_csv(folder / name) for name in ("train.csv", "test.csv"))
    runs = REPOSITORY / "runs" / ID / commit_of(REPOSITORY)
    crossed = judged(study({"folds": FOLDS, "repeats": REPEATS, "final": "none"}), train, runs / "folds")
    both = pl.concat([train.with_columns(part=pl.lit("train")), test.with_columns(part=pl.lit("test"))])
    official = judged(study({"by": "column", "column": "part"}), both, runs / "test")
    return [
        *results(crossed, f"training file, {FOLDS}×{REPEATS} folds, mean over folds", (0.656, 0.173)),
        *results(official, "official test file, 381 rows", (None, None)),
    ]


def study(split: Mapping[str, Any]) -> Study:
    """The study of the benchmark with this split: no validation or calibration rows, so that all others teach."""
    return make(
        {
            "name": "metabric",
            "seed": SEED,
            "cohort": {"independent_rows": True},
            "inputs": {"table": {"modality": "table", "known_before_index": True, **TABLE}},
            "targets": {"death": {"task": "survive", "time": "time", "event": "event", "horizons": HORIZONS}},
            "split": {"valid": 0.0, "calibrate": 0.0, **split},
            "train": TRAIN,
        }
    )


def judged(asked: Study, frame: pl.DataFrame, out: Path) -> list[Judged]:
    """Every fold trained and judged once, baselines on the same rows; goes on where it was stopped."""
    resolved, cohort, marks = read(asked, frame)
    folder = RunFolder(out)
    sources = packed(resolved, cohort, folder.work / "packed")
    found: list[Judged] = []
    for place, fold in enumerate(folds(resolved, cohort, marks)):
        prepared = fitted(resolved, cohort, marks, fold, sources, folder.work / "packed")
        trained = train_one(prepared, resolved.train, folder.training(f"fold-{place:03d}"), lambda event: None)
        one = judge_one(trained, out / "masks")
        edges = np.array(trained.tasks["death"].edges)  # type: ignore[attr-defined]
        found.append(({who: _upto(m, edges) for who, m in one.measured["death"].items()}, one.patient["death"]))
    return found


def _upto(measured: Measured, edges: np.ndarray) -> Measured:
    """With the edges up to the last horizon, which differ between folds, and the risks by them."""
    kept = edges <= HORIZONS[-1]
    return {**measured, "risk": measured["risk"][:, kept], "edges": edges[kept]}


def results(found: list[Judged], split: str, want: tuple[float | None, float | None]) -> list[Result]:
    """Both figures, with intervals over patients: a resample draws patients, and takes all their rows in all folds."""
    lines = []
    for (name, higher), wanted in zip((("concordance", True), ("brier", False)), want, strict=True):
        weights = np.concatenate([np.ones((1, _patients(found))), drawn(_patients(found))])
        each = {who: over_folds(found, who, name, weights) for who in found[0][0]}
        ours, others = each["model"], {who: values for who, values in each.items() if who != "model"}
        low, high = np.nanquantile(ours[1:], [0.025, 0.975])
        lines.append(
            Result(
                id=ID,
                metric=f"Harrell's concordance, {split.partition(',')[0]}" if higher else f"integrated Brier score to {HORIZONS[-1]} months, {split.partition(',')[0]}",
                value=float(ours[0]),
                low=float(low),
                high=float(high),
                higher_is_better=higher,
                want=wanted,
                split=split,
                seeds=(SEED,),
                baseline=", ".join(f"{who} {values[0]:.4f}" for who, values in others.items()),
                difference=", ".join(_paired(who, ours - values) for who, values in others.items()),
                published=PUBLISHED[name],
            )
        )  # fmt: skip
    return lines


def _paired(who: str, difference: np.ndarray) -> str:
    low, high = np.nanquantile(difference[1:], [0.025, 0.975])
    return f"{who} {difference[0]:+.4f} [{low:+.4f}, {high:+.4f}]"


def _patients(found: Iterable[Judged]) -> int:
    return 1 + max(int(patient.max()) for _, patient in found)


def drawn(patients: int) -> np.ndarray:
    """How often each patient is drawn in each resample."""
    return np.random.default_rng(0).multinomial(patients, np.full(patients, 1 / patients), RESAMPLES).astype(float)


def over_folds(found: list[Judged], who: str, name: str, weights: np.ndarray) -> np.ndarray:
    """The mean over folds of an entrant's figure, one value a resample."""
    values = []
    for entrants, patient in found:
        m, weight = entrants[who], weights[:, patient]
        if name == "concordance":
            values.append(survival.harrell(m["time"], m["event"], m["score"], weight))
        else:
            values.append(survival.integrated_brier(m["time"], m["event"], m["risk"], m["edges"], weight))
    return np.mean(values, axis=0)
