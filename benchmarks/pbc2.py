"""Primary biliary cirrhosis over visits: the risk of death from every visit on, beside Cox on the last values.

Reads progression-pbc2/pbc2.csv of the data folder (312 patients, 1,945 visits), makes a store of events of it and
asks at every visit for death within 2, 5 and 8 years, a transplant ending observation. Five folds by patient.
`examples/liver-progression.toml` is the same study on made-up data. TabM and Cox answer together, with the shares
that calibration patients of each fold give them. Encoder and columns were chosen on validation rows of two folds; nothing
is chosen on rows that judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.result import Result, commit_of
from medloom.cohort.event_store import TIMELESS, ticks, write_store
from medloom.judging import judge_one, train_one
from medloom.prepare import fitted, folds, packed, read
from medloom.rundir import RunFolder
from medloom.statistics import survival
from medloom.study import Study, make
from medloom.task import Measured

ID = "pbc2"
REPOSITORY = Path(__file__).parents[1]
FOLDS, SEED, RESAMPLES = 5, 1, 1_000
HORIZONS = (2, 5, 8)
LOGS = ("serBilir", "serChol", "alkaline", "SGOT", "platelets", "prothrombin")
"""Laboratory values whose logarithm is kept, as it is linear in the risk: Cox gets no worse a start than a network."""
SIGNS = ("ascites", "hepatomegaly", "spiders")
LABS = (*LOGS, "albumin", "histologic", "edema", *SIGNS)
EDEMA = {"No edema": 0.0, "edema no diuretics": 0.5, "edema despite diuretics": 1.0}
LAST: Mapping[str, Any] = {name: {"of": name, "window": "(-inf, 0)", "take": "last"} for name in (*LABS, "age")} | {
    "female": {"of": "female", "window": "(-inf, 0)", "take": "happened"},
    "treated": {"of": "treated", "window": "(-inf, 0)", "take": "happened"},
}
"""What is known of the last visit, for both. Columns of the visits before it did not help on validation rows of folds."""
TABLE: Mapping[str, Any] = {"modality": "table", "known_before_index": True}
TRAIN: Mapping[str, Any] = {"epochs": 20}
MEMBERS = ("network", "cox")


def run(data: Path | None) -> list[Result]:
    """Landmark AUROC at each horizon, over folds; none without data."""
    source = None if data is None else data / "progression-pbc2" / "pbc2.csv"
    if source is None or not source.is_file():
        return []
    out = REPOSITORY / "runs" / ID / commit_of(REPOSITORY)
    write(source, out / "visits")
    ours = judged(study(MEMBERS, {"encoder": "tabm"}).within(out), out / "ours")
    cox = judged(study(("cox",), {}).within(out), out / "cox")
    return [result(ours, cox, horizon) for horizon in HORIZONS]


def write(source: Path, folder: Path) -> None:
    """The visits as a store of events; times are years since the first."""
    visits = pl.read_csv(source, null_values="NA")
    signs = [pl.col(name).replace_strict({"Yes": 1.0, "No": 0.0}, default=None) for name in SIGNS]
    visits = visits.with_columns(
        *signs, pl.col("edema").replace_strict(EDEMA, default=None), *(pl.col(name).log() for name in LOGS)
    )
    first = visits.unique("id", keep="first", maintain_order=True)
    parts = [
        _events(visits, pl.lit("visit"), pl.lit(None), "year"),
        *(_events(visits.filter(pl.col(name).is_not_null()), pl.lit(name), pl.col(name), "year") for name in LABS),
        _events(first, pl.col("status"), pl.lit(None), "years"),
        _events(first, pl.lit("age"), pl.col("age"), None),
        _events(first.filter(pl.col("sex") == "female"), pl.lit("female"), pl.lit(None), None),
        _events(first.filter(pl.col("drug") == "D-penicil"), pl.lit("treated"), pl.lit(None), None),
    ]
    write_store(folder, pl.concat(parts), "number", {"source": source.name}, {})


def _events(visits: pl.DataFrame, code: pl.Expr, value: pl.Expr, time: str | None) -> pl.DataFrame:
    at = ticks(visits[time].to_numpy()) if time is not None else np.full(len(visits), TIMELESS)
    return visits.select(
        pl.col("id").cast(pl.String).alias("patient"),
        pl.Series("time", at),
        code.cast(pl.String).alias("code"),
        value.cast(pl.Float64).alias("value"),
    )


def study(members: tuple[str, ...], table: Mapping[str, Any]) -> Study:
    """The study with these members to answer, and these options of the table of last values."""
    names = {name: name for name in (*LABS, "age", "female", "treated", "visit", "dead")}
    events = {
        "store": "visits/",
        "sets": {**names, "over": ["dead", "transplanted"]},
        "index": {"at": "visit", "after": 0.0001},
        "observed_until": "last event",
        "ends": "over",
        "columns": LAST,
        "outcomes": {"death": {"of": "dead", "window": "(0, inf)", "take": "time"}},
    }
    death = {"task": "survive", "time": "death_time", "event": "death_event", "horizons": HORIZONS}
    return make(
        {
            "name": "pbc2",
            "seed": SEED,
            "cohort": {"events": events},
            "inputs": {"values": {**TABLE, **table}},
            "targets": {"death": {**death, "hazards": "proportional"}},
            "split": {"folds": FOLDS, "final": "none", "valid": 0.1, "calibrate": 0.2},
            "model": {"members": list(members)},
            "train": TRAIN,
            "evaluate": {"baselines": False},
        }
    )


def judged(asked: Study, out: Path) -> list[tuple[Measured, np.ndarray]]:
    """What the team measured on the rows of every fold, and the number of each row's patient."""
    resolved, cohort, marks = read(asked)
    folder = RunFolder(out)
    sources = packed(resolved, cohort, folder.work / "packed")
    found: list[tuple[Measured, np.ndarray]] = []
    for place, fold in enumerate(folds(resolved, cohort, marks)):
        prepared = fitted(resolved, cohort, marks, fold, sources, folder.work / "packed")
        trained = train_one(prepared, resolved.train, folder.training(f"fold-{place:03d}"), lambda event: None)
        one = judge_one(trained, out / "masks")
        found.append(({**one.measured["death"]["model"], "edges": np.array(trained.tasks["death"].edges)}, one.patient["death"]))  # type: ignore[attr-defined]  # fmt: skip
    return found


