"""Several tables in one: no row more, no row less, and nothing from after the index time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from medloom.cohort.joins import joined, read_tables
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, StudyError
from medloom.run import evaluate, fit
from medloom.study import make
from tests.cases.made import COHORT, _cohort, _study

ROWS = pl.DataFrame({"patient": ["1", "2", "1", "3", None], "at": [10.0, 10.0, 20.0, 5.0, 7.0]})
PEOPLE = pl.DataFrame({"patient": [3, 1, None, 9], "sex": ["f", "m", "x", "f"]})
LABS = pl.DataFrame(
    {
        "patient": [1, 1, 1, 1, 2, 3],
        "hour": [9.0, 2.0, 10.0, 15.0, 10.0, 4.0],
        "crp": [5.0, 3.0, 99.0, float("nan"), 7.0, None],
        "note": ["late", "early", "at", None, "x", "y"],
    }
)
EVERY = {
    "n": "count()", "known": "count(crp)", "top": "max(crp)", "low": "min(crp)", "mid": "mean(crp)", "all": "sum(crp)",
    "newest": "last(note)", "oldest": "first(note)", "by_crp": "last(note) by crp",
}  # fmt: skip


def _joined(table: pl.DataFrame, rows: pl.DataFrame = ROWS, new: bool = True, **join: object) -> pl.DataFrame:
    raw = {"patient": "patient", "at": "at", "join": {"labs": {"table": "labs.csv", "on": "patient", **join}}}
    return joined(CohortPart.model_validate(raw), rows, {"labs": table}, new)


def test_one_to_one_keeps_every_row_in_its_order():
    frame = _joined(PEOPLE)
    assert frame.columns == ["patient", "at", "sex"]
    assert frame["sex"].to_list() == ["m", None, "m", "f", None]
    assert frame.select("patient", "at").equals(ROWS)


def test_a_join_that_would_multiply_rows_is_refused_with_the_number_of_keys():
    twice = pl.concat([PEOPLE, PEOPLE.head(2)])
    with pytest.raises(DataError, match="cohort.join.labs: 2 keys of patient stand on 4 rows of labs.csv"):
        _joined(twice)


def test_several_keys():
    rows = ROWS.with_columns(ward=pl.Series(["a", "b", "b", "a", "a"]))
    beds = pl.DataFrame({"patient": ["1", "1", "3"], "ward": ["a", "b", "b"], "bed": [4, 5, 6]})
    assert _joined(beds, rows, on=["patient", "ward"])["bed"].to_list() == [4, None, 5, None, None]


def test_summaries_hold_only_rows_before_the_index_time():
    frame = _joined(LABS, kind="many", aggregate=EVERY, before="hour")
    assert frame["n"].to_list() == [2, 0, 4, 1, 0]
    assert frame["known"].to_list() == [2, 0, 3, 0, 0]
    assert frame["top"].to_list() == [5.0, None, 99.0, None, None]
    assert frame["low"].to_list() == [3.0, None, 3.0, None, None]
    assert frame["mid"].to_list() == [4.0, None, pytest.approx(107 / 3), None, None]
    assert frame["all"].to_list() == [8.0, None, 107.0, None, None]
    assert frame["newest"].to_list() == ["late", None, "at", "y", None]
    assert frame["oldest"].to_list() == ["early", None, "early", "y", None]
    assert frame["by_crp"].to_list() == ["late", None, "at", None, None]


def test_law_2_values_at_or_after_the_index_time_change_nothing():
    random = np.random.default_rng(0)
    labs = pl.DataFrame(
        {
            "patient": random.integers(1, 4, 200),
            "hour": random.integers(0, 30, 200).astype(float),
            "crp": random.random(200),
            "note": [f"n{i}" for i in range(200)],
        }
    )
    whole = _joined(labs, kind="many", aggregate=EVERY, before="hour")
    index = dict(ROWS.drop_nulls().group_by("patient").agg(pl.col("at").max()).iter_rows())
    late = np.array([hour >= index[str(patient)] for patient, hour in labs.select("patient", "hour").iter_rows()])
    changed = labs.with_columns(crp=pl.when(pl.Series(late)).then(pl.lit(1e9)).otherwise("crp"))
    assert late.any() and _joined(changed, kind="many", aggregate=EVERY, before="hour").equals(whole)
    assert _joined(labs.filter(pl.Series(~late)), kind="many", aggregate=EVERY, before="hour").equals(whole)


def test_without_before_all_rows_are_summarised():
    frame = _joined(LABS, kind="many", aggregate={"n": "count()", "top": "max(crp)"})
    assert frame["n"].to_list() == [4, 1, 4, 1, 0]


@pytest.mark.parametrize(
    ("table", "join", "told"),
    [
        (PEOPLE.rename({"patient": "patients"}), {}, "no column 'patient' in labs.csv; did you mean 'patients'"),
        (PEOPLE.rename({"sex": "at"}), {}, "columns of the same name \\('at'\\)"),
        (LABS, {"kind": "many", "aggregate": {"x": "max(crpp)"}}, "x: no column 'crpp' in labs.csv; did you mean 'crp'"),
        (LABS, {"kind": "many", "aggregate": {"x": "max(note)"}}, "max needs numbers, and 'note'"),
        (LABS, {"kind": "many", "aggregate": {"x": "count()"}, "before": "hours"}, "did you mean 'hour'"),
        (
            LABS.with_columns(hour=pl.lit("2020-01-01")),
            {"kind": "many", "aggregate": {"x": "count()"}, "before": "hour"},
            "holds dates, and the index time numbers",
        ),
        (
            LABS.with_columns(hour=pl.lit("2020-01-01T10:00:00Z")),
            {"kind": "many", "aggregate": {"x": "count()"}, "before": "hour"},
            "given with a zone",
        ),
        (
            LABS.with_columns(hour=pl.when(pl.col("hour") > 5).then("hour")),
            {"kind": "many", "aggregate": {"x": "count()"}, "before": "hour"},
            "2 rows of labs.csv have no time in 'hour'",
        ),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit(table, join, told):
    with pytest.raises(DataError, match=told):
        _joined(table, **join)


@pytest.mark.parametrize(
    ("join", "told"),
    [
        ({"kind": "many"}, "needs it"),
        ({"aggregate": {"x": "count()"}}, 'aggregate goes with kind = "many"'),
        ({"kind": "many", "aggregate": {"x": "median(y)"}}, "at character 1: found 'median'"),
        ({"kind": "many", "aggregate": {"x": "last(y)"}}, "needs an order, as in last\\(y\\) by date"),
        ({"kind": "many", "aggregate": {"x": "count()"}, "before": "t"}, "give cohort.at"),
        ({"before": "t"}, 'before goes with kind = "many"'),
    ],
)
def test_joins_that_cannot_be(join, told):
    raw = {
        "name": "x",
        "cohort": {**COHORT, "join": {"labs": {"table": "labs.csv", "on": "patient", **join}}},
        "inputs": {"labs": {"modality": "table", "known_before_index": True}},
        "targets": {"d": {"task": "classify", "column": "died"}},
    }
    with pytest.raises(StudyError, match=told):
        make(raw)


def test_other_rows_may_bring_the_columns_themselves():
    summed = {"kind": "many", "aggregate": {"n": "count()"}, "before": "hour"}
    there = ROWS.with_columns(n=pl.lit(5))
    assert _joined(LABS, there, new=False, **summed)["n"].to_list() == [5] * 5
    with pytest.raises(DataError, match="columns of the same name"):
        _joined(LABS, there, **summed)
    part = CohortPart.model_validate(
        {"patient": "patient", "at": "at", "join": {"labs": {"table": "none.csv", "on": "patient", **summed}}}
    )
    assert read_tables(part, Path(), {}, frozenset(), needed=False) == {}
    with pytest.raises(DataError, match=r"no columns 'n'; give them, or the table itself as tables\['labs'\]"):
        joined(part, ROWS, {}, new=False)


def test_joined_columns_through_the_whole_path(tmp_path):
    cohort = _cohort(160, 9)
    random = np.random.default_rng(9)
    visits = pl.DataFrame(
        {
            "patient": random.choice(cohort["patient"].unique().sort(), 800),
            "hour": random.uniform(0, 100, 800),
            "crp": random.gamma(2, 10, 800),
        }
    )
    people = cohort.select("patient").unique(maintain_order=True).with_columns(sex=pl.lit("f"))
    people = people.with_columns(sex=pl.Series(random.choice(["f", "m"], len(people))))
    cohort = cohort.with_columns(hour=pl.Series(random.uniform(20, 100, 160)))
    cohort.write_csv(tmp_path / "cohort.csv")
    visits.write_csv(tmp_path / "visits.csv")
    people.write_parquet(tmp_path / "people.parquet")
    summed = {"crp_max": "max(crp)", "visits": "count()"}
    study = _study(
        tmp_path,
        {"labs": {"modality": "table", "known_before_index": True,
                  "columns": {"crp_max": {"kind": "numeric"}, "visits": {"kind": "numeric"}, "sex": {"kind": "category"}}}},
        {"death": {"task": "classify", "column": "died"}},
        cohort={**COHORT, "at": "hour", "join": {
            "people": {"table": "people.parquet", "on": "patient"},
            "course": {"table": "visits.csv", "on": "patient", "kind": "many", "aggregate": summed, "before": "hour"},
        }},
    )  # fmt: skip
    run = fit(study, tmp_path / "run")
    stored = (run.folder / "bundle" / "study.json").read_text()
    assert str(tmp_path) not in stored and "visits.csv" in stored
    by_file = pl.concat(list(run.bundle.stream(tmp_path / "cohort.csv")))
    by_frame = run.bundle.predict(cohort, tables={"people": people, "course": visits})
    assert by_frame.equals(by_file) and len(by_file) == 160
    alone = run.bundle.predict(cohort[5:6], tables={"people": people, "course": visits})
    assert alone["death_probability"][0] == pytest.approx(by_file["death_probability"][5], abs=1e-5)
    with pytest.raises(DataError, match="no columns 'crp_max', 'visits'"):
        run.bundle.predict(cohort, tables={"people": people}, folder=tmp_path / "elsewhere")
    other = evaluate(run.folder / "bundle", tmp_path / "cohort.csv", tmp_path / "other")
    assert other.metrics["counts"]["rows"] == 160
