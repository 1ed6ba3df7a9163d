from __future__ import annotations

import contextlib
import datetime
import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medloom.cohort.event_store import TIMELESS, open_store, write_store
from medloom.errors import DataError, StudyError
from medloom.ingest import merge, runs, store
from medloom.ingest.door import ingest
from tests.ingest.making import day, made, octets, rows

HEADER = "patient,time,code,value,unit\n"
EVENT = st.tuples(
    st.sampled_from(["a", "b", "c10", "c9", "é"]),
    st.sampled_from(["2020-01-01", "2020-01-01 10:00:00", "2019-12-31T23:59:59.5", "1969-07-20"]),
    st.sampled_from(["lactate", "culture", "heart rate"]),
    st.sampled_from(["1.5", "-0", "0", "", "positive", "1e3", "7"]),
)


def written(path: Path, lines: list[tuple[str, ...]]) -> Path:
    path.write_text(HEADER + "".join(",".join(line) + ",\n" for line in lines), encoding="utf-8")
    return path


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(EVENT, min_size=1, max_size=40), seed=st.integers(0, 1000))
def test_any_order_of_lines_in_any_runs_gives_the_same_store(tmp_path_factory, monkeypatch, lines, seed) -> None:
    folder = tmp_path_factory.mktemp("order")
    ingest(written(folder / "a.csv", lines), folder / "one")
    mixed = random.Random(seed).sample(lines, len(lines))
    with monkeypatch.context() as small:
        small.setattr(store, "RUN_ROWS", 3)
        small.setattr(merge, "MERGE_ROWS", 4)
        small.setattr("medloom.ingest.lines.BLOCK_BYTES", 64)
        ingest(written(folder / "b.csv", mixed), folder / "many")
    one, many = octets(folder / "one"), octets(folder / "many")
    for name in ("code.bin", "time.bin", "value.bin", "offset.bin", "meta.json", "patients.parquet", "codes.parquet"):
        assert one.get(name) == many.get(name), name


def test_the_store_is_the_one_that_is_written_of_a_frame_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 5000
    frame = pl.DataFrame(
        {
            "patient": [f"p{i}" for i in rng.integers(0, 40, n)],
            "time": rng.integers(0, 10**9, n),
            "code": [f"c{i}" for i in rng.integers(0, 9, n)],
            "value": rng.normal(size=n).astype(np.float32),
        }
    )
    frame.write_parquet(tmp_path / "events.parquet")
    ingest(tmp_path / "events.parquet", tmp_path / "store")
    events = frame.with_columns(pl.col("time") * 1_000_000).sort("patient", "time", "code", "value")
    write_store(tmp_path / "frame", events, "number", {}, {})
    ours, theirs = open_store(tmp_path / "store"), open_store(tmp_path / "frame")
    for name, array in theirs.packed.arrays.items():
        assert np.array_equal(ours.packed.arrays[name], array) and ours.packed.arrays[name].dtype == array.dtype
    assert ours.patients.equals(theirs.patients) and ours.codes.equals(theirs.codes)
    assert {**ours.packed.meta, "folder": ""} == {**theirs.packed.meta, "folder": ""}


