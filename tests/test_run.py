"""`evaluate`, watching, frames in Python."""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest

import medloom
from medloom.errors import DataError, StudyError
from medloom.run import evaluate, fit
from medloom.study_text import dump_toml
from medloom.tasks.classify import Classify
from tests.cases.tables import table_binary


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return fit(table_binary(folder), folder / "run")


def test_evaluating_the_test_rows_gives_the_figures_of_the_run(run, tmp_path):
    part = pl.read_parquet(run.folder / "split.parquet").filter(pl.col("part") == "test").rename({"row": "stay"})
    held_out = part.join(pl.read_csv(run.folder.parent / "cohort.csv"), on="stay", maintain_order="left").drop("part")
    held_out.write_csv(tmp_path / "other.csv")
    again = evaluate(run.folder / "bundle", tmp_path / "other.csv", tmp_path / "out")
    ours, theirs = run.metrics["targets"]["death"]["model"], again.metrics["targets"]["death"]["model"]
    for name in ours:
        assert theirs[name]["value"] == pytest.approx(ours[name]["value"], abs=1e-6), name
    assert again.report.exists() and len(again.predictions) == len(held_out)
    beside, ours = again.metrics["targets"]["death"]["difference"], run.metrics["targets"]["death"]
    assert beside["baseline"] == "logistic" or beside["baseline"] == "gradient_boosting"
    there = again.metrics["targets"]["death"]["baselines"][beside["baseline"]]["auroc"]["value"]
    assert there == pytest.approx(ours["baselines"][beside["baseline"]]["auroc"]["value"], abs=1e-6)
    assert beside["auroc"]["low"] <= beside["auroc"]["value"] <= beside["auroc"]["high"]


def test_evaluating_without_answers_names_the_column(run, tmp_path):
    pl.read_csv(run.folder.parent / "cohort.csv").drop("died").write_csv(tmp_path / "bare.csv")
    told = r"the table has no column 'died' \(of death\), and a bundle is judged by answers; .*predict"
    with pytest.raises(DataError, match=told):
        evaluate(run.folder / "bundle", tmp_path / "bare.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_frame_and_a_path_lead_to_the_same_run(run, tmp_path):
    frame = pl.read_csv(run.folder.parent / "cohort.csv")
    study = table_binary(tmp_path)
    from_frame = medloom.fit(study, tmp_path / "frame", data=frame.to_pandas())
    assert from_frame.metrics["targets"] == run.metrics["targets"]
    (tmp_path / "study.toml").write_text(dump_toml(study))
    from_file = medloom.fit(str(tmp_path / "study.toml"), tmp_path / "file")
    assert from_file.metrics["targets"] == run.metrics["targets"]


def test_watchers_see_the_training_and_the_log_holds_its_scorings(run, tmp_path):
    events = []
    fit(table_binary(tmp_path), tmp_path / "run", watch=events.append)
    kinds = [event.kind for event in events]
    assert kinds[0] == "start" and kinds[-1] == "judge" and kinds.count("score") >= 3
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines if line["kind"] == "score"] == ["score"] * kinds.count("score")
    with pytest.raises(AttributeError):
        events[0].step = 5


def test_a_loss_that_is_not_finite_is_said(tmp_path):
    study = table_binary(tmp_path)
    train = study.train.model_copy(
        update={"optimizer": "sgd", "learning_rate": 1e30, "clip_norm": 0.0, "schedule": "constant"}
    )
    with pytest.raises(
        StudyError, match=r"the training loss is not finite at step \d+; give a smaller train.learning_rate"
    ):
        fit(study.model_copy(update={"train": train}).within(tmp_path), tmp_path / "run")


def test_weights_that_are_not_finite_after_the_last_step_are_said(tmp_path):
    study = table_binary(tmp_path)
    last = {"optimizer": "sgd", "learning_rate": 1e38, "clip_norm": 0.0, "steps": 1, "epochs": None, "keep": "last"}
    study = study.model_copy(update={"train": study.train.model_copy(update=last)}).within(tmp_path)
    with pytest.raises(StudyError, match="are not finite at step 1|is not finite at step 1"):
        fit(study, tmp_path / "run")


@pytest.mark.parametrize("which", [slice(None), slice(None, None, 7)], ids=["all", "some"])
def test_answers_that_are_no_numbers_leave_no_nan_in_results_or_report(run, tmp_path, monkeypatch, which):
    measure = Classify.measure

    def broken(self, prediction, truth):
        measured = dict(measure(self, prediction, truth))
        measured["probability"] = measured["probability"].copy()
        measured["probability"][which] = np.nan
        return measured

    monkeypatch.setattr(Classify, "measure", broken)
    judged = evaluate(run.folder / "bundle", run.folder.parent / "cohort.csv", tmp_path / "out")
    assert judged.metrics["targets"]["death"]["model"]["auroc"]["value"] is None
    assert judged.metrics["targets"]["death"]["model"]["auroc"]["note"].startswith("cannot be estimated")
    seen = re.sub(r"<script.*?</script>", "", judged.report.read_text(), flags=re.DOTALL)
    assert re.search(r"\bnan\b", seen, re.IGNORECASE) is None


def test_rows_without_a_known_answer_judge_nothing_and_without_any_it_is_refused(run, tmp_path):
    frame = pl.read_csv(run.folder.parent / "cohort.csv")
    half = frame.with_columns(died=pl.when(pl.int_range(pl.len()) % 2 == 0).then("died"))
    half.write_csv(tmp_path / "half.csv")
    judged = evaluate(run.folder / "bundle", tmp_path / "half.csv", tmp_path / "half")
    known = (len(frame) + 1) // 2
    assert judged.metrics["targets"]["death"]["rows"] == known and len(judged.predictions) == len(frame)
    assert f"the figures are of those {known} rows whose answer is known, of the" in judged.report.read_text()
    blank = pl.read_csv(run.folder.parent / "cohort.csv").with_columns(died=pl.lit(None, pl.Int64))
    blank.write_csv(tmp_path / "other.csv")
    with pytest.raises(DataError, match="none of the .* rows has a known answer of 'death'"):
        evaluate(run.folder / "bundle", tmp_path / "other.csv", tmp_path / "out")
    frame.drop("died").write_csv(tmp_path / "bare.csv")
    with pytest.raises(
        DataError, match=r"the table has no column 'died' \(of death\), and a bundle is judged by answers; .*predict"
    ):
        evaluate(run.folder / "bundle", tmp_path / "bare.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_work_files_are_gone_when_a_run_is_finished(run):
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "audit.json",
        "authors.toml",
        "bundle",
        "content.json",
        "log.jsonl",
        "measured.json",
        "measured.parquet",
        "metrics.json",
        "model-card.xml",
        "predictions.parquet",
        "probast.md",
        "report.html",
        "run.json",
        "split.parquet",
        "study.toml",
        "tripod.md",
    }


def test_at_most_twelve_public_names():
    assert len(medloom.__all__) <= 12
    assert all(getattr(medloom, name) is not None for name in medloom.__all__)
    with pytest.raises(AttributeError):
        medloom.nothing  # noqa: B018
