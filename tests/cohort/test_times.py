"""Times of any storage, against Python's own datetime."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.cohort.times import read_times
from medloom.errors import DataError


def times(values: pl.Series) -> tuple[np.ndarray, str]:
    return read_times(values, "cohort.at 'admitted'", pl.Series([f"row-{i}" for i in range(len(values))]))


def seconds(when: datetime) -> float:
    return (when - datetime(1970, 1, 1)) / timedelta(seconds=1)


WHEN = st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1))


@given(st.lists(st.one_of(WHEN, st.none()), min_size=1, max_size=8).filter(any), st.sampled_from(["T", " "]))
def test_text_dates_and_datetimes_agree_with_python(whens: list[datetime | None], between: str) -> None:
    text = pl.Series([None if when is None else when.isoformat(between) for when in whens])
    expected = [np.nan if when is None else seconds(when) for when in whens]
    for values in (text, pl.Series(whens, dtype=pl.Datetime("us"))):
        found, kind = times(values)
        assert kind == "date"
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29",
        " 2024-02-29 ",
        "2024-02-29 00:00",
        "2024-02-29T00:00",
        "2024-02-29T00:00:00",
        "2024-02-29 00:00:00.000",
    ],
)
def test_forms_of_a_date(text: str) -> None:
    assert times(pl.Series([text]))[0].tolist() == [seconds(datetime(2024, 2, 29))]


def test_dates_of_a_column_type() -> None:
    assert times(pl.Series([date(1969, 12, 31), None], dtype=pl.Date))[0].tolist()[0] == -86_400


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_any_resolution(unit: str) -> None:
    when = datetime(2024, 5, 1, 12, 30, 15, 250_000)
    assert times(pl.Series([when]).cast(pl.Datetime(unit)))[0].tolist() == [seconds(when)]  # type: ignore[arg-type]


def test_a_column_with_a_zone_is_read_as_utc() -> None:
    when = datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    values = pl.Series([when.astimezone(UTC)]).dt.convert_time_zone("Europe/Berlin")
    assert times(values)[0].tolist() == [when.timestamp()]


@given(st.lists(st.one_of(st.floats(-1e12, 1e12), st.integers(-(2**40), 2**40), st.none()), min_size=1, max_size=8))
def test_numbers_stay_what_they_are(numbers: list[float | int | None]) -> None:
    expected = [np.nan if number is None else float(number) for number in numbers]
    found, kind = times(pl.Series(numbers, dtype=pl.Float64))
    np.testing.assert_array_equal(found, expected)
    if any(number is not None for number in numbers):
        assert kind == "number"
        as_text, kind = times(pl.Series([None if number is None else repr(number) for number in numbers]))
        np.testing.assert_array_equal(as_text, expected)
        assert kind == "number"


def test_nothing_known() -> None:
    for values in (pl.Series([None, None]), pl.Series(["", " "])):
        assert np.isnan(times(values)[0]).all()


@pytest.mark.parametrize("text", ["2024-05-01T12:00:00Z", "2024-05-01T12:00:00+02:00", "2024-05-01 12:00:00-0500"])
def test_text_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"1 value is given with a zone: convert all to one zone.*\(rows 'row-1'\)"):
        times(pl.Series(["2024-05-01", text]))


@pytest.mark.parametrize("text", ["01/05/2024", "2024-13-01", "2024-02-30", "yesterday", "2024-05-01T25:00", "2024"])
def test_what_is_no_time_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(DataError, match="cohort.at 'admitted': 1 value is not a time") as caught:
        times(pl.Series(["2024-05-01", text, None]))
    assert text not in str(caught.value)


def test_only_five_rows_are_named() -> None:
    with pytest.raises(DataError, match="'row-4' and 4 more"):
        times(pl.Series(["never"] * 9))


def test_other_types_are_refused() -> None:
    with pytest.raises(DataError, match="found Boolean; expected dates"):
        times(pl.Series([True]))


def test_one_word_among_numbers_is_what_is_named() -> None:
    with pytest.raises(DataError, match=r"1 value is not a time \(rows 'row-2'\)"):
        times(pl.Series(["1.5", "", "soon", " 3", None]))
    with pytest.raises(DataError, match=r"2 values are not a time \(rows 'row-1', 'row-2'\)"):
        times(pl.Series(["2024-02-29", "1.5", "soon", "2024-03-01"]))
