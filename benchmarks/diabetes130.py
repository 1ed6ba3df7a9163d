"""Readmission within 30 days after a hospital stay with diabetes, with and without what earlier stays say.

Reads readmission-diabetes130 of the data folder (Strack et al., "Impact of HbA1c measurement on hospital readmission
rates", BioMed Research International 2014; UCI Machine Learning Repository, CC BY 4.0). Stays that end in death or
hospice are left out of the rows that are asked about (IDs_mapping.csv), and stay part of the history. Ids of encounters
grow with time: a patient's encounters are ordered by them, and the answer of one is known once the next has begun.
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
WANTED = 0.690
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
}
"""Columns of earlier stays, by the language of `cohort.history`."""
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"encoder": "mlp", "history": False},
    "tabm": {"encoder": "tabm", "history": False},
    "mlp with history": {"encoder": "mlp", "history": True},
    "tabm with history": {"encoder": "tabm", "history": True},
}
"""What is measured; an ensemble that stacks them would be one more."""
BASELINES = {"gradient_boosting": "gradient boosting", "logistic": "logistic"}
MEAN_ANSWERS = (
    "diagnoses", "last_diagnosis", "medical_specialty", "discharge_disposition_id", "admission_source_id",
)  # fmt: skip
"""Columns of many words, which are read as the mean answer of their words as well, out of fold."""
TABLE: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"encoder": "mlp", "hidden": [128, 64], "dropout": 0.3},
    "tabm": {"encoder": "tabm", "hidden": [128], "members": 8, "dropout": 0.2, "numeric": "plain"},
}
TRAIN: Mapping[str, Any] = {"epochs": 6, "batch": 512, "weight_decay": 0.1, "evaluations": 12}
RATE = {"mlp": 0.002, "tabm": 0.003}
"""Chosen on a third of the training patients of the first fold."""


def encounters(data: Path) -> pl.DataFrame:
    """All encounters, with the answer, their place in the patient's order, and when that answer is known."""
    frame = pl.read_csv(data / "readmission-diabetes130" / "encounters.csv.gz", infer_schema=False)
    frame = frame.with_columns(pl.col(name).cast(pl.Int64) for name in (*NUMBERS, "encounter_id"))
    frame = frame.sort("patient_nbr", "encounter_id")
    place = pl.int_range(pl.len()).over("patient_nbr")
    # A stay is asked about when it ends, at place + ½; its own answer shows when the next stay begins, at place + 1.
    return frame.with_columns(
        discharge=place + 0.5,
        next_admission=pl.when(place < pl.len().over("patient_nbr") - 1).then(place + 1.0),
        readmitted_30=(pl.col("readmitted") == "<30").cast(pl.Int64),
    )


def columns(frame: pl.DataFrame, history: bool) -> dict[str, Any]:
    """Columns of the input, each with its kind."""
    left_out = {"encounter_id", "patient_nbr", "weight", "readmitted", "readmitted_30", "discharge", "next_admission"}
    diagnoses = ["diag_1", "diag_2", "diag_3"]
    words = [n for n in frame.columns if n not in {*left_out, *NUMBERS, *diagnoses} and frame[n].n_unique() > 1]
    found: dict[str, Any] = {name: {"kind": "numeric"} for name in NUMBERS}
    found |= {name: {"kind": "category"} for name in words}
    found["age"] = {"kind": "ordinal", "order": list(AGES)}
    found["diagnoses"] = {"kind": "code", "system": "icd9", "columns": diagnoses, "primary": "diag_1"}
    if history:
        of_words = ("last_readmitted", "last_disposition")
        found |= {name: {"kind": "category" if name in of_words else "numeric"} for name in HISTORY}
        found["last_diagnosis"] = {"kind": "code", "system": "icd9"}
    return {name: {**one, "encoding": "both"} if name in MEAN_ANSWERS else one for name, one in found.items()}


def study(frame: pl.DataFrame, encoder: str, history: bool, **more: Any) -> Study:
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
    table = {"modality": "table", "known_before_index": True, "missing": ["?"], **TABLE[encoder]}
    return make(
        {
            "name": "diabetes130",
            "cohort": cohort,
            "inputs": {"stay": {**table, "columns": columns(frame, history)}},
            "targets": {"readmitted": {"task": "classify", "column": "readmitted_30"}},
            "split": {"folds": FOLDS, "valid": 0.1, "calibrate": 0.05, "final": "none"},
            "train": {**TRAIN, "learning_rate": RATE[encoder]},
            **more,
        }
    )


def run(data: Path | None) -> list[Result]:
    """AUROC of every variant over five folds by patient, beside baselines on the same rows and folds."""
    if data is None:
        raise SystemExit(f"{ID} needs --data, the folder that holds readmission-diabetes130")
    frame = encounters(data)
    folder = REPOSITORY / "runs" / ID / commit_of(REPOSITORY)
    return [measured(frame, name, options, folder / name.replace(" ", "-")) for name, options in VARIANTS.items()]


def measured(frame: pl.DataFrame, name: str, options: Mapping[str, Any], folder: Path) -> Result:
    """One line; baselines are trained beside each encoder, on the rows and columns that it has."""
    asked = study(frame, options["encoder"], options["history"])
    fit(asked, folder, data=frame)
    target = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["targets"]["readmitted"]
    ours, best = target["model"]["auroc"], target["difference"]["baseline"]
    others = {label: target["baselines"][key]["auroc"] for key, label in BASELINES.items()}
    beside = ", ".join(
        f"{label} {one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}]" for label, one in others.items()
    )
    paired = target["difference"]["auroc"]
    print(f"    {name}: {ours['value']:.4f} [{ours['low']:.4f}, {ours['high']:.4f}]; {beside}", flush=True)
    return Result(
        ID, f"AUROC of {name}", ours["value"], True, f"{FOLDS} folds by patient, all rows judged once", (0,),
        ours["low"], ours["high"], beside,
        f"to {best}: {paired['value']:+.4f} [{paired['low']:+.4f}, {paired['high']:+.4f}]",
        PUBLISHED, WANTED if options["history"] else None,
    )  # fmt: skip
