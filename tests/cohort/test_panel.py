"""Rows of a forecast from a long table: what each sees, what it is asked, and what is refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from medloom.cohort.panel import with_panel
from medloom.cohort.table import read_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError

FIRST = dt.date(2021, 1, 2)


def _table(weeks: int = 30, places: tuple[str, ...] = ("A", "B"), **columns: Any) -> pl.DataFrame:
    parts = [
        pl.DataFrame(
            {
                "place": [place] * weeks,
                "week": [FIRST + dt.timedelta(7 * w) for w in range(weeks)],
                "cases": np.arange(weeks) + 100 * number,
                **columns,
            }
        )
        for number, place in enumerate(places)
    ]
    return pl.concat(parts)


def _part(**panel: Any) -> CohortPart:
    return CohortPart.model_validate(
        {"panel": {"series": "place", "time": "week", "value": "cases", "lags": 3, "transform": "none", **panel}}
    )


def _row(made: pl.DataFrame, place: str, week: int) -> dict[str, Any]:
    date = FIRST + dt.timedelta(7 * week)
    return made.filter((pl.col("place") == place) & (pl.col("date") == date)).row(0, named=True)


def test_a_row_sees_what_lies_before_its_date_and_is_asked_what_comes_from_it_on():
    row = _row(with_panel(_part(means=[4], season=10, across=True), _table()), "B", 20)
    assert row["last"] == 119 and row["level"] == 119 and row["age"] == 0
    assert [row["change_2"], row["change_3"], row["mean_4"], row["peak"]] == [1, 2, -1.5, 0]
    assert [row[f"last_season_{h}"] for h in (1, 4)] == [110, 113]
    assert [row["season_change_1"], row["season_level_1"]] == [110 - 109, 110 - 119]
    assert [row["across_level"], row["across_change_2"], row["above_across"]] == [69, 1, 50]
    assert [row[f"ahead_{h}"] for h in (1, 4)] == [120, 123]
    at = dt.datetime.combine(FIRST, dt.time()) + dt.timedelta(7 * 19)
    assert row["newest"] == at and row["answered"] == at + dt.timedelta(7 * 4)
    assert row["forecast"] == "B 2021-05-22"


def test_nothing_from_the_date_on_reaches_a_column_that_is_read():
    part = _part(covariates=["warm"], season=10, across=True, covariate_means=[2])
    table = _table(warm=np.arange(30) * 0.1)
    late = pl.col("week") >= FIRST + dt.timedelta(7 * 20)
    shifted = table.with_columns(
        pl.when(late).then(pl.col(n) + 10**6).otherwise(pl.col(n)).alias(n) for n in ("cases", "warm")
    )
    one, other = (_row(with_panel(part, t), "A", 20) for t in (table, shifted))
    differ = {name for name in one if one[name] != other[name]}
    assert differ == {"ahead_1", "ahead_2", "ahead_3", "ahead_4"}


def test_a_row_sees_the_version_that_was_published_before_its_date():
    table = _table(6, ("A",)).with_columns(as_of=pl.col("week") + pl.duration(days=3))
    revised = table.filter(pl.col("cases") == 3).with_columns(
        cases=pl.lit(33, pl.Int64), as_of=pl.col("week") + pl.duration(days=10)
    )
    again = table.filter(pl.col("cases") == 2).with_columns(as_of=pl.col("week") + pl.duration(days=28))
    part = _part(as_of="as_of", horizons=1)
    made = with_panel(part, pl.concat([table, revised, again]).sample(fraction=1.0, shuffle=True, seed=3))
    assert [_row(made, "A", week)["last"] for week in (4, 5)] == [3, 4]
    assert [_row(made, "A", 5)["change_2"], _row(made, "A", 6)["change_3"]] == [4 - 33, 5 - 33]
    asked = _row(made, "A", 3)
    assert asked["ahead_1"] == 33 and asked["answered"].date() == FIRST + dt.timedelta(7 * 3 + 10)
    # A version that repeats the one before changed nothing: the value was known as it is from the first one on.
    assert _row(made, "A", 3)["newest"].date() == FIRST + dt.timedelta(7 * 2 + 3)
    # Published on the day of the forecast is not before it.
    same_day = with_panel(part, table.with_columns(as_of=pl.col("week") + pl.duration(days=7)))
    assert _row(same_day, "A", 4)["last"] == 2 and _row(same_day, "A", 4)["age"] == 1


def test_before_the_first_vintage_there_are_rows_only_where_that_is_declared():
    table = _table(20, ("A",)).with_columns(as_of=pl.lit(FIRST + dt.timedelta(7 * 15)))
    held = with_panel(_part(as_of="as_of"), table.filter(pl.col("cases") <= 15))
    assert held["date"].min().date() == FIRST + dt.timedelta(7 * 16)
    declared = with_panel(_part(as_of="as_of", timely_before_vintages=True), table.filter(pl.col("cases") <= 15))
    assert declared["date"].min().date() == FIRST + dt.timedelta(7 * 3) and _row(declared, "A", 8)["last"] == 7


def test_gaps_are_unknown_and_not_filled():
    table = _table(20, ("A",)).filter(~pl.col("cases").is_in([9, 12]))
    made = with_panel(_part(), table)
    assert _row(made, "A", 10)["last"] == 8 and _row(made, "A", 10)["age"] == 1
    assert _row(made, "A", 11)["change_2"] is None and _row(made, "A", 11)["change_3"] == 2
    assert _row(made, "A", 9)["ahead_1"] is None and _row(made, "A", 9)["ahead_4"] is None


def test_the_last_date_is_the_one_after_the_data_and_its_answers_are_not_yet_known():
    made = with_panel(_part(), _table())
    row = _row(made, "A", 30)
    assert row["last"] == 29 and row["answered"] is None and all(row[f"ahead_{h}"] is None for h in range(1, 5))
    assert _row(made, "A", 28)["ahead_2"] == 29 and _row(made, "A", 28)["ahead_3"] is None


def test_rates_and_what_lasts_come_from_the_series():
    table = _table(region="north").with_columns(people=pl.when(pl.col("place") == "A").then(50_000).otherwise(200_000))
    made = with_panel(_part(per="people", static=["region"], transform="log1p"), table)
    assert _row(made, "A", 10)["level"] == pytest.approx(np.log1p(9 * 2)) and _row(made, "B", 10)["region"] == "north"
    assert _row(made, "B", 10)["level"] == pytest.approx(np.log1p(109 / 2))


def test_what_is_known_ahead_is_seen_at_the_horizons():
    ahead = _table(34, ("A",), holiday=np.arange(34) % 2).with_columns(
        pl.when(pl.col("cases") < 30).then(pl.col("cases")).alias("cases")
    )
    row = _row(with_panel(_part(known_ahead=["holiday"]), ahead), "A", 29)
    assert [row[f"holiday_ahead_{h}"] for h in (1, 2, 3, 4)] == [1, 0, 1, 0]
    with pytest.raises(DataError, match=r"'holiday' is not known at all 4 horizons of 4 rows"):
        with_panel(_part(known_ahead=["holiday"]), ahead.head(30))


def test_numbers_serve_as_times_and_start_and_end_bound_the_dates():
    table = _table().with_columns(week=pl.int_range(pl.len()).over("place"))
    made = with_panel(_part(step=1, start="10", end="12"), table)
    assert made["date"].unique().sort().to_list() == [10, 11, 12] and "year_sine_1" not in made.columns
    assert made["forecast"][0] == "A 10"


def test_listed_steps_are_those_of_an_even_grid_where_it_is_one():
    bounds = {"start": "2021-03-01", "end": "2021-06-26", "horizons": 2}
    even, listed = (with_panel(_part(step=step, **bounds), _table()).drop("dates") for step in (7, "listed"))
    assert even.equals(listed) and even["date"].n_unique() == 17


def test_months_are_steps_one_after_the_other_and_the_next_one_is_a_usual_one_long():
    months = [dt.date(2020 + m // 12, m % 12 + 1, 1) for m in range(30)]
    made = with_panel(
        _part(step="listed", horizons=2, season=12), _table().with_columns(week=pl.Series(months * 2)).sort("cases")
    )
    rows = made.filter(pl.col("place") == "B")
    assert rows["date"].dt.date().to_list() == [*months[3:], dt.date(2022, 7, 2)]
    row = rows.filter(pl.col("date").dt.date() == dt.date(2022, 3, 1)).row(0, named=True)
    assert [row["last"], row["ahead_1"], row["ahead_2"], row["last_season_1"]] == [125, 126, 127, 114]
    assert row["newest"] == dt.datetime(2022, 2, 1) and row["answered"] == dt.datetime(2022, 4, 1)
    assert rows["dates"].n_unique() == len(rows)
    between = _part(step="listed", start="2021-01-02", end="2021-03-01")
    found = with_panel(between, _table().with_columns(week=pl.Series(months * 2)))
    assert found["date"].dt.date().unique().sort().to_list() == [dt.date(2021, 2, 1), dt.date(2021, 3, 1)]


def test_dates_of_a_cluster_have_one_patient_code_in_any_data():
    part = _part(cluster=4)
    whole, later = (
        with_panel(part, _table()),
        with_panel(part, _table().filter(pl.col("week") > FIRST + dt.timedelta(30))),
    )
    both = later.join(whole, on="forecast", suffix="_whole")
    assert (both["dates"] == both["dates_whole"]).all() and len(both) == len(later)
    assert whole.group_by("dates").agg(pl.col("date").n_unique())["date"].max() == 4


def test_the_cohort_has_its_ids_times_and_answers_times():
    cohort = read_cohort(_part(), Path(), data=_table())
    assert cohort.row[0] == "A 2021-01-23" and cohort.answered is not None and cohort.at is not None
    known = ~np.isnan(cohort.answered)
    assert (cohort.answered[known] >= cohort.at[known]).all() and (~known).sum() == 2


@pytest.mark.parametrize(
    ("change", "panel", "told"),
    [
        (lambda t: pl.concat([t, t.head(1)]), {}, r"1 line repeats a series and time \(lines '62'\)"),
        (lambda t: t.with_columns(cases=-pl.col("cases")), {"transform": "sqrt"}, "column 'cases': 59 values are negative"),
        (lambda t: t.with_columns(week=pl.when(pl.col("cases") == 3).then(pl.col("week") + pl.duration(days=2)).otherwise("week")), {}, 'not a whole number of steps .* or step = "listed"'),
        (lambda t: t.filter(pl.col("cases") % 100 != 9), {"step": "listed"}, "line 11 follows only after 14 days, where 7 are usual .1 such step"),
        (lambda t: t.with_columns(week=pl.when(pl.col("place") == "A").then(pl.col("week") + pl.duration(days=2)).otherwise("week")), {"step": "listed"}, "all series need the same times"),
        (lambda t: t.filter((pl.col("place") == "A") | (pl.col("cases") < 102)), {}, "1 series is shorter than lags = 3"),
        (lambda t: t.with_columns(cases=pl.lit("many")), {}, "60 values that are no finite numbers"),
        (lambda t: t.drop("week"), {}, "no column 'week'"),
        (lambda t: t.with_columns(week=pl.lit(None, pl.Date)), {}, "have no series or no time"),
        (lambda t: t.with_columns(region=pl.col("cases") % 2), {"static": ["region"]}, "'region' changes within 2 series"),
        (lambda t: t.with_columns(people=0), {"per": "people"}, "must be a number above 0"),
        (lambda t: t, {"season": 3}, "season must be at least as long as horizons"),
        (lambda t: t, {"start": "2030-01-01"}, "no forecast date has a known value before it"),
        (lambda t: t.with_columns(level=1.0), {"static": ["level"]}, "two columns 'level'"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_with_a_word_on_what_to_do(change, panel, told):
    with pytest.raises(DataError, match=told):
        with_panel(_part(**panel), change(_table()))
