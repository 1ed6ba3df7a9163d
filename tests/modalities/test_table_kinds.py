"""What columns of a table may hold, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from medloom.errors import DataError
from medloom.modalities.table import Table, columns
from medloom.modalities.table.kinds import parse
from tests.modalities.table_rows import cohort_of, fitted_on, options_of

AT = ["2024-03-01", "2024-03-01 12:00", "2024-03-01", "2024-03-01"]


def numbers(values: Any, at: list[str] | None = None, missing: tuple[Any, ...] = (), **column: Any) -> list[float]:
    options = options_of({"x": column}, missing=missing)
    return columns.read(options, cohort_of({"x": values}, at)).number[:, 0].tolist()


def refused(why: str, values: Any, at: list[str] | None = None, **column: Any) -> None:
    with pytest.raises(DataError, match=why):
        numbers(values, at, **column)


def test_booleans() -> None:
    for values in (["yes", "no", "TRUE", None], ["1", "0", "Yes", ""], [True, False, True, None], [1, 0, 1, None]):
        np.testing.assert_equal(numbers(values, kind="boolean"), [1.0, 0.0, 1.0, np.nan])
    np.testing.assert_equal(numbers(["yes", "?"], missing=("?",), kind="boolean"), [1.0, np.nan])
    refused(
        "'x': 2 values are none of true, false, yes, no, 1, 0 \\(rows '2', '3'\\)", ["no", "maybe", "2"], kind="boolean"
    )


def test_ordinals() -> None:
    order = ["mild", "moderate", "severe"]
    np.testing.assert_equal(numbers(["severe", "mild", None], kind="ordinal", order=order), [2.0, 0.0, np.nan])
    np.testing.assert_equal(numbers([3, 1, 2], kind="ordinal", order=[1, 2, 3]), [2.0, 0.0, 1.0])
    refused("'x': 1 value is not a level of its order \\(rows '2'\\)", ["mild", "dire"], kind="ordinal", order=order)


def test_dates_are_days_before_the_index_time() -> None:
    values = ["2024-02-29", "2024-03-01 06:00", "2024-03-01", None]
    options = options_of({"x": {"kind": "datetime"}, "y": {"kind": "numeric"}})
    cohort = cohort_of({"x": values, "y": [1.0] * 4}, AT)
    table, source = fitted_on(options, cohort)
    np.testing.assert_equal(source.packed.arrays["number"][1:, 0], [-1.0, -0.25, np.nan, np.nan])
    assert table.late == (1,)
    assert table.describe()["x: dates at or after the index time, read as missing"] == "1"
    assert [(p.row, p.text) for p in table.problems(source, cohort)] == [(2, "x: at or after the index time")]


def test_dates_without_an_index_time_are_refused() -> None:
    refused("read as days before the index time, and there is none; give cohort.at", ["2024-01-01"], kind="datetime")
    refused("holds numbers and cohort.at holds dates", [4, 5, 6, 7], AT, kind="datetime")
    refused("1 value is not a date \\(rows '2'\\)", ["2024-01-01", "soon", None, None], AT, kind="datetime")


def test_durations() -> None:
    values = ["3 d", "12:30", "P3DT4H", "90min", "2 weeks", "P1W", "PT1.5S", "36 Hours", None, "0:00:30"]
    hours = [72, 12.5, 76, 1.5, 336, 168, 1.5 / 3600, 36, np.nan, 30 / 3600]
    np.testing.assert_allclose(numbers(values, kind="duration", unit="h"), hours)
    np.testing.assert_allclose(numbers(values, kind="duration"), np.array(hours) / 24)
    np.testing.assert_allclose(numbers(["2.5", "P1D"], kind="duration", unit="h"), [2.5, 24])
    np.testing.assert_allclose(numbers([2, 3], kind="duration", unit="week"), [2, 3])
    as_durations = pl.Series([90_000_000, None]).cast(pl.Duration("us"))
    np.testing.assert_equal(numbers(as_durations, kind="duration", unit="s"), [90.0, np.nan])


@pytest.mark.parametrize("word", ["P2M", "P", "PT", "1:75", "3 fortnights", "soon", "-3 d", "P1DT", "d"])
def test_what_is_no_duration_is_refused(word: str) -> None:
    refused("1 value is not a duration \\(rows '2'\\); expected such as 3 d", ["1 d", word], kind="duration")


def test_plain_numbers_are_no_duration_without_a_unit() -> None:
    refused("plain numbers.*give x = . unit = .h. .", ["1 d", "4"], kind="duration")
    refused("outside 0 to 48 h", ["1 d", "3 d"], kind="duration", unit="h", range=[0, 48])


def test_mend_makes_missing_what_read_refuses_and_names_it() -> None:
    options = options_of(
        {
            "flag": {"kind": "boolean"}, "level": {"kind": "ordinal", "order": ["a", "b"]}, "stay": {"kind": "duration"},
            "born": {"kind": "datetime"}, "gone": {"kind": "duration"}, "lab": {"kind": "numeric", "range": [0, 9]},
        }
    )  # fmt: skip
    cohort = cohort_of(
        {
            "flag": ["yes", "maybe", "no"], "level": ["b", "c", "a"], "stay": ["1 d", "4", "long"],
            "born": ["2024-01-01", "x", None], "lab": ["1", "12", "!"],
        },
        AT[:3],
    )  # fmt: skip
    mended, problems = columns.mend(options, cohort)
    assert sorted((p.row, p.text) for p in problems if "column missing" not in p.text) == [
        (1, "born: not a date"), (1, "flag: not true or false"), (1, "lab: outside its range"),
        (1, "level: not a level of its order"), (1, "stay: no unit"), (2, "lab: not a number"), (2, "stay: not a duration"),
    ]  # fmt: skip
    assert len(problems) == 10
    read = columns.read(options, mended).number
    np.testing.assert_equal(read[:, :3], [[1, 1, 1], [np.nan] * 3, [0, 0, np.nan]])
    np.testing.assert_equal(read[:, 3:], [[-60, np.nan, 1], [np.nan] * 3, [np.nan] * 3])


def test_units_are_converted() -> None:
    pytest.importorskip("pint")
    glucose = {"kind": "numeric", "unit_in": "mg/dL", "unit": "mmol/L", "molar_mass": 180.156}
    np.testing.assert_allclose(numbers([180.156, 90.078, None], **glucose), [10.0, 5.0, np.nan])
    back = {"kind": "numeric", "unit_in": "mmol/L", "unit": "mg/dL", "molar_mass": 180.156}
    np.testing.assert_allclose(numbers(["10", "?"], missing=("?",), **back), [180.156, np.nan])
    np.testing.assert_allclose(numbers([98.6], kind="numeric", unit_in="degF", unit="degC"), [37.0])
    np.testing.assert_allclose(numbers([100], kind="numeric", unit_in="mmHg", unit="kPa"), [13.33224], rtol=1e-5)
    refused("outside 0 to 50 mmol/L", [180.156 * 6], range=[0, 50], **glucose)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ({"unit_in": "mg/dL", "unit": "mmol/L"}, "give molar_mass"),
        ({"unit_in": "mg/dL", "unit": "g/L", "molar_mass": 18.0}, "take molar_mass out"),
        ({"unit_in": "blorgs", "unit": "g"}, "'blorgs' is no unit that pint knows"),
        ({"unit_in": "mg/dL", "unit": "mmHg"}, "measure different things"),
    ],
)
def test_units_that_do_not_fit_are_mistakes_of_the_study(column: dict[str, Any], why: str) -> None:
    pytest.importorskip("pint")
    with pytest.raises(ValueError, match=why):
        options_of({"x": {"kind": "numeric", **column}})


def test_a_factor_needs_no_package() -> None:
    np.testing.assert_allclose(numbers([10, -1, None], missing=(-1,), kind="numeric", factor=0.1), [1, np.nan, np.nan])


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ({"kind": "ordinal"}, "needs order"),
        ({"kind": "numeric", "order": ["a", "b"]}, "goes with no other kind"),
        ({"kind": "ordinal", "order": ["a", "a"]}, "all different"),
        ({"kind": "category", "range": [0, 1]}, "range goes with"),
        ({"kind": "duration", "unit": "month"}, "expected one of s, min, h, d, week"),
        ({"kind": "boolean", "factor": 2.0}, "factor goes with numeric"),
        ({"kind": "numeric", "unit_in": "g"}, "needs both unit_in"),
        ({"kind": "numeric", "factor": 2.0, "molar_mass": 2.0}, "stands in place of molar_mass"),
    ],
)
def test_columns_that_make_no_sense(column: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        options_of({"x": column})


def test_storage_types_that_name_their_kind() -> None:
    cohort = cohort_of({"flag": [True, None], "day": pl.Series(["2020-01-01", None]).str.to_date()})
    whole = Table.complete(options_of({}, exclude=("day",)), cohort, frozenset())
    assert {name: column.kind for name, column in whole.columns.items()} == {"flag": "boolean"}
    with pytest.raises(DataError, match='declare kind = "datetime"'):
        Table.complete(options_of({}), cohort, frozenset())


def test_late_dates_are_missing_before_any_range_is_looked_at() -> None:
    options = options_of({"x": {"kind": "datetime", "range": [-10, 0]}})
    parsed = parse("x", options, cohort_of({"x": ["2025-01-01", "2020-01-01"]}, AT[:2]))
    assert parsed.late.tolist() == [True, False] and [b.rows.tolist() for b in parsed.broken] == [[False, True]]