def killed(folder: Path, seconds: float) -> int | None:
    """Starts an ingest of small runs in a process of its own, and kills it after a time; its exit code."""
    code = (
        "from medloom.ingest import store; import medloom.ingest.lines as lines; from medloom.ingest.door import ingest\n"
        "store.RUN_ROWS, lines.BLOCK_BYTES = 2_000, 1 << 14\n"
        f"print('begun', flush=True); ingest({str(folder / 'events.csv')!r}, {str(folder / 'stopped')!r}, None, {{'broken': 'skip'}})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.wait()
    process.stdout.close()
    return process.returncode


def test_what_was_killed_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = [
        f"p{i % 97},2020-01-{1 + i % 28:02d},c{i % 13},{v:.3f},mg\n" for i, v in enumerate(rng.normal(size=30_000))
    ]
    lines[777] = "p1,never,c1,1,mg\n"
    (tmp_path / "events.csv").write_text(HEADER + "".join(lines))
    while killed(tmp_path, 0.15) == 0 or not list((tmp_path / "stopped" / ".ingest").glob("run-*/meta.json")):
        assert not (tmp_path / "stopped" / "meta.json").exists(), "finished before it was killed"
    done = len(list((tmp_path / "stopped" / ".ingest").glob("run-*/meta.json")))
    assert done > 0
    while (tmp_path / "stopped" / ".ingest").exists():
        killed(tmp_path, 30.0 if done > 14 else 3.0)
        done += 5
    ingest(tmp_path / "events.csv", tmp_path / "whole", None, {"broken": "skip"})
    assert octets(tmp_path / "stopped") == octets(tmp_path / "whole")


def test_a_run_that_is_there_is_not_read_again(tmp_path: Path, monkeypatch) -> None:
    source = written(tmp_path / "a.csv", [("a", "2020-01-01", "x", str(i)) for i in range(50)])
    monkeypatch.setattr(store, "RUN_ROWS", 5)
    monkeypatch.setattr("medloom.ingest.lines.BLOCK_BYTES", 64)
    count = 0
    write = runs.write_run

    def stopping(*given):
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return write(*given)

    monkeypatch.setattr(store, "write_run", stopping)
    with pytest.raises(KeyboardInterrupt):
        ingest(source, tmp_path / "s")
    assert not (tmp_path / "s" / "meta.json").exists()
    count = 100
    ingest(source, tmp_path / "s")
    total = count - 100 + 3
    again = ingest(source, tmp_path / "s")
    assert again.lines[0] == "finished already:"
    assert len(rows(tmp_path / "s")) == 50 and total >= 4


def test_broken_lines_are_refused_named_and_by_choice_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        HEADER
        + "a,2020-01-01,x,1,\n"
        + ",2020-01-01,x,2,\n"
        + "secret,soon,x,3,\n"
        + "a,2020-01-01,,4,\n"
        + "a,2020-01-01,x\n"
        + "\n"
        + 'a,2020-01-01,"x,5,\n'
        + "a,,x,6,\n"
        + "a,2999-01-01,x,7,\n"
        + "a,2020-05,x,8,\n"
        + "a,2020-01-01,x,inf,\n"
        + "b,2020-01-02,x,9,\n"
    )
    with pytest.raises(DataError, match="9 lines cannot be read") as told:
        ingest(tmp_path / "a.csv", tmp_path / "s")
    assert "secret" not in str(told.value)
    listed = pl.read_csv(tmp_path / "s" / "broken.csv")
    assert listed["line"].to_list() == [3, 4, 5, 6, 8, 9, 10, 11, 12]
    assert listed["reason"].to_list() == [
        "no patient",
        "not a time",
        "no code",
        "not as many fields as the header",
        "a quote that does not close on its line",
        "no time",
        "a time after the file was written",
        "a date without a day",
        "a value that is not finite",
    ]
    # The runs are there: only the decision is another one.
    assert made(tmp_path / "a.csv", tmp_path / "s", broken="skip") == [
        ("a", day(2020, 1, 1), "x", 1.0),
        ("b", day(2020, 1, 2), "x", 9.0),
    ]
    assert sum(open_store(tmp_path / "s").provenance()["broken"].values()) == 9


