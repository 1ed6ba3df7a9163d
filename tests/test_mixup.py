"""Rows mixed with one another: which, how much, and what the network then learns from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest
from torch.nn import functional as F

from medloom.batch import Batch, Field, Mixed
from medloom.draw import Draw
from medloom.errors import StudyError
from medloom.mixup import Mixup, mixed
from medloom.prepare import prepare, read
from medloom.study import make
from tests.cases.images import image_bag_2d, image_segment_2d


def _batch(rows: int) -> Batch:
    random = np.random.default_rng(0)
    value = torch.from_numpy(random.normal(size=(rows, 1, 4, 4)).astype(np.float32))
    present, valid = torch.ones(rows, dtype=torch.bool), torch.ones(rows, 4, 4, dtype=torch.bool)
    target = Field(torch.from_numpy(random.integers(0, 3, rows)), present)
    return Batch({"scan": Field(value, present, valid)}, {"ill": target}, torch.arange(rows), torch.ones(rows))


def test_who_is_mixed_in_and_how_much_depends_on_the_row_alone() -> None:
    rows = np.arange(4_000)
    mixup = Mixup(np.array([5, 9, 11]), 0.3)
    other, share = mixup.drawn(rows, Draw(1, np.zeros(4_000, np.int64)))
    assert set(other.tolist()) == {5, 9, 11}
    again = mixup.drawn(rows[7:9], Draw(1, np.zeros(2, np.int64)))
    assert (again[0] == other[7:9]).all() and (again[1] == share[7:9]).all()
    assert (mixup.drawn(rows, Draw(1, np.ones(4_000, np.int64)))[1] != share).any()
    # The larger part of a Beta(.3, .3) number: twice its density above a half.
    assert kstest(share, lambda x: 2 * beta(0.3, 0.3).cdf(x) - 1).pvalue > 0.01


def test_inputs_and_losses_are_mixed_as_soft_labels_would_be() -> None:
    share = np.array([1.0, 0.75, 0.5])
    both = _batch(6)
    made = mixed(both, share)
    value = both.inputs["scan"].value
    torch.testing.assert_close(made.inputs["scan"].value[1], 0.75 * value[1] + 0.25 * value[4])
    assert torch.equal(made.inputs["scan"].value[0], value[0]) and len(made) == 3
    assert made.mixed is not None
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    own, other = (F.one_hot(one["ill"].value[:3], 3) for one in (made.targets, made.mixed.targets))
    soft = made.mixed.share[:, None] * own + (1 - made.mixed.share[:, None]) * other
    each = [
        F.cross_entropy(logits, one["ill"].value[:3], reduction="none") for one in (made.targets, made.mixed.targets)
    ]
    torch.testing.assert_close(
        torch.lerp(each[1], each[0], made.mixed.share), F.cross_entropy(logits, soft, reduction="none")
    )


def test_a_row_without_an_image_stays_as_it_is_and_what_either_shows_is_valid() -> None:
    both = _batch(4)
    scan = both.inputs["scan"]
    assert scan.valid is not None
    seen = scan.valid.clone()
    seen[0, :2], seen[2, 2:], seen[3, :, :2] = False, False, False
    scan = replace(scan, value=scan.value * seen[:, None], valid=seen, present=torch.tensor([True, True, True, False]))
    made = mixed(replace(both, inputs={"scan": scan}), np.array([0.6, 0.6]))
    field = made.inputs["scan"]
    assert made.mixed is not None and made.mixed.share.tolist() == [pytest.approx(0.6), 1.0]
    assert torch.equal(field.value[1], scan.value[1]) and field.valid is not None
    assert bool(field.valid[0].all()) and torch.equal(field.valid[1], seen[1])


def test_parts_of_a_mixed_batch_keep_what_is_mixed_in() -> None:
    made = mixed(_batch(8), np.array([0.5, 0.6, 0.7, 0.8]))
    part = made.slice(1, 3)
    assert isinstance(part.mixed, Mixed) and made.mixed is not None
    assert torch.equal(part.mixed.share, made.mixed.share[1:3])
    assert torch.equal(part.mixed.targets["ill"].value, made.mixed.targets["ill"].value[1:3])


@pytest.mark.parametrize("case", [image_segment_2d, image_bag_2d])
def test_training_batches_are_mixed_and_predictions_are_not(tmp_path: Path, case) -> None:
    held = prepare(*read(case(tmp_path)))
    rows = held.fold.train
    feed = held.feed.with_mixup(rows, held.study.train.mixup)
    draw = Draw(0, np.zeros(6, np.int64))
    made, plain = feed.batch(rows[:6], draw), held.feed.batch(rows[:6], draw)
    alone = feed.batch(rows[2:3], Draw(0, np.zeros(1, np.int64)))
    assert made.mixed is not None and plain.mixed is None and alone.mixed is not None
    # Of several pictures a row, a batch has as many places as its longest row.
    count = alone.inputs["scan"].value.shape[1]
    torch.testing.assert_close(alone.inputs["scan"].value[0], made.inputs["scan"].value[2, :count])
    assert not torch.equal(made.inputs["scan"].value, plain.inputs["scan"].value)
    assert all(torch.equal(made.targets[name].value, plain.targets[name].value) for name in made.targets)
    assert {name for _, _, batch in feed.cover(rows[:3]) for name in [batch.mixed]} == {None}


@pytest.mark.parametrize(
    ("inputs", "task", "told"),
    [
        ({"modality": "table"}, {"task": "classify", "column": "ill"}, "mixes images alone; inputs.scan is table"),
        ({"modality": "image", "column": "path", "size": [16, 16]}, {"task": "restore", "input": "scan"}, "does not go with restore"),
    ],
)  # fmt: skip
def test_what_cannot_be_mixed_is_refused(inputs, task, told) -> None:
    with pytest.raises(StudyError, match=told):
        make(
            {
                "name": "s",
                "cohort": {"independent_rows": True},
                "inputs": {"scan": {"known_before_index": True, **inputs}},
                "targets": {"ill": task},
                "train": {"mixup": 0.2},
            }
        )
