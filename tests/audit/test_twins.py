from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from medloom.audit import twins
from tests.audit.tables import evidence, honest


def test_pairs_are_of_different_patients() -> None:
    key, patient = np.array([1, 1, 2, 1, 3, 3]), np.array([0, 0, 1, 2, 3, 3])
    pairs = twins.pairs_of(key, patient, np.arange(6))
    assert sorted(zip(pairs.one.tolist(), pairs.other.tolist(), strict=True)) == [(0, 3), (1, 3)]
    assert twins.count_pairs(key, patient) == 2


def test_coincidence_of_independent_columns_is_the_product_of_their_own() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 6, (600, 4))
    hashed = np.stack([random.integers(-(2**60), 2**60, 6)[codes[:, i]] for i in range(4)], axis=1)
    patient = np.arange(600)
    exact = twins.count_pairs(hashed.sum(axis=1), patient)
    expected = 600 * 599 / 2 * (1 / 6) ** 4
    assert exact == pytest.approx(expected, rel=0.3)
    # Ten times what independent columns would give is the least that is held against the copies.
    assert twins.by_coincidence(hashed, patient, exact) >= expected


def test_a_table_of_yes_and_no_has_no_copies() -> None:
    random = np.random.default_rng(1)
    frame = pl.DataFrame({f"q{i}": random.integers(0, 2, 300) for i in range(8)})
    frame = frame.with_columns(died=pl.Series(random.integers(0, 2, 300)))
    assert list(twins.findings(evidence(frame))) == []


def test_one_row_that_stands_twice_is_found() -> None:
    frame = honest()
    held = evidence(pl.concat([frame, frame[[7]]]))
    found = list(twins.findings(held))
    assert [(one.kind, one.rows) for one in found] == [("duplicate-rows", 2)]


def test_rows_of_one_patient_may_be_equal() -> None:
    frame = honest().with_columns(patient=pl.int_range(pl.len()))
    held = evidence(pl.concat([frame, frame[:40]]), {"patient": "patient"})
    assert list(twins.findings(held)) == []


def test_one_person_under_two_ids_is_found_by_what_stays_with_a_person() -> None:
    random = np.random.default_rng(2)
    born = (np.datetime64("1940-01-01") + random.integers(0, 20_000, 400)).astype("datetime64[D]")
    frame = honest().with_columns(birth_date=pl.Series(born), sex=pl.Series(random.choice(["f", "m"], 400)))
    frame = frame.with_columns(patient=pl.int_range(pl.len()))
    table = {"columns": {f"x{i}": {"kind": "numeric"} for i in range(4)}}
    assert list(twins.findings(evidence(frame, {"patient": "patient"}, table=table))) == []
    again = honest(30, 3).with_columns(
        birth_date=frame["birth_date"][:30], sex=frame["sex"][:30], patient=pl.int_range(1000, 1030)
    )
    whole = pl.concat([frame, again.select(frame.columns)], how="vertical_relaxed")
    found = list(twins.findings(evidence(whole, {"patient": "patient"}, table=table)))
    assert [one.kind for one in found] == ["same-patient"]
    assert found[0].value >= 30
