"""Labels that are made of several values, overlap, or have files of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image as Pillow
from pydantic import ValidationError
from scipy.ndimage import distance_transform_edt

from medloom.batch import Batch, Encoded, Field, Gives, Seen
from medloom.cohort.table import make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError
from medloom.feed import pack
from medloom.modalities.image import Image, ImageOptions
from medloom.modality import Lifted
from medloom.task import Block
from medloom.tasks._cleanup import Cleanup
from medloom.tasks._segment_loss import boundary_loss
from medloom.tasks.segment import Segment, SegmentOptions


def options(**chosen: object) -> SegmentOptions:
    return SegmentOptions.model_validate({"input": "scan", **chosen})


NESTED = options(column="mask", labels={"whole": [1, 2, 4], "core": [1, 4], "rest": 7}, lesions=["core"])
GROUPED = options(column="mask", labels={"organ": [1, 2], "tumour": 5})
APART = options(columns={"lung": "a", "lesion": "b"})


def test_what_ids_of_laid_masks_mean() -> None:
    assert NESTED.overlapping
    assert NESTED.legend.values == (0, 1, 2, 4, 7)
    assert NESTED.legend.member.astype(int).tolist() == [[0, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert not GROUPED.overlapping
    assert GROUPED.legend.classes == (0, 1, 1, 2)
    assert GROUPED.written == {"organ": 1, "tumour": 5}
    assert APART.overlapping
    assert APART.legend.member.astype(int).tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert not options(columns={"lung": "a"}).overlapping


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({}, "either column"),
        ({"column": "m", "columns": {"a": "x"}, "labels": {"a": 1}}, "either column"),
        ({"columns": {"a": "x"}, "labels": {"a": 1}}, "leave labels out"),
        ({"column": "m"}, "labels is empty"),
        ({"column": "m", "labels": {"a": [1, 1]}}, "one value to two names"),
        ({"column": "m", "labels": {"a": [1, 2], "b": [1, 2]}}, "one value to two names"),
        ({"column": "m", "labels": {"a": 1}, "lesions": ["b"]}, "which is no label"),
        ({"column": "m", "labels": {"a": 1}, "lesion_mm": [3]}, "goes with lesions"),
        ({"columns": {f"l{place}": "x" for place in range(9)}}, "at most 8"),
    ],
)
def test_mistakes(chosen: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        options(**chosen)


def test_the_loss_of_overlapping_labels_against_a_loop() -> None:
    task, random = Segment(NESTED, 1), np.random.default_rng(0)
    logits, ids = random.normal(size=(2, 3, 4, 5)).astype(np.float32), random.integers(0, 5, (2, 4, 5))
    valid = random.random((2, 4, 5)) < 0.8
    target = Field(torch.from_numpy(ids), torch.tensor([True, True]), torch.from_numpy(valid))
    found = task.loss({"logits": torch.from_numpy(logits)}, target, {})
    member = NESTED.legend.member
    for row in range(2):
        entropy, both, answers, truths = 0.0, np.zeros(3), np.zeros(3), np.zeros(3)
        for place in np.argwhere(valid[row]):
            on = member[ids[row][tuple(place)]]
            probability = 1 / (1 + np.exp(-logits[row][(slice(None), *place)].astype(float)))
            entropy -= np.log(np.where(on, probability, 1 - probability)).mean()
            both, answers, truths = both + probability * on, answers + probability, truths + on
        dice = (2 * both + 1) / (answers + truths + 1)
        assert found[row].item() == pytest.approx(entropy / valid[row].sum() + 1 - dice.mean(), rel=1e-5)


def test_coarser_maps_learn_in_training_alone() -> None:
    task = Segment(GROUPED, 1)
    head = task.head({"scan": Gives(8, 6, 2, ((4, 1), (6, (2, 1)), (8, (4, 2))))}, 8)
    field = Field(torch.zeros(2, 1, 8, 8), torch.tensor([True, True]), torch.ones(2, 8, 8, dtype=torch.bool))
    finer = (torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 8), torch.randn(2, 8, 2, 4))
    seen = Seen(torch.zeros(2, 8), {"scan": Encoded(torch.zeros(2, 8), finer=finer)}, {"scan": field})
    output = head(seen)
    assert {name: tuple(logits.shape) for name, logits in output.items()} == {
        "logits": (2, 3, 8, 8), "logits_coarser_1": (2, 3, 4, 8),
    }  # fmt: skip
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (2, 8, 8)))
    target = Field(ids, field.present, field.valid)
    fine = task.loss({"logits": output["logits"]}, target, {})
    coarse = task.loss({"logits": output["logits_coarser_1"]}, Field(ids[:, 1::2], field.present, None), {})
    torch.testing.assert_close(task.loss(output, target, {}), (fine + coarse / 2) / 1.5)
    assert list(head.eval()(seen)) == ["logits"]


def test_the_border_loss_by_hand() -> None:
    random = np.random.default_rng(1)
    logits, ids = torch.from_numpy(random.normal(size=(1, 3, 6, 7)).astype(np.float32)), np.zeros((1, 6, 7), int)
    ids[0, 2:4, 2:6] = 1
    found = boundary_loss(logits, Field(torch.from_numpy(ids), torch.tensor([True])), GROUPED.legend, False)
    inside = ids[0] == 1
    away = distance_transform_edt(~inside) - np.where(inside, distance_transform_edt(inside) - 1, 0)
    # The other label is nowhere, and adds nothing.
    expected = (logits.softmax(1)[0, 1].numpy() * away / 7).mean() / 2
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_answers_of_overlapping_labels_are_a_mask_each() -> None:
    task = Segment(NESTED, 1)
    scores = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)
    prediction = task.decode(Lifted(np.array([0]), [scores], [(1.0, 2.0, 0.5)]))
    assert list(prediction.dense()) == ["whole", "core", "rest"]
    for place, masks in enumerate(prediction.dense().values()):
        np.testing.assert_array_equal(masks[0], scores[place] > 0)
    np.testing.assert_allclose(prediction.confidence[0]["core"], 255 / (1 + np.exp(-scores[1])), atol=0.5)
    (measured,) = prediction.measurements()
    assert measured["rest_volume_ml"] == pytest.approx((scores[2] > 0).sum() / 1000)
    settled = task.decode(Lifted(np.array([0]), [task.settle(scores)], [(1.0, 2.0, 0.5)]))
    np.testing.assert_array_equal(settled.masks[0], prediction.masks[0])
    assert prediction.legend("core") == {"core": 1}


def test_answers_are_mended_as_was_learnt() -> None:
    ids = np.zeros((12, 12), int)
    ids[1:8, 1:8] = 1
    ids[4, 4] = 0
    ids[10, 10] = ids[10, 2] = 2
    scores = (np.arange(3).reshape(-1, 1, 1) == ids).astype(np.float32)
    cleaned = Segment(GROUPED, 1, (Cleanup(fill=True), Cleanup(largest=True)))
    (mask,) = cleaned.decode(Lifted(np.array([0]), [scores])).masks
    assert mask[4, 4] == 1
    assert (mask == 5).sum() == 1
    truth = np.where(ids == 2, 0, ids)
    truth[4, 4] = 1
    shifted = [np.roll(truth, move, 0) for move in range(3)]
    pairs = [
        (Lifted(np.array([0]), [np.roll(scores, move, 1)]), Lifted(np.array([0]), [np.where(one, 1, 0)[None]]))
        for move, one in enumerate(shifted)
    ]
    learnt = Segment(GROUPED, 1).calibrate(pairs)
    assert learnt.cleanup[0].fill
    assert learnt.cleanup[1] == Cleanup() or learnt.cleanup[1].least_mm3
    assert Segment(options(column="m", labels={"a": 1}, cleanup="none"), 1).calibrate([]).cleanup == ()


@pytest.mark.parametrize("labels", [2, 8])
def test_overlapping_answers_are_mended_each_by_itself(labels: int) -> None:
    apart = options(columns={f"l{place}": f"c{place}" for place in range(labels)})
    scores = np.full((labels, 9, 9), -5.0, np.float32)
    scores[:, 2:7, 2:7] = 5.0
    scores[:, 4, 4], scores[:, 0, 8] = -5.0, 5.0  # a hole and an island in every label
    clean = (Cleanup(fill=True), *[Cleanup()] * (labels - 2), Cleanup(largest=True))
    answer = Segment(apart, 1, clean).decode(Lifted(np.array([0]), [scores]))
    plain = Segment(apart, 1).decode(Lifted(np.array([0]), [scores]))
    first, last = (answer.part(0, f"l{place}") for place in (0, labels - 1))
    assert first[4, 4] and first[0, 8] and not last[4, 4] and not last[0, 8]
    assert first.sum() == 26 and last.sum() == 24
    for place in range(1, labels - 1):
        np.testing.assert_array_equal(answer.part(0, f"l{place}"), plain.part(0, f"l{place}"))


def test_masks_in_files_of_their_own(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names: dict[str, list[str | None]] = {"scan": [], "a": [], "b": []}
    for row in range(3):
        for name in names:
            pixels = (random.random((9, 8)) < 0.3).astype(np.uint8) * np.uint8(random.integers(1, 255))
            Pillow.fromarray(pixels).save(tmp_path / f"{name}{row}.png")
            names[name].append(f"{name}{row}.png")
    names["a"][2] = names["b"][2] = None
    cohort = make_cohort(CohortPart(independent_rows=True), pl.DataFrame(names), tmp_path, {})
    part = ImageOptions.model_validate({"column": "scan", "patch": [8, 8], "levels": 2, "known_before_index": True})
    source = pack(Image, part, cohort)
    image = Image(part, (0.0,), (1.0,))
    marks = Segment.read(APART, cohort)
    assert marks.present.tolist() == [True, True, False]
    laid = image.lay(source, marks, None)
    truth = image.truth(laid, np.arange(3))
    for row in range(2):
        drawn = [np.asarray(Pillow.open(tmp_path / f"{name}{row}.png")) > 0 for name in ("a", "b")]
        np.testing.assert_array_equal(truth.values[row][0], drawn[0] + 2 * drawn[1].astype(int))
    task = Segment(APART, 2)
    view = image.view(source, np.array([0, 1]), None)
    field, target = image.batch(source, view), image.batch(laid, view)
    block = Block(
        np.zeros((len(view.rows), 0)),
        Batch({"scan": field}, {}, torch.arange(len(view.rows)), torch.ones(len(view.rows))),
        target,
    )
    for baseline in task.baselines(0).values():
        baseline.fit([block], [])
        logits = baseline.output(block)["logits"]
        assert logits.shape == (len(view.rows), 2, 8, 8)
        share = (target.value[target.valid] & 1).double().mean()
        if baseline.label.startswith("Most"):
            assert logits[0, 0, 0, 0].sigmoid().item() == pytest.approx(float(share), abs=0.02)
    torn = pl.DataFrame({**names, "b": [None, "b1.png", None]})
    with pytest.raises(DataError, match=r"1 row, of those that have some of their masks and lack others"):
        Segment.read(APART, make_cohort(CohortPart(independent_rows=True), torn, tmp_path, {}))
