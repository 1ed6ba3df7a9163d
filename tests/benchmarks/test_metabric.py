"""The benchmark of METABRIC, on little made-up data: folds are averaged, differences paired, and no data is no result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import metabric
from medloom.statistics import survival


def fold(seed: int, patients: range) -> metabric.Judged:
    random = np.random.default_rng(seed)
    time, event = random.exponential(80, len(patients)), random.integers(0, 2, len(patients))
    edges = np.array([60.0, 120])
    risk = np.sort(random.random((len(patients), 2)), axis=1)
    truth = {"time": time, "event": event, "edges": edges}
    entrants = {"model": {**truth, "score": -time, "risk": risk}, "cox": {**truth, "score": random.random(len(time)), "risk": risk}}  # fmt: skip
    return entrants, np.array(patients)


def test_figures_are_means_over_folds_and_differences_are_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metabric, "RESAMPLES", 50)
    found = [fold(0, range(40)), fold(1, range(40, 80))]
    concordance, brier = metabric.results(found, "made, two folds", (0.9, None))
    assert concordance.value == 1.0 and concordance.met and brier.met is None
    cox = [survival.harrell(m["cox"]["time"], m["cox"]["event"], m["cox"]["score"], np.ones((1, 40)))[0] for m, _ in found]  # fmt: skip
    assert concordance.baseline == f"cox {np.mean(cox):.4f}"
    assert brier.difference == "cox +0.0000 [+0.0000, +0.0000]"
    assert brier.low < brier.value < brier.high


def test_without_data_there_is_nothing(tmp_path: Path) -> None:
    assert metabric.run(None) == [] and metabric.run(tmp_path) == []


@pytest.mark.slow
def test_folds_are_trained_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 2))
    time, leaves = random.exponential(100 * np.exp(-x[:, 0])), random.uniform(200, 300, 200)
    frame = pl.DataFrame({"x0": x[:, 0], "x1": x[:, 1], "time": np.minimum(time, leaves), "event": (time <= leaves).astype(int)})  # fmt: skip
    monkeypatch.setattr(metabric, "TRAIN", {"steps": 20})
    found = metabric.judged(metabric.study({"folds": 2, "final": "none"}), frame, tmp_path)
    assert len(found) == 2 and set(found[0][0]) == {"model", "kaplan_meier", "best_feature", "cox", "gradient_boosting"}
    assert sorted(np.concatenate([patient for _, patient in found])) == list(range(200))
    assert metabric.over_folds(found, "cox", "concordance", np.ones((1, 200)))[0] > 0.6
