"""Reading the long table: what is right comes through unchanged, what is broken is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from medloom import feed, study
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort.ticks import times
from medloom.errors import DataError, StudyError
from medloom.modalities.events import Events
from medloom.modalities.events.options import EventsOptions
from medloom.packed import Source

STAYS = {"stay": ["s1", "s2", "s3"], "patient": ["a", "a", "b"], "at": [5.0, 9.0, 9.0]}
LONG = {
    "patient": ["b", "a", "a", "b", "a"],
    "time": [3.0, 7.0, 1.0, 9.0, 5.0],
    "code": ["hr", "na", "hr", "hr", "hr"],
    "value": [80.0, 140.0, 70.0, 90.0, None],
}


def cohort_of(columns: dict[str, list[object]], folder: Path = Path(), **tables: pl.DataFrame) -> Cohort:
    part = study.CohortPart(row="stay", patient="patient", at="at" if "at" in columns else None)
    return make_cohort(part, pl.DataFrame(columns), folder, tables)


def pointed(
    long: dict[str, list[object]] | pl.DataFrame, stays: dict[str, list[object]] = STAYS, **options: object
) -> Source:
    cohort = cohort_of(stays, events=pl.DataFrame(long))
    return feed.pack(Events, EventsOptions(table="events.csv", **options), cohort)


def seen(source: Source, row: int) -> list[tuple[float, str, float | None]]:
    assert source.start is not None and source.stop is not None
    part = slice(source.start[row], source.stop[row])
    arrays, codes = source.packed.arrays, source.packed.meta["codes"]
    time = times(arrays["time"][part]).tolist()
    return [
        (time, codes[code - 1], None if np.isnan(value) else value)
        for time, code, value in zip(time, *(arrays[name][part].tolist() for name in ("code", "value")), strict=True)
    ]


def test_every_row_sees_its_own_past_of_an_unsorted_table() -> None:
    source = pointed(LONG)
    assert seen(source, 0) == [(1.0, "hr", 70.0)]
    assert seen(source, 1) == [(1.0, "hr", 70.0), (5.0, "hr", None), (7.0, "na", 140.0)]
    assert seen(source, 2) == [(3.0, "hr", 80.0)]
    assert source.newest is not None and source.newest.tolist() == [1.0, 7.0, 3.0]
    assert source.unit[0] == source.unit[1] != source.unit[2]


def test_values_of_one_code_in_several_units_are_refused() -> None:
    long = {**LONG, "unit": ["1/min", "mmol/L", "1/min", None, "Hz"]}
    assert len(pointed(long).unit) == 3  # what has no value has no quantity
    long["unit"] = ["1/min", "mmol/L", " 1/min ", "Hz", ""]
    with pytest.raises(DataError, match=r"values of 1 code stand in several units in 'unit' \(codes 'hr'\).*ingest"):
        pointed(long)
    assert seen(pointed(long, unit=""), 2) == [(3.0, "hr", 80.0)]
    del long["unit"]
    assert seen(pointed(long), 2) == [(3.0, "hr", 80.0)]


def test_a_fitted_state_refuses_values_in_another_unit() -> None:
    patients = [f"p{number}" for number in range(12)]
    stays = {"stay": patients, "patient": patients, "at": [5.0] * 12}
    long = {"patient": patients, "time": [1.0] * 12, "code": ["hr"] * 12, "value": [80.0] * 12, "unit": ["1/min"] * 12}
    source = pointed(long, stays)
    options = EventsOptions(table="events.csv")
    fit = Events.fit(options, [Events.summarise(options, source, np.arange(12))])
    assert fit.measured_in == {"hr": "1/min"}
    fit.bind(pointed({**long, "unit": ["1 / MIN"] * 12}, stays))
    fit.bind(pointed({**long, "unit": [None] * 12}, stays))
    other = pointed({**long, "unit": ["Hz"] * 12}, stays)
    with pytest.raises(
        DataError, match=r"other units than those learnt \('hr'; the first in 'Hz', learnt in '1/min'\)"
    ):
        fit.bind(other)
    with pytest.raises(DataError, match="sites of the study"):
        Events.fit(options, [Events.summarise(options, one, np.arange(12)) for one in (source, other)])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".arrow"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_files_and_frames_give_the_same_pack(tmp_path: Path, suffix: str, in_memory: bool) -> None:
    frame = pl.DataFrame(LONG)
    path = tmp_path / f"long{suffix}"
    write = {".csv": frame.write_csv, ".parquet": frame.write_parquet, ".arrow": frame.write_ipc}
    frame.write_csv(path, separator="\t") if suffix == ".tsv" else write[suffix](path)
    cohort = cohort_of(STAYS, tmp_path)
    store = None if in_memory else tmp_path / "store"
    source = feed.pack(Events, EventsOptions(table=path.name), cohort, store)
    again = feed.pack(Events, EventsOptions(table=path.name), cohort, store)
    other = pointed(LONG)
    for one in (source, again):
        assert one.packed.meta == other.packed.meta
        for name, array in other.packed.arrays.items():
            np.testing.assert_array_equal(one.packed.arrays[name], array)


def test_vocabularies_of_separate_blocks_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pointed(LONG)
    monkeypatch.setattr(Events, "read_block", 1)
    blocks = pointed(LONG)
    assert sorted(blocks.packed.meta["codes"]) == sorted(whole.packed.meta["codes"]) == ["hr", "na"]
    for row in range(3):
        assert seen(blocks, row) == seen(whole, row)


def test_small_file_blocks_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medloom.modalities.events.read.EVENT_BLOCK", 2)
    pl.DataFrame(LONG).write_csv(tmp_path / "long.csv")
    source = feed.pack(Events, EventsOptions(table="long.csv"), cohort_of(STAYS, tmp_path))
    for row in range(3):
        assert seen(source, row) == seen(pointed(LONG), row)


def test_a_frame_goes_by_the_whole_name_too() -> None:
    cohort = cohort_of(STAYS, **{"lab/events.csv": pl.DataFrame(LONG)})
    source = feed.pack(Events, EventsOptions(table="lab/events.csv"), cohort)
    assert seen(source, 2) == [(3.0, "hr", 80.0)]


def test_ids_are_compared_as_text_however_stored() -> None:
    stays = {"stay": ["x", "y"], "patient": ["1", "007"], "at": [9, 9]}
    source = pointed({"patient": [1, 7], "time": [1, 2], "code": [5, 6], "value": [1, 2]}, stays)
    assert seen(source, 0) == [(1.0, "5", 1.0)]
    assert source.unit[1] == 0


def test_duplicate_events_are_kept_and_ties_keep_the_order_of_the_table() -> None:
    long = {
        "patient": ["a"] * 4,
        "time": [2.0, 1.0, 2.0, 2.0],
        "code": ["z", "y", "a", "z"],
        "value": [1.0, 2.0, 3.0, 1.0],
    }
    source = pointed(long, {"stay": ["s"], "patient": ["a"], "at": [3.0]})
    assert seen(source, 0) == [(1.0, "y", 2.0), (2.0, "z", 1.0), (2.0, "a", 3.0), (2.0, "z", 1.0)]


def test_codes_alone() -> None:
    without = {name: values for name, values in LONG.items() if name != "value"}
    source = pointed(without, value="")
    assert seen(source, 2) == [(3.0, "hr", None)]
    assert EventsOptions(table="t.csv", value=None).value == ""


def test_rows_without_events_are_absent() -> None:
    stays = {"stay": ["s1", "s2"], "patient": ["a", "nobody"], "at": [1.0, 9.0]}
    source = pointed(LONG, stays)
    assert source.unit.tolist() == [0, 0]
    assert source.newest is not None and np.isnan(source.newest).all()


def test_without_index_time_all_is_seen() -> None:
    source = pointed(LONG, {"stay": ["s1", "s2"], "patient": ["a", "b"]})
    assert [len(seen(source, row)) for row in (0, 1)] == [3, 2]
    assert source.newest is not None and source.newest.tolist() == [7.0, 9.0]


@pytest.mark.parametrize("storage", ["text", "date", "datetime"])
def test_dates(storage: str) -> None:
    times = ["2020-01-01 10:00", "2020-01-02 10:00", "2020-01-02 11:00"]
    stays = {"stay": ["s"], "patient": ["a"], "at": ["2020-01-02 11:00"]}
    if storage == "date":
        times = [time[:10] for time in times]
    long = pl.DataFrame({"patient": ["a"] * 3, "time": times, "code": ["x", "y", "z"], "value": [1.0] * 3})
    if storage == "datetime":
        long = long.with_columns(pl.col("time").str.to_datetime("%Y-%m-%d %H:%M"))
    codes = [code for _, code, _ in seen(pointed(long, stays), 0)]
    assert codes == (["x"] if storage == "date" else ["x", "y"])
    if storage == "date":
        typed = long.with_columns(pl.col("time").str.to_date())
        assert [code for _, code, _ in seen(pointed(typed, stays), 0)] == ["x"]


def test_a_date_before_the_day_of_a_date_index_is_seen() -> None:
    long = {"patient": ["a", "a"], "time": ["2020-01-01", "2020-01-02"], "code": ["x", "y"], "value": [1, 2]}
    source = pointed(long, {"stay": ["s"], "patient": ["a"], "at": ["2020-01-02"]})
    assert [code for _, code, _ in seen(source, 0)] == ["x"]


def test_lookback_counts_days_of_dates_and_is_inclusive() -> None:
    times = ["2020-01-01 00:00", "2020-01-08 00:00", "2020-01-09 23:00"]
    long = {"patient": ["a"] * 3, "time": times, "code": ["x", "y", "z"], "value": [1, 2, 3]}
    source = pointed(long, {"stay": ["s"], "patient": ["a"], "at": ["2020-01-10 00:00"]}, lookback=2)
    assert [code for _, code, _ in seen(source, 0)] == ["y", "z"]


def test_the_column_of_at_makes_late_rows_absent() -> None:
    stays = {**STAYS, "known": [4.0, 9.0, None]}
    source = pointed(LONG, stays, at="known")
    assert source.unit[0] > 0
    assert source.unit[1:].tolist() == [0, 0]


BROKEN = {
    "no patient": ({"patient": ["b", None, "a", "b", " "]}, {}, r"2 events have no patient.*rows '2', '5'"),
    "time missing": ({"time": [3.0, None, 1.0, 9.0, float("nan")]}, {}, r"2 events have no time.*'row 2', 'row 5'"),
    "time unreadable": ({"time": ["3", "soon", "1", "9", "5"]}, {}, r"1 value is not a time .rows 'row 2'"),
    "kind of time": ({"time": ["2020-01-01"] * 5}, {}, r"holds dates and cohort.at holds numbers"),
    "no code": ({"code": ["hr", "", None, "hr", "hr"]}, {}, r"2 events have no code.*'row 2', 'row 3'"),
    "text value": (
        {"value": ["1", "secret", "2", "", "3"]},
        {},
        r"column 'value': 1 value is not numeric.*'row 2'; codes 'na'",
    ),
    "decimal commas": ({"value": ["1,5", "2", "3", "4", "5"]}, {}, r"1 value.*with a comma; write 1234\.5.*'row 1'"),
    "infinite": ({"value": [1.0, float("inf"), 2.0, None, 1e39]}, {}, r"2 values.*infinite"),
    "value of lists": ({"value": [[1.0]] * 5}, {}, r"holds List.*expected numbers"),
    "missing column": ({}, {"time": "tme"}, r"time: no column 'tme'; did you mean 'time'\?"),
    "missing value": ({}, {"value": "valeu"}, r"did you mean 'value'.*value = \"\""),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_tables_are_refused_by_name(case: str) -> None:
    columns, options, message = BROKEN[case]
    with pytest.raises(DataError, match=f"(?s){message}") as caught:
        pointed(pl.DataFrame({**LONG, **columns}, strict=False), **options)
    assert "secret" not in str(caught.value)


def test_lines_of_a_file_count_its_header(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text("patient,time,code,value\na,1,hr,70\n,2,hr,71\n")
    with pytest.raises(DataError, match="lines '3'"):
        feed.pack(Events, EventsOptions(table="long.csv"), cohort_of(STAYS, tmp_path))


def test_kinds_of_time_that_differ_between_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Events, "read_block", 1)
    long = {"patient": ["a", "b"], "time": ["3", "2020-01-01"], "code": ["x", "x"], "value": [1.0, 1.0]}
    with pytest.raises(DataError, match="dates and of others numbers"):
        pointed(long, {"stay": ["s", "t"], "patient": ["a", "b"]})


def test_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text("patient,time,code,value\n")
    with pytest.raises(DataError, match="header and no rows"):
        feed.pack(Events, EventsOptions(table="long.csv"), cohort_of(STAYS, tmp_path))
    with pytest.raises(DataError, match="header and no rows"):
        pointed(pl.DataFrame(LONG)[:0])


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        feed.pack(Events, EventsOptions(table="nowhere.csv"), cohort_of(STAYS, tmp_path))


def test_one_column_cannot_play_two_parts() -> None:
    inputs = {"record": {"modality": "events", "table": "t.csv", "code": "time"}}
    raw = {"name": "s", "cohort": {"table": "t.csv", "patient": "p", "at": "at"}, "inputs": inputs, "targets": {}}
    with pytest.raises(StudyError, match="must be different columns"):
        study.make(raw)


def test_the_study_wants_an_index_time_or_a_declaration() -> None:
    cohort = {"table": "t.csv", "patient": "p"}
    record = {"modality": "events", "table": "long.csv"}
    targets = {"death": {"task": "classify", "column": "died"}}
    raw = {"name": "s", "cohort": cohort, "inputs": {"record": record}, "targets": targets}
    with pytest.raises(StudyError, match=r"inputs\.record: nothing says when.*cohort\.at"):
        study.make(raw)
    study.make({**raw, "cohort": {**cohort, "at": "admitted"}})
    study.make({**raw, "inputs": {"record": {**record, "known_before_index": True}}})
