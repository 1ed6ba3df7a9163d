from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from medloom.audit import scaled
from tests.audit.tables import evidence, honest


def found_in(frame: pl.DataFrame) -> set[str]:
    return {name for one in scaled.findings(evidence(frame)) for name in one.columns}


def test_numbers_as_they_were_measured_pass() -> None:
    for seed in range(5):
        assert found_in(honest(300, seed)) == set()


@pytest.mark.parametrize("digits", [15, 4])
def test_a_column_standardised_over_all_rows_is_found(digits: int) -> None:
    frame = honest(400)
    x = frame["x0"].to_numpy()
    assert found_in(frame.with_columns(x0=pl.Series(((x - x.mean()) / x.std()).round(digits)))) == {"x0"}


def test_a_column_standardised_over_training_rows_passes() -> None:
    frame = honest(400)
    train = evidence(frame).part == 0
    x = frame["x0"].to_numpy()
    assert found_in(frame.with_columns(x0=pl.Series((x - x[train].mean()) / x[train].std()))) == set()


def test_ranks_components_and_filled_columns_are_found() -> None:
    from scipy.stats import norm, rankdata

    frame = honest(400)
    x = frame.select("x0", "x1", "x2").to_numpy()
    uniform = (rankdata(x[:, 0]) - 1) / 399
    assert found_in(frame.with_columns(x0=pl.Series(uniform))) == {"x0"}
    assert found_in(frame.with_columns(x0=pl.Series(norm.ppf((uniform * 399 + 0.5) / 400)))) == {"x0"}
    mixed = x @ np.array([[1.0, 0.5, 0.2], [0.0, 1.0, 0.7], [0.0, 0.0, 1.0]])
    turned = (mixed - mixed.mean(axis=0)) @ np.linalg.svd(mixed - mixed.mean(axis=0))[2].T
    assert found_in(frame.with_columns(pl.Series(f"x{i}", turned[:, i]) for i in range(3))) == {"x0", "x1", "x2"}
    filled = x[:, 1].copy()
    filled[::9] = np.delete(filled, np.s_[::9]).mean()
    assert found_in(frame.with_columns(x1=pl.Series(filled))) == {"x1"}


def test_resolution_is_the_power_of_ten_that_was_kept() -> None:
    assert scaled.resolution(np.array([1.25, 3.0])) == pytest.approx(0.01)
    assert scaled.resolution(np.array([4.0, 7.0])) == 1.0
    assert scaled.resolution(np.array([np.pi])) == 0.0
