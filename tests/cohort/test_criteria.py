"""Inclusion and exclusion: who stays, in which order, and what is said of who does not."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from medloom.cohort.criteria import flow
from medloom.cohort.table import read_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, StudyError
from medloom.run import fit
from medloom.study import make
from medloom.study_text import dump_toml
from tests.cases.made import COHORT, TABLE, _cohort, _study

FRAME = pl.DataFrame(
    {
        "patient": ["a", "a", "b", "c", "d", "e"],
        "age": [30.0, 31.0, 15.0, None, float("nan"), 70.0],
        "ward": ["icu", "er", "icu", None, "er", "icu"],
        "alive": [True, False, True, True, None, True],
        "day": [date(2020, 1, day) for day in range(1, 7)],
        "out": [date(2020, 1, 3)] * 6,
    }
)


def _held(where: str, kind: str = "include") -> list[int]:
    part = CohortPart.model_validate({"patient": "patient", kind: [{"name": "one", "where": where}]})
    return flow(part, FRAME)[0].arg_true().to_list()


@pytest.mark.parametrize(
    ("where", "held"),
    [
        ("age >= 18", [0, 1, 5]),
        ("not age >= 18", [2]),
        ("age is null", [3, 4]),
        ("age is not null", [0, 1, 2, 5]),
        ("ward in ['icu']", [0, 2, 5]),
        ("ward not in ['icu']", [1, 4]),
        ("alive == true", [0, 2, 3, 5]),
        ("day >= '2020-01-05'", [4, 5]),
        ("day <= out", [0, 1, 2]),
        ("age > 100 or ward == 'er'", [1, 4]),
        ("age < 100 and ward == 'er'", [1]),
        ("age == 30 or age == 70", [0, 5]),
    ],
)
def test_who_is_included(where, held):
    assert _held(where) == held


def test_an_exclusion_leaves_out_only_what_it_meets_for_certain():
    assert _held("age >= 18", "exclude") == [2, 3, 4]


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("ages >= 18", "cohort.include 'one': no column 'ages' in the table; did you mean 'age'"),
        ("age == 'old'", "'age' holds numbers, and is compared with 'old'"),
        ("ward == 1", "'ward' holds text, and is compared with 1.0 \\(text stands in quotes\\)"),
        ("age == true", "holds numbers, and is compared with True"),
        ("day > 'monday'", "expected 'YYYY-MM-DD'"),
        ("day > age", "'day' holds times and 'age' numbers"),
        ("age > 200", "no row is left after 'one', which took the last 6 rows"),
    ],
)
def test_conditions_that_do_not_fit_the_table(where, told):
    with pytest.raises(DataError, match=told):
        _held(where)


def test_the_flow_counts_rows_patients_and_what_is_unknown():
    part = CohortPart.model_validate(
        {
            "patient": "patient",
            "include": [{"name": "adults", "where": "age >= 18"}, {"name": "seen", "where": "day > '2020-01-01'"}],
            "exclude": [{"name": "dead", "where": "alive == false"}],
        }
    )
    steps = flow(part, FRAME)[1]
    assert [(s.name, s.rows, s.patients, s.left_out, s.unknown) for s in steps] == [
        ("in the table", 6, 5, 0, 0),
        ("adults", 3, 2, 3, 2),
        ("seen", 2, 2, 1, 0),
        ("dead", 1, 1, 1, 0),
    ]


def test_rows_without_an_id_keep_the_number_of_their_line():
    part = CohortPart.model_validate({"patient": "patient", "include": [{"name": "icu", "where": "ward == 'icu'"}]})
    assert read_cohort(part, Path(), data=FRAME).row.to_list() == ["1", "3", "6"]


def test_mistakes_are_told_with_the_study_and_their_place():
    raw = {
        "name": "x",
        "cohort": {**COHORT, "include": [{"name": "a", "where": "age => 18"}, {"nam": "b", "where": "age > 1"}]},
        "inputs": {"labs": TABLE},
        "targets": {"d": {"task": "classify", "column": "died"}},
    }
    with pytest.raises(StudyError) as caught:
        make(raw)
    text = str(caught.value)
    assert "cohort.include.0.where: at character 5: found '='; write '=='" in text
    assert "cohort.include.1.nam: unknown key; did you mean 'name'" in text


def test_the_flow_is_in_figures_report_and_study_file(tmp_path):
    _cohort(200, 3).write_csv(tmp_path / "cohort.csv")
    cohort = {
        **COHORT,
        "include": [{"name": "Adults", "where": "age >= 40"}],
        "exclude": [{"name": "<cardiac>", "where": 'ward == "cardiac"'}],
    }
    study = _study(tmp_path, {"labs": TABLE}, {"death": {"task": "classify", "column": "died"}}, cohort=cohort)
    assert make(tomllib.loads(dump_toml(study))).cohort == study.cohort
    run = fit(study, tmp_path / "run")
    steps = run.metrics["flow"]
    assert [step["name"] for step in steps] == ["in the table", "Adults", "<cardiac>"]
    table = pl.read_csv(tmp_path / "cohort.csv")
    left = table.filter((pl.col("age") >= 40) & (pl.col("ward") != "cardiac"))
    assert steps[-1]["rows"] == len(left) == run.metrics["counts"]["rows"]
    assert steps[-1]["patients"] == left["patient"].n_unique()
    report = run.report.read_text()
    assert "In the table" in report and "&lt;cardiac&gt;" in report and "<cardiac>" not in report
    other = pl.read_parquet(run.folder / "split.parquet")
    assert set(other["row"]) == set(left["stay"])


def test_rows_that_a_split_by_time_leaves_out_are_in_the_flow(tmp_path):
    frame = _cohort(200, 4).with_columns(day=pl.int_range(pl.len()) * 7 % 200)
    frame.write_csv(tmp_path / "cohort.csv")
    targets = {"death": {"task": "classify", "column": "died"}}
    study = _study(tmp_path, {"labs": TABLE}, targets, cohort={**COHORT, "at": "day"}, split={"by": "time"})
    run = fit(study, tmp_path / "run")
    last = run.metrics["flow"][-1]
    counts = run.metrics["counts"]["parts"]
    assert last["name"] == "split" and last["left_out"] > 0
    assert last["rows"] == sum(part["rows"] for part in counts.values()) == 200 - last["left_out"]
    assert "not older than the first row that judges" in run.report.read_text()
    split = pl.read_parquet(run.folder / "split.parquet")
    assert (split["part"] == "left out").sum() == last["left_out"]
