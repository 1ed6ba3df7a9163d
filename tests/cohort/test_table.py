"""Rows, patients and index times of one table."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.cohort.table import Cohort, canonical, make_cohort, read_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError

FRAME = pl.DataFrame(
    {
        "stay": [11, 12, 13, 14],
        "patient": ["b", "a", "b", "c"],
        "admitted": ["2024-01-01", "2024-01-02 06:00", "2024-01-03", "2024-01-04"],
        "ward": [1.0, 2.0, 1.0, None],
        "age": [50, 60, None, 80],
    }
)
PART = CohortPart(row="stay", patient="patient", at="admitted", site="ward")


def made(frame: pl.DataFrame = FRAME, **changes: Any) -> Cohort:
    return make_cohort(PART.model_copy(update=changes), frame, Path(), {})


def test_a_cohort_holds_ids_patients_times_and_sites() -> None:
    cohort = made()
    assert len(cohort) == 4
    assert cohort.row.to_list() == ["11", "12", "13", "14"]
    assert cohort.patient_id.to_list() == ["b", "a", "b", "c"]
    assert cohort.patient.tolist() == [1, 0, 1, 2]
    assert cohort.at is not None
    assert (np.diff(cohort.at) / 3600).tolist() == [30, 18, 24]
    assert cohort.at_kind == "date"
    assert cohort.site is not None
    assert cohort.site.to_list() == ["1", "2", "1", None]


def test_without_columns_rows_are_numbered_and_each_is_a_patient() -> None:
    cohort = make_cohort(CohortPart(independent_rows=True), FRAME, Path(), {})
    assert cohort.row.to_list() == cohort.patient_id.to_list() == ["1", "2", "3", "4"]
    assert len(set(cohort.patient.tolist())) == 4
    assert cohort.at is cohort.site is cohort.at_kind is None


def test_taking_rows_takes_all_of_them_in_order() -> None:
    rows = np.array([3, 0, 0])
    taken = made().take(rows)
    assert taken.row.to_list() == ["14", "11", "11"]
    assert taken.frame["age"].to_list() == [80, 50, 50]
    assert taken.patient.tolist() == [2, 1, 1]
    assert taken.patient_id.to_list() == ["c", "b", "b"]
    assert taken.at is not None
    assert taken.at.tolist() == made().at[rows].tolist()  # type: ignore[index]
    assert taken.site is not None
    assert taken.site.to_list() == [None, "1", "1"]


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=30))
def test_patient_codes_are_equal_where_patients_are(patients: list[str]) -> None:
    frame = pl.DataFrame({"patient": patients})
    codes = make_cohort(CohortPart(patient="patient"), frame, Path(), {}).patient
    assert sorted(set(codes.tolist())) == list(range(len(set(patients))))
    for i, one in enumerate(patients):
        for j, other in enumerate(patients):
            assert (codes[i] == codes[j]) == (one == other)


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (
            FRAME.with_columns(stay=pl.Series([1, 2, 2, 1])),
            "cohort.row: 2 ids stand on several rows of 'stay' .*give it as cohort.patient",
        ),
        (FRAME.with_columns(stay=pl.Series(["a", "a ", "b", "c"])), "1 ids stand on several rows"),
        (
            FRAME.with_columns(stay=pl.Series(["a", "b", None, " "])),
            r"cohort.row: 2 rows have no id in 'stay' \(lines '4', '5'\)",
        ),
        (
            FRAME.with_columns(patient=pl.Series(["a", None, "", "b"])),
            r"cohort.patient: 2 rows have no patient .*\(rows '12', '13'\)",
        ),
        (
            FRAME.with_columns(admitted=pl.Series(["2024-01-01", None, "", "2024-01-01"])),
            "cohort.at: 2 rows have no index time .*'12', '13'",
        ),
        (FRAME.with_columns(admitted=pl.Series([1.0, float("nan"), 2, 3])), "cohort.at: 1 row has no index time"),
        (FRAME.with_columns(admitted=pl.lit("2024-01-01T00:00Z")), "zone"),
        (
            FRAME.drop("patient").rename({"age": "patent"}),
            "cohort.patient: no column 'patient' in the table; did you mean 'patent'",
        ),
    ],
)
def test_what_does_not_fit(frame: pl.DataFrame, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        made(frame)


def test_a_unit_of_times_goes_with_numbers() -> None:
    with pytest.raises(DataError, match="cohort.time_unit: 'admitted' holds dates"):
        made(time_unit="days")
    assert made(FRAME.with_columns(admitted=pl.Series([1.0, 2, 3, 4])), time_unit="hours").at_kind == "number"
    with pytest.raises(ValueError, match="time_unit says what index times count"):
        CohortPart(row="stay", patient="patient", time_unit="days")


def test_all_missing_columns_are_named_at_once() -> None:
    with pytest.raises(DataError) as caught:
        made(FRAME.select("age"))
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "cohort.row",
        "cohort.patient",
        "cohort.at",
        "cohort.site",
    ]


def test_a_column_that_is_not_there_answers_with_the_nearest() -> None:
    assert made().column("age", "inputs.labs").to_list() == [50, 60, None, 80]
    with pytest.raises(DataError, match="inputs.labs: no column 'agee' in the table; did you mean 'age'"):
        made().column("agee", "inputs.labs")


@pytest.mark.parametrize("kind", ["polars", "pandas", "arrow", "dict"])
def test_frames_of_any_library(kind: str) -> None:
    plain = FRAME.to_dict(as_series=False)
    data = {"polars": FRAME, "pandas": pd.DataFrame(plain), "arrow": pa.table(plain), "dict": plain}[kind]
    cohort = read_cohort(PART, Path("nowhere"), data=data)
    assert cohort.row.to_list() == ["11", "12", "13", "14"]
    assert cohort.site is not None
    assert cohort.site.to_list() == ["1", "2", "1", None]


@pytest.mark.parametrize("name", ["stays.csv", "stays.parquet", "stays.arrow"])
def test_a_table_is_found_beside_the_study(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    {"csv": FRAME.write_csv, "parquet": FRAME.write_parquet, "arrow": FRAME.write_ipc}[path.suffix[1:]](path)
    cohort = read_cohort(PART.model_copy(update={"table": name}), tmp_path)
    same = read_cohort(PART, tmp_path / "elsewhere", data=path)
    for found in (cohort, same, read_cohort(PART, tmp_path, data=str(path))):
        assert found.row.to_list() == ["11", "12", "13", "14"]
        assert found.patient.tolist() == [1, 0, 1, 2]
    assert cohort.folder == tmp_path


def test_ids_of_a_csv_keep_their_zeros(tmp_path: Path) -> None:
    (tmp_path / "stays.csv").write_text("stay,patient,code,age\n001,007,010,5\n002,008,011,6\n")
    part = CohortPart(table="stays.csv", row="stay", patient="patient")
    cohort = read_cohort(part, tmp_path, text=frozenset({"code"}))
    assert cohort.row.to_list() == ["001", "002"]
    assert cohort.patient_id.to_list() == ["007", "008"]
    assert cohort.frame["code"].to_list() == ["010", "011"]
    assert cohort.frame["age"].to_list() == [5, 6]


def test_no_table_and_no_frame() -> None:
    with pytest.raises(DataError, match="names no cohort.table; give one, or pass a frame"):
        read_cohort(PART, Path())


def test_tables_of_inputs_may_be_frames(tmp_path: Path) -> None:
    cohort = read_cohort(
        PART, tmp_path, data=FRAME, tables={"labs": pd.DataFrame({"x": [1]}), "ecg": tmp_path / "ecg.csv"}
    )
    assert {name: type(table) for name, table in cohort.tables.items()} == {"labs": pl.DataFrame}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([1, 0, None]), ["1", "0", None]),
        (pl.Series([1.0, 0.0, -3.0]), ["1", "0", "-3"]),
        (pl.Series([1.5, None, float("nan")]), ["1.5", None, None]),
        (pl.Series(["1", " 1 ", "", "  ", None]), ["1", "1", None, None, None]),
        (pl.Series([True, False, None]), ["true", "false", None]),
        (pl.Series(["f", "m"], dtype=pl.Categorical), ["f", "m"]),
        (pl.Series([date(2024, 1, 2)]), ["2024-01-02"]),
        (pl.Series([2**60 + 1]), [str(2**60 + 1)]),
        (pl.Series([1.0, 2.0], dtype=pl.Float32), ["1", "2"]),
        (pl.Series([None, None]), [None, None]),
    ],
    ids=str,
)
def test_canonical(values: pl.Series, expected: list[str | None]) -> None:
    found = canonical(values.alias("label"))
    assert found.to_list() == expected
    assert found.dtype == pl.String
    assert found.name == "label"


@given(st.lists(st.one_of(st.integers(-(2**53), 2**53), st.none()), min_size=1, max_size=10))
def test_canonical_does_not_depend_on_storage(labels: list[int | None]) -> None:
    expected = [None if label is None else str(label) for label in labels]
    stored = [None if label is None else f" {label}" for label in labels]
    for values in (
        pl.Series(labels, dtype=pl.Int64),
        pl.Series(labels, dtype=pl.Float64),
        pl.Series(stored, dtype=pl.String),
    ):
        assert canonical(values).to_list() == expected


@given(st.text(max_size=10))
def test_canonical_twice_is_canonical_once(text: str) -> None:
    once = canonical(pl.Series([text]))
    assert canonical(once).to_list() == once.to_list()


def test_a_person_of_several_patients_stays_together_and_events_are_still_of_the_patient() -> None:
    frame = pl.DataFrame({"stay": ["1", "2", "3"], "who": ["b", "a", "b"]})
    part = CohortPart(row="stay", patient="stay", person="who")
    cohort = make_cohort(part, frame, Path(), {})
    assert cohort.patient.tolist() == [1, 0, 1] and cohort.patient_id.to_list() == ["b", "a", "b"]
    assert cohort.record.to_list() == ["1", "2", "3"]
    assert cohort.take(np.array([2, 0])).record.to_list() == ["3", "1"]
    plain = make_cohort(CohortPart(row="stay", patient="who"), frame, Path(), {})
    assert plain.record.to_list() == plain.patient_id.to_list()
    with pytest.raises(DataError, match="cohort.person: 1 row has no person in 'who'"):
        make_cohort(part, frame.with_columns(who=pl.Series(["b", None, "b"])), Path(), {})
    with pytest.raises(DataError, match="cohort.person: no column 'whom'"):
        make_cohort(CohortPart(row="stay", patient="stay", person="whom"), frame, Path(), {})
    with pytest.raises(ValueError, match="give cohort.patient"):
        CohortPart(independent_rows=True, person="who")
