from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from medloom.cohort.split import Fold
from medloom.cohort.table import read_cohort
from medloom.cohort_part import CohortPart
from medloom.evaluation.intervals import Comparison, Estimate
from medloom.evaluation.learning import Reached, with_share


@pytest.fixture
def made(tmp_path):
    patients = [f"p{i:03d}" for i in range(100)]
    frame = pl.DataFrame({"row": [f"r{i}" for i in range(200)], "patient": [p for p in patients for _ in range(2)]})
    cohort = read_cohort(CohortPart(row="row", patient="patient"), tmp_path, data=frame)
    fold = Fold(np.arange(160), np.arange(160, 180), np.arange(180, 190), np.arange(190, 200))
    rare = np.repeat((np.arange(100) % 10 == 0).astype(np.int64), 2)
    return cohort, fold, rare


def test_parts_lie_within_larger_ones_with_whole_patients(made):
    cohort, fold, rare = made
    before: set[int] = set()
    for share in (0.1, 0.25, 0.5, 1.0):
        part = with_share(fold, cohort, [rare], share, 3)
        assert before <= set(part.train.tolist()) <= set(fold.train.tolist())
        assert np.bincount(cohort.patient[part.train]).max() == 2
        assert set(np.bincount(cohort.patient[part.train])) <= {0, 2}
        assert len(np.unique(cohort.patient[part.train])) == pytest.approx(80 * share, abs=1)
        for name in ("valid", "calibrate", "test"):
            assert np.array_equal(getattr(part, name), getattr(fold, name))
        before = set(part.train.tolist())
    assert before == set(fold.train.tolist())


def test_rare_answers_keep_their_share(made):
    cohort, fold, rare = made
    part = with_share(fold, cohort, [rare], 0.25, 3)
    assert rare[part.train].sum() == 2 * 2
    codes = np.where(rare == 1, 1, -1)
    assert (codes[with_share(fold, cohort, [codes], 0.25, 3).train] == 1).sum() == 2 * 2


def test_the_order_of_rows_does_not_matter_and_the_seed_does(made, tmp_path):
    cohort, fold, rare = made
    turned = cohort.frame.reverse()
    other = read_cohort(CohortPart(row="row", patient="patient"), tmp_path, data=turned)
    back = np.sort(199 - fold.train)
    names = set(cohort.row.gather(with_share(fold, cohort, [rare], 0.3, 3).train))
    again = with_share(Fold(back, fold.valid[:0], fold.valid[:0], np.arange(10)), other, [rare[::-1].copy()], 0.3, 3)
    assert set(other.row.gather(again.train)) == names
    assert set(cohort.row.gather(with_share(fold, cohort, [rare], 0.3, 4).train)) != names


def test_as_json():
    estimates = {"model": {"auroc": Estimate(0.7, 0.6, 0.8)}}
    one = Reached(0.5, 80, 40, {"death": Comparison(estimates, {}, 10, 5, 100, 0.95)})
    assert one.plain("death")["figures"] == {"model": {"auroc": {"value": 0.7, "low": 0.6, "high": 0.8}}}
    assert Reached(0.1, 8, 4, note="cannot be estimated: one class").plain("death")["figures"] == {}
