"""Durations and windows of a study file."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.window import Duration, WindowError, duration, window


@pytest.mark.parametrize(
    ("text", "past", "ahead"),
    [
        ("(0, 30d]", False, True),
        ("[-365d, 0)", True, False),
        ("[-365d, 0]", False, False),
        ("(-inf, 0)", True, False),
        ("(-inf, -1y]", True, False),
        ("(0, inf)", False, True),
        ("[24h, 48h)", False, True),
        ("(0, discharge]", False, True),
        ("[admission, 0)", True, False),
        ("[0,0]", False, True),
    ],
)
def test_a_window_says_on_which_side_of_the_index_time_it_lies(text: str, past: bool, ahead: bool) -> None:
    found = window(text)
    assert (found.past, found.ahead) == (past, ahead)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("0, 30d", "square bracket"),
        ("(0 30d)", "square bracket"),
        ("(0, 30 days]", "square bracket|duration"),
        ("(0, 3q]", "duration such as"),
        ("[-inf, 0)", r"expected \(-inf"),
        ("(0, inf]", r"expected \(-inf"),
        ("(inf, 3)", r"expected \(-inf"),
        ("(30d, 2d]", "nothing can be in"),
        ("(0, 0]", "nothing can be in"),
        ("(25h, 1d]", "nothing can be in"),
    ],
)
def test_what_is_no_window_is_named(text: str, match: str) -> None:
    with pytest.raises(WindowError, match=match):
        window(text)


def test_a_duration_in_ticks() -> None:
    assert duration("36h").ticks("date", 1_000_000) == duration(1.5).ticks("date", 1_000_000) == 129_600_000_000
    assert duration(1.5).ticks("number", 10) == 15
    with pytest.raises(WindowError, match="leave the unit out"):
        duration("36h").ticks("number", 10)
    with pytest.raises(WindowError, match="longer than the store can count"):
        duration("9999999999999999y").ticks("date", 1_000_000)


@given(st.floats(-1e6, 1e6), st.sampled_from(["", "s", "min", "h", "d", "w", "y"]))
def test_a_duration_is_read_as_it_is_written(amount: float, unit: str) -> None:
    assert duration(f"{amount:.6f}{unit}") == Duration(float(f"{amount:.6f}"), unit or None)


@given(st.text(max_size=12))
def test_any_text_is_a_window_or_a_window_error(text: str) -> None:
    for read in (window, duration):
        try:
            found = read(text)
        except WindowError:
            continue
        assert not isinstance(found, Duration) or math.isfinite(found.amount)
