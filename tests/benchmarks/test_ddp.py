"""The benchmark of two processes compares what it trained."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import ddp


def test_results_are_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {"a": np.array([1.0, 2.0], np.float32), "b": np.array([[0.5]], np.float32)}
    moved = {"a": np.array([1.0, 2.0], np.float32), "b": np.array([[0.25]], np.float32)}
    runs = [((2.0, weights), (1.0, weights)), ((4.0, weights), (3.0, moved)), ((3.0, weights), (1.5, weights))]
    monkeypatch.setattr(ddp, "measure", lambda folder, pairs: runs)
    monkeypatch.setattr(ddp, "trained", lambda folder, name, launcher, *overrides: (1.0, moved))
    same, time = ddp.run(None)
    assert same.value == 0.25 and same.met is False and "2.5e-01" in same.baseline
    assert time.value == pytest.approx(0.5) and time.low <= time.value <= time.high and time.met is None


@pytest.mark.slow
def test_two_processes_are_measured_beside_one(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ddp, "ROWS", 300)
    ((one, two),) = ddp.measure(tmp_path, 1, steps=5, batch=15)
    assert one[0] > 0 and two[0] > 0
    assert ddp.difference(one[1], two[1]) < 1e-5
