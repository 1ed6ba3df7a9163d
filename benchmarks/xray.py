"""Pneumonia on chest X-rays of children, on the given split of a small set of them: three networks and their mean.

Films of 28 × 28 pixels (`xray_pictures`). Settings were chosen in folds of the training and validation rows together.
The audit looks for films that stand in two parts of the split under different names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.result import Result, commit_of
from benchmarks.xray_pictures import pictures
from medloom.run import fit
from medloom.study import Study, make

ID = "xray"
REPOSITORY = Path(__file__).parents[1]
SEED, MEMBERS = 0, 3
FILM: Mapping[str, Any] = {
    "modality": "image",
    "column": "path",
    "known_before_index": True,
    "patch": [28, 28],
    "size": [28, 28],
    "width": 16,
    "levels": 3,
    "augment": {
        "rotate_degrees": 10, "scale": 0.15, "translate_mm": 2, "contrast": 0.2, "brightness": 0.2, "gamma": 0.2, "share": 0.7,
    },
}  # fmt: skip
TRAIN: Mapping[str, Any] = {
    "epochs": 40, "batch": 64, "average": 0.99, "threads": 1, "evaluations": 5, "patience": 0, "keep": "last",
}  # fmt: skip


def run(data: Path | None) -> list[Result]:
    """AUROC on the given test films, with its interval by film; none without data."""
    folder = REPOSITORY / "runs" / ID
    frame = pictures(data, folder / "films")
    if frame is None:
        return []
    done = fit(study(), folder / commit_of(REPOSITORY), data=frame)
    target = json.loads((done.folder / "metrics.json").read_text(encoding="utf-8"))["targets"]["pneumonia"]
    best = target["difference"]["baseline"]
    found = [one["found"] for one in done.audit["findings"] if one["severity"] == "severe"]
    audit = f"the audit finds: {'; '.join(found)}" if found else "the audit finds no severe leak"
    return [
        Result(
            id=ID,
            metric="AUROC, pneumonia or not",
            value=target["model"]["auroc"]["value"],
            low=target["model"]["auroc"]["low"],
            high=target["model"]["auroc"]["high"],
            higher_is_better=True,
            want=0.97,
            split=f"given, {target['rows']} test films, by film (no patient is known); {audit}",
            seeds=(SEED,),
            baseline=f"{best.replace('_', ' ')} {_shown(target['baselines'][best]['auroc'])}",
            difference=_shown(target["difference"]["auroc"], "+"),
            published="ResNet-18 .944 to .956 on the official split, which this is not",
        )
    ]


def study(**more: Any) -> Study:
    """The study, as its rows are split by the column of the table."""
    return make(
        {
            "name": ID,
            "seed": SEED,
            "cohort": {"row": "film", "independent_rows": True},
            "inputs": {"film": FILM},
            "targets": {"pneumonia": {"task": "classify", "column": "finding", "positive": "pneumonia"}},
            "split": {"by": "column", "column": "part"},
            "model": {"members": MEMBERS},
            "train": TRAIN,
            **more,
        }
    )


def _shown(figure: Mapping[str, float], sign: str = "") -> str:
    return f"{figure['value']:{sign}.3f} [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}]"
