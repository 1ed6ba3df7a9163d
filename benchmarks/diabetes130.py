"""Readmission within 30 days after a hospital stay with diabetes, with and without what earlier stays say.

Reads readmission-diabetes130 of the data folder (Strack et al., "Impact of HbA1c measurement on hospital readmission
rates", BioMed Research International 2014; UCI Machine Learning Repository, CC BY 4.0). Stays that end in death or
hospice are left out of the rows that are asked about (IDs_mapping.csv), and stay part of the history. Ids of encounters
grow with time: a patient's encounters are ordered by them, the distance of two stands for the time between, and the
answer of one is known once the next has begun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.result import Result, commit_of
from medloom.run import fit
from medloom.study import Study, make

ID = "diabetes130"
REPOSITORY = Path(__file__).parents[1]
FOLDS = 5
PUBLISHED = "boosting .668, with history .683 to .694, TabM with code embeddings and history .682 (other splits)"
ENDED = ("11", "13", "14", "19", "20", "21")
"""Dispositions that mean death or hospice, by IDs_mapping.csv."""
AGES = tuple(f"[{low}-{low + 10})" for low in range(0, 100, 10))
NUMBERS = (
    "time_in_hospital", "num_lab_procedures", "num_procedures", "num_medications", "number_outpatient",
    "number_emergency", "number_inpatient", "number_diagnoses",
)  # fmt: skip
HISTORY: Mapping[str, str] = {
    "earlier_stays": "count()",
    "earlier_readmitted": "mean(readmitted_30)",
    "earlier_readmissions": "sum(readmitted_30)",
    "last_readmitted": "last(readmitted)",
    "last_inpatient": "last(number_inpatient)",
    "most_inpatient": "max(number_inpatient)",
    "last_emergency": "last(number_emergency)",
    "last_days": "last(time_in_hospital)",
    "mean_days": "mean(time_in_hospital)",
    "last_medications": "last(num_medications)",
    "last_procedures": "last(num_procedures)",
    "last_labs": "last(num_lab_procedures)",
    "last_disposition": "last(discharge_disposition_id)",
    "last_diagnosis": "last(diag_1)",
    "since_last": "since()",
}
"""Columns of earlier stays, by the language of `cohort.history`."""
MEMBERS = ("network", "network", "network", "gradient_boosting")
"""Who answers together; the networks alone are told as well."""
BASELINES = {"gradient_boosting": "gradient boosting", "logistic": "logistic"}
MEAN_ANSWERS = (
    "diagnoses", "last_diagnosis", "medical_specialty", "discharge_disposition_id", "admission_source_id",
)  # fmt: skip
"""Columns of many words, which are read as the mean answer of their words as well, out of fold."""
TABLE: Mapping[str, Any] = {"encoder": "mlp", "hidden": [128, 64], "dropout": 0.3}
TRAIN: Mapping[str, Any] = {
    "epochs": 6, "batch": 512, "weight_decay": 0.1, "evaluations": 12, "learning_rate": 0.002,
}  # fmt: skip
"""Chosen on a third of the training patients of the first fold."""


def encounters(data: Path) -> pl.DataFrame:
    """All encounters, with the answer, their place in the patient's order, and when that answer is known."""
    frame = pl.read_csv(data / "readmission-diabetes130" / "encounters.csv.gz", infer_schema=False)
    frame = frame.with_columns(pl.col(name).cast(pl.Int64) for name in (*NUMBERS, "encounter_id"))
    frame = frame.sort("patient_nbr", "encounter_id")
    number = pl.col("encounter_id").cast(pl.Float64)
    # A stay is asked about when it ends, before the next number; its own answer shows when the next stay begins.
    return frame.with_columns(
        admission_order=number,
        discharge=number + 0.5,
        next_admission=number.shift(-1).over("patient_nbr"),
        readmitted_30=(pl.col("readmitted") == "<30").cast(pl.Int64),
    )


