"""Anterior and posterior hippocampus outlined on MR: five folds by subject, mean Dice of both parts.

Reads mri-hippocampus of the data folder: T1 crops with the labels anterior and posterior (Medical Segmentation
Decathlon, task 4). Its 394 volumes come from 195 people, so most have two, left and right, and no file says whose it is.
Numbers that follow each other may be one person: runs of them stay together. That two numbers far apart are one person
cannot be excluded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmarks.hippocampus import groups
from benchmarks.result import Result, commit_of
from medloom.bundle import load
from medloom.run import fit
from medloom.study import Study, make

ID = "hippocampus-segment"
REPOSITORY = Path(__file__).parents[1]
SEED = 7
FOLDS = 5
STEPS, BATCH = 2_500, 2
LABELS = {"anterior": 1, "posterior": 2}
PUBLISHED = (
    "other splits of all 260 training volumes: nnU-Net .90, MONAI .89; a quick U-Net of width 16 on these files .885"
)


def run(data: Path | None) -> list[Result]:
    """Dice of all cases, each by the network of the fold that has not seen it; none without data."""
    folder = None if data is None else data / "mri-hippocampus"
    if folder is None or not folder.is_dir():
        return []
    table = cases(folder)
    out = REPOSITORY / "runs" / ID / commit_of(REPOSITORY)
    folds = [one_fold(folder, table, fold, out / f"fold-{fold}") for fold in range(FOLDS)]
    dice = np.concatenate([np.array(fold["dice"]) for fold in folds])
    seconds = timed(folder, table.filter(pl.col("fold") == FOLDS - 1), out / f"fold-{FOLDS - 1}" / "bundle")
    return results(dice, seconds, [fold["minutes"] for fold in folds])


def one_fold(folder: Path, table: pl.DataFrame, fold: int, out: Path) -> dict[str, Any]:
    """Dice of the cases of a fold and minutes of all of fit; kept beside the run, so that it is not done again."""
    kept = out.with_suffix(".json")
    if not kept.exists():
        began = time.monotonic()
        done = fit(study(folder, fold), out, data=table)
        minutes = (time.monotonic() - began) / 60
        dice = judged(folder, table.filter(pl.col("fold") == fold), done.predictions)
        kept.write_text(json.dumps({"dice": dice.tolist(), "minutes": minutes}))
        print(f"fold {fold}: {minutes:.1f} minutes, Dice {dice.mean():.3f}", flush=True)
    held: dict[str, Any] = json.loads(kept.read_text())
    return held


def study(folder: Path, fold: int) -> Study:
    """One fold judges; of the others a few cases teach the clean-up. Nothing is chosen on any: the last weights are kept."""
    scan = {
        "modality": "image", "dims": 3, "column": "image", "patch": [40, 56, 40], "intensity": "image", "width": 16,
        "levels": 4, "pooled_width": 32, "known_before_index": True, "flip": [0],
        "augment": {
            "rotate_degrees": 15, "scale": 0.2, "elastic": 0.2, "elastic_cells": 4, "translate_mm": 3, "contrast": 0.25,
            "brightness": 0.3, "gamma": 0.3, "noise": 0.15, "share": 0.8,
        },
    }  # fmt: skip
    target = {"task": "segment", "input": "mri", "column": "mask", "labels": LABELS}
    train: dict[str, Any] = {
        "steps": STEPS, "batch": BATCH, "learning_rate": 3e-3, "average": 0.995, "precision": "bfloat16", "evaluations": 5,
        "patience": 0, "keep": "last", "threads": torch.get_num_threads(),
    }  # fmt: skip
    return make(
        {
            "name": f"{ID}-{fold}",
            "seed": SEED,
            "cohort": {"row": "case", "patient": "group"},
            "inputs": {"mri": scan},
            "targets": {"hippocampus": target},
            "split": {"by": "column", "column": f"part_{fold}"},
            "train": train,
            "evaluate": {"explain": False},
        }
    ).within(folder)


def cases(folder: Path) -> pl.DataFrame:
    """Every file with a mask: its group, the fold that it judges in, and its part in each fold."""
    files = {int(path.name[12:15]): path.name for path in (folder / "images").glob("hippocampus_*.nii.gz")}
    files = {number: name for number, name in files.items() if (folder / "labels" / name).exists()}
    random = np.random.default_rng(SEED)
    runs = groups(list(files))
    order = random.permutation(len(runs))
    rows: list[dict[str, Any]] = []
    for place, which in enumerate(order):
        for number in runs[which]:
            own = {"case": str(number), "group": f"g{which}", "fold": place % FOLDS}
            paths = {"image": f"images/{files[number]}", "mask": f"labels/{files[number]}"}
            rows.append({**own, **paths, **{f"part_{fold}": _part(place, fold) for fold in range(FOLDS)}})
    return pl.DataFrame(rows)


def _part(place: int, fold: int) -> str:
    if place % FOLDS == fold:
        return "test"
    return "calibrate" if place // FOLDS == fold + 3 else "train"


def judged(folder: Path, table: pl.DataFrame, predictions: pl.DataFrame) -> np.ndarray:
    """Dice of both parts for each case, from the masks that were written."""
    dice = []
    masks = dict(zip(predictions["row"].to_list(), predictions["hippocampus"].to_list(), strict=True))
    for case in table.iter_rows(named=True):
        truth, answer = (_array(path) for path in (folder / case["mask"], Path(masks[case["case"]])))
        dice.append([_dice(answer == value, truth == value) for value in LABELS.values()])
    return np.array(dice)


def timed(folder: Path, table: pl.DataFrame, bundle: Path) -> float:
    """Seconds a case from files to masks, after a first call."""
    held, asked = load(bundle), table.select("case", "group", "image")
    held.predict(asked.head(2), folder=folder)
    began = time.perf_counter()
    held.predict(asked, folder=folder)
    return (time.perf_counter() - began) / len(asked)


def _array(path: Path) -> np.ndarray:
    import nibabel

    image: Any = nibabel.load(path)
    return np.asarray(image.dataobj)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2.0 * int((one & other).sum()) / max(1, int(one.sum()) + int(other.sum()))


def results(dice: np.ndarray, seconds: float, minutes: Sequence[float]) -> list[Result]:
    """Mean Dice with an interval over cases; two cases of one person would make it too narrow."""
    split = f"{FOLDS} folds by runs of file numbers, {len(dice)} cases"
    drawn = np.random.default_rng(0).integers(0, len(dice), (1_000, len(dice)))
    means = {"mean of both parts": dice.mean(axis=1), "anterior": dice[:, 0], "posterior": dice[:, 1]}
    found = []
    for name, each in means.items():
        low, high = np.quantile(each[drawn].mean(axis=1), [0.025, 0.975])
        want = 0.895 if name.startswith("mean") else None
        found.append(
            Result(
                ID, f"Dice, {name}", float(each.mean()), True, split, (SEED,), float(low), float(high),
                published=PUBLISHED, want=want,
            )
        )  # fmt: skip
    return [
        *found,
        Result(ID, "minutes a fold, all of fit", float(np.mean(minutes)), False, split, (SEED,), want=30.0),
        Result(ID, "seconds a case, from file to mask", seconds, False, split, (SEED,), want=0.1),
    ]
