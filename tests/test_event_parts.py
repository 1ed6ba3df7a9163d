"""The section cohort.events: what a study may say, and what it is told where it may not."""

from __future__ import annotations

from typing import Any

import pytest

from medloom.errors import StudyError
from medloom.feed import taken_columns
from medloom.study import Study, make
from medloom.study_text import dump_toml

OUTCOME = {"of": "ill", "window": "(0, 30d]"}


def study(**events: Any) -> Study:
    section = {
        "store": "events/",
        "sets": {"visit": "visit", "ill": ["icd10:I20-I25", "ill"], "high": {"codes": "lab", "where": "value > 5"}},
        "index": {"at": "visit"},
        "observed_until": "end of data",
        "outcomes": {"y": OUTCOME, "t": {**OUTCOME, "take": "time"}},
        **events,
    }
    return make(
        {
            "name": "windows",
            "cohort": {"events": section},
            "inputs": {"table": {"modality": "table", "known_before_index": True}},
            "targets": {"y": {"task": "classify", "column": "y"}},
        }
    )


def test_the_rows_bring_their_columns_and_no_outcome_is_an_input() -> None:
    asked = study()
    assert (asked.cohort.row, asked.cohort.patient, asked.cohort.at) == ("row", "patient", "at")
    assert taken_columns(asked) == {"row", "patient", "at", "y", "t_time", "t_event"}


def test_the_study_is_written_as_it_was_read() -> None:
    import tomllib

    asked = study(
        include=[{"name": "seen", "of": "any", "window": "(-inf, 0)"}], columns={"n": {"of": "high", "window": "[-1y, 0)", "take": "count"}}
    )  # fmt: skip
    assert make(tomllib.loads(dump_toml(asked))) == asked


@pytest.mark.parametrize(
    ("events", "match"),
    [
        ({"index": {"at": "visits"}}, "index.at: no set 'visits'; did you mean 'visit'"),
        ({"ends": "death"}, "ends: no set 'death'"),
        ({"outcomes": {"y": {"of": "ill", "window": "[-1d, 30d]"}}}, "begins before the index time"),
        ({"outcomes": {"y": {"of": "ill", "window": "(visit, 30d]"}}}, "begins before the index time"),
        ({"outcomes": {"y": {"of": "ill", "window": "(0, inf)"}}}, "never observed whole"),
        ({"outcomes": {"y": {**OUTCOME, "take": "count", "competing": "visit"}}}, "competing goes with"),
        ({"outcomes": {"y": {**OUTCOME, "window": "(0, death]"}}}, "outcomes.y: no set 'death'"),
        ({"columns": {"n": {"of": "ill", "window": "(-inf, 0]", "take": "count"}}}, "never read"),
        ({"columns": {"y": {"of": "ill", "window": "(-inf, 0)", "take": "count"}}}, "'y' is the name of several"),
        ({"columns": {"at": {"of": "ill", "window": "(-inf, 0)", "take": "count"}}}, "'at' is the name of several"),
        ({"include": [{"name": "a", "of": "ill", "window": "(0, 1d]"}]}, "declare looks_ahead = true"),
        ({"include": [{"name": "a", "of": "ill", "window": "(-1d, 0)", "looks_ahead": True}]}, "take looks_ahead out"),
        ({"exclude": [{"name": "a", "of": "ill", "window": "(-1d, 0)", "at_least": 3, "at_most": 1}]}, "nobody meets"),
        ({"sets": {"visit": "v", "ill": {"codes": "x", "where": "age > 3"}}}, "an event has only value"),
        ({"sets": {"visit": "v", "ill": {"codes": "x", "where": "ratio > 2"}}}, "with a baseline also baseline, ratio"),
        (
            {"sets": {"visit": "v", "ill": {"codes": "x", "baseline": {"take": "min", "window": "[-7d, 0)"}}}},
            "needs where",
        ),
        ({"sets": {"visit": "v", "ill": {"where": "value > 2"}}}, "either codes or any_of"),
        ({"sets": {"visit": "v", "ill": {"codes": "x", "any_of": ["visit"]}}}, "either codes or any_of"),
        (
            {"sets": {"visit": "v", "ill": {"codes": "x", "near": [{"of": "visit", "window": "(0, 2d]"}]}}},
            "look back from it",
        ),
        (
            {"sets": {"visit": "v", "ill": {"codes": "x", "near": [{"of": "visits", "window": "[-2d, 0)"}]}}},
            "sets.ill: no set 'visits'",
        ),
        (
            {"sets": {"visit": "v", "ill": {"codes": "x", "near": [{"of": "visit", "window": "[here, 0)"}]}}},
            "sets.ill: no set 'here'",
        ),
        ({"sets": {"visit": {"any_of": ["ill"]}, "ill": {"any_of": ["visit"]}}}, "look at one another in a circle"),
        ({"index": {"at": "visit", "every": "0h"}}, "above 0"),
        ({"index": {"at": "visit", "after": "-2h"}}, "from 0 on"),
        ({"index": {"at": "visit", "after": "2 fortnights"}}, "duration such as 24h"),
        ({"store": "", "observd_until": 3}, "unknown key"),
    ],
)
def test_a_mistake_is_named_with_its_place(events: dict[str, Any], match: str) -> None:
    with pytest.raises(StudyError, match=match) as found:
        study(**events)
    assert all(problem.startswith("cohort") for problem in found.value.problems)


def test_events_take_the_place_of_a_table() -> None:
    with pytest.raises(StudyError, match="take table, query and independent_rows out"):
        raw = study().model_dump(mode="json", exclude_none=True)
        make({**raw, "cohort": {**raw["cohort"], "table": "rows.csv"}})
