"""The order of rows: every epoch each row once, whatever their lengths; and the same wherever it is begun."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.modality import Lengths
from medloom.training.order import Order


def padding(order: Order, each: np.ndarray, batch: int, steps: int) -> float:
    """The share of positions that are padding."""
    batches = each[order.at(0, steps)[0]].reshape(-1, batch)
    return float(1 - batches.sum() / (batch * batches.max(axis=1)).sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 16), st.integers(0, 7), st.integers(0, 3))
def test_an_epoch_is_every_row_once(count: int, batch: int, pool: int, seed: int) -> None:
    batch = min(batch, count)
    each = np.random.default_rng(seed).integers(0, 50, count)
    order = Order(np.arange(count) + 7, batch, seed, Lengths(each, pool, 100))
    rows, epoch = order.at(0, 3 * count)
    for number in range(3):
        assert sorted(rows[epoch == number].tolist()) == list(range(7, count + 7))


def test_begun_anywhere_it_is_the_same() -> None:
    each = np.random.default_rng(0).integers(1, 400, 137)
    lengths = Lengths(each, 4, 1000)
    whole, epoch = Order(np.arange(137), 16, 5, lengths).at(0, 40)
    for step in (0, 7, 8, 9, 33):
        part, of_epoch = Order(np.arange(137), 16, 5, lengths).at(step, 3)
        assert part.tolist() == whole[16 * step : 16 * (step + 3)].tolist()
        assert of_epoch.tolist() == epoch[16 * step : 16 * (step + 3)].tolist()


def test_rows_of_like_length_share_a_batch_and_the_order_still_changes() -> None:
    each = np.random.default_rng(1).gamma(4, 100, 3000).astype(np.int64) + 1
    sorted_, drawn = (Order(np.arange(3000), 64, 3, Lengths(each, pool, 1)) for pool in (48, 0))
    assert padding(sorted_, each, 64, 400) < 0.06 < 0.3 < padding(drawn, each, 64, 400)
    one, two = sorted_.at(0, 46)[0], sorted_.at(47, 46)[0]
    assert one.tolist() != two.tolist()
    firsts = each[sorted_.at(0, 46)[0]].reshape(-1, 64).mean(axis=1)
    assert abs(np.corrcoef(np.arange(46), firsts)[0, 1]) < 0.6


@pytest.mark.parametrize("pool", [0, 1])
def test_without_pools_the_order_is_the_one_without_lengths(pool: int) -> None:
    lengths = Lengths(np.arange(50), pool, 10)
    one, two = (Order(np.arange(50), 8, 2, given).at(3, 9)[0] for given in (None, lengths))
    assert one.tolist() == two.tolist()