def columns(frame: pl.DataFrame, history: bool) -> dict[str, Any]:
    """Columns of the input, each with its kind."""
    left_out = {
        "encounter_id",
        "patient_nbr",
        "admission_order",
        "weight",
        "readmitted",
        "readmitted_30",
        "discharge",
        "next_admission",
    }
    diagnoses = ["diag_1", "diag_2", "diag_3"]
    words = [n for n in frame.columns if n not in {*left_out, *NUMBERS, *diagnoses} and frame[n].n_unique() > 1]
    found: dict[str, Any] = {name: {"kind": "numeric"} for name in NUMBERS}
    found |= {name: {"kind": "category"} for name in words}
    found["age"] = {"kind": "ordinal", "order": list(AGES)}
    found["diagnoses"] = {"kind": "code", "system": "icd9", "columns": diagnoses, "primary": "diag_1"}
    if history:
        found["admission_order"] = {"kind": "numeric"}
        of_words = ("last_readmitted", "last_disposition")
        found |= {name: {"kind": "category" if name in of_words else "numeric"} for name in HISTORY}
        found["last_diagnosis"] = {"kind": "code", "system": "icd9"}
    return {name: {**one, "encoding": "both"} if name in MEAN_ANSWERS else one for name, one in found.items()}


def study(frame: pl.DataFrame, history: bool, **more: Any) -> Study:
    """The study of one variant."""
    cohort: dict[str, Any] = {
        "row": "encounter_id",
        "patient": "patient_nbr",
        "at": "discharge",
        "exclude": [{"name": "died or hospice", "where": f"discharge_disposition_id in {json.dumps(ENDED)}"}],
    }
    if history:
        known = dict.fromkeys(("readmitted_30", "readmitted"), "next_admission")
        cohort["history"] = {"aggregate": HISTORY, "known_at": known}
    table = {"modality": "table", "known_before_index": True, "missing": ["?"], **TABLE}
    return make(
        {
            "name": "diabetes130",
            "cohort": cohort,
            "inputs": {"stay": {**table, "columns": columns(frame, history)}},
            "targets": {"readmitted": {"task": "classify", "column": "readmitted_30"}},
            "split": {"folds": FOLDS, "valid": 0.1, "calibrate": 0.05, "final": "none"},
            "model": {"members": list(MEMBERS)},
            "train": TRAIN,
            **more,
        }
    )


def run(data: Path | None) -> list[Result]:
    """AUROC of every variant over five folds by patient, beside baselines on the same rows and folds."""
    if data is None:
        raise SystemExit(f"{ID} needs --data, the folder that holds readmission-diabetes130")
    frame = encounters(data)
    folder = REPOSITORY / "runs" / ID / commit_of(REPOSITORY)
    variants = {"without-history": False, "with-history": True}
    return [line for name, history in variants.items() for line in measured(frame, history, folder / name)]


def measured(frame: pl.DataFrame, history: bool, folder: Path) -> list[Result]:
    """The networks alone, and stacked with boosting; baselines on the same rows, columns and folds beside them."""
    fit(study(frame, history), folder, data=frame)
    target = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["targets"]["readmitted"]
    others = {label: target["baselines"][key]["auroc"] for key, label in BASELINES.items()}
    beside = ", ".join(f"{label} {_shown(one)}" for label, one in others.items())
    added = target["members"]["network"]["adds"]["auroc"]
    entrants = {
        "networks": (target["members"]["gradient_boosting"]["without"]["auroc"], "", 0.690),
        "networks and boosting": (target["model"]["auroc"], f"to boosting: {_shown(added, '+')}", 0.698),
    }
    results = []
    for name, (figure, difference, wanted) in entrants.items():
        what = f"AUROC of {name}, {'with' if history else 'without'} history and order of admission"
        print(f"    {what}: {_shown(figure)} {difference}; {beside}", flush=True)
        results.append(
            Result(
                ID,
                what,
                figure["value"],
                True,
                f"{FOLDS} folds by patient, all rows judged once",
                (0,),
                figure["low"],
                figure["high"],
                beside,
                difference,
                PUBLISHED,
                wanted if history else None,
            )
        )
    return results


def _shown(figure: Mapping[str, float], sign: str = "") -> str:
    return f"{figure['value']:{sign}.4f} [{figure['low']:{sign}.4f}, {figure['high']:{sign}.4f}]"
