"""Folds: whole patients, whole sites, the future kept apart, every row judged once."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.cohort.split import Fold, split, whole
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, StudyError
from medloom.parts import SplitPart
from medloom.study import make


def _cohort(seed: int, rows: int = 120, sites: int = 4) -> Cohort:
    random = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "id": [f"r{i:03d}" for i in range(rows)],
            "patient": [f"p{code:03d}" for code in random.integers(0, rows // 2, rows)],
            "at": random.integers(0, 300, rows),
            "site": [f"site {code}" for code in random.integers(0, sites, rows)],
        }
    )
    return make_cohort(CohortPart(row="id", patient="patient", at="at", site="site"), frame, Path(), {})


def _split(cohort: Cohort, strata: Any = (), seed: int = 0, **part: Any) -> tuple[Fold, ...]:
    return split(SplitPart(**part), cohort, strata, seed)


def _one_part_a_patient(fold: Fold, cohort: Cohort) -> None:
    patients = [set(cohort.patient[rows].tolist()) for rows in fold.parts().values()]
    assert sum(map(len, patients)) == len(set().union(*patients))


@given(st.integers(0, 10_000))
def test_by_time_nothing_that_teaches_is_as_late_as_what_judges(seed):
    cohort = _cohort(seed)
    (fold,) = _split(cohort, by="time")
    _one_part_a_patient(fold, cohort)
    at = cohort.at
    teaching = np.concatenate([fold.train, fold.valid, fold.calibrate])
    assert at[teaching].max() < at[fold.test].min()
    first = pl.DataFrame({"p": cohort.patient, "at": at}).group_by("p").agg(pl.col("at").min())
    begun = dict(first.iter_rows())
    begins = [[begun[p] for p in cohort.patient[rows]] for rows in fold.parts().values()]
    for earlier, later in itertools.pairwise(begins):
        assert max(earlier) < min(later)
    (left,) = fold.left_out.values()
    assert sorted([*fold.rows(), *left]) == list(range(len(cohort)))
    assert set(cohort.patient[left]) <= set(cohort.patient[teaching]) | set(cohort.patient[left])
    assert (at[left] >= at[fold.test].min()).all() and not set(cohort.patient[left]) & set(cohort.patient[fold.test])
    assert fold.check(cohort, "time")["time"].startswith("every row that teaches is older")


def test_a_split_by_time_that_is_not_one_is_refused():
    cohort = _cohort(0)
    (fold,) = _split(cohort)
    with pytest.raises(DataError, match="not older than every row that judges"):
        fold.check(cohort, "time")
    with pytest.raises(DataError, match="a site both teaches and judges"):
        fold.check(cohort, "site")


def test_by_time_with_one_time_leaves_nothing_to_train_on():
    cohort = replace(_cohort(1), at=np.full(120, 5.0))
    with pytest.raises(DataError, match="no rows are left for train"):
        _split(cohort, by="time")


@given(st.integers(0, 10_000), st.sampled_from([{}, {"test_sites": ("site 1", "site 3")}, {"test": 0.5}]))
def test_by_site_no_site_and_no_patient_crosses(seed, more):
    cohort = _cohort(seed)
    (fold,) = _split(cohort, by="site", **more)
    _one_part_a_patient(fold, cohort)
    judging = set(cohort.site.gather(fold.test))
    assert len(judging) == {"{}": 1}.get(str(more), 2)
    assert not judging & set(cohort.site.gather(np.setdiff1d(fold.rows(), fold.test)))
    (left,) = fold.left_out.values()
    assert set(cohort.patient[left]) <= set(cohort.patient[fold.test])
    assert sorted([*fold.rows(), *left]) == list(range(len(cohort)))
    if "test_sites" in more:
        assert judging == set(more["test_sites"])


def test_sites_that_do_not_exist_are_named():
    with pytest.raises(DataError, match="no row is of 'site 9'; did you mean 'site"):
        _split(_cohort(0), by="site", test_sites=("site 9",))
    with pytest.raises(DataError, match="found 4 sites .* expected at least 5"):
        _split(_cohort(0), by="site", folds=5)


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 3), st.booleans())
def test_every_row_judges_once_a_repeat(seed, folds, repeats, by_site):
    cohort = _cohort(seed, sites=7)
    made = _split(cohort, by="site" if by_site else "patient", folds=folds, repeats=repeats, valid=0.1, calibrate=0.1)
    assert [(fold.repeat, fold.number) for fold in made] == [
        (repeat, number) for repeat in range(1, repeats + 1) for number in range(1, folds + 1)
    ]
    for repeat in range(1, repeats + 1):
        judged = np.concatenate([fold.test for fold in made if fold.repeat == repeat])
        assert sorted(judged) == list(range(len(cohort)))
    for fold in made:
        _one_part_a_patient(fold, cohort)
        fold.check(cohort, "site" if by_site else "patient")
    if repeats > 1 and not by_site:
        assert not np.array_equal(made[0].test, made[folds].test)


def test_folds_hold_every_class_equally_often():
    rows = 100
    frame = pl.DataFrame({"id": [f"r{i}" for i in range(rows)]})
    cohort = make_cohort(CohortPart(row="id", independent_rows=True), frame, Path(), {})
    rare = (np.arange(rows) % 10 == 0).astype(np.int64)
    made = _split(cohort, [rare], folds=5)
    assert [int(rare[fold.test].sum()) for fold in made] == [2] * 5
    assert [len(fold.test) for fold in made] == [20] * 5
    assert [int(rare[fold.train].sum()) > 0 for fold in made] == [True] * 5
    assert any(rare[fold.test].sum() != 2 for fold in _split(cohort, [rare], folds=5, stratify=False))


def test_folds_do_not_depend_on_the_order_of_rows():
    cohort = _cohort(3)
    order = np.random.default_rng(0).permutation(len(cohort))
    for part in ({"folds": 3}, {"by": "time"}, {"by": "site"}):
        for one, other in zip(_split(cohort, **part), _split(cohort.take(order), **part), strict=True):
            for name, rows in one.parts().items():
                shuffled = cohort.take(order).row.gather(other.parts()[name])
                assert set(cohort.row.gather(rows)) == set(shuffled)


def test_the_last_training_has_all_rows_and_nobody_to_judge():
    cohort = _cohort(2)
    fold = whole(SplitPart(folds=3, valid=0.2, calibrate=0.1), cohort, (), 0)
    assert not len(fold.test) and len(fold.rows()) == len(cohort)
    _one_part_a_patient(fold, cohort)
    assert 0.1 < len(fold.valid) / len(cohort) < 0.3


@pytest.mark.parametrize(
    ("split", "cohort", "told"),
    [
        ({"repeats": 2}, {}, "go with folds above 1"),
        ({"final": "none"}, {}, "go with folds above 1"),
        ({"folds": 3, "repeats": 2, "by": "time"}, {"at": "day"}, "there is one order"),
        ({"folds": 3, "by": "column", "column": "part"}, {}, "there is one column"),
        ({"by": "time"}, {}, "needs cohort.at"),
        ({"by": "site"}, {}, "needs cohort.site"),
        ({"test_sites": ["a"]}, {"site": "s"}, 'goes with by = "site"'),
        ({"folds": 2, "valid": 0.3, "calibrate": 0.2}, {}, "under 5 %"),
    ],
)
def test_splits_that_cannot_be(split, cohort, told):
    labs = {"modality": "table", "known_before_index": True}
    study = {
        "name": "x",
        "cohort": {"table": "t.csv", "independent_rows": True, **cohort},
        "inputs": {"labs": labs},
        "targets": {"d": {"task": "classify", "column": "died"}},
        "split": split,
    }
    with pytest.raises(StudyError, match=told):
        make(study)
