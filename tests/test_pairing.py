"""Windows of several inputs side by side: all of each are seen, about equally often, and a row does not know its batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.modality import View
from medloom.pairing import paired, pieces

COUNTS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5)


def views(rows: np.ndarray, counts: list[int]) -> View:
    """So many windows of each row, numbered."""
    return View(np.repeat(rows, counts), {"n": np.concatenate([np.arange(count) for count in counts])})


def two(counts: list[tuple[int, int]], most: int | None = None) -> tuple[np.ndarray, dict[str, View]]:
    rows = np.arange(len(counts)) * 3 + 2
    given = {"a": views(rows, [one for one, _ in counts]), "b": views(rows, [other for _, other in counts])}
    return rows, paired(rows, given, most)


@given(COUNTS)
def test_every_window_of_every_input_is_seen_about_equally_often(counts: list[tuple[int, int]]) -> None:
    rows, found = two(counts)
    assert (found["a"].rows == found["b"].rows).all()
    for row, each in zip(rows, counts, strict=True):
        for name, have in zip("ab", each, strict=True):
            number = found[name].at["n"][found[name].rows == row]
            often = np.bincount(number, minlength=have)
            assert len(number) == max(each) and often.max() - often.min() <= 1 and often.min() >= 1
            assert (np.diff(number) >= 0).all()


@given(COUNTS, st.integers(1, 12))
def test_a_row_alone_is_paired_as_in_company(counts: list[tuple[int, int]], most: int) -> None:
    rows, found = two(counts, most)
    for place, row in enumerate(rows):
        alone = two([counts[place]], most)[1]
        for name in "ab":
            assert (alone[name].at["n"] == found[name].at["n"][found[name].rows == row]).all()


def test_some_windows_of_many_are_spread_over_all() -> None:
    rows = np.array([4, 7])
    found = paired(rows, {"a": views(rows, [100, 3])}, 5)["a"]
    assert found.rows.tolist() == [4] * 5 + [7] * 3
    assert found.at["n"].tolist() == [0, 25, 50, 74, 99, 0, 1, 2]
    assert paired(rows, {"a": views(rows, [100, 3])}, 1)["a"].at["n"].tolist() == [49, 1]


def test_pieces_are_of_the_same_places_of_all_inputs() -> None:
    _, found = two([(4, 2), (1, 3)])
    parts = pieces(found, 3)
    assert [len(part["a"].rows) for part in parts] == [3, 3, 1]
    for name in "ab":
        assert np.concatenate([part[name].at["n"] for part in parts]).tolist() == found[name].at["n"].tolist()


def test_a_row_without_a_view_is_no_cover() -> None:
    with pytest.raises(ValueError, match="expected 2"):
        paired(np.array([0, 1]), {"a": views(np.array([0]), [2])})
