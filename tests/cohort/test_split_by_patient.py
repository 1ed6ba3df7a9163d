"""Splits: whole patients, the shares asked for, the same for any order of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.cohort.split import Fold, split
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError
from medloom.parts import SplitPart


def cohort_of(patients: list[int]) -> Cohort:
    frame = pl.DataFrame({"row": range(len(patients)), "patient": [f"p{code}" for code in patients]})
    return make_cohort(CohortPart(row="row", patient="patient"), frame, Path(), {})


@given(st.lists(st.integers(0, 30), min_size=60, max_size=200), st.integers(0, 5))
def test_every_row_is_in_one_part_and_no_patient_in_two(patients, seed):
    cohort = cohort_of([*patients, *range(31)])
    (fold,) = split(SplitPart(), cohort, [], seed)
    proof = fold.check(cohort)
    assert sorted(np.concatenate(list(fold.parts().values()))) == list(range(len(cohort)))
    assert proof["patients_in_two_parts"] == 0
    assert sum(part["patients"] for part in proof["parts"].values()) == len(set(cohort.patient))


def test_the_order_of_rows_does_not_matter():
    patients = np.random.default_rng(0).integers(0, 80, 200)
    order = np.random.default_rng(1).permutation(200)
    (one,), (two,) = (split(SplitPart(), cohort_of(list(p)), [], 3) for p in (patients, patients[order]))
    assert set(patients[one.test]) == set(patients[order][two.test])
    (other,) = split(SplitPart(), cohort_of(list(patients)), [], 4)
    assert set(patients[other.test]) != set(patients[one.test])


@pytest.mark.parametrize("rows", [200, 1000])
def test_shares_and_classes_are_kept(rows):
    cohort = cohort_of(list(range(rows)))
    codes = (np.arange(rows) % 10 == 0).astype(np.int64)
    (fold,) = split(SplitPart(), cohort, [codes], 0)
    for name, share in (("train", 0.6), ("valid", 0.1), ("calibrate", 0.1), ("test", 0.2)):
        part = fold.parts()[name]
        assert abs(len(part) - share * rows) <= 2
        assert abs(codes[part].sum() - share * rows / 10) <= 1


def test_without_stratifying_the_strata_are_not_looked_at():
    cohort = cohort_of(list(range(300)))
    codes = (np.arange(300) % 3).astype(np.int64)
    (one,) = split(SplitPart(stratify=False), cohort, [codes], 0)
    (two,) = split(SplitPart(stratify=False), cohort, [], 0)
    assert np.array_equal(one.test, two.test)


def test_a_patient_of_many_rows_does_not_swell_a_part():
    patients = [0] * 100 + list(range(1, 401))
    (fold,) = split(SplitPart(), cohort_of(patients), [], 0)
    assert abs(len(fold.test) - 100) < 15


def test_a_crossing_patient_and_a_doubled_row_are_caught():
    cohort = cohort_of([0, 0, 1, 2])
    none = np.zeros(0, np.int64)
    with pytest.raises(DataError, match="1 patient is in test and in another part"):
        Fold(np.array([0]), none, none, np.array([1])).check(cohort)
    with pytest.raises(DataError, match="a row is in two parts"):
        Fold(np.array([0, 0]), none, none, np.array([2])).check(cohort)
