from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from medloom.errors import DataError
from medloom.ingest.door import ingest
from tests.ingest.making import made

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
        ("a", 1577836800.0, "hr", None),
        ("b", 1577923200.0, "hr", 80.0),
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
