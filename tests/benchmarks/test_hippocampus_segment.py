"""Folds of the hippocampus: whoever may be one person stays together, and every case judges once."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks.hippocampus import groups
from benchmarks.hippocampus_segment import FOLDS, cases, results, study


def test_runs_of_numbers_stay_together_and_every_case_judges_once(tmp_path: Path) -> None:
    numbers = [3, 4, 6, 14, 17, 23, 24, 25, 26, 35, 36, 39, 40, 48, 49, 50, 64]
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        for number in numbers:
            (tmp_path / name / f"hippocampus_{number:03d}.nii.gz").touch()
    (tmp_path / "labels" / "hippocampus_064.nii.gz").unlink()
    assert groups([6, 3, 4, 9, 5]) == [[3, 4, 5, 6], [9]]
    table = cases(tmp_path)
    assert sorted(map(int, table["case"])) == numbers[:-1]
    assert (table.group_by("group").agg(pl.col("fold").n_unique())["fold"] == 1).all()
    for fold in range(FOLDS):
        parts = table.group_by("group").agg(pl.col(f"part_{fold}").n_unique())
        assert (parts[f"part_{fold}"] == 1).all()
        assert set(table.filter(pl.col(f"part_{fold}") == "test")["fold"]) == {fold}
        assert study(tmp_path, fold).split.column == f"part_{fold}"


def test_figures_by_hand() -> None:
    import numpy as np

    found = {one.metric: one for one in results(np.array([[0.8, 0.9], [0.9, 1.0]]), 0.2, [2.0, 4.0])}
    assert found["Dice, mean of both parts"].value == 0.9
    assert found["Dice, anterior"].value == (0.8 + 0.9) / 2
    assert found["minutes a fold, all of fit"].value == 3.0
    assert found["seconds a case, from file to mask"].met is False
