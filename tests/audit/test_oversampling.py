from __future__ import annotations

import numpy as np
import polars as pl

from medloom.audit import oversampling
from tests.audit.tables import evidence, honest


def test_a_class_filled_with_copies_or_with_points_between_its_rows_is_found() -> None:
    frame, random = honest(400), np.random.default_rng(1)
    rare = frame.filter(pl.col("died") == 1)
    one = rare[random.integers(0, len(rare), 80)]
    assert list(oversampling.findings(evidence(frame))) == []
    assert [f.kind for f in oversampling.findings(evidence(pl.concat([frame, one])))] == ["oversampling"]
    columns = rare.select(f"x{i}" for i in range(4)).to_numpy()
    gap = ((columns[:, None] - columns[None]) ** 2).sum(axis=2) + np.eye(len(columns)) * 1e9
    start = random.integers(0, len(columns), 80)
    end = np.argsort(gap, axis=1)[start, random.integers(0, 5, 80)]
    near = columns[start] + random.random((80, 1)) * (columns[end] - columns[start])
    made = one.with_columns(pl.Series(f"x{i}", near[:, i]) for i in range(4))
    assert [f.kind for f in oversampling.findings(evidence(pl.concat([frame, made])))] == ["oversampling"]


def test_rows_of_few_values_meet_by_chance_more_often_in_the_larger_class() -> None:
    random = np.random.default_rng(3)
    rows = 4_000
    columns = {f"x{i}": random.integers(0, 12, rows).astype(float) for i in range(3)}
    died = (random.random(rows) < 0.05).astype(int)
    many = {"fine": random.integers(0, 60, rows) / 7}
    frame = pl.DataFrame({**columns, **many, "died": died}).drop("x2")
    coarse = evidence(frame)
    large, small = (np.flatnonzero(frame["died"].to_numpy() == side) for side in (0, 1))
    assert oversampling._copied(coarse, large) > 4 * oversampling._copied(coarse, small) + 0.05
    assert list(oversampling.findings(coarse)) == []