def result(ours: list[tuple[Measured, np.ndarray]], cox: list[tuple[Measured, np.ndarray]], horizon: int) -> Result:
    """The AUROC at a horizon with its interval over patients, and the paired difference to Cox."""
    assert all((a[1] == b[1]).all() and (a[0]["time"] == b[0]["time"]).all() for a, b in zip(ours, cox, strict=True))
    patients = 1 + max(int(patient.max()) for _, patient in ours)
    drawn = np.random.default_rng(0).multinomial(patients, np.full(patients, 1 / patients), RESAMPLES)
    weights = np.concatenate([np.ones((1, patients)), drawn.astype(float)])
    a, b = (over_folds(each, horizon, weights) for each in (ours, cox))
    (low, high), (less, more) = (np.nanquantile(values[1:], [0.025, 0.975]) for values in (a, a - b))
    return Result(
        id=ID,
        metric=f"AUROC of death within {horizon} years of a visit, weighted for censoring",
        value=float(a[0]),
        low=float(low),
        high=float(high),
        higher_is_better=True,
        split=f"{FOLDS} folds by patient, every visit a landmark; mean over folds, intervals over patients",
        seeds=(SEED,),
        baseline=f"Cox on the last values {b[0]:.4f}",
        difference=f"{a[0] - b[0]:+.4f} [{less:+.4f}, {more:+.4f}]",
    )


def over_folds(found: list[tuple[Measured, np.ndarray]], horizon: int, weights: np.ndarray) -> np.ndarray:
    """The mean over folds of the AUROC at a horizon, one value a resample of patients."""
    values = []
    for m, patient in found:
        risk = m["risk"][:, int(np.searchsorted(m["edges"], horizon))]
        values.append(survival.auroc_at(m["time"], m["event"], risk, horizon, weights[:, patient]))
    return np.asarray(np.nanmean(values, axis=0))
