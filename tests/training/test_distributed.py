"""Two processes train what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medloom.errors import StudyError
from medloom.run import fit
from medloom.study import Study, read
from medloom.study_text import dump_toml
from medloom.training import distributed
from medloom.training.distributed import ALONE, Ranks
from tests.cases.tables import table_several
from tests.training.ranks import EQUAL, without_dropout

REPOSITORY = Path(__file__).resolve().parents[2]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def together(*command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Two processes of a command, on the CPU."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    return subprocess.run(
        [*TORCHRUN, *command], capture_output=True, text=True, timeout=timeout, env=env, cwd=REPOSITORY
    )


def written(folder: Path) -> Study:
    """A study of several inputs and targets with gaps, and its file."""
    study = without_dropout(table_several(folder))
    train = study.train.model_copy(update={"epochs": None, "steps": 24, "batch": 15, "evaluations": 3})
    evaluate = study.evaluate.model_copy(update={"baselines": False})
    study = study.model_copy(update={"train": train, "evaluate": evaluate}).within(folder)
    (folder / "study.toml").write_text(dump_toml(study), encoding="utf-8")
    return read(folder / "study.toml")


def same_weights(one: Path, two: Path) -> None:
    first, second = (load_file(run / "bundle" / "weights.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=0, atol=1e-5)


def test_two_processes_equal_one(tmp_path):
    done = together("-m", "tests.training.ranks", "equal", str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found.keys() == set(EQUAL)
    assert max(found.values()) < 1e-5, found


@pytest.mark.slow
def test_the_command_fits_with_two_processes_and_one_alone_writes(tmp_path):
    study = written(tmp_path)
    alone = fit(study, tmp_path / "alone")
    done = together("-m", "medloom", "fit", str(tmp_path / "study.toml"), "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    same_weights(tmp_path / "alone", tmp_path / "run")
    names = [sorted(str(p.relative_to(run)) for p in run.rglob("*")) for run in (tmp_path / "alone", tmp_path / "run")]
    assert names[0] == names[1]
    assert done.stdout.count("Report:") == 1 and done.stdout.count("step 24/24") == 1
    lines = [(run / "log.jsonl").read_text().count("\n") for run in (tmp_path / "alone", tmp_path / "run")]
    assert lines[0] == lines[1]
    assert fit(study, tmp_path / "run").metrics["counts"] == alone.metrics["counts"]


@pytest.mark.slow
def test_an_interrupt_of_one_process_stops_both_and_one_alone_resumes(tmp_path):
    study = written(tmp_path)
    done = together("-m", "tests.training.ranks", "interrupted", str(tmp_path))
    assert done.returncode != 0 and done.stderr.count("Stopped after step 7 of 24") == 1, done.stderr
    assert (tmp_path / "run" / "work" / "checkpoint.safetensors").exists()
    assert not (tmp_path / "run" / "bundle").exists()
    begun = []
    fit(study, tmp_path / "run", watch=lambda event: begun.append(event.step) if event.kind == "start" else None)
    assert begun == [7]
    fit(study, tmp_path / "alone")
    same_weights(tmp_path / "alone", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("what", "said"), [("failing", "the disk is full"), ("different", "has another study")])
def test_a_process_that_fails_leaves_none_waiting(tmp_path, what, said):
    written(tmp_path)
    began = time.monotonic()
    done = together("-m", "tests.training.ranks", what, str(tmp_path), timeout=90)
    assert done.returncode != 0 and said in done.stderr
    assert time.monotonic() - began < 80


@pytest.mark.parametrize("batch", [1, 5, 16, 33])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_slices_are_the_batch(batch, count):
    parts = [np.arange(batch)[Ranks(rank, count).slice(batch)] for rank in range(count)]
    assert np.array_equal(np.concatenate(parts), np.arange(batch))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert np.array_equal(
        np.concatenate([Ranks(rank, count).share(np.arange(batch)) for rank in range(count)]), np.arange(batch)
    )


def test_a_loss_of_the_whole_batch_is_not_cut():
    tasks = {"stay": True, "death": False}
    distributed.refuse_batchwise(tasks, ALONE, 32, None)
    with pytest.raises(StudyError, match=r"targets\.death: .* 2 processes; start one"):
        distributed.refuse_batchwise(tasks, Ranks(0, 2), 32, None)
    with pytest.raises(StudyError, match=r"leave train\.micro_batch out"):
        distributed.refuse_batchwise(tasks, ALONE, 32, 8)
    with pytest.raises(StudyError, match=r"batches of 3 rows for 4 processes; give train\.batch = 4"):
        distributed.refuse_batchwise({}, Ranks(0, 4), 3, None)


def test_without_torchrun_a_process_is_alone(monkeypatch):
    from medloom.parts import TrainPart

    monkeypatch.setenv("WORLD_SIZE", "4")
    with distributed.joined(TrainPart()) as ranks:
        assert ranks == ALONE == distributed.current()
        assert ranks.in_turn(lambda: 3) == 3 and ranks.total([1.0, 2.0]) == [1.0, 2.0]
