"""Rounding and counting are exact, and do not depend on order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medloom.tally import add, quantile, rounded, tally


@pytest.mark.parametrize(("kind", "word", "dropped"), [(np.float32, np.uint32, 7), (np.float64, np.uint64, 36)])
@given(data=st.data())
def test_rounding_is_near_and_keeps_16_mantissa_bits(kind, word, dropped, data) -> None:
    width = np.dtype(kind).itemsize * 8
    finite = st.floats(width=width, allow_nan=False, allow_infinity=False)
    values = data.draw(arrays(kind, st.integers(1, 50), elements=finite))
    near = rounded(values)
    assert near.dtype == kind and np.isfinite(near).all()
    assert (near.view(word) & word((1 << dropped) - 1) == 0).all()
    normal = (np.abs(values) >= np.finfo(kind).tiny) & (np.abs(values) < np.finfo(kind).max / 2)
    assert (np.abs(near - values)[normal] <= np.abs(values[normal]) * 2.0**-17).all()
    assert not np.signbit(near[near == 0]).any()


def test_rounding_keeps_what_files_of_16_bits_hold() -> None:
    whole = np.arange(-(2**16), 2**16 + 1)
    np.testing.assert_array_equal(rounded(whole), whole)


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)), st.integers(0, 60))
def test_a_tally_of_parts_is_the_tally_of_the_whole(values, cut) -> None:
    whole = tally(values)
    for parts in ([values[:cut], values[cut:]], [values[cut:], values[:cut]]):
        distinct, number = add(tally(part) for part in parts)
        np.testing.assert_array_equal(distinct, whole[0])
        np.testing.assert_array_equal(number, whole[1])
    assert whole[1].sum() == len(values)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=80), st.sampled_from([0.05, 0.25, 0.5, 0.75, 1.0]))
def test_quantiles_are_those_of_numpy(values, share) -> None:
    distinct, number = tally(np.array(values, np.float64))
    assert quantile(distinct, number, share) == np.quantile(values, share, method="inverted_cdf")


def test_nothing_at_all_has_an_empty_tally() -> None:
    distinct, number = add([])
    assert len(distinct) == len(number) == 0
