"""What stands beside the figures: in `metrics.json`, in the report, and for the line that keeps the simpler model."""

import numpy as np
import polars as pl
import pytest

from medloom.errors import DataError
from medloom.explain import weak_groups
from medloom.explain.evidence import evidence
from medloom.explain.probe import Probe
from medloom.model.team import Team
from medloom.prepare import prepare, read
from medloom.run import evaluate, fit
from tests.cases.signals import signal_and_table
from tests.explain.studies import rows, study


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told")
    asked = {"resamples": 100, "subgroups": ["ward", {"column": "strong", "cuts": [0.0]}]}
    return fit(study(folder, train={"epochs": 4}, evaluate=asked), folder / "run")


def test_metrics_hold_explanation_subgroups_and_errors(run):
    explanation = run.metrics["explanation"]
    assert explanation["patients"] > 100 and explanation["exchanges"] == 5
    death = explanation["targets"]["death"]
    assert death["headline"] == "auroc" and len(death["importance"]) == 5
    assert {"value", "low", "high"} <= set(death["importance"][0]["drop"])
    groups = run.metrics["subgroups"]["death"]["groups"]
    assert [group["group"] for group in groups] == ["a", "b", "c", "under 0", "0 and over"]
    assert "auroc" in groups[0]["figures"] and "adjusted_p" in groups[0]["contrasts"]["auroc"]
    assert run.metrics["errors"]["death"]["error"] == "squared error of the probability"


def test_the_report_tells_all_of_it(run):
    text = run.report.read_text(encoding="utf-8")
    for words in (
        "What the answers rest on",
        "Which columns count",
        "Importance is of the model, not of the disease",
        "Columns that follow each other share importance",
        "strong + copy",
        "In groups of patients",
        "contrasts of each figure",
        "Patients that it gets wrong more often",
        "The ranking by exchange",
    ):
        assert words in text, words


def test_no_row_and_no_patient_is_told(run):
    text = run.report.read_text(encoding="utf-8") + (run.folder / "metrics.json").read_text(encoding="utf-8")
    ids = pl.read_csv(run.folder.parent / "rows.csv")["patient"].unique()
    assert not any(f">{one}<" in text or f'"{one}"' in text for one in ids)


def test_a_bundle_is_explained_on_other_rows(run, tmp_path):
    rows(300, 9).write_csv(tmp_path / "other.csv")
    again = evaluate(run.folder / "bundle", tmp_path / "other.csv", tmp_path / "out")
    assert len(again.metrics["explanation"]["targets"]["death"]["importance"]) == 5
    assert again.metrics["subgroups"]["death"]["groups"][0]["group"] == "a"


def test_explain_may_be_switched_off(tmp_path):
    made = fit(study(tmp_path, train={"steps": 1}, evaluate={"resamples": 100, "explain": False}), tmp_path / "run")
    assert "explanation" not in made.metrics and "errors" not in made.metrics
    assert "What the answers rest on" not in made.report.read_text(encoding="utf-8")


def test_a_wrong_group_is_an_error_before_training(tmp_path):
    asked = study(tmp_path, evaluate={"resamples": 100, "subgroups": ["strong"]})
    with pytest.raises(DataError, match="different numbers"):
        fit(asked, tmp_path / "run")
    assert not (tmp_path / "run" / "report.html").exists()


def test_folds_are_explained_by_the_first_of_them(tmp_path):
    more = {"split": {"folds": 2}, "train": {"steps": 20}, "evaluate": {"resamples": 100, "subgroups": ["ward"]}}
    made = fit(study(tmp_path, **more), tmp_path / "run")
    groups = made.metrics["subgroups"]["death"]["groups"]
    assert sum(group["rows"] for group in groups) == 900
    assert made.metrics["explanation"]["rows"] < 500
    assert "first fold" in made.report.read_text(encoding="utf-8")


def test_errors_beside_a_record_are_looked_for_in_groups_of_the_columns(tmp_path, monkeypatch):
    asked = prepare(*read(signal_and_table(tmp_path)))
    feed, cohort, every = asked.feed, asked.cohort, np.arange(len(asked.cohort))
    column = [one.part for _, one in Probe(Team(()), feed, every).features()].index("lactate")
    wrong = Probe(Team(()), feed, every).plain()[:, column] > 0
    truth = np.arange(len(every)) % 2.0
    measured = {"truth": truth, "probability": np.where(wrong, 1 - truth, truth)}
    monkeypatch.setattr(weak_groups, "FEWEST_PATIENTS", 20)
    monkeypatch.setattr(weak_groups, "MINIMUM", 5)
    for part in ("explain", "looked", "mapped"):
        monkeypatch.setattr(f"medloom.explain.evidence.{part}", lambda *given: ())
    found = evidence(asked.study, cohort, Team(()), feed, every, {"fast": {"model": measured}}, {"fast": every}, ())
    # Too few patients to tell any as worse; that there are groups, and of what, is what is asked here.
    assert any(one.name.startswith("lactate") for one in found.weak["fast"].groups.groups)
