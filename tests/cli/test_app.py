"""The command as a person types it: what it prints, and exit code 2 without a traceback for every mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from medloom.study_text import dump_toml
from tests.cases.tables import table_binary

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def medloom(*words: object, folder: Path | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medloom", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=folder, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    (path / "study.toml").write_text(dump_toml(table_binary(path)), encoding="utf-8")
    done = medloom("fit", "study.toml", "--out", "run", folder=path)
    assert done.returncode == 0, done.stderr
    assert "death: auroc on 48 rows" in done.stdout and "gradient boosting" in done.stdout
    assert done.stdout.strip().endswith("run/report.html")
    return path


def test_check_prints_a_study_that_can_be_read_again(folder):
    done = medloom("check", "study.toml", "--data", folder=folder)
    assert done.returncode == 0 and "# 240 rows of" in done.stdout
    (folder / "again.toml").write_text(done.stdout)
    assert medloom("check", "again.toml", folder=folder).returncode == 0


def test_check_with_data_finds_what_only_a_fit_would(folder):
    done = medloom("check", "study.toml", "targets.death.positive='perhaps'", "--data", folder=folder)
    assert done.returncode == 2 and "no training row has the class 'perhaps'" in done.stderr


def test_check_with_data_reads_the_first_row_of_each_input(folder):
    more = ("inputs.course.modality=events", "inputs.course.table=nowhere.csv", "inputs.course.known_before_index=true")
    done = medloom("check", "study.toml", *more, "--data", folder=folder)
    assert done.returncode == 2 and "inputs.course: nowhere.csv: no such file" in done.stderr
    assert medloom("check", "study.toml", *more, folder=folder).returncode == 0


def test_plan_says_what_will_be_trained(folder):
    done = medloom("plan", "study.toml", folder=folder)
    assert done.returncode == 0
    for word in ("rows", "parameters", "steps", "memory", "time"):
        assert word in done.stdout


def test_show_tells_of_a_bundle_or_a_run(folder):
    one, two = medloom("show", "run/bundle", folder=folder), medloom("show", "run", folder=folder)
    assert one.returncode == 0 and one.stdout == two.stdout
    assert "threshold" in one.stdout and "auroc: 0." in one.stdout and "Research use only" in one.stdout


def test_predict_and_evaluate(folder):
    done = medloom("predict", "run/bundle", "cohort.csv", "--out", "answers.csv", folder=folder)
    assert done.returncode == 0 and "240 rows" in done.stdout
    assert pl.read_csv(folder / "answers.csv").columns == ["stay", "death", "death_probability"]
    done = medloom("evaluate", "run/bundle", "cohort.csv", "--out", "other", folder=folder)
    assert done.returncode == 0 and "auroc on 240 rows" in done.stdout


def test_guess_writes_a_study_that_runs(folder):
    done = medloom("guess", "cohort.csv", "--target", "died", "--out", "guessed.toml", folder=folder)
    assert done.returncode == 0 and "read every line" in done.stdout
    assert medloom("check", "guessed.toml", "--data", folder=folder).returncode == 0
    again = medloom("guess", "cohort.csv", "--target", "died", "--out", "guessed.toml", folder=folder)
    assert again.returncode == 2 and "exists" in again.stderr


MISTAKES = [
    (("check", "nowhere.toml"), "no such study file"),
    (("check", "cohort.csv"), "not TOML"),
    (("check", "study.toml", "train.optimzer='sgd'"), "did you mean 'optimizer'"),
    (("fit", "study.toml", "cohort.table=missing.csv", "--out", "x"), "missing.csv: no such file"),
    (("fit", "study.toml", "--out", "guarded"), "not empty"),
    (("predict", "nowhere", "cohort.csv", "--out", "x.csv"), "no bundle here"),
    (("predict", "run/bundle", "nowhere.csv", "--out", "x.csv"), "no such file"),
    (("predict", "run/bundle", "cohort.csv", "--out", "x.xlsx"), "ends in .parquet or .csv"),
    (("predict", "run/bundle", "cohort.csv", "--out", "x.csv", "--problems", "ignore"), "expected refuse or column"),
    (("show", "nowhere"), "no such folder"),
    (("recalibrate", "run/bundle", "cohort.csv", "--out", "run/bundle"), "choose another folder for the new one"),
    (("guess", "cohort.csv", "--target", "dyed"), "died"),
    (("demo", "digit"), "did you mean 'digits'"),
    (("fitt",), "No such command"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_a_sentence_and_exit_code_2(folder, words, said):
    (folder / "guarded").mkdir(exist_ok=True)
    (folder / "guarded" / "mine.txt").write_text("precious")
    done = medloom(*words, folder=folder)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not list(folder.glob("x*")) and (folder / "guarded" / "mine.txt").exists()


def test_ctrl_c_is_one_line_and_the_run_goes_on(folder):
    words = ["fit", "study.toml", "train.epochs=2000", "train.patience=0", "--out", "long"]
    process = subprocess.Popen(
        [sys.executable, "-m", "medloom", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    deadline = time.monotonic() + 60
    while not (folder / "long" / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        errors.startswith("Stopped after step") and "run the same command again" in errors and errors.count("\n") == 1
    )
    assert (folder / "long" / "work" / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_the_demos_end_with_figures_beside_baselines_and_a_report(tmp_path):
    for words, figure in ((("demo",), "malignant: auroc"), (("demo", "digits"), "digit: accuracy")):
        done = medloom(*words, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert figure in done.stdout and "logistic" in done.stdout
        report = next(line for line in done.stdout.splitlines() if line.startswith("Report: ")).removeprefix("Report: ")
        assert Path(report).read_text(encoding="utf-8").lower().startswith("<!doctype html>")


def test_audit_lists_findings_and_fails_only_when_it_is_strict(tmp_path: Path) -> None:
    import numpy as np

    from tests.audit.tables import honest

    honest(200).write_csv(tmp_path / "clean.csv")
    honest(200).with_columns(plan=pl.Series(np.where(honest(200)["died"] == 1, "a", "b"))).write_csv(
        tmp_path / "leaky.csv"
    )
    for name in ("clean", "leaky"):
        (tmp_path / f"{name}.toml").write_text(
            f'name = "{name}"\ncohort = {{ table = "{name}.csv", independent_rows = true }}\n'
            'inputs.table = { modality = "table", known_before_index = true }\n'
            'targets.death = { task = "classify", column = "died" }\n'
        )
    clean = medloom("audit", "clean.toml", "--strict", folder=tmp_path)
    assert clean.returncode == 0 and "no findings" in clean.stdout
    leaky = medloom("audit", "leaky.toml", folder=tmp_path)
    assert leaky.returncode == 0 and "plan" in leaky.stdout
    strict = medloom("audit", "leaky.toml", "--strict", "--json", folder=tmp_path)
    assert strict.returncode == 1 and json.loads(strict.stdout)["findings"][0]["kind"] == "copy-of-target"


def test_report_and_compare_read_what_a_run_keeps(folder):
    done = medloom("report", "run", "--format", "md", folder=folder)
    assert done.returncode == 0 and done.stdout.strip() == "run/report.md"
    assert (folder / "run" / "report.md").read_text(encoding="utf-8").startswith("# ")
    done = medloom("compare", "run", "run", "--out", "same.html", folder=folder)
    assert done.returncode == 0 and "Nothing: every key is the same." in done.stdout
    assert "is paired, on all rows" in done.stdout and (folder / "same.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report", "run", "--format", "docx"), "no format 'docx'"),
        (("report", "nowhere"), "no such folder"),
        (("compare", "run"), "expected two or more"),
        (("compare", "run", "run", "--out", "cohort.csv/x.html"), "cannot read or write"),
        (("report", "run", "--out", "cohort.csv/x.html"), "cannot read or write"),
        (("compare", "run", "nowhere"), "holds no finished run"),
    ],
)
def test_mistakes_of_report_and_compare_are_sentences(folder, words, said):
    done = medloom(*words, folder=folder)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
