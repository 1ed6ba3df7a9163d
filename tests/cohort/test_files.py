"""Tables from files and frames. Nothing is guessed or repaired: each broken file names what is wrong and where."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.cohort.files import as_frame, header, read_blocks, read_table
from medloom.errors import DataError

FRAME = pl.DataFrame({"id": ["a", "b", "c"], "age": [61, None, 40], "lactate": [1.5, 2.0, None]})
BROKEN = {
    "nothing at all": (b"", "the file is empty"),
    "only blank lines": (b"\n\n", "no column names|empty"),
    "a header and no rows": (b"id,age\n", "a header and no rows"),
    "a header without a line end": (b"id,age", "a header and no rows"),
    "a row too long": (b"id,age\na,1\nb,2,3\nc,4\n", "line 3 has 3 fields; the header has 2"),
    "a row too short": (b"id,age\na,1\nb\nc,4\n", "line 3 has 1 fields; the header has 2"),
    "the last row cut off": (b"id,age,sex\na,1,f\nb,2", "line 3 has 2 fields; the header has 3"),
    "an unclosed quote": (b'id,age\n"a,1\nb,2\n', "quote"),
    "a quote closed in the middle": (b'id,age\n"a"x,1\nb,2\n', "line 2.*quote"),
    "a column named twice": (b"id,age,age\na,1,2\n", "columns named twice: 'age'"),
    "semicolons": (b"id;age;sex\na;1,5;f\n", "fields seem to have ';' between them; expected ','"),
    "UTF-16": ("id,age\na,1\n".encode("utf-16"), "UTF-16; save it as UTF-8"),
    "Latin-1 in a row": ("id,name\na,x\nb,Zoë\n".encode("latin-1"), "line 3 is not UTF-8"),
    "Latin-1 in the header": ("id,größe\na,1\n".encode("latin-1"), "line 1 is not UTF-8"),
}


def written(folder: Path, content: bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def from_blocks(path: Path) -> pl.DataFrame:
    return pl.concat(read_blocks(path, 2, frozenset({"id"})))


@pytest.mark.parametrize("read", [read_table, from_blocks])
@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_broken_is_refused(tmp_path: Path, fault: str, read: Callable[[Path], pl.DataFrame]) -> None:
    content, sentence = BROKEN[fault]
    with pytest.raises(DataError, match=sentence) as caught:
        read(written(tmp_path, content))
    assert "table.csv" in str(caught.value)


@pytest.mark.parametrize("read", [read_table, from_blocks, header])
def test_no_file_a_folder_and_an_unknown_kind(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "table.csv")
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(DataError, match="unknown kind of table '.docx'; expected one of .csv"):
        read(written(tmp_path, b"x", "table.docx"))


@pytest.mark.parametrize("name", ["table.parquet", "table.arrow", "table.feather"])
def test_a_damaged_binary_file(tmp_path: Path, name: str) -> None:
    for read in (read_table, header, from_blocks):
        with pytest.raises(DataError, match="cannot be read as"):
            read(written(tmp_path, b"PAR1 and nothing that follows", name))


def test_an_error_repeats_no_value_of_a_patient(tmp_path: Path) -> None:
    for content in (
        b"id,name\na,Smith\nb,Jones,1\n",
        b'id,name\n"Smith,1\n',
        "id,name\na,x\nb,Smithë\n".encode("latin-1"),
    ):
        with pytest.raises(DataError) as caught:
            read_table(written(tmp_path, content))
        assert not any(name in str(caught.value) for name in ("Smith", "Jones"))


@pytest.mark.parametrize(
    "content", [b"id,age\na,1\nb,\n", b"\xef\xbb\xbfid,age\r\na,1\r\nb,\r\n", b"id\tage\na\t1\nb\t\n"]
)
def test_a_table_with_a_mark_or_other_line_ends_or_tabs(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content, "table.tsv" if b"\t" in content else "table.csv")
    assert header(path) == ["id", "age"]
    assert read_table(path).to_dict(as_series=False) == {"id": ["a", "b"], "age": [1, None]}
    assert from_blocks(path).to_dict(as_series=False) == {"id": ["a", "b"], "age": [1, None]}


def test_quotes_separators_and_line_ends_inside_a_value(tmp_path: Path) -> None:
    path = written(tmp_path, b'id,note\na,"one, two"\nb,"line\nbreak"\nc,"a ""word"""\n')
    assert read_table(path)["note"].to_list() == ["one, two", "line\nbreak", 'a "word"']


def test_named_columns_stay_text_as_they_stand(tmp_path: Path) -> None:
    path = written(tmp_path, b"id,code,dose\n007,010,010\n008,1.50,1.50\n")
    frame = read_table(path, frozenset({"id", "code"}))
    assert frame.to_dict(as_series=False) == {"id": ["007", "008"], "code": ["010", "1.50"], "dose": [10.0, 1.5]}


