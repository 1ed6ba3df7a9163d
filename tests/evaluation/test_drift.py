"""Standardised differences: by hand, and without what could tell of a person."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.evaluation.drift import Known, _summed, drift


def known(values: list[list[float]], names: tuple[str, ...] = ("a",)) -> Known:
    return _summed(np.array(values), names, np.arange(len(values)))


def test_means_and_missing_shares_by_hand() -> None:
    nan = float("nan")
    one = known([[0.0], [2.0]] * 10)
    other = known([[3.0], [5.0]] * 6 + [[nan]] * 4)
    (found,) = drift({"x": one}, {"x": other})
    assert found.mean == pytest.approx(3.0) and found.missing_here == 0.25
    assert found.missing == pytest.approx(0.25 / np.sqrt(0.25 * 0.75 / 2))


def test_the_largest_comes_first_and_nothing_varying_is_held() -> None:
    one, other = known([[1.0, 0.0]] * 12, ("a", "b")), known([[2.0, 0.0]] * 12, ("a", "b"))
    first, second = drift({"x": one}, {"x": other})
    assert (first.name, first.mean) == ("a", 10.0) and second.size == 0.0


def test_a_mean_of_few_patients_is_not_kept() -> None:
    few = known([[1.0]] * 9 + [[float("nan")]] * 20)
    assert few.mean == (None,) and few.deviation == (None,)
    (found,) = drift({"x": few}, {"x": known([[1.0]] * 20)})
    assert found.mean is None and found.missing < 0


def test_inputs_that_only_one_has_or_that_changed_are_left_out() -> None:
    assert drift({"x": known([[1.0]] * 20)}, {}) == ()
    assert drift({"x": known([[1.0]] * 20)}, {"x": known([[1.0]] * 20, ("b",))}) == ()
