"""The benchmark beside PyHealth: without its interpreter there are no results, and the data are what the study says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import pyhealth
from medloom.ingest.door import ingest
from medloom.prepare import read as read_data
from medloom.study import read


def test_without_an_interpreter_there_are_no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDLOOM_PYHEALTH", raising=False)
    assert pyhealth.run(None) == []


def test_the_study_reads_a_row_for_each_stay_of_two_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyhealth, "STAYS", 60)
    pyhealth.made(tmp_path)
    ingest(tmp_path / "meds", tmp_path / "store")
    _, cohort, marks = read_data(read(tmp_path / "study.toml"))
    assert len(cohort) == 60 and marks["death"].present.all()
    assert 0 < marks["death"].values.sum() < 30
    assert set(cohort.frame["fold"].unique()) == set(pyhealth.FOLDS)
