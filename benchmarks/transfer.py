"""What our own pretraining on unlabelled films is worth at 5 % of the labels: with it and without it, the same steps.

An encoder learns to restore what is hidden of the training films, whose labels it does not see. Then two networks learn
pneumonia from the same 5 % of the labels, drawn five times, with the same seed, steps and settings: one begins with that
encoder and changes it at a third of the rate, the other begins with nothing. Both see altered films, and judge the given
test films. The interval resamples draws and films together, in pairs. Settings were chosen on the validation films.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.result import Result, commit_of
from benchmarks.xray import FILM
from benchmarks.xray_pictures import pictures
from medloom.run import fit
from medloom.statistics.ranking import auroc
from medloom.study import Study, make

ID = "transfer"
REPOSITORY = Path(__file__).parents[1]
SHARE = 0.05
DRAWS = (0, 1, 2, 3, 4)
RESAMPLES = 1000
PRETRAIN = {"steps": 1200, "batch": 64, "threads": 1, "keep": "last", "evaluations": 2}
TRAIN = {"steps": 200, "batch": 32, "threads": 1, "keep": "last", "evaluations": 2}
BEGUN_RATE = 0.3
"""Learning rate of an encoder that began elsewhere, as a share of that of all else."""
COHORT = {"row": "film", "independent_rows": True}


def run(data: Path | None) -> list[Result]:
    """The difference of the mean AUROC over draws, with its paired interval; none without data."""
    folder = REPOSITORY / "runs" / ID
    frame = pictures(data, folder / "films")
    if frame is None:
        return []
    runs = folder / commit_of(REPOSITORY)
    fit(
        pretraining(), runs / "pretrained", data=frame.filter(pl.col("part") != "test").with_columns(part=_unlabelled())
    )
    truth, scores = np.zeros(0, bool), []
    for draw in DRAWS:
        rows = labelled(frame, draw)
        pair = []
        begun = {"model": {"start": str(runs / "pretrained")}, "train": {**TRAIN, "encoder_rate": BEGUN_RATE}}
        for name, more in (("begun", begun), ("scratch", {"train": TRAIN})):
            done = fit(study(draw, more), runs / f"{name}-{draw}", data=rows)
            table = done.predictions.join(frame.select(row="film", truth=pl.col("finding") == "pneumonia"), on="row")
            table = table.sort("row")
            truth = table["truth"].to_numpy()
            pair.append(table["finding_probability"].to_numpy())
        scores.append(pair)
    return [result(truth, np.array(scores))]


def _unlabelled() -> pl.Expr:
    """Validation films judge how well is restored; nothing is chosen by it."""
    return pl.when(pl.col("part") == "valid").then(pl.lit("test")).otherwise(pl.lit("train"))


def labelled(frame: pl.DataFrame, draw: int) -> pl.DataFrame:
    """The test films, and this draw of the training films: as many of each class as the share says."""
    train = frame.filter(pl.col("part") == "train").sort("film")
    random = np.random.default_rng(draw)
    kept = []
    for _, films in sorted(train.group_by("finding"), key=lambda pair: str(pair[0])):
        films = films.sort("film")
        kept.append(films[np.sort(random.choice(len(films), round(SHARE * len(films)), replace=False))])
    return pl.concat([*kept, frame.filter(pl.col("part") == "test")])


def pretraining() -> Study:
    """The study that sees no label, nor films that are altered."""
    return make(
        {
            "name": "films-without-labels",
            "cohort": COHORT,
            "inputs": {"film": {name: value for name, value in FILM.items() if name != "augment"}},
            "targets": {"hidden": {"task": "restore", "input": "film", "hidden": 0.6, "cells": 7}},
            "split": {"by": "column", "column": "part"},
            "train": PRETRAIN,
            "evaluate": {"resamples": 100, "explain": False},
        }
    )


def study(seed: int, more: dict[str, Any]) -> Study:
    """The study of few labels, with what it begins with."""
    return make(
        {
            "name": ID,
            "seed": seed,
            "cohort": COHORT,
            "inputs": {"film": FILM},
            "targets": {"finding": {"task": "classify", "column": "finding", "positive": "pneumonia"}},
            "split": {"by": "column", "column": "part"},
            "evaluate": {"resamples": 100, "explain": False, "baselines": False},
            **more,
        }
    )


def result(truth: np.ndarray, scores: np.ndarray) -> Result:
    """`scores` are [draws, begun and scratch, films]."""
    areas = np.array([[_area(truth, each, np.ones((1, len(truth))))[0] for each in pair] for pair in scores])
    low, high = interval(truth, scores)
    begun, scratch = areas.mean(axis=0)
    return Result(
        id=ID,
        metric="gain in AUROC at 5 % of the labels",
        value=float(begun - scratch),
        low=low,
        high=high,
        higher_is_better=True,
        want=0.0,
        split=f"given test, {len(truth)} films by film; {len(DRAWS)} draws of the labels, mean",
        seeds=DRAWS,
        baseline=f"from nothing {scratch:.4f}, with our pretraining {begun:.4f}",
        difference=f"{begun - scratch:+.4f} [{low:+.4f}, {high:+.4f}], films and draws resampled in pairs",
    )


def interval(truth: np.ndarray, scores: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % of the mean difference over draws, by percentiles over resamples of films and of draws."""
    random = np.random.default_rng(seed)
    films = random.multinomial(len(truth), np.full(len(truth), 1 / len(truth)), size=RESAMPLES).astype(float)
    draws = random.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), size=RESAMPLES) / len(scores)
    each = np.stack([_area(truth, begun, films) - _area(truth, scratch, films) for begun, scratch in scores], axis=1)
    low, high = np.nanquantile((each * draws).sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _area(truth: np.ndarray, score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return auroc(truth, score, weight)
