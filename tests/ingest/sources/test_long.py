from __future__ import annotations

import gzip
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from medloom.errors import DataError
from medloom.ingest.door import ingest
from tests.ingest.making import day, made

LINES = [("b", "2020-01-02", "hr", "80"), ("a", "2020-01-01", "hr", "NA")]


def csv(separator: str, names: str = "patient,time,code,value") -> str:
    return "\n".join(separator.join(line) for line in [tuple(names.split(",")), *LINES]) + "\n"


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz", "parquet", "arrow"])
def test_every_form_of_a_table_gives_the_same(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"events.{form}"
    frame = pl.DataFrame(LINES, schema=["patient", "time", "code", "value"], orient="row")
    if form == "parquet":
        frame.with_columns(pl.col("time").str.to_date()).write_parquet(path)
    elif form == "arrow":
        frame.with_columns(pl.col("time").str.to_datetime()).write_ipc(path)
    else:
        text = csv("\t" if form == "tsv" else ",").encode()
        path.write_bytes(gzip.compress(text) if form.endswith("gz") else text)
    assert made(path, tmp_path / "s", missing=("NA",)) == [
        ("a", 1577836800.0 if form == "arrow" else day(2020, 1, 1), "hr", None),
        ("b", 1577923200.0 if form == "arrow" else day(2020, 1, 2), "hr", 80.0),
    ]


def test_a_folder_of_tables_is_one_source(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.csv").write_text(csv(","))
    (tmp_path / "in" / "2.csv").write_text("code,patient,time\nadmitted,c,2020-01-01\n")
    (tmp_path / "in" / "readme.md").write_text("…")
    assert [(p, c) for p, _, c, _ in made(tmp_path / "in", tmp_path / "s", missing=("NA",))] == [
        ("a", "hr"),
        ("b", "hr"),
        ("c", "admitted"),
    ]


def test_columns_have_other_names(tmp_path: Path) -> None:
    path = tmp_path / "labs.csv"
    path.write_text(csv(",", "subject,charttime,label,valuenum"))
    with pytest.raises(DataError, match="not recognised as any kind of source"):
        ingest(path, tmp_path / "s")
    with pytest.raises(DataError, match="no column 'patient'"):
        ingest(path, tmp_path / "s", "long")
    with pytest.raises(DataError, match="no column 'valuenumb' .*did you mean 'valuenum'"):
        named = {"patient": "subject", "time": "charttime", "code": "label", "value": "valuenumb"}
        ingest(path, tmp_path / "s", "long", named)
    named["value"] = "valuenum"
    assert len(made(path, tmp_path / "s", "long", **named)) == 2
    with pytest.raises(DataError, match="is named for two things"):
        ingest(path, tmp_path / "t", "long", {**named, "code": "charttime"})


def test_truncated_files_are_told(tmp_path: Path) -> None:
    whole = gzip.compress((csv(",") * 500).encode())
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.csv\.gz: the compressed file ends early"):
        ingest(tmp_path / "a.csv.gz", tmp_path / "s", "long")
    pl.DataFrame(LINES, schema=["patient", "time", "code", "value"], orient="row").write_parquet(tmp_path / "a.parquet")
    octets = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(octets[:-20])
    with pytest.raises(DataError, match=r"a\.parquet"):
        ingest(tmp_path / "a.parquet", tmp_path / "s", "long")


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"time": [timedelta(1)]}, "the column of time holds Duration"),
        ({"patient": [["a"]]}, "the column of patient holds List"),
        ({"value": [date(2020, 1, 1)]}, "the column of value holds Date"),
        ({"code": [b"x"]}, "the column of code holds Binary"),
    ],
)
def test_columns_of_a_storage_that_no_event_has_are_told(tmp_path: Path, columns: dict[str, list], why: str) -> None:
    pl.DataFrame({"patient": ["a"], "time": [1], "code": ["x"], **columns}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=why):
        ingest(tmp_path / "a.parquet", tmp_path / "s")


def test_values_that_float32_cannot_hold_are_impossible(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("patient,time,code,value\na,1,x,1e39\na,1,x,2\n")
    assert made(tmp_path / "a.csv", tmp_path / "s") == [("a", 1.0, "x", 2.0)]


def test_semicolons_and_decimal_commas_are_told_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("patient;time;code;value\na;1;x;80,5\na;2;x; -,5 \na;3;x;<0,5\na;4;x;7\n")
    with pytest.raises(DataError, match="'patient;time;code;value'.*say separator=semicolon, with --as long"):
        ingest(path, tmp_path / "s")
    with pytest.raises(DataError, match="2 a number with a comma"):
        ingest(path, tmp_path / "s", "long", {"separator": "semicolon"})
    said = {"separator": "semicolon", "decimal": "comma"}
    assert [row[2:] for row in made(path, tmp_path / "t", "long", **said)] == [
        ("x", 80.5), ("x", -0.5), ("x=<0,5", None), ("x", 7.0),
    ]  # fmt: skip
    path.write_text("patient;time;code;value\na;1;x;80.5\na;2;x;1.234,5\n")
    with pytest.raises(DataError, match="2 a number with a point where decimals have a comma"):
        ingest(path, tmp_path / "u", "long", said)
