"""Law 1, through the whole path: what test rows hold does not move a bit of what is learnt."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from medloom import fitted
from medloom.bundle import Bundle
from medloom.run import fit
from tests.cases.made import TABLE, _cohort, _study


def _fitted(folder, frame: pl.DataFrame) -> Bundle:
    folder.mkdir()
    frame.write_csv(folder / "cohort.csv")
    targets = {"death": {"task": "classify", "column": "died"}, "severity": {"task": "classify", "column": "severity"}}
    study = _study(folder, {"labs": TABLE}, targets, split={"by": "column", "column": "part"})
    return fit(study, folder / "run").bundle


@pytest.fixture
def frame() -> pl.DataFrame:
    part = np.array(["train", "train", "train", "valid", "calibrate", "test"])[np.arange(240) % 6]
    return _cohort(240).with_columns(pl.Series("part", part), patient=pl.col("stay"))


def _where(frame: pl.DataFrame, part: str, column: str, changed: pl.Expr) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.col("part") == part).then(changed).otherwise(pl.col(column)).alias(column))


def test_test_rows_shifted_by_a_million_leave_everything_bit_equal(tmp_path, frame):
    shifted = _where(frame, "test", "lactate", pl.col("lactate") + 1e6)
    shifted = _where(shifted, "test", "age", pl.col("age") + 1_000_000)
    shifted = _where(shifted, "test", "ward", pl.lit("never seen"))
    shifted = _where(shifted, "test", "died", 1 - pl.col("died"))
    one, two = _fitted(tmp_path / "one", frame), _fitted(tmp_path / "two", shifted)
    assert all(fitted.same(one.modalities[name], two.modalities[name]) for name in one.modalities)
    assert all(fitted.same(one.tasks[name], two.tasks[name]) for name in one.tasks)
    weights = two.network.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in one.network.state_dict().items())


@pytest.mark.parametrize(("part", "moves"), [("train", "centre"), ("calibrate", "temperature")])
def test_the_test_can_fail_other_rows_do_move_the_state(tmp_path, frame, part, moves):
    changed = _where(frame, part, "age", pl.col("age") + 1_000_000)
    changed = _where(changed, part, "died", 1 - pl.col("died"))
    one, two = _fitted(tmp_path / "one", frame), _fitted(tmp_path / "two", changed)
    same_inputs = fitted.same(one.modalities["labs"], two.modalities["labs"])
    same_tasks = fitted.same(one.tasks["death"], two.tasks["death"])
    assert (not same_inputs) if moves == "centre" else (same_inputs and not same_tasks)
