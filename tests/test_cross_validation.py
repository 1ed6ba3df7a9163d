"""Cross-validation through the whole path: packed once, every row judged once, resumed to the same weights."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from medloom.bundle import load
from medloom.errors import BundleError
from medloom.modalities.table import Table
from medloom.run import fit
from medloom.study import Study
from medloom.training.loop import Event, Interrupted
from tests.cases.made import TABLE, _cohort, _study
from tests.cases.tables import table_folds


def _weights(run: Path) -> str:
    return hashlib.sha256((run / "bundle" / "weights.safetensors").read_bytes()).hexdigest()


def _with(study: Study, part: str, **update: object) -> Study:
    changed = getattr(study, part).model_copy(update=update)
    return study.model_copy(update={part: changed}).within(study.folder)


def test_folds_are_packed_once_and_every_row_is_judged_once(tmp_path, monkeypatch):
    reads: list[int] = []
    read = Table.read.__func__

    def counted(cls, options, cohort):
        reads.append(len(cohort))
        return read(cls, options, cohort)

    monkeypatch.setattr(Table, "read", classmethod(counted))
    study = table_folds(tmp_path)
    run = fit(study, tmp_path / "run")
    assert reads == [120]
    table = pl.read_csv(tmp_path / "cohort.csv")
    answers = run.predictions
    assert sorted(answers["row"]) == sorted(table["stay"]) and set(answers["fold"]) == {1, 2, 3}
    truth = answers.join(table, left_on="row", right_on="stay", maintain_order="left")
    figure = run.metrics["targets"]["death"]
    assert figure["model"]["auroc"]["value"] == pytest.approx(
        roc_auc_score(truth["died"], truth["death_probability"]), abs=1e-9
    )
    assert figure["rows"] == 120 and figure["baselines"] and figure["difference"]["baseline"]
    assert len(run.metrics["split"]["folds"]) == 3
    assert run.metrics["counts"]["parts"]["test"]["rows"] == 120
    split = pl.read_parquet(run.folder / "split.parquet")
    patient = split.join(table, left_on="row", right_on="stay")
    assert patient.group_by("patient", "fold").agg(pl.col("part").n_unique())["part"].max() == 1
    assert "cross-validation" in load(run.folder / "bundle").card["judged"]
    assert "Cross-validation in 3 folds" in run.report.read_text()


def test_the_last_network_gets_the_median_of_the_steps_that_the_folds_kept(tmp_path):
    events: list[Event] = []
    fit(table_folds(tmp_path), tmp_path / "run", watch=events.append)
    starts = [event for event in events if event.kind == "fold"]
    assert [(event.step, event.steps) for event in starts] == [(number, 4) for number in (1, 2, 3, 4)]
    kept: list[int] = []
    runs: list[list[Event]] = []
    for event in events:
        if event.kind == "fold":
            runs.append([])
        elif event.kind == "score":
            runs[-1].append(event)
    for scores in runs[:3]:
        kept.append(min(scores, key=lambda event: event.valid_loss).step)
    assert runs[3][-1].steps == max(1, round(float(np.median(kept))))


def test_an_interrupted_cross_validation_is_resumed_to_the_same_weights(tmp_path):
    study = _with(table_folds(tmp_path), "train", epochs=None, steps=60, patience=0)
    fit(study, tmp_path / "whole")
    for training in (1, 2, 4):
        seen = [0]

        def interrupt(event: Event, seen: list[int] = seen, training: int = training) -> None:
            seen[0] = event.step if event.kind == "fold" else seen[0]
            if seen[0] == training and event.kind in ("step", "score") and event.step < event.steps:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(Interrupted):
            fit(study, tmp_path / "stopped", watch=interrupt)
        assert not (tmp_path / "stopped" / "bundle").exists()
    again = fit(study, tmp_path / "stopped")
    assert _weights(tmp_path / "stopped") == _weights(tmp_path / "whole")
    assert again.predictions.equals(pl.read_parquet(tmp_path / "whole" / "predictions.parquet"))


def test_repeats_stand_side_by_side_and_none_is_kept(tmp_path):
    study = _with(table_folds(tmp_path), "split", folds=2, repeats=2, final="none")
    run = fit(study, tmp_path / "run")
    assert run.predictions.group_by("row").len()["len"].unique().to_list() == [2]
    assert run.metrics["targets"]["death"]["patients"] == pl.read_csv(tmp_path / "cohort.csv")["patient"].n_unique()
    with pytest.raises(BundleError):
        assert run.bundle


def test_a_site_with_one_class_is_judged_and_said(tmp_path):
    frame = _cohort(160, 7).with_columns(
        site=pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("north")).otherwise(pl.lit("south")),
        patient=pl.col("stay"),
    )
    frame = frame.with_columns(died=pl.when(pl.col("site") == "north").then(0).otherwise("died"))
    frame.write_csv(tmp_path / "cohort.csv")
    cohort = {"table": "cohort.csv", "row": "stay", "patient": "patient", "site": "site"}
    targets = {"death": {"task": "classify", "column": "died"}}
    by_site = {"by": "site", "test_sites": ["north"]}
    run = fit(_study(tmp_path, {"labs": TABLE}, targets, cohort=cohort, split=by_site), tmp_path / "run")
    figure = run.metrics["targets"]["death"]["model"]["auroc"]
    assert figure["value"] is None and figure["note"].startswith("cannot be estimated")
    report = run.report.read_text()
    assert "1 of 2 sites judge" in report and "few held-out rows of yes (0)" in report
    assert run.metrics["split"]["site"] == "no site both teaches and judges"