def test_a_number_that_comes_late_decides_the_type(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i}" for i in range(20_000))
    assert read_table(written(tmp_path, f"id,dose\n{rows}\nx,0.5\n".encode()))["dose"].dtype == pl.Float64
    assert read_table(written(tmp_path, f"id,dose\n{rows}\nx,low\n".encode()))["dose"].dtype == pl.String


def test_short_rows_are_found_where_the_last_column_may_be_empty(tmp_path: Path) -> None:
    assert read_table(written(tmp_path, b"id,age,sex\na,1,\nb,2,f\n"))["sex"].to_list() == [None, "f"]
    with pytest.raises(DataError, match="line 3 has 2 fields"):
        read_table(written(tmp_path, b"id,age,sex\na,1,\nb,2\nc,3,f\n"))


@pytest.mark.parametrize(
    "name", ["table.csv", "table.tsv", "table.parquet", "table.pq", "table.arrow", "table.feather", "TABLE.CSV"]
)
def test_every_kind_of_file_gives_the_same_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix.lower() in {".csv", ".tsv"}:
        FRAME.write_csv(path, separator="\t" if path.suffix == ".tsv" else ",")
    elif path.suffix in {".parquet", ".pq"}:
        FRAME.write_parquet(path)
    else:
        FRAME.write_ipc(path)
    assert header(path) == FRAME.columns
    assert read_table(path).equals(FRAME)
    blocks = list(read_blocks(path, 2, frozenset()))
    assert [len(block) for block in blocks] == [2, 1]
    assert pl.concat(blocks).equals(FRAME.cast({"age": pl.Float64}) if blocks[0]["age"].dtype == pl.Float64 else FRAME)


@pytest.mark.parametrize("name", ["table.parquet", "table.arrow"])
def test_binary_tables_without_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FRAME.clear().write_parquet(path) if name.endswith("parquet") else FRAME.clear().write_ipc(path)
    for read in (read_table, from_blocks):
        with pytest.raises(DataError, match="a header and no rows"):
            read(path)


@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0\ufeff"), max_size=6),
            st.floats(-1e300, 1e300),
        ),
        min_size=1,
        max_size=20,
    ),
    size=st.integers(1, 7),
)
def test_what_csv_wrote_comes_back_whole_and_in_blocks(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], size: int
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([("id", "dose"), *rows])
    path = written(tmp_path_factory.mktemp("csv"), buffer.getvalue().encode())
    whole = read_table(path, frozenset({"id"}))
    assert [text or "" for text in whole["id"]] == [text for text, _ in rows]
    assert whole["dose"].to_list() == [number for _, number in rows]
    blocks = list(read_blocks(path, size, frozenset({"id"})))
    assert all(len(block) <= size for block in blocks)
    assert pl.concat(blocks)["id"].to_list() == whole["id"].to_list()
    assert pl.concat(blocks)["dose"].to_list() == whole["dose"].to_list()


@pytest.mark.parametrize(
    "table",
    [
        FRAME,
        FRAME.lazy(),
        FRAME.to_dict(as_series=False),
        FRAME.to_arrow(),
        pa.RecordBatchReader.from_batches(FRAME.to_arrow().schema, FRAME.to_arrow().to_batches()),
        pd.DataFrame(
            {"id": ["a", "b", "c"], "age": pd.array([61, None, 40], dtype="Int64"), "lactate": [1.5, 2.0, None]}
        ),
    ],
    ids=["polars", "lazy", "dict", "arrow", "arrow stream", "pandas"],
)
def test_frames_of_any_library(table: Any) -> None:
    frame = as_frame(table)
    assert frame.columns == FRAME.columns
    assert frame.rows() == FRAME.rows()


def test_pandas_column_names_become_text_and_the_frame_is_not_changed() -> None:
    table = pd.DataFrame({0: [1.0], "b": ["x"]})
    assert as_frame(table).columns == ["0", "b"]
    assert table.columns.tolist() == [0, "b"]


def test_pandas_categories_and_missing_values() -> None:
    table = pd.DataFrame({"sex": pd.Categorical(["f", None, "m"]), "dose": [1.0, float("nan"), 3.0]})
    frame = as_frame(table)
    assert frame["sex"].cast(pl.String).to_list() == ["f", None, "m"]
    assert frame["dose"].to_list() == [1.0, None, 3.0]


@pytest.mark.parametrize("table", [FRAME.clear(), pl.DataFrame(), pd.DataFrame(), {}])
def test_frames_without_rows_or_columns(table: Any) -> None:
    with pytest.raises(DataError, match="no rows|no columns"):
        as_frame(table)


@pytest.mark.parametrize("table", [3, [1, 2], None])
def test_what_is_no_table(table: Any) -> None:
    with pytest.raises(DataError, match="expected a polars, pandas or Arrow table, or a path"):
        as_frame(table)
