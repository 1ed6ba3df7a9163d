"""A table that is read from its file gives what the same table in memory gives, or a DataError that says what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from medloom.cohort import files, stored
from medloom.cohort.stored import TableFile, blocks, in_memory, open_table
from medloom.cohort.table import Cohort, read_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError

ROWS = 5_000
FRAME = pl.DataFrame(
    {
        "stay": [f"s{i:05d}" for i in range(ROWS)],
        "patient": [f"p{i // 2}" for i in range(ROWS)],
        "age": [None if i % 7 == 0 else 20 + i % 60 for i in range(ROWS)],
        "ward": [("a", "b", None)[i % 3] for i in range(ROWS)],
        "code": [f"{i % 90:03d}" for i in range(ROWS)],
        "dose": [i / 8 for i in range(ROWS)],
    }
)
WRITERS: dict[str, Callable[[Path], None]] = {
    "table.csv": FRAME.write_csv,
    "table.parquet": lambda path: FRAME.write_parquet(path, row_group_size=700),
    "table.arrow": FRAME.write_ipc,
}
TEXT = frozenset({"code"})


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table is too large to be held."""
    monkeypatch.setattr(stored, "HELD_BYTES", 0)


def written(folder: Path, name: str) -> Path:
    WRITERS[name](folder / name)
    return folder / name


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_reads_as_the_frame_does(tmp_path: Path, large: None, name: str) -> None:
    path = written(tmp_path, name)
    table, frame = open_table(path, TEXT), files.read_table(path, TEXT)
    assert isinstance(table, TableFile) and len(table) == ROWS
    assert dict(table.schema) == dict(frame.schema) and in_memory(table).equals(frame)
    assert table["code"].equals(FRAME["code"])
    assert pl.concat(blocks(table, 333)).equals(frame)
    assert max(map(len, blocks(table, 333))) <= 333
    asked = pl.col("age") > pl.col("dose")
    assert table.select(asked).equals(frame.select(asked))


@pytest.mark.parametrize("name", WRITERS)
def test_rows_that_are_filtered_stay_the_same_rows(tmp_path: Path, large: None, name: str) -> None:
    table = open_table(written(tmp_path, name), TEXT)
    odd = pl.int_range(ROWS, eager=True) % 2 == 1
    third = pl.int_range(ROWS // 2, eager=True) % 3 == 0
    for found, wanted in (
        (table.filter(odd), FRAME.filter(odd)),
        (table.filter(odd).filter(third), FRAME.filter(odd).filter(third)),
    ):
        assert len(found) == len(wanted) and in_memory(found)["stay"].equals(wanted["stay"])
        assert pl.concat(blocks(found, 400))["dose"].equals(wanted["dose"])


def cohort_of(path: Path) -> Cohort:
    part = CohortPart.model_validate(
        {
            "table": path.name,
            "row": "stay",
            "patient": "patient",
            "exclude": [{"name": "old", "where": "age > 70 or ward == 'b'"}],
        }
    )
    return read_cohort(part, path.parent, text=TEXT)


@pytest.mark.parametrize("name", WRITERS)
def test_a_cohort_is_the_same_from_memory_and_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = written(tmp_path, name)
    held = cohort_of(path)
    monkeypatch.setattr(stored, "HELD_BYTES", 0)
    read = cohort_of(path)
    assert isinstance(held.frame, pl.DataFrame) and isinstance(read.frame, TableFile)
    assert read.row.equals(held.row) and (read.patient == held.patient).all() and read.flow == held.flow
    rows = np.flatnonzero(np.arange(len(held)) % 5 != 2)
    pairs = zip(held.blocks(rows, 512, ["age", "code"]), read.blocks(rows, 512, ["age", "code"]), strict=False)
    assert all(set(one.frame.columns) == {"age", "code"} for pair in pairs for one in pair)
    for cohort in (held, read):
        parts = list(cohort.blocks(rows, 512))
        together = pl.concat(in_memory(part.frame) for part in parts)
        assert together.equals(held.take(rows).frame)
        assert pl.concat(part.row for part in parts).equals(held.row.gather(rows))
    order = np.random.default_rng(0).permutation(len(held))[:100]
    assert in_memory(read.take(order).frame).equals(held.take(order).frame)


def test_a_file_that_is_cut_off_while_it_is_read(tmp_path: Path, large: None) -> None:
    path = written(tmp_path, "table.parquet")
    table = open_table(path)
    reading = blocks(table, 100)
    next(reading)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match="the file changed while it was read; wait until it is written"):
        list(reading)
    with pytest.raises(DataError, match="the file changed while it was read"):
        in_memory(table)
    with pytest.raises(DataError, match="table.parquet: cannot be read as parquet"):
        open_table(path)
    path.unlink()
    with pytest.raises(DataError, match="the file changed while it was read"):
        in_memory(table)


def test_a_parquet_file_damaged_in_the_middle(tmp_path: Path, large: None) -> None:
    path = written(tmp_path, "table.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = b"\x00" * (len(content) // 2 - len(content) // 3)
    path.write_bytes(content)
    with pytest.raises(DataError, match="table.parquet: cannot be read as parquet"):
        in_memory(open_table(path))
    with pytest.raises(DataError, match="table.parquet: cannot be read as parquet"):
        list(blocks(open_table(path), 100))


@pytest.mark.parametrize("bytes_held", [0, 1 << 30])
def test_a_text_file_that_grows_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_held: int
) -> None:
    path = written(tmp_path, "table.csv")
    monkeypatch.setattr(stored, "HELD_BYTES", bytes_held)
    scan = files.scan_text

    def growing(where: Path, text: frozenset[str]) -> pl.LazyFrame:
        found = scan(where, text)
        with open(where, "a", encoding="utf-8") as handle:
            handle.write("s9,p9,1,a,001,0.5\n")
        return found

    monkeypatch.setattr(files, "scan_text", growing)
    monkeypatch.setattr(stored, "scan_text", growing)
    with pytest.raises(DataError, match="table.csv: the file changed while it was read"):
        open_table(path)


def test_a_large_text_file_is_refused_as_a_small_one_is(tmp_path: Path, large: None) -> None:
    for content, sentence in (
        (b"id,age,sex\na,1,\nb,2\n", "line 3 has 2 fields; the header has 3"),
        (b"id,age\na,1,3\n", "line 2 has 3 fields"),
        (b"id,age\n", "a header and no rows"),
        (b'id,age\n"a,1\nb,2\n', "quote"),
    ):
        (tmp_path / "bad.csv").write_bytes(content)
        with pytest.raises(DataError, match=sentence):
            open_table(tmp_path / "bad.csv")


def test_a_full_disk_is_told_with_the_way_out(tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "table.csv")

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device (os error 28)")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", full)
    with pytest.raises(DataError, match="no room for a working copy in .*TMPDIR"):
        open_table(path)


def test_the_working_copy_goes_with_the_table(tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "table.csv")
    monkeypatch.setattr(stored.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    table = open_table(path)
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    del table
    assert not list((tmp_path / "temporary").iterdir())
