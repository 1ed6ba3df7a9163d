"""Events of a store: read as they lie, with what is timeless; and the same as those of a long table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from medloom import feed, fitted, study
from medloom.cohort.event_store import ticks, write_store
from medloom.cohort.table import Cohort, make_cohort
from medloom.errors import DataError
from medloom.modalities.events import Events
from medloom.modalities.events.gather import seen_by
from medloom.modalities.events.options import EventsOptions
from medloom.packed import Source

EVENTS = pl.DataFrame(
    {
        "patient": ["b", "a", "a", "b", "a", "a", "b"],
        "time": [3.0, 7.0, 1.0, 9.0, 5.0, None, None],
        "code": ["hr", "na", "hr", "hr", "hr", "sex=male", "sex=female"],
        "value": [80.0, 140.0, 70.0, 90.0, None, None, None],
    }
)
STAYS = {"patient": ["a", "a", "b", "nobody"], "at": [5.0, 9.0, 9.0, 9.0]}


def cohort_of(folder: Path, **tables: pl.DataFrame) -> Cohort:
    return make_cohort(study.CohortPart(patient="patient", at="at"), pl.DataFrame(STAYS), folder, tables)


def stored(folder: Path) -> Path:
    time = ticks(EVENTS["time"].fill_null(float("nan")).to_numpy())
    write_store(folder / "events", EVENTS.with_columns(pl.Series("time", time)), "number", {}, {})
    return folder


def seen(source: Source, row: int) -> list[tuple[str, float | None]]:
    where, _ = seen_by(source, np.array([row]))
    arrays, codes = source.packed.arrays, source.packed.meta["codes"]
    pairs = zip(arrays["code"][where].tolist(), arrays["value"][where].tolist(), strict=True)
    return [(codes[code - 1], None if np.isnan(value) else value) for code, value in pairs]


@pytest.mark.parametrize(
    "options", [{}, {"last": 1}, {"lookback": 3.0}, {"last": 2, "lookback": 4.0}], ids=["all", "last", "back", "both"]
)
def test_a_store_gives_what_the_long_table_gives(tmp_path: Path, options: dict[str, float]) -> None:
    one = feed.pack(Events, EventsOptions(table="events/", **options), cohort_of(stored(tmp_path)))
    long = EventsOptions(table="long", timeless=True, **options)
    other = feed.pack(Events, long, cohort_of(tmp_path, long=EVENTS))
    assert one.newest is not None and other.newest is not None
    np.testing.assert_array_equal(one.newest, other.newest)
    for row in range(4):
        assert seen(one, row) == seen(other, row)


def test_what_codes_are_called_stays_with_those_that_are_learnt(tmp_path: Path) -> None:
    patients = [f"p{n}" for n in range(12)]
    events = {
        "patient": patients * 2,
        "time": [0] * 24,
        "code": ["hr"] * 12 + ["na"] * 8 + ["i10"] * 4,
        "value": [1.0] * 24,
    }
    write_store(tmp_path / "events", pl.DataFrame(events), "number", {}, {})
    codes = pl.read_parquet(tmp_path / "events" / "codes.parquet")
    said = {"hr": "Heart rate", "na": "Sodium", "i10": None}
    codes.with_columns(pl.col("code").replace_strict(said).alias("description")).write_parquet(
        tmp_path / "events" / "codes.parquet"
    )
    frame = pl.DataFrame({"patient": patients, "at": [5.0] * 12})
    cohort = make_cohort(study.CohortPart(patient="patient", at="at"), frame, tmp_path, {})
    chosen = EventsOptions(table="events/")
    source = feed.pack(Events, chosen, cohort)
    modality = Events.fit(chosen, [Events.summarise(chosen, source, np.arange(12))])
    assert [modality.called(code) for code in ("hr", "na", "i10", "(rare codes)")] == ["Heart rate", "", "", ""]
    # A bundle keeps it.
    assert fitted.load(Events, json.loads(json.dumps(fitted.dump(modality)))).called("hr") == "Heart rate"


def test_a_store_is_mapped_and_not_packed_again(tmp_path: Path) -> None:
    packs = tmp_path / "packed"
    source = feed.pack(Events, EventsOptions(table="events/"), cohort_of(stored(tmp_path)), packs)
    assert not packs.exists()
    assert isinstance(source.packed.arrays["code"], np.memmap)
    assert source.unit.tolist() == [1, 1, 2, 0]


def test_what_is_timeless_is_seen_however_short_the_look_back(tmp_path: Path) -> None:
    source = feed.pack(Events, EventsOptions(table="events/", last=1, lookback=1.0), cohort_of(stored(tmp_path)))
    assert seen(source, 0) == [("sex=male", None)]
    assert seen(source, 2) == [("sex=female", None)]
    assert seen(source, 3) == []
    assert source.newest is not None and source.newest[0] == -np.inf and np.isnan(source.newest[3])


def test_events_without_a_time_are_refused_unless_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 events have no time \('row 6', 'row 7'\).*timeless = true"):
        feed.pack(Events, EventsOptions(table="long"), cohort_of(tmp_path, long=EVENTS))


def test_a_frame_goes_before_the_store(tmp_path: Path) -> None:
    cohort = cohort_of(stored(tmp_path), events=EVENTS.filter(pl.col("time") == 3.0))
    assert seen(feed.pack(Events, EventsOptions(table="events/"), cohort), 2) == [("hr", 80.0)]


def test_a_folder_that_is_no_store_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished store of events; `medloom ingest"):
        feed.pack(Events, EventsOptions(table="nothing/"), cohort_of(tmp_path))


def test_columns_are_not_asked_of_a_store() -> None:
    with pytest.raises(ValidationError, match="code goes with a long table"):
        EventsOptions(table="events/", code="concept")


def test_a_study_with_a_store_keeps_its_slash_in_text(tmp_path: Path) -> None:
    from medloom.study import make
    from medloom.study_text import with_folders, without_folders

    asked = make(
        {
            "name": "x",
            "cohort": {"table": "c.csv", "patient": "p", "at": "t"},
            "inputs": {"e": {"modality": "events", "table": "data/events/"}},
            "targets": {"y": {"task": "classify", "column": "y"}},
        }
    ).within(tmp_path)
    assert without_folders(asked).inputs["e"].table == "events/"
    assert with_folders(asked).inputs["e"].table == f"{tmp_path}/data/events/"
    assert without_folders(asked).cohort.table == "c.csv"


def test_groups_stand_for_their_codes(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("code,group\nhr,vital\nna,vital\nsex=*,sex\n")
    asked = EventsOptions(table="events/", groups={"table": "groups.csv"})
    cohort = cohort_of(stored(tmp_path))
    options = Events.complete(asked, cohort, frozenset())
    assert isinstance(options, EventsOptions) and options.groups is None
    assert options.members == {"vital": ("hr", "na"), "sex": ("sex=*",)}
    assert EventsOptions.model_validate(options.model_dump(mode="json")) == options
    (tmp_path / "groups.csv").unlink()
    source = feed.pack(Events, options, cohort)
    summary = Events.summarise(options, source, np.arange(3))
    assert summary.codes == ("sex", "vital")
    assert summary.patients.tolist() == [2, 2] and summary.events.tolist() == [2, 4]


def test_levels_stand_for_codes_of_their_system() -> None:
    from medloom.modalities.events.groups import names_of

    options = EventsOptions(table="events/", groups={"icd10": "category"}, members={"heart": ["icd10:I50"]})
    assert names_of(options, ["ICD10:I501", "ICD10:J189", "lactate"]) == ["heart", "icd10:J18", "lactate"]
    with pytest.raises(DataError, match="codes in several groups"):
        names_of(EventsOptions(table="e/", members={"a": ["x"], "b": ["x*"]}), ["x"])
    with pytest.raises(ValidationError, match="is no group of"):
        EventsOptions(table="e/", members={"a": ["icd10:what"]})


def test_a_refusal_names_the_store_that_was_given(tmp_path: Path) -> None:
    patients = [f"p{number}" for number in range(12)]
    rows = make_cohort(
        study.CohortPart(patient="patient", at="at"),
        pl.DataFrame({"patient": patients, "at": [9.0] * 12}),
        tmp_path,
        {},
    )
    events = pl.DataFrame({"patient": patients, "time": ticks(np.ones(12)), "code": ["hr"] * 12, "value": [80.0] * 12})
    for name, unit in (("own", "1/min"), ("theirs", "Hz")):
        write_store(tmp_path / name, events, "number", {}, {"hr": unit})
    options = EventsOptions(table="own/")
    source = feed.pack(Events, options, rows)
    fit = Events.fit(options, [Events.summarise(options, source, np.arange(12))])
    given = feed.pack(Events, options, replace(rows, stores={"own": tmp_path / "theirs"}))
    with pytest.raises(DataError, match=r"theirs: values of 1 code stand in other units than those learnt \('hr'"):
        fit.bind(given)
