"""The benchmarks of registration: who is grouped with whom, and phantoms that have the volume they say."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks import growth, hippocampus_register
from benchmarks.hippocampus import groups


def test_numbers_that_follow_each_other_stay_together() -> None:
    assert groups([7, 3, 4, 9, 8, 1]) == [[1], [3, 4], [7, 8, 9]]


def test_no_file_of_a_test_pair_is_in_another_part(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hippocampus_register, "TRAIN_PAIRS", 60)
    (tmp_path / "images").mkdir()
    for number in range(1, 90, 2):
        (tmp_path / f"images/hippocampus_{number:03d}.nii.gz").touch()
        (tmp_path / f"images/hippocampus_{number + number % 4:03d}.nii.gz").touch()
    table = hippocampus_register.pairs(tmp_path)
    of = {part: {*rows["moving"], *rows["fixed"]} for (part,), rows in table.group_by("part")}
    assert not of["test"] & (of["train"] | of["valid"]) and not of["valid"] & of["train"]
    assert (table["moving"] != table["fixed"]).all() and len(table.filter(pl.col("part") == "train")) == 60
    assert hippocampus_register.study(tmp_path).targets["map"].supervise > 0


@pytest.mark.parametrize("change", [0.8, 1.25])
def test_a_phantom_grows_as_it_says(change: float) -> None:
    shift = np.zeros(3)
    _, first, before = growth.phantom(0, 1.0, shift, np.random.default_rng(0))
    image, later, volume = growth.phantom(0, change, shift, np.random.default_rng(0))
    assert volume / before == pytest.approx(change)
    assert first.sum() == pytest.approx(before, rel=0.05) and later.sum() == pytest.approx(volume, rel=0.05)
    assert image[later > 0].mean() > image[(later == 0) & (image > 50)].mean() + 30
