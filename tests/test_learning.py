"""The learning curve of a run."""

from __future__ import annotations

import pytest

from medloom.errors import DataError, StudyError
from medloom.run import fit
from medloom.study import make
from tests.cases.made import COHORT, SMALL, TABLE
from tests.cases.tables import table_binary


def with_curve(study, shares, folder):
    part = study.evaluate.model_copy(update={"learning_curve": shares})
    return study.model_copy(update={"evaluate": part}).within(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    return fit(with_curve(table_binary(folder), (0.05, 0.5, 1.0), folder), folder / "run")


def test_every_share_is_judged_on_the_same_rows_and_the_last_is_the_run(run):
    curve = run.metrics["learning_curve"]["death"]
    assert [one["share"] for one in curve] == [0.05, 0.5, 1.0]
    assert curve[0]["patients"] < curve[1]["patients"] < curve[2]["patients"]
    assert curve[2]["patients"] == run.metrics["counts"]["parts"]["train"]["patients"]
    assert curve[2]["figures"]["model"] == run.metrics["targets"]["death"]["model"]
    assert set(curve[1]["figures"]) == {"model", *run.metrics["targets"]["death"]["baselines"]}
    assert curve[1]["figures"]["model"] != curve[2]["figures"]["model"]


def test_the_report_tells_it(run):
    text = run.report.read_text()
    assert 'id="learning-curve"' in text and "judged on the same test rows" in text


def test_the_run_itself_is_what_it_is_without_a_curve(run, tmp_path):
    plain = fit(table_binary(tmp_path), tmp_path / "run")
    assert plain.metrics["targets"] == run.metrics["targets"]
    assert "learning_curve" not in plain.metrics
    assert not (run.folder / "work").exists()


def test_a_share_that_is_too_small_is_told_and_ends_nothing(tmp_path, monkeypatch):
    def too_few(prepared, *others):
        raise DataError("targets.death: only the class '0' in the training rows")

    monkeypatch.setattr("medloom.learning.train_one", too_few)
    run = fit(with_curve(table_binary(tmp_path), (0.1, 1.0), tmp_path), tmp_path / "run")
    first, last = run.metrics["learning_curve"]["death"]
    assert last["figures"] and not first["figures"]
    assert first["note"] == "cannot be estimated: targets.death: only the class '0' in the training rows"
    assert "10% of the patients: cannot be estimated" in run.report.read_text()


@pytest.mark.parametrize(
    ("evaluate", "split", "found"),
    [
        ({"learning_curve": [0.5]}, {}, "at least two rising shares"),
        ({"learning_curve": [1.0, 0.5]}, {}, "at least two rising shares"),
        ({"learning_curve": [0.0, 0.5]}, {}, "greater than 0"),
        ({"learning_curve": [0.5, 1.0]}, {"folds": 5}, "goes with split.folds = 1"),
    ],
)
def test_what_cannot_be_asked_is_refused(evaluate, split, found):
    whole = {"name": "case", "cohort": COHORT, "inputs": {"labs": TABLE}, "train": SMALL, "split": split}
    with pytest.raises(StudyError, match=found):
        make({**whole, "targets": {"death": {"task": "classify", "column": "died"}}, "evaluate": evaluate})