def test_times_of_zones_become_utc_and_a_mixture_is_refused(tmp_path: Path) -> None:
    zoned = ("a", "2020-07-01T12:00:00+02:00", "x", "1")
    lines = [zoned, ("a", "2020-07-01T09:00:00Z", "x", "2"), ("a", "2020-07-01", "x", "3")]
    noon = datetime.datetime(2020, 7, 1, 10, tzinfo=datetime.UTC).timestamp()
    assert [t for _, t, _, _ in made(written(tmp_path / "a.csv", lines), tmp_path / "a")] == [
        noon - 3600,
        noon,
        day(2020, 7, 1),
    ]
    mixed = written(tmp_path / "b.csv", [zoned, ("a", "2020-07-01 12:00:00", "x", "2")])
    with pytest.raises(DataError, match="1 time has a zone and 1 have none"):
        ingest(mixed, tmp_path / "b", None, {"broken": "skip"})
    assert [t for _, t, _, _ in made(mixed, tmp_path / "b", zone="Europe/Berlin")] == [noon, noon]


def test_before_birth_is_broken_and_after_death_by_choice(tmp_path: Path) -> None:
    source = written(
        tmp_path / "a.csv",
        [
            ("a", "2000-05-01 08:00", "MEDS_BIRTH", ""),
            ("a", "2000-05-01 07:00", "weight", "3"),
            ("a", "2000-04-30 23:00", "weight", "2"),
            ("a", "2010-01-02", "MEDS_DEATH", ""),
            ("a", "2010-01-02 20:00", "culture", ""),
            ("a", "2010-01-03", "bill", "1"),
            ("b", "1990-01-01", "bill", "1"),
        ],
    )
    with pytest.raises(DataError, match="1 before the patient's birth"):
        ingest(source, tmp_path / "s")
    found = made(source, tmp_path / "s", broken="skip")
    assert [code for p, _, code, _ in found if p == "a"] == ["weight", "MEDS_BIRTH", "culture", "MEDS_DEATH", "bill"]
    assert open_store(tmp_path / "s").provenance()["counts"]["events on a day after the patient's death, kept"] == 1
    found = made(source, tmp_path / "t", broken="skip", after_death="broken")
    assert [code for _, _, code, _ in found].count("bill") == 1
    assert pl.read_csv(tmp_path / "t" / "broken.csv").rows() == [
        ("a.csv", 4, "before the patient's birth"),
        ("a.csv", 7, "after the patient's death"),
    ]


def test_units_of_a_code_become_one_and_strange_ones_are_refused_or_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        HEADER
        + "a,1,temperature,98.6,F\na,2,temperature,37,°C\nb,3,temperature,38,Cel\n"
        + "a,4,glucose,90,mg/dL\na,5,glucose,5,mmol/L\na,6,glucose,91,mg/dl\na,7,glucose,,\na,8,glucose,7,\n"
    )
    with pytest.raises(DataError, match=r"glucose \[mmol/L\]: 1 value, no conversion to mg/dL") as told:
        ingest(tmp_path / "a.csv", tmp_path / "s")
    assert "glucose [no unit]: 1 value" in str(told.value)
    found = made(tmp_path / "a.csv", tmp_path / "s", units="apart")
    assert [(c, v) for _, _, c, v in found] == [
        ("temperature", 37.0), ("temperature", 37.0), ("glucose", 90.0), ("glucose [mmol/L]", 5.0), ("glucose", 91.0),
        ("glucose", None), ("glucose [no unit]", 7.0), ("temperature", 38.0),
    ]  # fmt: skip
    codes = open_store(tmp_path / "s").codes
    assert dict(codes.select("code", "measured_in").rows()) == {
        "glucose": "mg/dL", "glucose [mmol/L]": "mmol/L", "glucose [no unit]": None, "temperature": "Cel",
    }  # fmt: skip
    (tmp_path / "conversions.csv").write_text("code,from,to,factor,offset\nglucose,mmol/L,mg/dL,18,\n")
    (tmp_path / "codes.csv").write_text("code,unit,low,high\nglucose,mmol/L,1,5.02\n")
    how = {"conversions": tmp_path / "conversions.csv", "codes": tmp_path / "codes.csv", "units": "apart"}
    found = made(tmp_path / "a.csv", tmp_path / "t", **how)
    assert [v for _, _, c, v in found if c == "glucose"] == [5.0, 5.0, None]
    assert open_store(tmp_path / "t").provenance()["impossible"] == {"glucose": 1}


