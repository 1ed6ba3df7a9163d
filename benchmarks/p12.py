"""Death in hospital from the first 48 hours of intensive care (PhysioNet/CinC Challenge 2012, set A).

Reads icu-physionet2012 of the data folder: `events.csv.gz` (RecordID, minutes, parameter, value; −1 means missing) and
`outcomes.csv`. Silva et al., "Predicting in-hospital mortality of ICU patients", Computing in Cardiology 39, 2012.

Networks see the course in bins of two hours beside summary statistics, and learn three more things of each stay that
are known only later or elsewhere: how long it was, and two severity scores. The settings were chosen on two folds of
another split of the same stays.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.result import Result, commit_of
from medloom.run import fit
from medloom.statistics.ranking import auroc
from medloom.study import Study, make

ID = "p12"
REPOSITORY = Path(__file__).parents[1]
FOLDS = 5
HOURS = 48.0
PUBLISHED = (
    "set C: boosting .872 and AUPRC .575, GRU on an hourly grid .868, both .877 and .582; set A in 5 folds: boosting .873, "
    "GRU .859, both .873"
)
EVENTS: Mapping[str, Any] = {
    "modality": "events", "table": "course", "patient": "stay", "code": "parameter", "lookback": HOURS, "last": 2000,
}  # fmt: skip
NETWORK: Mapping[str, Any] = {
    "encoder": "grid", "bin": 2, "statistics": True, "scale": "quantiles", "width": 64, "dropout": 0.4,
}  # fmt: skip
MEMBERS = ("network",) * 6 + ("gradient_boosting",)
TRAIN: Mapping[str, Any] = {
    "epochs": 14, "batch": 128, "learning_rate": 0.001, "weight_decay": 0.3, "evaluations": 5, "patience": 0, "keep": "last",
}  # fmt: skip
TARGETS: Mapping[str, Any] = {
    "death": {"task": "classify", "column": "died"},
    "stay_length": {"task": "regress", "column": "days", "loss": "huber", "scale": "robust", "loss_weight": 0.3},
    "saps": {"task": "regress", "column": "saps", "loss_weight": 0.2},
    "sofa": {"task": "regress", "column": "SOFA", "loss_weight": 0.2},
}
"""Death, and what a network learns beside it."""


def stays(data: Path) -> pl.DataFrame:
    """One row a stay: the answer, what else is known of how it went, and the index time in hours."""
    frame = pl.read_csv(data / "icu-physionet2012" / "outcomes.csv", null_values=["-1"])
    names = {"RecordID": "stay", "In-hospital_death": "died", "Length_of_stay": "days", "SAPS-I": "saps"}
    return frame.rename(names).with_columns(hour=pl.lit(HOURS))


def course(data: Path) -> pl.DataFrame:
    """The long table, in hours; what is marked missing is left out, and so are lines that repeat."""
    frame = pl.read_csv(data / "icu-physionet2012" / "events.csv.gz", schema_overrides={"value": pl.Float64})
    kept = frame.filter((pl.col("parameter") != "RecordID") & (pl.col("value") >= 0))
    return kept.select(
        pl.col("RecordID").alias("stay"), (pl.col("minutes") / 60).alias("time"), "parameter", "value"
    ).unique(maintain_order=True)


def study(network: Mapping[str, Any] = NETWORK, **more: Any) -> Study:
    """The study with these options of the events."""
    return make(
        {
            "name": "p12",
            "cohort": {"row": "stay", "patient": "stay", "at": "hour"},
            "inputs": {"course": {**EVENTS, **network}},
            "targets": dict(TARGETS),
            "split": {"folds": FOLDS, "valid": 0.06, "calibrate": 0.08, "final": "none"},
            "model": {"members": list(MEMBERS)},
            "train": dict(TRAIN),
            "evaluate": {"explain": False, "sample_size": False, "baselines": False},
            **more,
        }
    )


def run(data: Path | None) -> list[Result]:
    """Discrimination and calibration of the networks, and of networks with boosting, over five folds by stay."""
    if data is None or not (data / "icu-physionet2012").is_dir():
        return []
    folder = REPOSITORY / "runs" / ID / commit_of(REPOSITORY)
    frame, tables, began = stays(data), {"course": course(data)}, time.process_time()
    fit(study(), folder / "team", data=frame, tables=tables)
    minutes = (time.process_time() - began) / 60
    alone = study(model={"members": ["logistic"]}, targets={"death": TARGETS["death"]})
    fit(alone, folder / "logistic", data=frame, tables=tables)
    target, logistic = (_death(folder / name) for name in ("team", "logistic"))
    return [*_lines(target, logistic["model"], severity(frame)), _calibration(target, minutes)]


def _death(run: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["targets"]["death"]
    return found


def severity(frame: pl.DataFrame) -> float:
    """AUROC of the SAPS-I score alone, over the stays that have one."""
    known = frame.drop_nulls("saps")
    died, saps = known["died"].to_numpy(), known["saps"].to_numpy().astype(np.float64)
    return float(auroc(died, saps, np.ones((1, len(known))))[0])


def _lines(target: Mapping[str, Any], logistic: Mapping[str, Any], saps: float) -> list[Result]:
    """AUROC and AUPRC of the networks alone and stacked, beside simple models on the same folds.

    What a member says alone is what the team says without the other one, calibrated as the team is.
    """
    lines = []
    networks, boosting = (target["members"][other]["without"] for other in ("gradient_boosting", "network"))
    for figure, label, wants in (("auroc", "AUROC", (0.864, 0.878)), ("average_precision", "AUPRC", (None, 0.555))):
        beside = f"boosting on summary statistics {_shown(boosting[figure])}, logistic on the same {_shown(logistic[figure])}"
        beside += f", SAPS-I alone {saps:.3f}" if figure == "auroc" else ""
        added = f"to boosting: {_shown(target['members']['network']['adds'][figure], '+')}"
        for who, found, difference, want in (
            ("networks", networks[figure], "", wants[0]),
            ("networks and boosting", target["model"][figure], added, wants[1]),
        ):
            lines.append(
                Result(
                    id=ID,
                    metric=f"{label} of {who}",
                    value=found["value"],
                    low=found["low"],
                    high=found["high"],
                    higher_is_better=True,
                    want=want,
                    split=_SPLIT,
                    seeds=(0,),
                    baseline=beside,
                    difference=difference,
                    published=PUBLISHED,
                )
            )
    return lines


def _calibration(target: Mapping[str, Any], minutes: float) -> Result:
    slope = target["model"]["calibration_slope"]
    return Result(
        id=ID,
        metric="distance of the calibration slope of networks and boosting from 1",
        value=abs(slope["value"] - 1),
        higher_is_better=False,
        want=0.1,
        split=f"{_SPLIT}; training and judging of all members took {minutes:.1f} minutes of one core",
        seeds=(0,),
        baseline=f"slope {_shown(slope)}",
    )


_SPLIT = f"{FOLDS} folds by stay, all stays judged once"


def _shown(figure: Mapping[str, float], sign: str = "") -> str:
    return f"{figure['value']:{sign}.4f} [{figure['low']:{sign}.4f}, {figure['high']:{sign}.4f}]"
