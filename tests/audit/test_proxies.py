from __future__ import annotations

import numpy as np
import polars as pl

from medloom.audit import proxies
from tests.audit.tables import evidence, honest


def test_gaps_at_random_pass_and_gaps_of_cases_are_found() -> None:
    frame, random = honest(400), np.random.default_rng(1)
    for share, found in ((np.full(400, 0.3), []), (np.where(frame["died"].to_numpy() == 1, 0.1, 0.8), ["x2"])):
        gap = pl.Series(random.random(400) < share)
        held = evidence(frame.with_columns(x2=pl.when(gap).then(None).otherwise(pl.col("x2"))))
        assert [name for one in proxies.missingness(held) for name in one.columns] == found


def test_sorted_rows_are_a_note() -> None:
    frame = honest(400)
    assert list(proxies.order_and_ids(evidence(frame))) == []
    found = list(proxies.order_and_ids(evidence(frame.sort("died"))))
    assert [(one.kind, one.severity) for one in found] == [("row-order", "note")]


def test_ids_that_tell_the_answer_are_found_by_number_and_by_letters() -> None:
    frame, random = honest(400), np.random.default_rng(2)
    died = frame["died"].to_numpy()
    plain = [f"P{i:04d}" for i in random.permutation(400)]
    letters = [f"{'C' if yes else 'N'}{i:04d}" for yes, i in zip(died, random.permutation(400), strict=True)]
    numbers = np.empty(400, np.int64)
    numbers[np.argsort(died + random.normal(0, 0.2, 400))] = np.arange(400)
    for ids, kinds in ((plain, []), (letters, ["identifier"]), (numbers, ["identifier"])):
        held = evidence(frame.with_columns(patient=pl.Series(ids)), {"patient": "patient"})
        assert [one.kind for one in proxies.order_and_ids(held)] == kinds


def test_an_id_that_is_read_is_found_and_a_measurement_is_not() -> None:
    frame = honest(300).with_columns(patient=pl.int_range(pl.len()).shuffle(seed=1))
    with_id = frame.with_columns(mrn=pl.col("patient") * 3 + 1000)
    assert list(proxies.id_inputs(evidence(frame, {"patient": "patient"}))) == []
    found = list(proxies.id_inputs(evidence(with_id, {"patient": "patient"})))
    assert [one.columns for one in found] == [("mrn",)]


def test_sites_may_differ_but_not_tell_the_answer() -> None:
    frame, random = honest(600), np.random.default_rng(3)
    died = frame["died"].to_numpy() == 1
    mild = np.where(random.random(600) < 0.2, np.where(died, "a", "b"), random.choice(["a", "b", "c"], 600))
    telling = np.where(random.random(600) < 0.05, "c", np.where(died, "a", "b"))
    for site, kinds in ((mild, []), (telling, ["site"])):
        held = evidence(frame.with_columns(hospital=pl.Series(site)), {"independent_rows": True, "site": "hospital"})
        assert [one.kind for one in proxies.site(held)] == kinds


def test_a_drift_is_found_unless_the_split_is_by_time() -> None:
    frame, random = honest(600), np.random.default_rng(4)
    drifting = frame["died"].to_numpy() * 0.8 + random.normal(0, 1, 600)
    cohort = {"independent_rows": True, "at": "seen"}
    assert [one.kind for one in proxies.time(evidence(frame.with_columns(seen=pl.Series(drifting)), cohort))] == [
        "time"
    ]
    assert list(proxies.time(evidence(frame.with_columns(seen=pl.Series(random.normal(size=600))), cohort))) == []
    by_time = evidence(frame.with_columns(seen=pl.Series(drifting)), cohort, split={"by": "time"})
    assert list(proxies.time(by_time)) == []
