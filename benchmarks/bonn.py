"""EEG of the University of Bonn: five sets of a hundred segments, told apart in five folds by segment.

Reads eeg-bonn/bonn.zip of the data folder (Andrzejak et al., "Indications of nonlinear deterministic and
finite-dimensional structures in time series of brain electrical activity", Physical Review E 64, 2001): 23.6 seconds of
one channel at 173.61 Hz, of which no subject is known. Every figure is of folds by segment, as others print it, and
segments of one subject stand on both sides. Settings were chosen in other folds (other seeds) of the same segments: the
data set has no rows to spare for a test file.

One team learns the five sets. What it says of fewer classes is the sum of its probabilities of their sets, which in
other folds was as good as a team for each question.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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
    "window_seconds": 23.6,
    "plain": ["statistics", "bands", "convolutions"],
    "convolution_parts": [1, 2, 4],
    "augment": {"scale": 0.1, "noise": 0.02, "crop": 0.5},
    "encoder": {"kind": "spectrogram", "frame_samples": 128, "channels": 16, "bands": True, "dropout": 0.2},
}
MEMBERS = ("network", "ridge")
TRAIN: Mapping[str, Any] = {"epochs": 30, "batch": 32, "learning_rate": 0.004, "weight_decay": 0.05}
"""A fixed budget: no rows are held back to stop the training or to weigh the members, whose answers count alike."""
PLAIN: Mapping[str, Any] = {"plain": ["statistics", "bands"], "convolution_parts": [1]}
RESAMPLES = 2_000


def measured(id_: str, data: Path | None, classes: Mapping[str, str], want: float, published: str) -> list[Result]:
    """Accuracy of the team, beside a logistic regression on band powers; none without data. `classes` name the sets."""
    archive = None if data is None else data / "eeg-bonn" / "bonn.zip"
    if archive is None or not archive.is_file():
        return []
    folder = REPOSITORY / "runs" / "bonn" / commit_of(REPOSITORY)
    frame = segments(archive, folder / "segments")
    logistic = study("bonn", ("logistic",), {**EEG, **PLAIN})
    right = {name: correct(answers(frame, asked, folder / name), frame, classes) for name, asked in (("team", study("bonn")), ("logistic", logistic))}  # fmt: skip
    drawn = np.random.default_rng(0).multinomial(len(frame), np.full(len(frame), 1 / len(frame)), RESAMPLES)
    weight = np.concatenate([np.ones((1, len(frame))), drawn]) / len(frame)
    share = {name: weight @ one for name, one in right.items()}
    apart = share["team"] - share["logistic"]
    (low, high), (less, more) = (np.quantile(values[1:], [0.025, 0.975]) for values in (share["team"], apart))
    count = len(set(classes.values()))
    split = f"{FOLDS} folds by segment (no subject is known)" + (
        "" if count == len(SETS) else "; probabilities of the five sets added up"
    )
    result = Result(
        id=id_,
        metric=f"accuracy, {count} classes",
        value=float(share["team"][0]),
        low=float(low),
        high=float(high),
        higher_is_better=True,
        want=want,
        split=split,
        seeds=(SEED,),
        baseline=f"logistic regression on band powers and statistics {share['logistic'][0]:.3f}{_members(folder, count)}",
        difference=f"logistic {apart[0]:+.3f} [{less:+.3f}, {more:+.3f}]",
        published=published,
    )
    return [result]


def answers(frame: pl.DataFrame, asked: Study, out: Path) -> pl.DataFrame:
    """Probabilities of the five sets, by segment. The study is trained once, whichever benchmark asks first."""
    kept = out / "predictions.parquet"
    if not kept.exists():
        fit(asked, out, data=frame)
    return pl.read_parquet(kept)


def correct(said: pl.DataFrame, frame: pl.DataFrame, classes: Mapping[str, str]) -> np.ndarray:
    """1.0 for each segment whose class has the largest sum of probabilities of its sets, else 0.0."""
    names = sorted(set(classes.values()))
    sums = [
        pl.sum_horizontal(f"state_probability_{one}" for one in SETS if classes[one] == name).alias(name)
        for name in names
    ]
    joined = frame.join(said.select(pl.col("row").alias("segment"), *sums), on="segment", how="left", validate="1:1")
    found = joined.select(names).to_numpy().argmax(axis=1)
    truth = [names.index(classes[one]) for one in joined["state"]]
    return np.asarray(found == np.array(truth), np.float64)


def _members(folder: Path, count: int) -> str:
    """What the members say alone of the five sets."""
    if count < len(SETS):
        return ""
    target = json.loads((folder / "team" / "metrics.json").read_text(encoding="utf-8"))["targets"]["state"]
    alone = {"network": "ridge", "random convolutions and ridge": "network"}
    return "".join(
        f", {name} alone {_shown(target['members'][other]['without']['accuracy'])}" for name, other in alone.items()
    )


def segments(archive: Path, folder: Path) -> pl.DataFrame:
    """The table of segments: where each lies, and its set. Unpacks the archive once."""
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
            "state": sets,
        }
    )


def study(name: str, members: Sequence[str] = MEMBERS, eeg: Mapping[str, Any] = EEG) -> Study:
    """The study of the five sets."""
    return make(
        {
            "name": name,
            "seed": SEED,
            "cohort": {"row": "segment", "independent_rows": True},
            "inputs": {"eeg": dict(eeg)},
            "targets": {"state": {"task": "classify", "column": "state"}},
            "split": {"folds": FOLDS, "valid": 0.0, "calibrate": 0.0, "final": "none"},
            "model": {"members": list(members)},
            "train": dict(TRAIN),
            "evaluate": {"baselines": False, "explain": False, "sample_size": False},
        }
    )


def _shown(figure: Mapping[str, float], sign: str = "") -> str:
    return f"{figure['value']:{sign}.3f} [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}]"
