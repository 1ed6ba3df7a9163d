from __future__ import annotations

import numpy as np
import polars as pl

from medloom.audit import encoded
from tests.audit.tables import evidence, honest


def with_rate(form: str, seed: int = 0) -> list[str]:
    """Kinds that are found where a column holds a rate of each of forty groups."""
    frame, random = honest(800, seed), np.random.default_rng(seed + 1)
    group, y = random.integers(0, 40, 800), frame["died"].to_numpy().astype(float)
    held = evidence(frame.with_columns(area=pl.Series([f"z{g}" for g in group])))
    taught = np.flatnonzero(held.part == 0)
    rows = taught if form == "training rows" else np.arange(800)
    count = np.bincount(group[rows], minlength=40)
    mean = np.bincount(group[rows], y[rows], 40) / count
    if form == "true rates":
        mean = np.clip(mean + random.normal(0, 1, 40) * np.sqrt(mean * (1 - mean) / count), 0.01, 0.99)
    if form == "noise":
        mean = mean + random.normal(0, 0.004, 40)
    if form == "smoothed":
        mean = (count * mean + 10 * y.mean()) / (count + 10)
    value = mean[group]
    if form == "without the row":
        value = (np.bincount(group, y)[group] - y) / (np.bincount(group)[group] - 1)
    frame = frame.with_columns(area=pl.Series([f"z{g}" for g in group]), rate=pl.Series(value))
    return [name for one in encoded.findings(evidence(frame)) for name in one.columns]


def test_a_mean_over_all_rows_is_found() -> None:
    for form in ("all rows", "smoothed", "noise", "without the row"):
        assert with_rate(form) == ["rate"], form


def test_a_mean_of_the_training_rows_is_as_it_should_be() -> None:
    assert with_rate("training rows") == []


def test_a_rate_that_was_known_before_is_no_leak() -> None:
    assert [with_rate("true rates", seed) for seed in range(5)] == [[]] * 5
