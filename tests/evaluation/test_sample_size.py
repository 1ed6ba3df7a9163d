from __future__ import annotations

import numpy as np
import pytest

from medloom.evaluation.sample_size import sample_sizes
from medloom.prepare import prepare, read
from medloom.statistics.sample_size import of_rate, of_share
from tests.cases.answers import classify_ordered, regress_numbers, survive_table
from tests.cases.tables import table_binary, table_codes, table_several


def prepared(case, folder, **evaluate):
    study = case(folder)
    part = study.evaluate.model_copy(update=evaluate)
    return prepare(*read(study.model_copy(update={"evaluate": part}).within(folder)))


def test_patients_are_counted_and_the_share_is_that_of_training_rows(tmp_path):
    made = prepared(table_binary, tmp_path)
    (found,) = sample_sizes(made)
    rows = made.fold.train
    died = np.array(made.cohort.frame["died"])[rows] == "1"
    assert found.patients == len(np.unique(made.cohort.patient[rows])) < len(rows)
    assert found.events == died.sum()
    assert found.needed == of_share(5, float(died.mean()), 0.15)  # lactate, age and three wards
    assert not found.enough and found.plain()["found"] == {"patients": found.patients, "events": found.events}


def test_a_better_expected_model_needs_fewer_and_may_be_enough(tmp_path):
    (low,) = sample_sizes(prepared(table_binary, tmp_path, expected_r_squared=0.05))
    (high,) = sample_sizes(prepared(table_binary, tmp_path, expected_r_squared=0.6))
    assert low.needed.rows > high.needed.rows


def test_a_study_may_go_without(tmp_path):
    assert sample_sizes(prepared(table_binary, tmp_path, sample_size=False)) == ()


def test_times_numbers_and_labels_have_theirs_and_several_classes_none(tmp_path):
    made = prepared(survive_table, tmp_path)
    first = sample_sizes(made)[0]
    values = made.marks[first.target].values[made.fold.train]
    values = values[~np.isnan(values[:, 0])]
    events = float((values[:, 1] == 1).mean())
    horizon = made.feed.tasks[first.target].horizons[0]
    assert first.needed == of_rate(first.needed.parameters, events, float(values[:, 0].mean()), horizon, 0.15)
    assert {one.target for one in sample_sizes(prepared(regress_numbers, tmp_path))} == set(
        regress_numbers(tmp_path).targets
    )
    several = sample_sizes(prepared(table_several, tmp_path))
    assert any(one.outcome == "sepsis" for one in several)
    assert "severity" not in {one.target for one in sample_sizes(prepared(classify_ordered, tmp_path))}


def test_numbers_that_a_selection_left_out_were_candidates(tmp_path):
    made = prepared(table_codes, tmp_path)
    left_out = sum(one.left_out() for one in made.feed.modalities.values())
    assert left_out > 0
    assert sample_sizes(made)[0].needed.parameters == made.feed.plain(made.fold.train[:1]).shape[1] + left_out


def test_an_impossible_share_is_no_option(tmp_path):
    with pytest.raises(ValueError, match="expected_r_squared"):
        table_binary(tmp_path).evaluate.model_validate({"expected_r_squared": 1.0})
