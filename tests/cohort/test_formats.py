"""Excel, SPSS, SAS, Stata and SQL: the same table from each, and plain words for what cannot be read."""

from __future__ import annotations

import sqlite3
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from medloom.cohort.files import header, read_blocks, read_table
from medloom.cohort.table import read_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, StudyError
from medloom.run import fit
from medloom.study import make
from medloom.study_text import with_folders, without_folders
from tests.cases.made import TABLE, _cohort, _study

FRAME = pl.DataFrame({"id": ["a", "b", "c"], "crp": [1.5, None, 3.0], "day": [date(2020, 1, d) for d in (1, 2, 3)]})


def _written(path: Path) -> Path:
    if path.suffix == ".xlsx":
        FRAME.write_excel(path)
        return path
    import pyreadstat

    write = {".sav": "write_sav", ".dta": "write_dta", ".xpt": "write_xport", ".por": "write_por"}[path.suffix]
    getattr(pyreadstat, write)(FRAME.to_pandas().astype({"day": object}), str(path))
    return path


@pytest.mark.parametrize("suffix", [".xlsx", ".sav", ".dta", ".xpt"])
def test_the_same_table_from_every_format(tmp_path, suffix):
    path = _written(tmp_path / f"t{suffix}")
    frame = read_table(path)
    assert header(path) == frame.columns == FRAME.columns
    assert frame["id"].to_list() == FRAME["id"].to_list() and frame["crp"].to_list() == FRAME["crp"].to_list()
    blocks = list(read_blocks(path, 2, frozenset()))
    assert [len(block) for block in blocks] == [2, 1] and pl.concat(blocks).equals(frame)


def test_missing_values_that_a_user_defined_in_spss_are_null(tmp_path):
    import pyreadstat

    frame = pl.DataFrame({"age": [40.0, 999.0, -1.0], "sex": ["f", "", "m"]})
    pyreadstat.write_sav(frame.to_pandas(), str(tmp_path / "t.sav"), missing_ranges={"age": [999, -1]})
    read = read_table(tmp_path / "t.sav")
    assert read["age"].to_list() == [40.0, None, None] and read["sex"].to_list() == ["f", None, "m"]


@pytest.mark.parametrize("suffix", [".xlsx", ".sav", ".dta", ".sas7bdat"])
def test_a_file_of_another_kind_is_refused(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_text("id,crp\na,1\n")
    with pytest.raises(DataError, match=f"cannot be read as {suffix[1:]}"):
        read_table(path)


def test_a_workbook_with_two_sheets_is_not_guessed_about(tmp_path):
    import xlsxwriter

    with xlsxwriter.Workbook(tmp_path / "t.xlsx") as book:
        for name in ("one", "two"):
            FRAME.write_excel(book, name)
    with pytest.raises(DataError, match="found 2 sheets with a table \\('one', 'two'\\); expected one"):
        read_table(tmp_path / "t.xlsx")


def _database(path: Path) -> None:
    frame = _cohort(150, 8)
    with sqlite3.connect(path) as database:
        database.execute(f"create table stays ({', '.join(frame.columns)})")
        database.executemany(f"insert into stays values ({', '.join('?' * frame.width)})", frame.iter_rows())
    database.close()


def _sql(query: str, connection: str = "sqlite:///ward.db") -> CohortPart:
    return CohortPart(query=query, connection=connection, row="stay", patient="patient")


def test_rows_from_a_query(tmp_path, monkeypatch):
    _database(tmp_path / "ward.db")
    cohort = read_cohort(_sql("select * from stays where age > 30"), tmp_path)
    assert len(cohort) == _cohort(150, 8).filter(pl.col("age") > 30).height
    monkeypatch.setenv("WARD", f"sqlite:///{tmp_path / 'ward.db'}")
    other = read_cohort(_sql("select * from stays where age > 30", "env:WARD"), Path())
    assert other.frame.equals(cohort.frame)


@pytest.mark.parametrize(
    ("query", "connection", "told"),
    [
        ("select * from stay", "sqlite:///ward.db", "cohort.query on sqlite:///ward.db: .*no such table: stay"),
        ("selec 1", "sqlite:///ward.db", "syntax error"),
        ("delete from stays", "sqlite:///ward.db", "readonly|read-only"),
        ("select * from stays where age > 900", "sqlite:///ward.db", "no rows"),
        ("select 1", "sqlite:///none.db", "no such file none.db"),
        ("select 1", "env:MEDLOOM_UNSET", "the variable MEDLOOM_UNSET is not set"),
    ],
)
def test_queries_that_fail(tmp_path, query, connection, told):
    _database(tmp_path / "ward.db")
    with pytest.raises(DataError, match=told):
        read_cohort(_sql(query, connection), tmp_path)
    with sqlite3.connect(tmp_path / "ward.db") as database:
        assert database.execute("select count(*) from stays").fetchone() == (150,)
    database.close()


@pytest.mark.parametrize(
    "cohort",
    [
        {"query": "select 1"},
        {"query": "select 1", "connection": "sqlite:///a.db", "table": "t.csv"},
        {"query": "select 1", "connection": "postgresql://me:secret@host/db"},
    ],
)
def test_connections_that_cannot_be(cohort):
    raw = {
        "name": "x",
        "cohort": {"independent_rows": True, **cohort},
        "inputs": {"labs": TABLE},
        "targets": {"d": {"task": "classify", "column": "died"}},
    }
    with pytest.raises(
        StudyError, match=r"query goes with connection|neither sqlite:///file.db nor env:NAME"
    ) as caught:
        make(raw)
    assert "secret" not in str(caught.value)


def test_a_study_on_a_database_through_the_whole_path(tmp_path):
    _database(tmp_path / "ward.db")
    cohort = {"query": "select * from stays", "connection": "sqlite:///ward.db", "row": "stay", "patient": "patient"}
    targets = {"death": {"task": "classify", "column": "died"}}
    study = _study(tmp_path, {"labs": TABLE}, targets, cohort=cohort)
    assert with_folders(study).cohort.connection == f"sqlite:///{(tmp_path / 'ward.db').resolve()}"
    assert without_folders(with_folders(study)).cohort.connection == "sqlite:///ward.db"
    run = fit(study, tmp_path / "run")
    assert run.metrics["counts"]["rows"] == 150
    assert str(tmp_path) not in (run.folder / "bundle" / "study.json").read_text()
