"""Whatever was measured, a figure is a number with a reason to trust it, or None with a reason; never NaN, never a crash.

Warnings are errors in these tests, as in all others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.evaluation.grouping import Grouping
from medloom.evaluation.intervals import Estimate, compare
from medloom.evaluation.subgroups import subgroups
from medloom.task import Measured, Metric
from medloom.tasks import _class_figures, _number_figures, _survival_figures

ROWS = st.integers(0, 14)
SEEDS = st.integers(0, 10**6)
EDGES = (1.0, 2.0, 4.0, 50.0)


def binary(rows: int, random: np.random.Generator, broken: bool) -> dict[str, np.ndarray]:
    chance = random.choice([0.0, 0.2, 0.5, 1.0])
    truth = (random.random(rows) < chance).astype(float)
    truth[random.random(rows) < random.choice([0, 0.3])] = np.nan
    probability = random.choice([0.0, 0.3, 0.300001, 0.9, 1.0], rows)
    if random.random() < 0.3:
        probability[:] = 0.4
    if broken:
        probability = np.where(random.random(rows) < 0.3, np.nan, probability)
    return {"truth": truth, "probability": probability, "decision": (probability >= 0.3).astype(int)}


def multiclass(rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    truth = random.integers(0, random.integers(1, 4), rows).astype(float)
    truth[random.random(rows) < 0.2] = np.nan
    probability = random.dirichlet([0.3, 0.3, 0.3], rows)
    return {"truth": truth, "probability": probability, "decision": probability.argmax(axis=1)}


def multilabel(rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    parts = [binary(rows, random, False) for _ in range(2)]
    return {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}


def number(rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    truth = random.choice([1.0, 2.0, np.nan, 5.0], rows) if random.random() < 0.7 else np.ones(rows)
    value = random.choice([1.0, 2.0, 1e6], rows)
    low = value - random.choice([0.0, 1.0, np.nan])
    return {"truth": truth, "value": value, "low": low, "high": value + 1, "quantile": np.stack([value, value], 1)}


def followed(rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    time = random.choice([0.0, 1.0, 2.0, 3.0, 7.0], rows)
    event = (random.random(rows) < random.choice([0.0, 0.5, 1.0])).astype(float)
    lost = random.random(rows) < 0.1
    risk = np.sort(random.choice([0.0, 0.2, 0.6, 1.0], (rows, len(EDGES))), axis=1)
    nothing = np.where(lost, np.nan, 0.0)
    return {"time": time + nothing, "event": event + nothing, "score": risk.mean(axis=1), "risk": risk}


def sound(metrics: Mapping[str, Metric], entrants: Mapping[str, Measured], random: np.random.Generator) -> None:
    rows = len(next(iter(entrants["model"].values())))
    patient = random.integers(0, max(1, rows // random.integers(1, 4)), rows)
    found = compare(metrics, entrants, patient, resamples=100)
    every = [*found.estimates.values(), *found.differences.values()]
    for estimate in (estimate for of in every for estimate in of.values()):
        is_sound(estimate)
    code = random.integers(-1, 3, rows)
    apart = subgroups(
        metrics, entrants["model"], patient, [Grouping("x", ("a", "b", "c"), code)], resamples=100, minimum=2
    )
    json.dumps(apart.plain(), allow_nan=False)
    for group in apart.groups:
        for estimate in [*group.estimates.values(), *(c.difference for c in group.contrasts.values())]:
            is_sound(estimate)


def is_sound(estimate: Estimate) -> None:
    json.dumps(estimate.plain(), allow_nan=False)
    assert (estimate.low is None) == (estimate.high is None)
    if estimate.value is None:
        assert estimate.low is None and estimate.note.startswith("cannot be estimated: ")
    elif estimate.low is None:
        assert estimate.note.startswith("no interval: ")
    else:
        assert estimate.low <= estimate.value + 1e-9 and estimate.value <= estimate.high + 1e-9


@settings(max_examples=30)
@given(ROWS, SEEDS, st.booleans())
def test_two_classes(rows: int, seed: int, broken: bool) -> None:
    random = np.random.default_rng(seed)
    model, other = binary(rows, random, broken), binary(rows, random, False)
    entrants = {"model": model, "other": {**other, "truth": model["truth"]}}
    sound(_class_figures.metrics("binary", (0.3,)), entrants, random)


@settings(max_examples=12)
@given(ROWS, SEEDS)
def test_several_classes_and_labels(rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    names = ("a", "b", "c")
    sound(_class_figures.metrics("multiclass", (), names), {"model": multiclass(rows, random)}, random)
    sound(_class_figures.metrics("multilabel", (), names[:2]), {"model": multilabel(rows, random)}, random)


@settings(max_examples=12)
@given(ROWS, SEEDS, st.sampled_from(["squared", "poisson"]))
def test_numbers(rows: int, seed: int, loss: str) -> None:
    random = np.random.default_rng(seed)
    sound(_number_figures.metrics(loss, (0.1, 0.9), 0.8), {"model": number(rows, random)}, random)


@settings(max_examples=12)
@given(ROWS, SEEDS)
def test_survival(rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    model, other = followed(rows, random), followed(rows, random)
    entrants = {"model": model, "other": {**other, "time": model["time"], "event": model["event"]}}
    sound(_survival_figures.metrics(EDGES, {"2": 2.0, "50": 50.0}), entrants, random)


@pytest.mark.parametrize("rows", [0, 1, 2, 40])
def test_plots_of_anything(rows: int) -> None:
    random = np.random.default_rng(rows)
    for seed in range(6):
        measured = {"model": binary(rows, np.random.default_rng(seed), False), "other": binary(rows, random, False)}
        for plot in _class_figures.plots("binary", ("no", "yes"), measured):
            for curve in plot.curves:
                assert len(curve.x) == len(curve.y)
                assert np.isfinite([*curve.x, *curve.y, *(curve.low or ()), *(curve.high or ())]).all()
