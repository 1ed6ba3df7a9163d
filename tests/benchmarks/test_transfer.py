"""The benchmark of transfer, on little made-up data: draws are averaged, differences paired, labels are few and of both kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import transfer, xray


def test_the_gain_is_the_mean_over_draws_and_its_interval_is_paired() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(60) % 2 == 1
    near = [truth + random.normal(0, 0.5, 60) for _ in transfer.DRAWS]
    same = transfer.result(truth, np.array([(one, one) for one in near]))
    assert same.value == 0 and (same.low, same.high) == (0, 0)
    far = transfer.result(truth, np.array([(truth * 1.0, -1.0 * truth) for _ in near]))
    assert far.value == 1 and far.low == 1
    mixed = transfer.result(truth, np.array([(one, random.normal(0, 1, 60)) for one in near]))
    assert mixed.low < mixed.value < mixed.high and mixed.met


def test_a_draw_has_its_share_of_each_class_and_all_test_films() -> None:
    frame = pl.DataFrame(
        {
            "film": [f"f{i:04d}" for i in range(300)],
            "finding": ["pneumonia" if i % 3 else "none" for i in range(300)],
            "part": ["test" if i >= 240 else "train" for i in range(300)],
        }
    )
    one, again, other = (transfer.labelled(frame, draw) for draw in (0, 0, 1))
    assert one.equals(again) and not one.equals(other)
    train = one.filter(pl.col("part") == "train")
    assert dict(train["finding"].value_counts().iter_rows()) == {"pneumonia": 8, "none": 4}
    assert (one["part"] == "test").sum() == 60


def test_without_data_there_is_nothing(tmp_path: Path) -> None:
    assert transfer.run(None) == [] and xray.run(tmp_path) == []
    assert transfer.pretraining().targets["hidden"].task == "restore" and xray.study().model.networks == xray.MEMBERS
