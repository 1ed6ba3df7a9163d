from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from medloom.audit import times
from medloom.event_parts import EventCohortPart
from tests.audit.tables import evidence, honest

COHORT = {"independent_rows": True, "at": "seen"}


def dated(rows: int = 300) -> tuple[pl.DataFrame, np.ndarray]:
    at = np.datetime64("2021-01-01") + np.random.default_rng(1).integers(0, 600, rows)
    return honest(rows).with_columns(seen=pl.Series(at)), at


def test_dates_before_the_index_time_pass_and_later_ones_are_counted() -> None:
    frame, at = dated()
    columns = {"x0": {"kind": "numeric"}, "visit": {"kind": "datetime"}}
    for days, found in ((-5, []), (3, [300])):
        held = evidence(frame.with_columns(visit=pl.Series(at + days)), COHORT, table={"columns": columns})
        assert [one.rows for one in times.after_index(held)] == found


def test_numbers_are_times_only_where_they_go_with_the_index_time() -> None:
    random = np.random.default_rng(2)
    at = random.uniform(0, 1000, 300)
    frame = honest(300).with_columns(seen=pl.Series(at), glucose=pl.Series(random.uniform(0, 1000, 300)))
    assert list(times.after_index(evidence(frame, COHORT))) == []
    later = evidence(frame.with_columns(left=pl.Series(at + random.exponential(5, 300))), COHORT)
    assert [one.columns for one in times.after_index(later)] == [("left",)]


def test_an_outcome_that_is_older_than_the_index_time_is_found() -> None:
    frame, at = dated()
    columns = {"x0": {"kind": "numeric"}}
    for days, found in ((9, []), (-9, ["outcome-before-index"])):
        held = evidence(frame.with_columns(death_date=pl.Series(at + days)), COHORT, table={"columns": columns})
        assert [one.kind for one in times.outcome_before_index(held)] == found


def test_a_count_made_of_events_before_the_index_time_is_no_time() -> None:
    random = np.random.default_rng(4)
    at = np.sort(random.uniform(0, 13, 300))
    frame = honest(300).with_columns(seen=pl.Series(at), visits=pl.Series(np.floor(at) + 1))
    held = evidence(frame, COHORT)
    assert [one.columns for one in times.after_index(held)] == [("visits",)]
    events = EventCohortPart.model_validate(
        {
            "store": "events/",
            "sets": {"visit": "visit"},
            "index": {"at": "visit"},
            "observed_until": "last event",
            "columns": {"visits": {"of": "visit", "window": "(-inf, 0)", "take": "count"}},
        }
    )
    study = held.prepared.study
    said = study.model_copy(update={"cohort": study.cohort.model_copy(update={"events": events})})
    assert list(times.after_index(replace(held, prepared=replace(held.prepared, study=said)))) == []
