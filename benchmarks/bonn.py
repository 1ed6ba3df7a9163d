"""EEG of the University of Bonn: five sets of a hundred segments, told apart in five folds by segment.

Reads eeg-bonn/bonn.zip of the data folder (Andrzejak et al., "Indications of nonlinear deterministic and
finite-dimensional structures in time series of brain electrical activity", Physical Review E 64, 2001): 23.6 seconds of
one channel at 173.61 Hz, of which no subject is known. Every figure is of folds by segment, as others print it, and
segments of one subject stand on both sides. Settings were chosen in other folds (another seed) of the same segments:
the data set has no rows to spare for a test file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.result import Result, commit_of
from medloom.run import fit
from medloom.study import Study, make

REPOSITORY = Path(__file__).parents[1]
SETS = "ABCDE"
"""Awake with eyes open and closed; between seizures, away from and in the focus; in a seizure."""
RATE_HZ = 173.61
FOLDS, SEED = 5, 0
EEG: Mapping[str, Any] = {
    "modality": "signal",
    "column": "path",
    "known_before_index": True,
    "rate_hz": RATE_HZ,
    "file_rate_hz": RATE_HZ,
    "window_seconds": 11.8,
    "plain": ["statistics", "bands", "convolutions"],
    "augment": {"scale": 0.1, "noise": 0.02},
    "encoder": {"kind": "spectrogram", "frame_samples": 128, "channels": 16, "bands": True, "dropout": 0.2},
}
MEMBERS = ("network", "network", "ridge")
TRAIN: Mapping[str, Any] = {"epochs": 40, "batch": 32, "learning_rate": 0.004, "weight_decay": 0.05}
"""A fixed budget: no rows are held back to stop the training or to weigh the members, whose answers count alike."""
BASELINES = {"ridge": "random convolutions and ridge", "logistic": "logistic", "gradient_boosting": "gradient boosting"}


def measured(id_: str, data: Path | None, classes: Mapping[str, str], want: float, published: str) -> list[Result]:
    """Accuracy of all members together, and of the networks alone; none without data. `classes` name the sets."""
    archive = None if data is None else data / "eeg-bonn" / "bonn.zip"
    if archive is None or not archive.is_file():
        return []
    folder = REPOSITORY / "runs" / "bonn" / commit_of(REPOSITORY)
    frame = segments(archive, folder / "segments", classes)
    fit(study(id_), folder / id_, data=frame)
    target = json.loads((folder / id_ / "metrics.json").read_text(encoding="utf-8"))["targets"]["state"]
    beside = ", ".join(f"{label} {_shown(target['baselines'][key]['accuracy'])}" for key, label in BASELINES.items())
    differences = {key: target["differences"][key]["accuracy"] for key in BASELINES}
    split = f"{FOLDS} folds by segment (no subject is known)"
    result = Result(
        id=id_,
        metric=f"accuracy, {len(set(classes.values()))} classes",
        value=target["model"]["accuracy"]["value"],
        low=target["model"]["accuracy"]["low"],
        high=target["model"]["accuracy"]["high"],
        higher_is_better=True,
        want=want,
        split=split,
        seeds=(SEED,),
        baseline=beside,
        difference=", ".join(f"{BASELINES[key]} {_shown(one, '+')}" for key, one in differences.items()),
        published=published,
    )
    return [result]


def segments(archive: Path, folder: Path, classes: Mapping[str, str]) -> pl.DataFrame:
    """The table of segments: where each lies, and its class by the name of its set. Unpacks the archive once."""
    with zipfile.ZipFile(archive) as packed:
        names = sorted(name for name in packed.namelist() if name.lower().endswith(".txt"))
        if not folder.exists():
            packed.extractall(folder)
    sets = [Path(name).parent.name[0] for name in names]
    counts = [sets.count(one) for one in SETS]
    if counts != [100] * len(SETS):
        raise SystemExit(f"{archive.name} holds {counts} segments of the sets {', '.join(SETS)}; expected 100 of each")
    return pl.DataFrame(
        {
            "segment": [Path(name).stem for name in names],
            "path": [str(folder / name) for name in names],
            "state": [classes[one] for one in sets],
        }
    )


def study(name: str, members: Sequence[str] = MEMBERS, **more: Any) -> Study:
    """The study of one question."""
    return make(
        {
            "name": name,
            "seed": SEED,
            "cohort": {"row": "segment", "independent_rows": True},
            "inputs": {"eeg": EEG},
            "targets": {"state": {"task": "classify", "column": "state"}},
            "split": {"folds": FOLDS, "valid": 0.0, "calibrate": 0.0, "final": "none"},
            "model": {"members": list(members)},
            "train": TRAIN,
            **more,
        }
    )


def _shown(figure: Mapping[str, float], sign: str = "") -> str:
    return f"{figure['value']:{sign}.3f} [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}]"