def test_words_become_codes_and_notes_are_left_out(tmp_path: Path) -> None:
    lines = [
        ("a", "1", "culture", "positive"),
        ("a", "2", "lactate", "<0.5"),
        ("a", "3", "note", "x" * 61),
        ("a", "4", "sex", " f "),
    ]
    found = made(written(tmp_path / "a.csv", lines), tmp_path / "s")
    assert [(c, v) for _, _, c, v in found] == [
        ("culture=positive", None),
        ("lactate=<0.5", None),
        ("note", None),
        ("sex=f", None),
    ]
    assert open_store(tmp_path / "s").provenance()["counts"]["texts too long for a code"] == 1


def test_numbers_that_look_like_days_are_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", [("a", "20200131", "x", "1"), ("a", "20200201", "x", "1")])
    with pytest.raises(DataError, match="look like days; say time_format=%Y%m%d"):
        ingest(source, tmp_path / "s")
    assert [t for _, t, _, _ in made(source, tmp_path / "s", time_format="%Y%m%d")] == [
        day(2020, 1, 31),
        day(2020, 2, 1),
    ]


def test_a_patient_with_many_events_is_merged_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(merge, "MERGE_ROWS", 10)
    lines = [("big", str(i % 50), "x", str(i)) for i in range(300)] + [("small", "1", "x", "1"), ("a", "1", "x", "1")]
    found = made(written(tmp_path / "a.csv", lines), tmp_path / "s")
    assert len(found) == 302 and [p for p, *_ in found] == ["a"] + ["big"] * 300 + ["small"]
    assert open_store(tmp_path / "s").codes.rows() == [("x", None, 302, 3, 302)]


def test_facts_of_patients_stand_before_everything(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", [("a", "-5", "x", "1"), ("a", "", "sex", "f")])
    found = made(source, tmp_path / "s", timeless="true")
    assert [code for _, _, code, _ in found] == ["sex=f", "x"]
    assert int(open_store(tmp_path / "s").packed.arrays["time"][0]) == TIMELESS


def test_folders_that_hold_something_else_are_kept(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", [("a", "1", "x", "1")])
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.txt").write_text("…")
    with pytest.raises(DataError, match="holds other files"):
        ingest(source, tmp_path / "s")
    ingest(source, tmp_path / "t")
    with pytest.raises(DataError, match="store of another source"):
        ingest(written(tmp_path / "b.csv", [("b", "1", "x", "1")]), tmp_path / "t")
    with pytest.raises(DataError, match="is a file"):
        ingest(source, source)
    with pytest.raises(DataError, match="is a store of events already"):
        ingest(tmp_path / "t", tmp_path / "u")


def test_nothing_left_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no event is left"):
        ingest(written(tmp_path / "a.csv", [("", "1", "x", "1")]), tmp_path / "s", None, {"broken": "skip"})


def test_mistakes_of_options_are_named_at_once(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", [("a", "1", "x", "1")])
    with pytest.raises(StudyError) as told:
        ingest(
            source, tmp_path / "s", "long", {"brokn": "skip", "zone": "Nowhere", "units": "guess", "time_format": "day"}
        )
    assert len(told.value.problems) == 4 and "did you mean 'broken'" in str(told.value)
    with pytest.raises(StudyError, match="no kind of source 'fihr'; did you mean 'fhir'"):
        ingest(source, tmp_path / "s", "fihr")
    with pytest.raises(DataError, match="no such file"):
        ingest(tmp_path / "none", tmp_path / "s")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch, number: int) -> None:
    def full(*given):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store, "write_run", full)
    with pytest.raises(DataError, match="no room left on the disk"):
        ingest(written(tmp_path / "a.csv", [("a", "1", "x", "1")]), tmp_path / "s")
