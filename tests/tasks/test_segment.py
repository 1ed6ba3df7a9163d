"""Segmentation from logits to masks and figures, and a small network that learns to find squares."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image as Pillow

from medloom import fitted
from medloom.batch import Batch, Encoded, Field, Gives, Seen
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.draw import Draw
from medloom.errors import DataError, StudyError
from medloom.feed import pack
from medloom.modalities.image import Image, ImageOptions
from medloom.modality import Lifted
from medloom.packed import Source
from medloom.prepare import prepare, read, with_answers
from medloom.study import make
from medloom.task import Block
from medloom.tasks.segment import MaskPrediction, Segment, SegmentOptions
from tests.cases.images import image_segment_2d

OPTIONS = SegmentOptions.model_validate({"column": "mask", "input": "scan", "labels": {"tumour": 4, "organ": 1}})
TASK = Segment(OPTIONS, 3)


def cohort_of(folder: Path, masks: list[str | None], scans: list[str] | None = None) -> Cohort:
    columns = {"mask": pl.Series(masks, dtype=pl.String), **({"scan": scans} if scans else {})}
    return make_cohort(CohortPart(independent_rows=True), pl.DataFrame(columns), folder, {})


def hot(ids: np.ndarray, classes: int = 3) -> np.ndarray:
    return (np.arange(classes).reshape(-1, *[1] * ids.ndim) == ids).astype(np.float32)


def test_masks_are_read_as_paths_below_the_cohorts_folder(tmp_path: Path) -> None:
    marks = Segment.read(OPTIONS, cohort_of(tmp_path, ["a.png", None, "", "b.png"]))
    assert marks.values.tolist() == ["a.png", None, None, "b.png"]
    assert marks.present.tolist() == [True, False, False, True]
    assert marks.names == (0, 4, 1)
    assert marks.folder == tmp_path
    assert Segment.columns(OPTIONS) == ("mask",)
    assert Segment.strata(OPTIONS, marks) is None
    parts = [Segment.summarise(OPTIONS, marks, np.array(rows)) for rows in ([0, 1], [2, 3])]
    assert Segment.fit(OPTIONS, parts).masks == 2
    with pytest.raises(DataError, match="no training row has a mask"):
        Segment.fit(OPTIONS, [Segment.summarise(OPTIONS, marks, np.array([1, 2]))])


def test_masks_that_mark_nothing_cannot_teach_and_may_judge(tmp_path: Path) -> None:
    taught = prepare(*read(image_segment_2d(tmp_path)))
    for path in tmp_path.glob("mask*.png"):
        Pillow.fromarray(np.zeros_like(np.asarray(Pillow.open(path)))).save(path)
    number = len(taught.fold.train)
    with pytest.raises(DataError, match=f"targets.outline: no mask of {number} training rows marks anything"):
        prepare(taught.study, taught.cohort, taught.marks)
    feed = with_answers(taught.feed, taught.study, taught.marks, taught.fold.test)
    (_, laid) = feed.laid["outline"]
    assert not feed.modalities["scan"].truth(laid, taught.fold.test[:1]).values[0].any()


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({}, "labels"),
        ({"a": 0}, "labels.a"),
        ({"a": 1, "b": 1}, "one value to two names"),
        ({"a": 40_000}, "labels.a"),
        ({"a b": 1}, "a b"),
    ],
)
def test_mistakes_of_a_study_file(labels: dict[str, int], says: str) -> None:
    scan = {"modality": "image", "column": "scan", "patch": [8, 8], "known_before_index": True}
    target = {"task": "segment", "column": "mask", "input": "scan", "labels": labels}
    with pytest.raises(StudyError) as caught:
        make({"name": "s", "cohort": {"independent_rows": True}, "inputs": {"scan": scan}, "targets": {"mask": target}})
    assert says in str(caught.value)


def test_an_input_that_is_not_there_is_one_mistake() -> None:
    scan = {"modality": "image", "column": "scan", "patch": [8, 8], "known_before_index": True}
    target = {"task": "segment", "column": "mask", "input": "scam", "labels": {"a": 1}}
    with pytest.raises(StudyError, match="no input 'scam'") as caught:
        make({"name": "s", "cohort": {"independent_rows": True}, "inputs": {"scan": scan}, "targets": {"mask": target}})
    assert "windows" not in str(caught.value)


def test_an_input_without_maps_is_refused() -> None:
    for gives in ({"scan": Gives(8)}, {"other": Gives(8, dims=2, levels=((4, 1),))}):
        with pytest.raises(StudyError, match="scan"):
            TASK.head(gives, 8)


def test_the_fitted_state_survives_json() -> None:
    assert fitted.load(Segment, json.loads(json.dumps(fitted.dump(TASK)))) == TASK


@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 5)])
def test_decode_of_the_truth_is_the_truth(shape: tuple[int, ...]) -> None:
    ids = np.random.default_rng(0).integers(0, 3, shape)
    empty = np.zeros((3, *[0] * len(shape)), np.float32)
    prediction = TASK.decode(Lifted(np.array([0, 1]), [hot(ids), empty]))
    expected = np.array([0, 4, 1])[ids]
    np.testing.assert_array_equal(prediction.dense()[""][0], expected)
    assert prediction.dense()[""][0].dtype == np.uint8
    assert prediction.columns() == {
        "tumour_voxels": [int((expected == 4).sum()), None],
        "organ_voxels": [int((expected == 1).sum()), None],
    }
    measured = TASK.measure(prediction, Lifted(np.array([0, 1]), [ids[None], empty[:1].astype(np.uint8)]))
    np.testing.assert_array_equal(measured["dice"], [1.0, np.nan])
    large = Segment(OPTIONS.model_copy(update={"labels": {"tumour": 300}}), 1).decode(
        Lifted(np.array([0]), [hot(ids % 2, 2)])
    )
    assert large.dense()[""][0].dtype == np.int16
    assert large.dense()[""][0].max() == 300
    np.testing.assert_array_equal(TASK.decode({"logits": torch.from_numpy(hot(ids))[None]}).dense()[""][0], expected)


def test_dice_by_hand() -> None:
    answers = [np.array([[4, 4, 0, 1]]), np.array([[4, 0, 0, 0]]), np.array([[0, 0, 0, 0]]), np.array([[4, 1, 0, 0]])]
    truths = [
        np.array([[[1, 0, 1, 2]]]),
        np.array([[[0, 0, 0, 0]]]),
        np.array([[[0, 0, 0, 0]]]),
        np.zeros((1, 0, 0), int),
    ]
    prediction = MaskPrediction(tuple(answers), OPTIONS.labels)
    measured = TASK.measure(prediction, Lifted(np.arange(4), truths))
    nan = np.nan
    np.testing.assert_array_equal(measured["dice_tumour"], [0.5, 0, nan, nan])
    np.testing.assert_array_equal(measured["dice_organ"], [1, nan, nan, nan])
    np.testing.assert_array_equal(measured["dice"], [0.75, 0, nan, nan])
    metrics = TASK.metrics()
    assert list(metrics)[:3] == ["dice", "hd95", "nsd"]
    weight = np.array([[1.0, 1, 1, 1], [3, 1, 5, 0], [0, 0, 2, 0]])
    np.testing.assert_array_equal(metrics["dice"].of(measured, weight), [0.375, 2.25 / 4, nan])
    np.testing.assert_array_equal(metrics["dice_organ"].of(measured, weight), [1, 1, nan])
    plot, *_ = TASK.plots({"model": measured, "prior": {"dice": np.full(4, nan)}})
    assert plot.curves[0].y == [0, 0.75]
    assert list(plot.curves[1].y) == []


def reference_loss(logits: np.ndarray, ids: np.ndarray, valid: np.ndarray) -> float:
    """Cross-entropy and soft Dice of one row, voxel by voxel."""
    entropy, overlap = 0.0, np.zeros((3, 3))
    for place in np.argwhere(valid):
        scores = logits[(slice(None), *place)].astype(np.float64)
        probability = np.exp(scores) / np.exp(scores).sum()
        truth = ids[tuple(place)]
        entropy -= np.log(probability[truth])
        for label in range(3):
            overlap[label] += [probability[label] * (truth == label), probability[label], truth == label]
    dice = [(2 * both + 1) / (answer + marked + 1) for both, answer, marked in overlap[1:]]
    return entropy / valid.sum() + 1 - float(np.mean(dice))


def test_the_loss_of_each_row_against_a_loop() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(4, 3, 5, 6)).astype(np.float32)
    ids, valid = random.integers(0, 3, (4, 5, 6)), random.random((4, 5, 6)) < 0.7
    valid[3] = False
    present = torch.tensor([True, True, False, True])
    target = Field(torch.from_numpy(ids), present, torch.from_numpy(valid))
    loss = TASK.loss({"logits": torch.from_numpy(logits)}, target, {})
    assert loss.shape == (4,)
    for row in (0, 1):
        assert loss[row].item() == pytest.approx(reference_loss(logits[row], ids[row], valid[row]), rel=1e-5)
    assert loss[2:].tolist() == [0, 0]
    alone = TASK.loss({"logits": torch.from_numpy(logits[1:2])}, target.rows(1, 2), {})
    torch.testing.assert_close(alone[0], loss[1])
    perfect = TASK.loss({"logits": torch.from_numpy(np.stack([hot(one) for one in ids]) * 50)}, target, {})
    assert perfect.max() < 1e-4


@pytest.mark.parametrize(
    ("dims", "levels"),
    [
        (1, ((4, 1), (6, 2))),
        (2, ((4, 1), (8, 2), (6, 8))),
        (3, ((4, 1), (8, 2))),
        (2, ((4, 2), (8, 4))),
        (2, ((4, 1),)),
    ],
)
def test_the_decoder_reaches_every_voxel_and_rows_stand_alone(dims: int, levels: tuple[tuple[int, int], ...]) -> None:
    torch.manual_seed(0)
    head = TASK.head({"scan": Gives(8, 6, dims, levels)}, 8).eval()
    finer = tuple(torch.randn(3, channels, *[16 // stride] * dims) for channels, stride in levels)
    valid = torch.rand(3, *[16] * dims) < 0.9
    valid[2] = False
    field = Field(torch.zeros(3, 1, *[16] * dims), torch.tensor([True, True, False]), valid)
    logits = head(Seen(torch.zeros(3, 8), {"scan": Encoded(torch.zeros(3, 8), finer=finer)}, {"scan": field}))["logits"]
    assert logits.shape == (3, 3, *[16] * dims)
    assert torch.isfinite(logits).all()
    for row in range(3):
        one = slice(row, row + 1)
        encoded = Encoded(torch.zeros(1, 8), finer=tuple(level[one] for level in finer))
        alone = head(Seen(torch.zeros(1, 8), {"scan": encoded}, {"scan": field.rows(row, row + 1)}))["logits"]
        torch.testing.assert_close(alone[0], logits[row], atol=1e-5, rtol=1e-5)


def squares(folder: Path, count: int = 12) -> tuple[Image, Source, Source]:
    """Noisy images with a bright square (value 4) in which a darker stripe (value 1) lies, and their masks."""
    random = np.random.default_rng(0)
    scans, masks = [], []
    for number in range(count):
        mask = np.zeros((24, 20), np.uint8)
        top, left = random.integers(2, 14), random.integers(2, 10)
        mask[top : top + 8, left : left + 8] = 4
        mask[top + 3 : top + 5, left : left + 8] = 1
        level = np.select([mask == 4, mask == 1], [150, 60], 60)
        Pillow.fromarray((level + random.normal(0, 12, mask.shape)).clip(0, 255).astype(np.uint8)).save(
            folder / f"scan-{number}.png"
        )
        Pillow.fromarray(mask).save(folder / f"mask-{number}.png")
        scans.append(f"scan-{number}.png")
        masks.append(f"mask-{number}.png")
    options = ImageOptions.model_validate(
        {"column": "scan", "patch": [16, 16], "levels": 3, "width": 8, "flip": [0, 1], "known_before_index": True}
    )
    cohort = cohort_of(folder, [*masks[:-1], None], scans)
    source = pack(Image, options, cohort)
    image = Image.fit(options, [Image.summarise(options, source, np.arange(8))])
    source = image.bind(source)
    return image, source, image.lay(source, Segment.read(OPTIONS, cohort), None)


def scores(image: Image, source: Source, laid: Source, rows: np.ndarray, answer: object) -> dict[str, float]:
    """Figures of the rows from a function of their windows."""
    view = image.view(source, rows, None)
    lifted = image.lift(source, view, answer(image.batch(source, view), image.batch(laid, view)))  # type: ignore[operator]
    measured = TASK.measure(TASK.decode(lifted), image.truth(laid, rows))
    return {name: float(metric.of(measured, np.ones((1, len(rows))))[0]) for name, metric in TASK.metrics().items()}


def test_a_network_learns_what_intensity_alone_does_not_tell(tmp_path: Path) -> None:
    image, source, laid = squares(tmp_path)
    torch.manual_seed(0)
    encoder = image.encoder()
    head = TASK.head({"scan": encoder.gives}, encoder.gives.width)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=5e-3)
    rows = np.arange(8)
    for epoch in range(60):
        view = image.view(source, rows, Draw(0, np.full(8, epoch)), (laid,))
        field, target = image.batch(source, view), image.batch(laid, view)
        encoded = encoder(field)
        loss = TASK.loss(head(Seen(encoded.pooled, {"scan": encoded}, {"scan": field})), target, {}).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    head.eval()

    def network(field: Field, target: Field) -> dict[str, torch.Tensor]:
        with torch.inference_mode():
            encoded = encoder(field)
            return head(Seen(encoded.pooled, {"scan": encoded}, {"scan": field}))  # type: ignore[no-any-return]

    test = np.array([8, 9, 10])
    baselines = TASK.baselines(0)
    assert list(baselines) == ["prior", "intensity"]
    figures = {"model": scores(image, source, laid, test, network)}
    for name, baseline in baselines.items():

        def block(field: Field, target: Field) -> Block:
            return Block(
                np.zeros((len(field.value), 0)),
                Batch({"scan": field}, {}, torch.arange(len(field.value)), torch.ones(len(field.value))),
                target,
            )

        view = image.view(source, np.array([*range(8), 11]), None)
        baseline.fit([block(image.batch(source, view), image.batch(laid, view))], [])
        figures[name] = scores(
            image, source, laid, test, lambda field, target, b=baseline: b.output(block(field, target))
        )
    assert figures["prior"]["dice"] == 0
    assert figures["intensity"]["dice_tumour"] > 0.85
    assert figures["intensity"]["dice_organ"] < 0.2
    assert figures["model"]["dice_tumour"] > 0.8
    assert figures["model"]["dice_organ"] > 0.5


def test_naive_bayes_on_intensity_is_the_posterior_of_its_bin() -> None:
    random = np.random.default_rng(0)
    ids = random.random((1, 400, 400)) < 0.3
    image = np.where(ids, 1.0, -1.0) + random.normal(0, 1, ids.shape)
    field = Field(
        torch.from_numpy(image[:, None].astype(np.float32)),
        torch.tensor([True]),
        torch.ones(1, 400, 400, dtype=torch.bool),
    )
    target = Field(torch.from_numpy(ids.astype(np.int64)), torch.tensor([True]), field.valid)
    block = Block(np.zeros((1, 0)), Batch({"scan": field}, {}, torch.arange(1), torch.ones(1)), target)
    two = Segment(OPTIONS.model_copy(update={"labels": {"tumour": 1}}), 1)
    baseline = two.baselines(0)["intensity"]
    baseline.fit([block], [])
    found = torch.softmax(baseline.output(block)["logits"], 1)[0, 1].numpy()
    exact = 1 / (1 + 0.7 / 0.3 * np.exp(-2 * image[0]))
    assert np.abs(found - exact).mean() < 0.02
