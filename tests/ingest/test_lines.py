from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medloom.errors import DataError
from medloom.ingest import lines
from medloom.ingest.lines import LINE, read_lines

NAMES = ["patient", "time", "code", "value"]


def read(path: Path, columns: list[str] = NAMES) -> tuple[pl.DataFrame, dict[int, str]]:
    parts = list(read_lines(path, columns))
    frame = pl.concat([part.frame for part in parts])
    return frame, dict(pl.concat([part.broken for part in parts]).rows())


def by_hand(text: str, names: list[str]) -> tuple[list[tuple[int, list[str]]], dict[int, str]]:
    """What Python's own reader makes of each line alone."""
    good, broken = [], {}
    for number, line in enumerate(text.split("\n")[1:], 2):
        if not line:
            continue
        if line.count('"') % 2:
            broken[number] = lines.QUOTE
            continue
        fields = next(csv.reader(io.StringIO(line)))
        if len(fields) != len(names):
            broken[number] = lines.FIELDS
        else:
            good.append((number, fields))
    return good, broken


FIELD = st.sampled_from(["a", "1.5", "", "é", '"x, y"', '"he said ""no"""', "2020-01-01", '""', " b "])
LINE_TEXT = st.one_of(
    st.lists(FIELD, min_size=4, max_size=4),
    st.lists(FIELD, min_size=1, max_size=6),
    st.just(['"open', "a", "b", "c"]),
    st.just([""]),
).map(",".join)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(LINE_TEXT, min_size=1, max_size=25), size=st.sampled_from([16, 100, 1 << 20]))
def test_every_line_is_read_as_python_reads_it_or_named(tmp_path_factory, monkeypatch, written, size) -> None:
    text = ",".join(NAMES) + "\n" + "\n".join(written)
    path = tmp_path_factory.mktemp("lines") / "a.csv"
    path.write_text(text, encoding="utf-8")
    good, broken = by_hand(text, NAMES)
    if not good and not broken:
        return
    with monkeypatch.context() as small:
        small.setattr(lines, "BLOCK_BYTES", size)
        frame, named = read(path)
    assert named == broken
    assert frame[LINE].to_list() == [number for number, _ in good]
    found = frame.select(NAMES).fill_null("").rows()
    assert [list(row) for row in found] == [fields for _, fields in good]


def test_letters_that_are_not_utf8_break_their_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"patient,code\na,x\nb,caf\xe9\nc,y\n")
    frame, broken = read(path, ["code", "patient"])
    assert frame.select("patient", "code").rows() == [("a", "x"), ("c", "y")] and broken == {3: lines.LETTERS}


def test_one_too_many_here_and_one_too_few_there_do_not_cancel(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("patient,code,value\na,x,1\nb,y\nc,z,3,4\nd,u,5\n")
    frame, broken = read(path, ["patient"])
    assert frame["patient"].to_list() == ["a", "d"] and broken == {3: lines.FIELDS, 4: lines.FIELDS}


def test_windows_line_ends_and_a_mark_of_order(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeffpatient,code\r\na,x\r\n\r\nb,y".encode())
    frame, broken = read(path, ["patient", "code"])
    assert frame.select("patient", "code").rows() == [("a", "x"), ("b", "y")] and broken == {}
    assert frame[LINE].to_list() == [2, 4]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_parquet_comes_in_blocks_of_one_size(tmp_path: Path, monkeypatch, size: int) -> None:
    monkeypatch.setattr(lines, "BLOCK_ROWS", size)
    frame = pl.DataFrame({"patient": list(range(20)), "code": ["x"] * 20})
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=6)
    parts = [part.frame for part in read_lines(tmp_path / "a.parquet", ["code", "patient"])]
    assert [len(part) for part in parts] == [min(size, 20 - at) for at in range(0, 20, size)]
    assert pl.concat(parts)["patient"].to_list() == list(range(20))
    assert pl.concat(parts)[LINE].to_list() == list(range(1, 21))


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "holds no column names"),
        (b"a,a\n1,2\n", "named twice: 'a'"),
        ("a,b\n1,2\n".encode("utf-16"), "save the file as UTF-8"),
    ],
)
def test_a_header_that_is_none_is_told(tmp_path: Path, octets: bytes, why: str) -> None:
    (tmp_path / "a.csv").write_bytes(octets)
    with pytest.raises(DataError, match=why):
        read(tmp_path / "a.csv")
