"""Rows, columns and outcomes made of a store of events, against a plain reading of one patient after another."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.cohort.event_cohort import Made, from_store, of_store
from medloom.cohort.event_store import TICKS, TIMELESS, EventStore, write_store
from medloom.cohort.table import read_cohort
from medloom.cohort.times import Kind
from medloom.cohort_part import CohortPart
from medloom.errors import DataError
from medloom.packed import Packed

Event = tuple[str, float | None, str, float | None]
DAY = 86_400
SETS = {"visit": "visit", "ill": "ill", "death": "death", "lab": "lab", "high": {"codes": "lab", "where": "value > 5"}}


def store(folder: Path, events: list[Event], kind: Kind = "number") -> Path:
    """A store of (patient, time, code, value); no time is timeless."""
    frame = pl.DataFrame(
        {
            "patient": [event[0] for event in events],
            "time": [TIMELESS if event[1] is None else round(event[1] * TICKS) for event in events],
            "code": [event[2] for event in events],
            "value": [event[3] for event in events],
        },
        schema={"patient": pl.String, "time": pl.Int64, "code": pl.String, "value": pl.Float32},
    )
    write_store(folder, frame, kind, {}, {})
    return folder


def in_memory(events: list[Event]) -> EventStore:
    """The same store without files, for tests of very many of them."""
    patients = sorted({event[0] for event in events})
    codes = sorted({event[2] for event in events})
    rows = [
        (patients.index(who) + 1, TIMELESS if t is None else round(t * TICKS), codes.index(code) + 1, math.nan if v is None else v)
        for who, t, code, v in events
    ]  # fmt: skip
    rows.sort(key=lambda row: row[:2])
    counts = [sum(row[0] == unit for row in rows) for unit in range(len(patients) + 1)]
    arrays = {
        "time": np.array([row[1] for row in rows], np.int64),
        "code": np.array([row[2] for row in rows], np.int32),
        "value": np.array([row[3] for row in rows], np.float32),
        "offset": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    }
    packed = Packed(arrays, {"kind": "number", "codes": codes, "format": 1})
    return EventStore(Path(), packed, pl.Series("patient", patients), pl.DataFrame({"code": codes}))


def part(**events: Any) -> CohortPart:
    """The section of a study, with what no test cares for filled in."""
    given = {
        "store": "events/",
        "sets": SETS,
        "index": {"at": "visit"},
        "observed_until": "last event",
        **events,
    }
    return CohortPart.model_validate({"events": given})


def made(folder: Path, events: list[Event], kind: Kind = "number", **more: Any) -> Made:
    """What the study makes of a store of these events. Each code stands once with a patient of its own."""
    all_codes: list[Event] = [("zz", None, code, None) for code in ("visit", "ill", "death", "lab")]
    return from_store(part(**more), store(folder, [*events, *all_codes], kind), folder, own=True, answered=True)


def quick(events: list[Event], **more: Any) -> pl.DataFrame:
    """The table of `made`, without files."""
    all_codes: list[Event] = [("zz", None, code, None) for code in ("visit", "ill", "death", "lab")]
    return of_store(part(**more), in_memory([*events, *all_codes]), own=True, answered=True).frame


def outcome(folder: Path, events: list[Event], **of: Any) -> pl.DataFrame:
    """The columns of one outcome, of visits."""
    rest = {key: of.pop(key) for key in ("observed_until", "ends", "index") if key in of}
    frame = made(folder, events, **rest, outcomes={"y": of}).frame
    return frame.drop("row", "patient", "at")


def test_a_row_for_each_index_time(tmp_path: Path) -> None:
    events: list[Event] = [("b", 3, "visit", None), ("a", 1, "visit", None), ("a", 5, "visit", None), ("a", 5, "ill", None)]  # fmt: skip
    frame = made(tmp_path, events).frame
    assert frame.rows() == [("a@1", "a", 1.0), ("a@5", "a", 5.0), ("b@3", "b", 3.0)]


def test_a_row_is_called_by_its_time_as_one_writes_it(tmp_path: Path) -> None:
    at = {"at": "visit", "after": 0.0001}
    frame = made(tmp_path, [("a", 0, "visit", None), ("a", 2.3, "visit", None), ("a", 9, "end", None)], index=at).frame
    assert frame["row"].to_list() == ["a@0.0001", "a@2.3001"] and frame["at"].to_list() == [0.0001, 2.3001]


def test_dates_stay_dates(tmp_path: Path) -> None:
    frame = made(tmp_path, [("a", 1.5 * DAY, "visit", None)], "date", index={"at": "visit", "after": 0}).frame
    assert frame["at"].dtype == pl.Datetime("us")
    assert frame["row"].to_list() == ["a@1970-01-02T12:00:00"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ({"which": "first"}, [1]),
        ({"which": "last"}, [9]),
        ({"after": 2}, [3, 7]),
        ({"after": [0, 2]}, [1, 3, 5, 7, 9]),
        ({"every": 3, "until": "ill"}, [1, 4, 5, 7, 8, 9]),
        ({"every": 3, "which": "first"}, [1, 4, 7, 10]),
        ({"after": 2, "until": "visit"}, [3, 7]),
        ({"after": 4, "until": "visit"}, []),
    ],
)
def test_rules_of_index_times(tmp_path: Path, index: dict[str, Any], expected: list[int]) -> None:
    events: list[Event] = [("a", t, "visit", None) for t in (1, 5, 9)] + [("a", 10, "ill", None)]
    if not expected:
        # 9 + 4 lies after the last event, all others at the next visit.
        with pytest.raises(DataError, match="no row is left after 'observed at the index time'"):
            made(tmp_path, events, index={"at": "visit", **index})
        return
    assert made(tmp_path, events, index={"at": "visit", **index}).frame["at"].to_list() == expected


def test_the_flow_says_who_is_left_out_and_why(tmp_path: Path) -> None:
    events: list[Event] = [
        *(("a", t, "visit", None) for t in (1, 5, 9)),
        ("a", 9, "death", None),
        *(("b", t, "visit", None) for t in (2, 3)),
        ("c", 4, "visit", None),
    ]
    found = made(
        tmp_path,
        events,
        ends="death",
        include=[{"name": "seen before", "of": "any", "window": "(-inf, 0)"}],
        exclude=[{"name": "just seen", "of": "visit", "window": "[-1, 0)"}],
        outcomes={"ill": {"of": "ill", "window": "(0, 3]"}},
    )
    assert [(step.name, step.rows, step.patients, step.left_out) for step in found.flow] == [
        ("index times at 'visit'", 6, 3, 0),
        ("before 'death'", 5, 3, 1),
        ("observed at the index time", 5, 3, 0),
        ("seen before", 2, 2, 3),
        ("just seen", 1, 1, 1),
        ("outcome ill", 1, 1, 0),
    ]
    assert found.frame["row"].to_list() == ["a@5"]
    assert found.flow[-1].why.startswith("1 row with an answer; 0 not observed")


def test_who_never_returns_stays_in_without_an_answer(tmp_path: Path) -> None:
    events: list[Event] = [("a", 1, "visit", None), ("b", 1, "visit", None), ("b", 4, "visit", None)]
    asked = {"of": "visit", "window": "(0, 5]"}
    assert outcome(tmp_path / "1", events, **asked)["y"].to_list() == [None, 1, None]
    assert outcome(tmp_path / "2", events, observed_until=6, **asked)["y"].to_list() == [0, 1, None]
    assert outcome(tmp_path / "3", events, observed_until="end of data", **asked)["y"].to_list() == [None, 1, None]
    assert outcome(tmp_path / "4", events, observed_until=9, **asked)["y"].to_list() == [0, 1, 0]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("(0, 3]", [1]),
        ("(0, 3)", [0]),
        ("(3, 5]", [0]),
        ("[3, 5]", [1]),
        ("[3, 9]", [1]),
        ("(3, 9]", [0]),
        ("(3, 9.000001]", [None]),
        ("(3, 9.000001)", [0]),
        ("[0, 0]", [0]),
    ],
)
def test_brackets_say_whether_an_end_is_inside(tmp_path: Path, window: str, expected: list[int | None]) -> None:
    events: list[Event] = [("a", 1, "visit", None), ("a", 4, "ill", None), ("a", 10, "lab", None)]
    assert outcome(tmp_path, events, of="ill", window=window)["y"].to_list() == expected


def test_death_ends_observation_unless_it_competes(tmp_path: Path) -> None:
    events: list[Event] = [("a", 1, "visit", None), ("a", 3, "death", None)]
    more = {"of": "ill", "window": "(0, 9]", "ends": "death", "observed_until": 50}
    assert outcome(tmp_path / "1", events, **more)["y"].to_list() == [None]
    assert outcome(tmp_path / "2", events, competing="death", **more)["y"].to_list() == [0]
    assert outcome(tmp_path / "3", events, take="time", **more).rows() == [(2.0, 0)]
    assert outcome(tmp_path / "4", events, take="time", competing="death", **more).rows() == [(2.0, 2)]
    assert outcome(tmp_path / "5", events, **{**more, "of": "death"}, take="time").rows() == [(2.0, 1)]


def test_a_gap_begins_the_clock_later_and_leaves_out_who_is_gone(tmp_path: Path) -> None:
    events: list[Event] = [("a", 1, "visit", None), ("a", 2, "death", None), ("b", 1, "visit", None), ("b", 8, "ill", None)]  # fmt: skip
    more = {"of": "ill", "window": "[3, inf)", "take": "time", "observed_until": 20}
    assert outcome(tmp_path / "1", events, competing="death", ends="death", **more).rows() == [(None, None), (4.0, 1)]
    assert outcome(tmp_path / "2", events, competing="death", **more).rows() == [(None, None), (4.0, 1)]
    assert outcome(tmp_path / "3", events, ends="death", **more).rows() == [(None, None), (4.0, 1)]


def test_values_counts_and_times_to_the_first(tmp_path: Path) -> None:
    events: list[Event] = [
        ("a", 0, "visit", None),
        ("a", 1, "lab", 7.0),
        ("a", 2, "lab", None),
        ("a", 3, "lab", 4.0),
        ("a", 9, "ill", None),
    ]
    takes = {"count": 3, "first": 7.0, "last": 4.0, "min": 4.0, "max": 7.0, "mean": 5.5, "until": 1.0}
    for take, expected in takes.items():
        assert outcome(tmp_path / take, events, of="lab", window="(0, 9]", take=take)["y"].to_list() == [expected]
        late = outcome(tmp_path / f"{take}-late", events, of="lab", window="(0, 10]", take=take)["y"].to_list()
        assert late == [expected if take in ("first", "until") else None]
    assert outcome(tmp_path / "high", events, of="high", window="(0, 9]", take="count")["y"].to_list() == [1]


def test_many_sets_at_once_have_a_column_each(tmp_path: Path) -> None:
    events: list[Event] = [("a", 0, "visit", None), ("a", 1, "ill", None), ("a", 9, "lab", 2.0)]
    found = outcome(tmp_path, events, of=["ill", "death", "high"], window="(0, 9]")
    assert found.to_dict(as_series=False) == {"y_ill": [1], "y_death": [0], "y_high": [0]}


def test_a_window_may_end_with_the_next_event_of_a_set(tmp_path: Path) -> None:
    events: list[Event] = [("a", t, code, None) for t, code in ((0, "visit"), (2, "lab"), (3, "ill"), (4, "visit"), (5, "ill"), (7, "lab"))]  # fmt: skip
    assert outcome(tmp_path / "1", events, of="ill", window="(0, lab]")["y"].to_list() == [0, 1]
    columns = {"since_visit": {"of": "ill", "window": "(visit, 0)", "take": "count"}}
    found = made(tmp_path / "2", events, index={"at": "lab"}, columns=columns).frame
    assert found["since_visit"].to_list() == [0, 1]


def test_columns_end_before_the_index_time_and_know_what_is_timeless(tmp_path: Path) -> None:
    events: list[Event] = [("a", None, "lab", 3.0), ("a", 1, "lab", 8.0), ("a", 2, "lab", 6.0), ("a", 2, "visit", None)]
    takes = ("count", "happened", "first", "last", "min", "max", "mean", "since")
    columns = {take: {"of": "lab", "window": "(-inf, 0)", "take": take} for take in takes}
    recent = {"recent": {"of": "lab", "window": "[-9, 0)", "take": "count"}}
    frame = made(tmp_path, events, columns={**columns, **recent}).frame
    assert frame.select(*takes, "recent").row(0) == (2, 1, 3.0, 8.0, 3.0, 8.0, 5.5, 1.0, 1)


def test_durations_of_dates_have_units(tmp_path: Path) -> None:
    events: list[Event] = [("a", 0, "visit", None), ("a", 36 * 3600, "ill", None), ("a", 90 * DAY, "lab", None)]
    more = {"kind": "date", "outcomes": {"y": {"of": "ill", "window": "(0, 36h]"}, "t": {"of": "ill", "window": "(0, inf)", "take": "time", "unit": "h"}}}  # fmt: skip
    assert made(tmp_path, events, **more).frame.select("y", "t_time").row(0) == (1, 36.0)


def test_a_unit_goes_with_dates_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="30d has a unit, and the times of the store are numbers"):
        outcome(tmp_path, [("a", 0, "visit", None)], of="ill", window="(0, 30d]")


def test_a_criterion_that_looks_ahead_is_not_asked_when_predicting(tmp_path: Path) -> None:
    events: list[Event] = [("a", 0, "visit", None), ("a", 5, "lab", None), ("b", 0, "visit", None)]
    asked = part(
        include=[{"name": "comes again", "of": "lab", "window": "(0, 9]", "looks_ahead": True}],
        outcomes={"y": {"of": "ill", "window": "(0, 2]"}},
        sets={"visit": "visit", "lab": "lab", "ill": "ill"},
    )
    path = store(tmp_path, [*events, ("zz", None, "ill", None)])
    own = from_store(asked, path, tmp_path, own=True, answered=True)
    assert own.frame["patient"].to_list() == ["a"] and "y" in own.frame.columns
    new = from_store(asked, path, tmp_path, own=False, answered=False)
    assert new.frame["patient"].to_list() == ["a", "b"] and new.frame.columns == ["row", "patient", "at"]


def test_another_store_is_not_held_to_the_declared_end(tmp_path: Path) -> None:
    events: list[Event] = [("a", 50, "visit", None), ("b", 60, "visit", None), ("c", 99, "lab", None)]
    asked = part(observed_until=20, outcomes={"y": {"of": "ill", "window": "(0, 45]"}})
    found = from_store(asked, store(tmp_path, events), tmp_path, own=False, answered=True)
    assert found.frame["y"].to_list() == [0, None]


def test_sets_are_named_all_at_once(tmp_path: Path) -> None:
    path = store(tmp_path, [("a", 0, "visit", None), ("a", 1, "sepsis", None)])
    empty = part(sets={"visit": "visit", "ill": "sepsi", "death": "dead"})
    with pytest.raises(DataError, match="sets.ill: the store has no code.*mean 'sepsis'.*\n.*sets.death"):
        from_store(empty, path, tmp_path, own=True, answered=True)
    wrong = part(sets={"visit": "visit", "ill": "icd10:xx", "death": ["a", "atc:1"]})
    with pytest.raises(DataError, match="sets.ill: 'icd10:xx'.*\n.*sets.death: 'atc:1'"):
        from_store(wrong, path, tmp_path, own=True, answered=True)


def test_what_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished store"):
        from_store(part(), tmp_path / "none", tmp_path, own=True, answered=True)
    with pytest.raises(DataError, match="observed_until: 'last evnt' is no rule.*last event"):
        made(tmp_path / "1", [("a", 0, "visit", None)], observed_until="last evnt")
    with pytest.raises(DataError, match="found a date, and the times of the store are numbers"):
        made(tmp_path / "2", [("a", 0, "visit", None)], observed_until="2020-01-31")
    with pytest.raises(DataError, match="no row is left"):
        made(tmp_path / "3", [("a", 0, "lab", None)])


def test_it_goes_on_through_criteria_and_joins_of_tables(tmp_path: Path) -> None:
    events: list[Event] = [("a", 1, "visit", None), ("b", 1, "visit", None), ("c", 1, "visit", None)]
    store(tmp_path / "events", events)
    pl.DataFrame({"patient": ["a", "b", "c"], "age": [20, 50, 70]}).write_csv(tmp_path / "people.csv")
    given = {
        "events": {
            "store": "events/",
            "sets": {"visit": "visit"},
            "index": {"at": "visit"},
            "observed_until": "last event",
        },
        "join": {"people": {"table": "people.csv", "on": "patient"}},
        "include": [{"name": "adults over 40", "where": "age > 40"}],
    }
    cohort = read_cohort(CohortPart.model_validate(given), tmp_path)
    assert cohort.patient_id.to_list() == ["b", "c"] and cohort.at is not None and cohort.at.tolist() == [1.0, 1.0]
    assert [step.name for step in cohort.flow] == [
        "index times at 'visit'",
        "observed at the index time",
        "adults over 40",
    ]
    assert cohort.stores == {"events": tmp_path / "events"}


def test_a_million_events_take_a_second_or_two(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    patients, count = 10_000, 1_000_000
    frame = pl.DataFrame(
        {
            "patient": np.array([f"p{i}" for i in range(patients)])[random.integers(0, patients, count)].tolist(),
            "time": (random.uniform(0, 1000, count) * TICKS).astype(np.int64),
            "code": np.array(["visit", "ill", "lab", "death"])[
                random.choice(4, count, p=[0.1, 0.2, 0.6, 0.1])
            ].tolist(),
            "value": random.normal(5, 2, count).astype(np.float32),
        }
    )
    write_store(tmp_path, frame, "number", {}, {})
    asked = part(
        columns={"mean": {"of": "lab", "window": "[-50, 0)", "take": "mean"}, "n": {"of": "any", "window": "(-inf, 0)", "take": "count"}},
        outcomes={"y": {"of": "ill", "window": "(0, 9]"}, "t": {"of": "high", "window": "(0, inf)", "take": "time", "competing": "death"}},
    )  # fmt: skip
    began = time.process_time()
    found = from_store(asked, tmp_path, tmp_path, own=True, answered=True)
    assert len(found.frame) > 90_000
    assert time.process_time() - began < 4  # a quarter of a second here; a loop over rows takes a minute


# Property tests: everything against a reading of one patient after another, written apart from the code above.

TIMES = st.integers(0, 12)
HISTORY = st.lists(
    st.tuples(
        st.sampled_from(["p", "q"]),
        st.one_of(TIMES, TIMES, TIMES, st.none()),
        st.sampled_from(["visit", "ill", "death", "lab"]),
        st.one_of(st.none(), st.integers(0, 9)),
    ),
    max_size=14,
)


def inside(t: float, index: float, low: float, high: float, brackets: str) -> bool:
    """Whether a time lies in a window."""
    after = t >= index + low if brackets[0] == "[" else t > index + low
    return after and (t <= index + high if brackets[1] == "]" else t < index + high)


def reference(events: list[Event], low: float, high: float, brackets: str, competing: bool) -> list[tuple[Any, ...]]:
    """Rows of visits: (patient, index, happened, time, event), with death as the end, and its competing with illness or not."""
    rows: list[tuple[Any, ...]] = []
    for patient in sorted({event[0] for event in events}):
        timed = [(float(t), code) for who, t, code, _ in events if who == patient and t is not None]
        deaths = [t for t, code in timed if code == "death"]
        end = min([max((t for t, _ in timed), default=-math.inf), *deaths])
        for index in sorted({t for t, code in timed if code == "visit"}):
            if index > end or any(t <= index for t in deaths):
                continue
            ill = [t for t, code in timed if code == "ill" and t <= end and inside(t, index, low, high, brackets)]
            first = min(ill, default=math.inf)
            dead = min((t for t in deaths if competing and index <= t <= end), default=math.inf)
            opens_after = dead < index + low or (dead == index + low and brackets[0] == "(")
            whole = end >= index + high or (brackets[1] == ")" and end + 1e-6 >= index + high)
            dies_within = inside(dead, index, low, high, brackets)
            happened: int | None
            if opens_after:
                happened = None
            elif first <= dead and first < math.inf:
                happened = 1
            elif whole or dies_within:
                happened = 0
            else:
                happened = None
            if opens_after or end < index + low:
                rows.append((patient, index, happened, None, None))
                continue
            stopped, why = min((first, 1), (dead if dies_within else math.inf, 2), (min(end, index + high), 3))
            rows.append((patient, index, happened, stopped - index - low, why % 3))
    return rows


@settings(max_examples=150, deadline=None)
@given(HISTORY, st.integers(0, 4), st.integers(0, 8), st.sampled_from(["[]", "(]", "[)", "()"]), st.booleans())
def test_outcomes_are_those_of_a_plain_reading(
    events: list[Event], low: int, length: int, brackets: str, competing: bool
) -> None:
    high = low + length + 1
    text = f"{brackets[0]}{low}, {high}{brackets[1]}"
    more = {"of": "ill", "window": text, **({"competing": "death"} if competing else {})}
    expected = reference(events, low, high, brackets, competing)
    try:
        found = quick(events, ends="death", outcomes={"y": more, "t": {**more, "take": "time"}})
    except DataError:
        assert not expected
        return
    assert found.drop("row").rows() == expected


COLUMNS = {
    take: {"of": "lab", "window": "[-6, 0)", "take": take}
    for take in ("count", "first", "last", "min", "max", "mean", "since")
}


@settings(max_examples=100, deadline=None)
@given(HISTORY, HISTORY, TIMES, st.integers(1, 5))
def test_nothing_at_or_after_the_index_time_reaches_an_input(
    events: list[Event], others: list[Event], index: int, shift: int
) -> None:
    """What comes at the index time or later is moved, taken away and replaced; no column of the row changes."""
    anchor: list[Event] = [("p", index, "visit", None), ("p", 99, "ill", None)]
    before = [event for event in events if event[1] is None or event[1] < index]
    later = [(who, t, code, value) for who, t, code, value in events if t is not None and t >= index]
    moved: list[Event] = [(who, t + shift, code, value) for who, t, code, value in later]
    replaced = [event for event in others if event[1] is not None and event[1] >= index]
    seen = []
    for rest in (later, moved, [], replaced):
        frame = quick([*before, *anchor, *rest], columns=COLUMNS)
        seen.append(frame.filter(pl.col("row") == f"p@{index}").select(list(COLUMNS)))
    assert all(one.equals(seen[0]) for one in seen[1:])
    known = [float(v) for who, t, code, v in before if who == "p" and code == "lab" and v is not None and t is not None and t >= index - 6]  # fmt: skip
    assert seen[0]["max"].to_list() == [max(known, default=None)]


@settings(max_examples=60, deadline=None)
@given(HISTORY, HISTORY, TIMES)
def test_nothing_before_the_index_time_reaches_an_outcome(events: list[Event], others: list[Event], index: int) -> None:
    anchor: list[Event] = [("p", index, "visit", None)]
    later = [event for event in events if event[1] is not None and event[1] >= index]
    outcomes = {
        "y": {"of": "ill", "window": "[0, 4]"},
        "t": {"of": "ill", "window": "(0, inf)", "take": "time"},
        "v": {"of": "lab", "window": "[0, 4)", "take": "mean"},
    }
    seen = []
    for rest in (events, others):
        earlier = [event for event in rest if event[1] is None or event[1] < index]
        frame = quick([*earlier, *anchor, *later], outcomes=outcomes)
        seen.append(frame.filter(pl.col("row") == f"p@{index}").drop("row", "patient", "at"))
    assert seen[0].equals(seen[1])
