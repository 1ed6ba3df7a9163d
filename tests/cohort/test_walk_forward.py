"""Periods that judge one after the other, each taught by what was known before it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from medloom.cohort.split import split
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError
from medloom.parts import SplitPart


def _cohort(answered_after: float | None, days: int = 40, rows: int = 3) -> Cohort:
    day = np.repeat(np.arange(days, dtype=float), rows)
    frame = pl.DataFrame({"day": day, "code": [f"d{int(one)}" for one in day]})
    part = {"table": "t.csv", "patient": "code", "at": "day"}
    if answered_after is not None:
        frame = frame.with_columns(known=pl.col("day") + answered_after)
        part["answered"] = "known"
    return make_cohort(CohortPart.model_validate(part), frame, Path(), {})


def _folds(cohort: Cohort, folds: int):
    return split(SplitPart(by="time", test=0.5, valid=0.1, calibrate=0.1, folds=folds), cohort, (), 0)


def test_periods_follow_one_another_and_cover_the_latest_share():
    cohort = _cohort(None)
    found = _folds(cohort, 4)
    judged = [np.unique(cohort.at[fold.test]) for fold in found]
    assert [list(one) for one in judged] == [list(range(20 + 5 * n, 25 + 5 * n)) for n in range(4)]
    assert [len(np.unique(cohort.at[np.setdiff1d(fold.rows(), fold.test)])) for fold in found] == [20, 25, 30, 35]
    for fold in found:
        assert fold.check(cohort, "time")["time"]
        order = [cohort.at[part] for part in (fold.train, fold.valid, fold.calibrate, fold.test)]
        assert all(one.max() < other.min() for one, other in pairwise(order))


def test_rows_teach_only_once_their_answers_are_known():
    cohort = _cohort(3.0)
    for fold in _folds(cohort, 2):
        teaching = np.setdiff1d(fold.rows(), fold.test)
        assert cohort.answered is not None
        assert cohort.answered[teaching].max() < cohort.at[fold.test].min()
        why = next(name for name in fold.left_out if "answers were not yet known" in name)
        assert len(fold.left_out[why]) == 3 * 3
        assert "and so are its answers" in fold.check(cohort, "time")["time"]


def test_one_period_is_the_latest_share():
    whole = _folds(_cohort(None), 1)[0]
    assert np.unique(whole.test).tolist() == list(range(60, 120)) and len(whole.valid) == len(whole.calibrate) == 12


def test_an_answer_from_the_future_is_found():
    cohort = _cohort(3.0)
    fold = _folds(cohort, 2)[0]
    assert cohort.answered is not None
    with pytest.raises(DataError, match="whose answers were not known"):
        fold.check(replace(cohort, answered=cohort.answered + 5), "time")


def test_times_of_answers_are_of_the_kind_of_the_index_time():
    part = CohortPart.model_validate({"table": "t.csv", "independent_rows": True, "at": "day", "answered": "known"})
    frame = pl.DataFrame({"day": [1, 2], "known": ["2020-01-01", "2020-01-02"]})
    with pytest.raises(DataError, match=r"cohort\.answered: holds dates"):
        make_cohort(part, frame, Path(), {})
