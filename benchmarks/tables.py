"""Encoders of tables beside gradient boosting and logistic regression, on the same rows of many tables.

Reads readmission-diabetes130 and icu-physionet2012 of the data folder where they are there. Runs are kept in
`runs/tables`, so that a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from benchmarks.result import Result, commit_of
from benchmarks.table_sets import TableSet, every
from medloom.run import fit
from medloom.study import make

ID = "tables"
REPOSITORY = Path(__file__).parents[1]
STEPS = 600
ENCODERS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"encoder": "mlp", "numeric": "plain"},
    "tabm": {"encoder": "tabm", "numeric": "piecewise"},
    "transformer": {"encoder": "transformer"},
}
BASELINES = ("gradient_boosting", "logistic")
RESAMPLES = 2_000


def run(data: Path | None) -> list[Result]:
    """Mean ranks, mean differences to gradient boosting, and the distance from the optimum of made tables."""
    return results(measure(every(data), REPOSITORY / "runs" / ID / commit_of(REPOSITORY), STEPS))


def measure(sets: Mapping[str, Any], folder: Path, steps: int) -> dict[str, dict[str, float]]:
    """AUROC on the test rows (the mean over classes of one against the rest), by table and by entrant."""
    found: dict[str, dict[str, float]] = {}
    for name, read in sets.items():
        table = read()
        figures: dict[str, float] = {}
        for encoder, options in ENCODERS.items():
            figures |= entrant(name, encoder, table, {**table.options, **options}, folder / f"{name}-{encoder}", steps)
        found[name] = figures
        print(f"    {name}: " + ", ".join(f"{who} {value:.3f}" for who, value in figures.items()), flush=True)
    return found


def entrant(
    name: str, encoder: str, table: TableSet, options: Mapping[str, Any], folder: Path, steps: int
) -> dict[str, float]:
    """Figures of one encoder; of the first one also the baselines', and the optimum's where it is known."""
    first = encoder == next(iter(ENCODERS))
    who = {"patient": table.patient} if table.patient else {"independent_rows": True}
    study = make(
        {
            "name": name.replace("_", "-"),
            "cohort": who,
            "inputs": {"table": {"modality": "table", "known_before_index": True, **options}},
            "targets": {"answer": {"task": "classify", "column": "answer"}},
            "train": {"steps": steps, "evaluations": 15},
            "evaluate": {"baselines": first, "resamples": 100},
        }
    )
    done = fit(study, folder, data=table.frame)
    target = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["targets"]["answer"]
    auroc = target["headline"]
    figures = {encoder: target["model"][auroc]["value"]}
    if first:
        figures |= {baseline: target["baselines"][baseline][auroc]["value"] for baseline in BASELINES}
        if table.chance is not None:
            rows = done.predictions["row"].cast(int).to_numpy() - 1
            figures["optimum"] = float(roc_auc_score(table.frame["answer"].to_numpy()[rows], table.chance[rows]))
    return figures


def results(found: Mapping[str, Mapping[str, float]]) -> list[Result]:
    """The lines of the table of results. Intervals resample tables, not rows: they say how far other tables may be."""
    who = (*ENCODERS, *BASELINES)
    scores = np.array([[figures[name] for name in who] for figures in found.values()])
    ranks = np.stack([rankdata(-line) for line in scores])
    split = f"{len(found)} tables ({', '.join(found)}), by patient 60/10/10/20, {STEPS} steps"
    means = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(who, ranks.mean(axis=0), strict=True))
    lines = []
    for place, name in enumerate(ENCODERS):
        low, high = interval(ranks[:, place])
        lines.append(
            Result(ID, f"mean rank of {name} among {len(who)}, by AUROC", float(ranks[:, place].mean()), False, split,
                   (0,), low, high, baseline=means)
        )  # fmt: skip
        against = {other: scores[:, place] - scores[:, who.index(other)] for other in who if other != name}
        low, high = interval(against["gradient_boosting"])
        paired = ", ".join(f"{other} {d.mean():+.4f} [{', '.join(f'{x:+.4f}' for x in interval(d))}]" for other, d in against.items())  # fmt: skip
        lines.append(
            Result(ID, f"AUROC of {name} less gradient boosting's, mean over tables",
                   float(against["gradient_boosting"].mean()), True, split, (0,), low, high, difference=paired)
        )  # fmt: skip
    return lines + from_optimum(found)


def from_optimum(found: Mapping[str, Mapping[str, float]]) -> list[Result]:
    """How far each stays below the probability that made the answers, on tables where that is known."""
    known = {name: figures for name, figures in found.items() if "optimum" in figures}
    if not known:
        return []
    gaps = {
        who: np.array([figures["optimum"] - figures[who] for figures in known.values()])
        for who in (*ENCODERS, *BASELINES)
    }
    split = f"made tables: {', '.join(known)}; {STEPS} steps"
    others = ", ".join(f"{who} {gaps[who].mean():.4f}" for who in BASELINES)
    return [
        Result(ID, f"optimum's AUROC less {name}'s, mean over made tables", float(gaps[name].mean()), False, split,
               (0,), *interval(gaps[name]), baseline=others)
        for name in ENCODERS
    ]  # fmt: skip


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over tables."""
    drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
