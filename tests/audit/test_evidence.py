from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from medloom.audit.evidence import read_column, words_of
from tests.audit.tables import evidence, honest


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DischargeDate_2", ["discharge", "date", "2"]),
        ("birth_date", ["birth", "date"]),
        ("patientID", ["patient", "id"]),
        ("MRN", ["mrn"]),
    ],
)
def test_words_of_names(name: str, words: list[str]) -> None:
    assert words_of(name) == words


def test_a_column_is_read_as_numbers_dates_or_words() -> None:
    numbers = read_column("a", pl.Series(["1", "", "2.5"]), None)
    assert not numbers.is_word and numbers.code.tolist() == [0, -1, 1]
    dates = read_column("b", pl.Series(["2020-01-02", None, "2020-01-01"]), None)
    assert not dates.is_word and dates.number[0] - dates.number[2] == 86_400
    words = read_column("c", pl.Series(["1", "x", "?"]), None, markers=("?",))
    assert words.is_word and words.values == ("1", "x") and words.code.tolist() == [0, 1, -1]
    assert read_column("d", pl.Series([1, 2, 1]), None, as_words=True).values == ("1", "2")


def test_of_two_classes_the_rarer_is_told_and_patients_are_sampled_whole() -> None:
    frame = honest(300).with_columns(patient=pl.int_range(pl.len()) // 3)
    held = evidence(frame, {"patient": "patient"})
    assert [o.label for o in held.outcomes] == ["1"] and held.outcomes[0].value.sum() == frame["died"].sum()
    folds = np.array([len(set(held.fold_of[held.cohort.patient == p])) for p in range(100)])
    assert (folds == 1).all()
