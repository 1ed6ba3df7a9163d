"""Events from pack to encoder: rows see their own past alone, and training rows alone teach."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom import feed, fitted, study
from medloom.cohort.table import make_cohort
from medloom.cohort.ticks import times
from medloom.draw import Draw
from medloom.errors import DataError
from medloom.modalities.events import FEWEST_PATIENTS, FIRST_CODE, Events
from medloom.modalities.events.options import EventsOptions
from medloom.modalities.events.pack import first_at_or_after, union
from medloom.modalities.events.summary import centre_and_scale, count_events
from medloom.modality import View
from medloom.packed import Source
from medloom.tally import rounded

NAMES = ("hr", "bp", "na", "dx")
Event = tuple[str, float, str, float | None]


def source_of(events: list[Event], stays: list[tuple[str, float]], at: bool = True, **options: object) -> Source:
    """The source of events (patient, time, code, value) for rows (patient, index time)."""
    patient, time, code, value = map(list, zip(*events, strict=True))
    long = pl.DataFrame({"patient": patient, "time": time, "code": code, "value": pl.Series(value, dtype=pl.Float64)})
    frame = pl.DataFrame({"patient": [p for p, _ in stays], "at": [t for _, t in stays]})
    part = study.CohortPart(patient="patient", at="at" if at else None)
    cohort = make_cohort(part, frame, study.Path(), {"long": long})
    return feed.pack(Events, EventsOptions(table="long", **options), cohort)


def generated(
    patients: int, seed: int = 0, shift: float = 0.0, first: int = 0
) -> tuple[list[Event], list[tuple[str, float]]]:
    """Patients with 0 to 30 events of common codes and one code of their own, and two index times each."""
    random = np.random.default_rng([seed, first])
    events: list[Event] = []
    for number in range(first, first + patients):
        name = f"p{number}"
        for _ in range(random.integers(0, 30)):
            code = str(random.choice(NAMES))
            value = None if code == "dx" else float(random.normal(50, 10)) + shift
            events.append((name, float(random.integers(0, 100)), code, value))
        events.append((name, 1.0, f"own {name}", 12345.0))
    stays = [(f"p{number}", at) for number in range(first, first + patients) for at in (50.0, 90.0)]
    return events, stays


def fit(source: Source, rows: np.ndarray | None = None, **options: object) -> Events:
    chosen = EventsOptions(table="long", **options)
    return Events.fit(chosen, [Events.summarise(chosen, source, np.arange(len(source.unit)) if rows is None else rows)])


event = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.integers(-4, 12).map(float),
    st.sampled_from(NAMES),
    st.none() | st.floats(-1e6, 1e6, width=32),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(event, min_size=1, max_size=40),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(-5, 13).map(float)), min_size=1, max_size=8),
    st.integers(1, 6),
    st.none() | st.sampled_from([1.0, 2.5, 7.0]),
    st.booleans(),
)
def test_rows_see_what_a_naive_reading_says(
    events: list[Event], stays: list[tuple[str, float]], last: int, lookback: float | None, at: bool
) -> None:
    source = source_of(events, stays, at, last=last, lookback=lookback)
    assert source.start is not None and source.stop is not None and source.newest is not None
    codes = source.packed.meta["codes"]
    for row, (patient, index_time) in enumerate(stays):
        own = sorted((e for e in events if e[0] == patient), key=lambda e: e[1])
        if not at:
            index_time = own[-1][1] if own else math.nan
        past = [e for e in own if (not at or e[1] < index_time) and (lookback is None or e[1] >= index_time - lookback)]
        expected = [(t, c, v) for _, t, c, v in past[-last:]]
        part = slice(source.start[row], source.stop[row])
        arrays = {name: source.packed.arrays[name][part].tolist() for name in ("code", "value")}
        arrays["time"] = times(source.packed.arrays["time"][part]).tolist()
        found = [
            (t, codes[c - 1], None if math.isnan(v) else v)
            for t, c, v in zip(arrays["time"], arrays["code"], arrays["value"], strict=True)
        ]
        assert found == expected
        assert (source.unit[row] > 0) == bool(expected)
        assert source.along["shortened"][row] == (len(past) > last)
        assert source.newest[row] == expected[-1][0] if expected else math.isnan(source.newest[row])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), min_size=1, max_size=12))
def test_union_covers_the_same_positions_once(ranges: list[tuple[int, int]]) -> None:
    start = np.array([low for low, _ in ranges])
    stop = start + np.array([length for _, length in ranges])
    positions = [p for low, high in zip(*union(start, stop), strict=True) for p in range(low, high)]
    assert positions == sorted({p for low, high in zip(start, stop, strict=True) for p in range(low, high)})


def test_binary_search_agrees_with_numpy() -> None:
    time = np.sort(np.random.default_rng(0).integers(0, 50, 100_000))
    at = np.arange(-1, 52)
    low, high = np.zeros(len(at), np.int64), np.full(len(at), len(time))
    np.testing.assert_array_equal(first_at_or_after(time, low, high, at), np.searchsorted(time, at, "left"))


def test_summary_counts_patients_and_each_event_once() -> None:
    events: list[Event] = [
        ("a", 1.0, "hr", 70.0),
        ("a", 2.0, "hr", 70.0),
        ("a", 2.0, "hr", 70.0),
        ("b", 1.0, "hr", None),
        ("b", 8.0, "na", 140.0),
        ("c", 1.0, "x", 1.0),
    ]
    source = source_of(events, [("a", 3.0), ("a", 9.0), ("b", 5.0), ("c", 9.0)])
    summary = Events.summarise(EventsOptions(table="long"), source, np.array([0, 1, 2]))
    assert summary.codes == ("hr",)
    assert (summary.patients.tolist(), summary.valued.tolist(), summary.events.tolist()) == ([2], [1], [4])
    assert (summary.value.tolist(), summary.count.tolist()) == ([70.0], [3])


@pytest.mark.parametrize("sites", [2, 5])
def test_sites_of_disjoint_patients_merge_exactly(sites: int) -> None:
    events, stays = generated(40)
    whole = fit(source_of(events, stays))
    options = EventsOptions(table="long")
    summaries = []
    for site in range(sites):
        here = {f"p{number}" for number in range(40) if number % sites == site}
        part = source_of([e for e in events if e[0] in here], [s for s in stays if s[0] in here])
        summaries.append(Events.summarise(options, part, np.arange(len(part.unit))))
    assert fitted.same(Events.fit(options, summaries), whole)
    assert fitted.same(Events.fit(options, summaries[::-1]), whole)


def test_centre_and_scale_agree_with_numpy() -> None:
    random = np.random.default_rng(3)
    values = rounded(np.round(random.lognormal(1, 2, 501), 1)).astype(np.float32)
    code = random.integers(1, 3, 501)
    code[:4] = 3
    values[:4] = 7.0
    summary = count_events("number", ["a", "b", "c"], np.arange(501), code, values)
    centre, scale = centre_and_scale(summary)
    for number in (1, 2):
        own = values[code == number].astype(np.float64)
        low, middle, high = np.percentile(own, [25, 50, 75])
        assert centre[number - 1] == pytest.approx(middle, rel=1e-12)
        assert scale[number - 1] == pytest.approx((high - low) / 1.349, rel=1e-12)
    assert (centre[2], scale[2]) == (7.0, 1.0)


def test_no_code_of_fewer_than_ten_patients_is_fitted() -> None:
    events, stays = generated(30)
    events += [(f"p{number}", 2.0, "nine", 777.0) for number in range(9)]
    events += [(f"p{number}", 2.0, "ten", 5.0 if number < 9 else None) for number in range(10)]
    modality = fit(source_of(events, stays))
    assert modality.codes == ("bp", "dx", "hr", "na", "ten")
    assert not {777.0, 12345.0} & {*modality.centre, *modality.scale}
    assert modality.scale[modality.codes.index("ten")] == 0.0
    assert FEWEST_PATIENTS == 10


def test_shifted_test_rows_move_nothing() -> None:
    train, stays = generated(30)
    rows = np.arange(len(stays))
    states = []
    for shift in (0.0, 1e6):
        test, more = generated(20, shift=shift, first=30)
        moved = [(p, t, c if not shift else c + "'", v) for p, t, c, v in test]
        states.append(fit(source_of(train + moved, stays + more), rows))
    assert fitted.same(*states)


def test_fitted_state_survives_json() -> None:
    modality = fit(source_of(*generated(30)), last=17, lookback=33.3)
    again = fitted.load(Events, json.loads(json.dumps(fitted.dump(modality))))
    assert again == modality
    assert again.options == modality.options and type(again.options) is EventsOptions


def test_nothing_to_learn_from_is_refused() -> None:
    source = source_of([("a", 5.0, "hr", 1.0)], [("a", 1.0), ("b", 9.0)])
    with pytest.raises(DataError, match="no training row sees an event"):
        fit(source)


def test_batch_holds_the_events_of_each_row() -> None:
    events: list[Event] = [
        ("a", 1.0, "hr", 70.0),
        ("a", 3.0, "new", 5.0),
        ("a", 4.0, "hr", None),
        ("b", 2.0, "hr", 9e9),
    ]
    options = EventsOptions(table="long")
    modality = Events(options, "number", ("hr",), (60.0,), (20.0,), ((),), (1.0,), (FIRST_CODE,), True)
    source = modality.bind(source_of(events, [("a", 6.0), ("b", 6.0), ("c", 6.0), ("a", 2.0)]))
    field = modality.batch(source, View(np.arange(4)))
    assert field.present.tolist() == [True, True, False, True]
    assert field.valid is not None and field.valid.sum(1).tolist() == [3, 1, 0, 1]
    assert field.extra["code"].tolist() == [[2, 1, 2], [2, 0, 0], [0, 0, 0], [2, 0, 0]]
    assert field.value.tolist() == [[0.5, 0, 0], [10, 0, 0], [0, 0, 0], [0.5, 0, 0]]
    assert field.extra["has_value"].tolist()[0] == [True, False, False]
    torch.testing.assert_close(field.extra["age"][0], torch.log1p(torch.tensor([5.0, 3.0, 2.0])))
    torch.testing.assert_close(field.extra["gap"][0], torch.log1p(torch.tensor([0.0, 2.0, 1.0])))
    assert field.extra["gap"][1, 0] == 0
    assert field.value.dtype == field.extra["age"].dtype == torch.float32


def test_ages_of_dates_are_days() -> None:
    long = pl.DataFrame({"patient": ["a"], "time": ["2020-01-01 12:00"], "code": ["x"], "value": [1.0]})
    frame = pl.DataFrame({"patient": ["a"], "at": ["2020-01-04 00:00"]})
    cohort = make_cohort(study.CohortPart(patient="patient", at="at"), frame, study.Path(), {"long": long})
    options = EventsOptions(table="long")
    modality = Events(options, "date", (), (), (), (), (), (), True)
    field = modality.batch(feed.pack(Events, options, cohort), View(np.zeros(1, int)))
    assert field.extra["age"].item() == pytest.approx(math.log1p(2.5), abs=1e-6)
    with pytest.raises(DataError, match="trained on numbers"):
        replace(modality, kind="number").bind(feed.pack(Events, options, cohort))


@pytest.mark.parametrize("rnn", ["gru", "lstm", "tcn", "transformer"])
def test_a_row_alone_equals_the_row_in_any_batch(rnn: str) -> None:
    events, stays = generated(20)
    source = source_of(events, [*stays, ("nobody", 50.0), ("p0", -5.0)])
    modality = fit(source, encoder=rnn, width=16, code_width=8)
    source = modality.bind(source)
    torch.manual_seed(0)
    encoder = modality.encoder().eval()
    rows = np.arange(len(source.unit))
    with torch.no_grad():
        whole = encoder(modality.batch(source, View(rows)))
        for row in rows:
            alone = encoder(modality.batch(source, View(np.array([row]))))
            torch.testing.assert_close(alone.pooled[0], whole.pooled[row], atol=1e-5, rtol=0)
            length = alone.tokens.shape[1]
            torch.testing.assert_close(alone.tokens[0], whole.tokens[row, :length], atol=1e-5, rtol=0)
        part = encoder(modality.batch(source, View(rows)).rows(3, 7))
    torch.testing.assert_close(part.pooled, whole.pooled[3:7], atol=1e-5, rtol=0)
    assert whole.pooled.shape == (len(rows), 16) and torch.isfinite(whole.pooled).all()
    assert (encoder.gives.width, encoder.gives.features) == (16, 16)
    assert not whole.valid[-2:].any() and not whole.tokens[-2:].any()


def test_a_later_event_changes_no_earlier_row() -> None:
    events, stays = generated(20)
    modality = fit(source_of(events, stays))
    batches = [
        modality.batch(source_of(events + more, stays), View(np.array([0])))
        for more in ([], [("p0", 50.0, "hr", 1e6), ("p0", 60.0, "na", 1e6)])
    ]
    assert torch.equal(batches[0].value, batches[1].value)
    for name, tensor in batches[0].extra.items():
        assert torch.equal(tensor, batches[1].extra[name])


def test_the_encoder_learns_from_values_and_codes() -> None:
    events, stays = generated(60)
    source = source_of(events, stays, width=8)
    modality = fit(source, width=8)
    encoder = modality.encoder()
    field = modality.batch(modality.bind(source), View(np.arange(len(stays))))
    encoder(field).pooled.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any() for p in encoder.parameters())


def test_a_patient_of_a_hundred_thousand_events() -> None:
    count = 100_000
    long = pl.DataFrame(
        {
            "patient": ["a"] * count,
            "time": np.arange(count)[::-1] * 1.0,
            "code": ["hr"] * count,
            "value": np.arange(count) * 1.0,
        }
    )
    frame = pl.DataFrame({"patient": ["a", "a"], "at": [99_000.5, 10.0]})
    cohort = make_cohort(study.CohortPart(patient="patient", at="at"), frame, study.Path(), {"long": long})
    options = EventsOptions(table="long", last=1000)
    source = feed.pack(Events, options, cohort)
    modality = Events(options, "number", ("hr",), (0.0,), (1.0,), ((),), (1.0,), (FIRST_CODE,), True)
    field = modality.batch(source, View(np.arange(2)))
    assert field.value.shape == (2, 1000)
    assert source.newest is not None and source.newest.tolist() == [99_000.0, 9.0]
    assert Events.summarise(options, source, np.arange(2)).events.tolist() == [1010]


def test_plain_numbers_agree_with_a_naive_reading() -> None:
    events, stays = generated(25, seed=4)
    stays = [*stays, ("nobody", 9.0)]
    source = source_of(events, stays, last=12)
    modality = fit(source, last=12)
    plain = modality.plain(source, np.arange(len(stays)))
    assert source.start is not None and source.stop is not None
    names = [modality.codes[number - FIRST_CODE] for number in modality.frequent]
    valued = [name for name in names if modality.scale[modality.codes.index(name)] > 0]
    assert set(names) == set(NAMES) and set(valued) == {"hr", "bp", "na"}
    assert plain.shape == (len(stays), 1 + 4 + 10 * 3)
    codes = source.packed.meta["codes"]
    for row in range(len(stays)):
        part = slice(source.start[row], source.stop[row])
        code = [codes[c - 1] for c in source.packed.arrays["code"][part]]
        value = source.packed.arrays["value"][part].astype(float)
        age = stays[row][1] - times(source.packed.arrays["time"][part])
        expected = [len(code), *(code.count(name) for name in names)]
        for name in valued:
            here = np.array([c == name for c in code], bool)
            expected += naive(value[here], age[here], age.max() / 2) if here.any() else [math.nan] * 10
        np.testing.assert_allclose(plain[row], expected if code else math.nan, rtol=1e-9, atol=1e-9)


def naive(value: np.ndarray, age: np.ndarray, half: float) -> list[float]:
    """The ten statistics of one code, each in the plainest way."""
    slope = np.polyfit(-age, value, 1)[0] if len(set(age.tolist())) > 1 else math.nan
    early, late = value[age > half], value[age <= half]
    return [
        value[-1],
        value.mean(),
        value.min(),
        value.max(),
        value[0],
        value.std(ddof=1) if len(value) > 1 else math.nan,
        slope,
        age[-1],
        early.mean() if len(early) else math.nan,
        late.mean() if len(late) else math.nan,
    ]


def test_plain_sees_the_codes_of_the_most_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medloom.modalities.events.PLAIN_CODES", 2)
    events = [(f"p{n}", 1.0, code, None) for code, most in (("a", 10), ("b", 12), ("c", 11)) for n in range(most)]
    modality = fit(source_of(events, [(f"p{n}", 2.0) for n in range(12)]))
    assert [modality.codes[number - FIRST_CODE] for number in modality.frequent] == ["b", "c"]


@pytest.mark.parametrize(("rare", "expected"), [(True, [(2, "2 of 3")]), (False, [(1, "1 of 2"), (2, "2 of 3")])])
def test_problems_count_codes_that_were_not_learnt(rare: bool, expected: list[tuple[int, str]]) -> None:
    events, stays = generated(20)
    modality = fit(source_of([e for e in events if rare or not e[2].startswith("own")], stays))
    assert modality.rare is rare
    new: list[Event] = [("x", 1.0, "hr", 1.0), ("y", 1.0, "odd", 1.0), ("y", 2.0, "hr", 1.0), ("y", 9.5, "odd", 1.0)]
    rows = [("x", 9.0), ("y", 9.0), ("y", 99.0), ("z", 9.0)]
    source = source_of(new, rows)
    frame = pl.DataFrame({"patient": ["x", "y", "y", "z"], "at": [9.0, 9.0, 99.0, 9.0]})
    cohort = make_cohort(study.CohortPart(patient="patient", at="at"), frame, study.Path(), {})
    problems = modality.problems(source, cohort)
    assert [(problem.row, problem.text.split(": ")[1].split(" events")[0]) for problem in problems] == expected
    assert not any("odd" in problem.text for problem in problems)


def test_views_are_rows() -> None:
    source = source_of(*generated(3))
    modality = Events(EventsOptions(table="long"), "number", (), (), (), (), (), (), True)
    rows = np.array([2, 0, 2])
    for draw in (None, Draw(0, np.zeros(3, np.int64))):
        assert modality.view(source, rows, draw).rows.tolist() == [2, 0, 2]
