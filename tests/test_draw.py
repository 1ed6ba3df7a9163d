"""Randomness is a function of position (law 4): tested against scipy's tests of uniformity, and bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medloom.draw import Draw, generator, seed_of

ROWS = np.arange(20_000)


def draw(seed: int = 3, epoch: int = 0, rows: np.ndarray = ROWS) -> Draw:
    return Draw(seed, np.full(len(rows), epoch))


def test_numbers_are_uniform() -> None:
    numbers = draw().uniform("crop", ROWS)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers, "uniform").pvalue > 0.001


def test_numbers_of_one_row_are_uniform_and_do_not_repeat() -> None:
    numbers = draw(rows=ROWS[:1]).uniform("crop", ROWS[:1], 20_000)[0]
    assert stats.kstest(numbers, "uniform").pvalue > 0.001
    assert len(np.unique(numbers)) == 20_000


@pytest.mark.parametrize("other", [{"seed": 4}, {"epoch": 1}])
def test_another_seed_or_epoch_is_unrelated(other: dict[str, int]) -> None:
    one, two = draw().uniform("crop", ROWS), draw(**other).uniform("crop", ROWS)
    assert abs(stats.pearsonr(one, two).statistic) < 0.03
    assert not (one == two).any()


def test_neighbouring_rows_are_unrelated() -> None:
    numbers = draw().uniform("crop", ROWS)
    assert abs(stats.pearsonr(numbers[1:], numbers[:-1]).statistic) < 0.03


def test_another_name_is_unrelated_and_shifts_nothing() -> None:
    one = draw().uniform("crop", ROWS)
    flip = draw().uniform("flip", ROWS)
    assert abs(stats.pearsonr(one, flip).statistic) < 0.03
    np.testing.assert_array_equal(one, draw().uniform("crop", ROWS))


def test_a_shape_is_an_array_for_each_row_and_a_longer_one_begins_alike() -> None:
    few, many = draw().uniform("crop", ROWS, 2, 3), draw().uniform("crop", ROWS, 3, 3)
    assert few.shape == (20_000, 2, 3)
    np.testing.assert_array_equal(few, many[:, :2])


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=20, unique=True), st.integers(0, 2**31), st.integers(0, 50))
def test_a_row_draws_the_same_in_any_batch(rows: list[int], seed: int, epoch: int) -> None:
    together = Draw(seed, np.full(len(rows), epoch)).uniform("crop", np.array(rows), 2)
    for position, row in enumerate(rows):
        alone = Draw(seed, np.array([epoch])).uniform("crop", np.array([row]), 2)
        np.testing.assert_array_equal(together[position], alone[0])


def test_epochs_may_differ_between_the_rows_of_a_batch() -> None:
    mixed = Draw(0, np.array([0, 1])).uniform("crop", np.array([7, 7]))
    assert mixed[0] == Draw(0, np.array([0])).uniform("crop", np.array([7]))[0]
    assert mixed[1] == Draw(0, np.array([1])).uniform("crop", np.array([7]))[0]


def splitmix64(value: int) -> int:
    """The finaliser in Python's own integers, from the paper's constants."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def test_the_numbers_are_those_of_splitmix64() -> None:
    golden = 0x9E3779B97F4A7C15
    for seed, epoch, row in ((0, 0, 0), (5, 3, 2**40), (2**60, 10**6, 7)):
        key = splitmix64(splitmix64((epoch * golden + seed_of(seed, "crop")) % 2**64) + row * golden & (2**64 - 1))
        expected = [(splitmix64((key + i * golden) % 2**64) >> 11) / 2**53 for i in (1, 2)]
        assert Draw(seed, np.array([epoch])).uniform("crop", np.array([row]), 2)[0].tolist() == expected


def test_the_numbers_never_change() -> None:
    """A checkpoint of an earlier version resumes only if these stay: they are part of the file format."""
    assert seed_of(0, "order", 1) == 5497976924323847302
    assert Draw(0, np.zeros(2, int)).uniform("crop", np.arange(2)).tolist() == [0.9427196889571581, 0.37667450306600836]


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.text(max_size=5), st.text(max_size=5))
def test_seeds_depend_on_every_part_and_where_it_stands(a: int, b: int, s: str, t: str) -> None:
    assert 0 <= seed_of(a, s) < 2**63
    assert seed_of(a, s) == seed_of(a, s)
    assert (seed_of(a, b, s, t) == seed_of(b, a, t, s)) == (a == b and s == t)
    assert seed_of(s, t) != seed_of(s + t)
    assert seed_of(1, "2") != seed_of(12)
    assert seed_of("1") != seed_of(1)


def test_generators_are_named_by_their_parts() -> None:
    assert generator(0, "folds").random() == generator(0, "folds").random()
    assert generator(0, "folds").random() != generator(0, "bootstrap").random()


def test_what_an_input_draws_for_itself_is_not_what_another_draws() -> None:
    rows = np.arange(5)
    one, other = Draw(3, np.zeros(5, np.int64)), Draw(3, np.zeros(5, np.int64), "breath")
    assert (one.own("noise", rows) == one.uniform("noise", rows)).all()
    assert (one.uniform("window", rows) == other.uniform("window", rows)).all()
    assert not (one.own("noise", rows) == other.own("noise", rows)).any()
