"""A killed run goes on to the same weights, to the bit."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from medloom.errors import DataError, StudyError
from medloom.run import fit
from medloom.study_text import dump_toml
from medloom.training.loop import Event, Interrupted
from tests.cases.tables import table_binary

SCRIPT = """
import sys, time, torch
torch.set_num_threads(1)
from medloom.run import fit
from medloom.study import read
def slowly(event):
    if event.kind == "step": time.sleep(0.02)
fit(read(sys.argv[1]), sys.argv[2], watch=slowly)
"""


def _long_study(folder: Path, workers: int) -> Path:
    study = table_binary(folder)
    train = study.train.model_copy(
        update={"epochs": None, "steps": 1500, "workers": workers, "checkpoint_seconds": 0.05, "patience": 0}
    )
    path = folder / f"study{workers}.toml"
    path.write_text(dump_toml(study.model_copy(update={"train": train, "split": study.split})), encoding="utf-8")
    return path


def _weights(run: Path) -> str:
    return hashlib.sha256((run / "bundle" / "weights.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_sigkill_at_random_steps_leaves_the_weights_bit_equal(tmp_path, workers):
    path = _long_study(tmp_path, workers)
    fit_once = [sys.executable, "-c", SCRIPT, str(path)]
    subprocess.run([*fit_once, str(tmp_path / "whole")], check=True, timeout=300)
    random = np.random.default_rng(workers)
    kills = 0
    for _ in range(12):
        process = subprocess.Popen([*fit_once, str(tmp_path / "killed")])
        checkpoint = tmp_path / "killed" / "work" / "checkpoint.safetensors"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime_ns != before):
            time.sleep(0.01)
        if kills < 3:
            time.sleep(random.uniform(0, 0.6))
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        elif process.wait() == 0:
            break
    assert kills == 3
    assert _weights(tmp_path / "killed") == _weights(tmp_path / "whole")


def test_an_interrupt_is_resumed_to_the_same_weights(tmp_path):
    from medloom.study import read

    study = read(_long_study(tmp_path, 0), ["train.steps=200"])

    def interrupt_at(step: int):
        def watch(event: Event) -> None:
            if event.kind == "step" and event.step >= step:
                signal.raise_signal(signal.SIGINT)

        return watch

    whole = fit(study, tmp_path / "whole")
    for step in (20, 90, 150):
        with pytest.raises(Interrupted, match="of 200"):
            fit(study, tmp_path / "stopped", watch=interrupt_at(step))
        assert not (tmp_path / "stopped" / "bundle").exists()
    fit(study, tmp_path / "stopped")
    assert _weights(tmp_path / "stopped") == _weights(whole.folder)


def test_a_finished_run_is_opened_and_not_trained_again(tmp_path):
    study = table_binary(tmp_path)
    first = fit(study, tmp_path / "run")
    stamp = (first.folder / "bundle" / "weights.safetensors").stat().st_mtime_ns
    again = fit(study, tmp_path / "run", watch=lambda event: pytest.fail("trained again"))
    assert again.metrics == first.metrics
    assert (again.folder / "bundle" / "weights.safetensors").stat().st_mtime_ns == stamp


def test_a_run_folder_is_not_taken_over(tmp_path):
    study = table_binary(tmp_path)
    fit(study, tmp_path / "run")
    with pytest.raises(StudyError, match="another study"):
        fit(study.model_copy(update={"seed": 5}).within(tmp_path), tmp_path / "run")
    table = tmp_path / "cohort.csv"
    table.write_text(table.read_text().replace("medical", "surgical", 1))
    with pytest.raises(DataError, match="data changed"):
        fit(study, tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(StudyError, match="not empty"):
        fit(study, tmp_path / "mine")


def test_a_run_that_never_came_to_training_does_not_hold_its_folder(tmp_path):
    study = table_binary(tmp_path)
    wrong = study.targets["death"].model_copy(update={"positive": "perhaps"})
    with pytest.raises(DataError, match="no training row has the class 'perhaps'"):
        fit(study.model_copy(update={"targets": {"death": wrong}}).within(tmp_path), tmp_path / "run")
    assert fit(study, tmp_path / "run").report.exists()


def test_minutes_become_a_step_budget_once(tmp_path):
    study = table_binary(tmp_path)
    train = study.train.model_copy(update={"epochs": None, "minutes": 0.02, "patience": 0})
    timed = study.model_copy(update={"train": train}).within(tmp_path)
    steps = []
    fit(timed, tmp_path / "run", watch=lambda event: steps.append(event.steps))
    assert steps[0] > 1 and set(steps) <= {steps[0], 0}
