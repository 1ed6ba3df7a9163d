from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.ingest.times import NO_DAY, TWICE, UNREADABLE, kind_of, look_like_dates, read_ticks

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31)).map(
    lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)
)
OFFSETS = st.integers(-12 * 4, 12 * 4).map(lambda quarter: timezone(timedelta(minutes=15 * quarter)))


LAST = time(23, 59, 59, 999_999)


def micro(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@given(moments=st.lists(st.tuples(MOMENTS, OFFSETS, st.sampled_from(["T", " "])), min_size=1, max_size=20))
def test_every_way_of_writing_a_moment_is_that_moment(moments) -> None:
    written = [moment.replace(tzinfo=zone).isoformat(sep=sep) for moment, zone, sep in moments]
    ticks = read_ticks(pl.Series(written), "date", None, None)
    assert ticks.time.to_list() == [micro(moment.replace(tzinfo=zone)) for moment, zone, _ in moments]
    assert (ticks.zoned, ticks.local, ticks.days) == (len(moments), 0, 0)


@given(moments=st.lists(st.tuples(MOMENTS, st.sampled_from(["T", " "]), st.booleans()), min_size=1, max_size=20))
def test_times_without_a_zone_and_days(moments) -> None:
    written = [str(moment.date()) if day else moment.isoformat(sep=sep) for moment, sep, day in moments]
    meant = [datetime.combine(moment.date(), LAST) if day else moment for moment, _, day in moments]
    ticks = read_ticks(pl.Series(written), "date", None, None)
    assert ticks.time.to_list() == [micro(moment.replace(tzinfo=UTC)) for moment in meant]
    assert ticks.days == sum(day for *_, day in moments) and ticks.zoned == 0


@settings(max_examples=40)
@given(text=st.text(max_size=12))
def test_no_text_is_read_as_a_time_without_being_one(text: str) -> None:
    ticks = read_ticks(pl.Series([text, "2020-01-01"]), "date", None, None)
    if ticks.time[0] is not None:
        assert any(letter.isdigit() for letter in text)
    elif text.strip():
        assert ticks.reason[0] in (UNREADABLE, NO_DAY)
    assert ticks.time[1] == micro(datetime.combine(date(2020, 1, 1), LAST, UTC))


@pytest.mark.parametrize(
    ("values", "form", "expected"),
    [
        (pl.Series([date(2020, 1, 2), None]), None, [datetime.combine(date(2020, 1, 2), LAST), None]),
        (pl.Series([datetime(2020, 1, 2, 3)]), None, [datetime(2020, 1, 2, 3)]),
        (pl.Series(["31/12/2020 08:15"]), "%d/%m/%Y %H:%M", [datetime(2020, 12, 31, 8, 15)]),
        (pl.Series([20201231, None]), "%Y%m%d", [datetime.combine(date(2020, 12, 31), LAST), None]),
        (pl.Series(["1950-2-3"]), None, [datetime.combine(date(1950, 2, 3), LAST)]),
    ],
)
def test_dates_of_any_storage(values, form, expected) -> None:
    found = read_ticks(values, "date", form, None)
    assert found.time.to_list() == [None if t is None else micro(t.replace(tzinfo=UTC)) for t in expected]
    assert found.reason.null_count() == len(values)


def test_an_hour_that_the_zone_has_twice_or_not_at_all_is_broken() -> None:
    found = read_ticks(
        pl.Series(["2020-10-25 02:30:00", "2020-03-29 02:30:00", "2020-10-25 04:00:00"]), "date", None, "Europe/Berlin"
    )
    assert found.reason.to_list() == [TWICE, TWICE, None]
    assert found.time[2] == micro(datetime(2020, 10, 25, 3, tzinfo=UTC))


def test_numbers() -> None:
    found = read_ticks(pl.Series(["1", " 2.5", "", "x", "nan", "1e300"]), "number", None, None)
    assert found.time.to_list() == [1_000_000, 2_500_000, None, None, None, None]
    assert found.reason.to_list() == [None, None, None, UNREADABLE, UNREADABLE, UNREADABLE]


def test_what_times_are() -> None:
    assert [kind_of(pl.Series(v)) for v in (["1", ""], ["1", "x"], [1.5], [date(2020, 1, 1)], [None], ["", " "])] == [
        "number", "date", "number", "date", None, None,
    ]  # fmt: skip
    assert look_like_dates(pl.Series([20200131, 202001311830, 20200131183005]))
    assert not look_like_dates(pl.Series([20201331, 20200100])) and not look_like_dates(pl.Series([20200131, 5]))


def test_a_day_of_a_zone_ends_there() -> None:
    found = read_ticks(pl.Series(["2020-07-01"]), "date", None, "Europe/Berlin")
    assert found.time[0] == micro(datetime(2020, 7, 1, 21, 59, 59, 999_999, tzinfo=UTC))
