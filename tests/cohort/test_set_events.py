"""Sets of events that look at what was before each event, against a plain reading of one patient after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medloom.cohort.event_cohort import held_codes
from medloom.cohort.event_store import TICKS, TIMELESS, EventStore
from medloom.cohort.set_events import occurrences
from medloom.event_parts import EventCohortPart
from tests.cohort.test_event_cohort import Event, in_memory

EVENTS: list[Event] = [
    ("a", 0, "creatinine", 1.1),
    ("a", 1, "creatinine", 1.4),
    ("a", 2, "creatinine", None),
    ("a", 5, "creatinine", 2.1),
    ("a", 20, "creatinine", 2.1),
    ("a", 3, "culture", None),
    ("a", 4, "drug", None),
    ("a", 9, "drug", None),
    ("b", 5, "creatinine", 9.0),
    ("b", 5, "drug", None),
    ("b", 5, "culture", None),
    ("c", None, "drug", None),
    ("c", -20, "creatinine", 0.0),
    ("c", 2, "creatinine", 0.6),
    ("c", 3, "creatinine", 0.9),
]


def times(store: EventStore, name: str, **sets: Any) -> dict[str, list[float]]:
    """The times of a set's events, by patient."""
    given = {"creatinine": "creatinine", "drug": "drug", "culture": "culture", **sets}
    part = EventCohortPart.model_validate(
        {"store": "x", "sets": given, "index": {"at": "drug"}, "observed_until": "last event"}
    )
    held = held_codes(part, store, own=True)
    found = occurrences(store, "number", {one: part.code_set(one) for one in held}, held)[name]
    who = store.patients.to_list()
    return {
        who[unit - 1]: (found.time[found.offset[unit] : found.offset[unit + 1]] / TICKS).tolist()
        for unit in range(1, len(who) + 1)
        if found.offset[unit + 1] > found.offset[unit]
    }


def rise(where: str, window: str = "[-7, 0)", take: str = "min", **more: Any) -> dict[str, Any]:
    return {"codes": "creatinine", "where": where, "baseline": {"take": take, "window": window, **more}}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        # The value at 20 has nothing in the week before it, b has nothing at all, and 0.9 / 0.6 is 1.5.
        (rise("ratio >= 1.5"), {"a": [5], "c": [3]}),
        (rise("change >= 0.3", "[-2, 0)"), {"a": [1], "c": [3]}),
        (rise("change >= 0.3 or ratio >= 1.5"), {"a": [1, 5], "c": [3]}),
        (rise("baseline is null"), {"a": [0, 20], "b": [5], "c": [-20, 2]}),
        # There is no ratio to 0.
        (rise("ratio > 0", "(-inf, 0)", "first"), {"a": [1, 5, 20]}),
        (rise("value == baseline", "[culture, 0)", "last"), {"a": [20]}),
        ({"codes": "creatinine", "where": "value in [1.1, 0.6]"}, {"a": [0], "c": [2]}),
        ({"codes": "drug", "near": [{"of": "culture", "window": "[-2, 0)"}]}, {"a": [4]}),
        ({"codes": "drug", "near": [{"of": "culture", "window": "[-2, 0]"}]}, {"a": [4], "b": [5]}),
        ({"codes": "drug", "near": [{"of": "culture", "window": "[-9, 0]"}, {"of": "drug", "window": "[-9, 0)"}]}, {"a": [9]}),
        ({"codes": "creatinine", "near": [{"of": "creatinine", "window": "(-inf, 0)", "at_least": 2, "at_most": 3}]}, {"a": [2, 5], "c": [3]}),
        ({"any_of": ["drug", "culture"]}, {"a": [3, 4, 9], "b": [5, 5], "c": [TIMELESS / TICKS]}),
    ],
)  # fmt: skip
def test_events_are_judged_by_what_was_before_them(one: Any, expected: dict[str, list[float]]) -> None:
    assert times(in_memory(EVENTS), "asked", asked=one) == expected


def test_sets_are_made_of_sets_whatever_their_order_and_hold_an_event_once() -> None:
    sets = {
        "treated": {"codes": "drug", "near": [{"of": "injury", "window": "(-5, 0)"}]},
        "injury": {"any_of": ["rise", "jump", "rise"]},
        "rise": rise("ratio >= 1.5"),
        "jump": rise("change >= 0.3", "[-2, 0)"),
    }
    store = in_memory(EVENTS)
    assert times(store, "injury", **sets) == {"a": [1, 5], "c": [3]}
    assert times(store, "treated", **sets) == {"a": [4, 9]}


def test_many_events_as_one_patient_after_another_would_be_read() -> None:
    random = np.random.default_rng(0)
    events: list[Event] = [
        (str(random.integers(9)), float(random.integers(40)), str(random.choice(["creatinine", "drug", "culture"])), float(random.integers(1, 9)))
        for _ in range(400)
    ]  # fmt: skip
    one = rise("ratio >= 2", "[-6, -1]", "max", of="drug")
    one["near"] = [{"of": "culture", "window": "(-8, 0]", "at_most": 2}]
    expected: dict[str, list[float]] = {}
    for who, at, code, value in sorted(events, key=lambda event: (event[0], event[1])):
        own = [event for event in events if event[0] == who]
        drugs = [v for _, t, c, v in own if c == "drug" and at - 6 <= t <= at - 1]
        cultures = sum(c == "culture" and at - 8 < t <= at for _, t, c, _ in own)
        if code == "creatinine" and drugs and value >= 2 * max(drugs) and cultures <= 2:
            expected.setdefault(who, []).append(at)
    assert expected
    assert times(in_memory(events), "asked", asked=one) == expected
