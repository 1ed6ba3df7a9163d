"""The simulated minority is harder, and a few studies run through."""

from __future__ import annotations

import polars as pl
import pytest

from benchmarks import conformal_minority


def test_a_tenth_of_the_patients_are_harder() -> None:
    from sklearn.linear_model import LogisticRegression

    frame = pl.concat([conformal_minority.table(seed) for seed in range(4)])
    assert frame["minority"].mean() == pytest.approx(0.1, abs=0.01)
    values = frame.select("x0", "x1").to_numpy()
    right = LogisticRegression().fit(values, frame["outcome"]).predict(values) == frame["outcome"].to_numpy()
    minority = frame["minority"].to_numpy() == 1
    assert right[minority].mean() < right[~minority].mean() - 0.1


def test_each_group_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOOM_STUDIES", "2")
    monkeypatch.setattr(conformal_minority, "ROWS", 400)
    found = conformal_minority.run(None)
    assert [result.want for result in found] == [0.88, None, None, None]
    assert all(0.5 <= result.value <= 3 and "one limit for all" in result.baseline for result in found)
