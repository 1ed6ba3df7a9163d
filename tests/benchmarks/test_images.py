"""The benchmarks of images measure both sides at the same work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import image_batches, image_step
from medloom.draw import Draw


def test_batches_of_both_are_crops_of_the_same_images() -> None:
    shapes = image_batches.Shapes(3, (12, 12), (8, 8), 4, 1, 1)
    images = image_batches.made(shapes)
    modality, source = image_batches.ours(shapes, images, "plain")
    rows = np.array([0, 1, 2, 0])
    view = modality.view(source, rows, Draw(0, np.zeros(4, np.int64)))
    value = modality.batch(source, view).value.numpy()
    for place, (row, corner) in enumerate(zip(rows, view.at["corner"], strict=True)):
        crop = images[row][corner[0] : corner[0] + 8, corner[1] : corner[1] + 8]
        np.testing.assert_allclose(value[place, 0], (crop - 500.0) / 200, rtol=1e-6)


@pytest.mark.slow
def test_batches_are_timed() -> None:
    for how in image_batches.AUGMENT:
        assert (image_batches.rounds(image_batches.Shapes(3, (24, 24), (16, 16), 2, 1, 1), how, 1) > 0).all()


def test_the_loop_by_hand_trains_the_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_step, "SIDE", 48)
    made = image_step.prepared(tmp_path, steps=1, images=48)
    times = image_step.measure(made, 1)
    assert times.shape == (1, 3)
    assert (times > 0).all()
    network = image_step.assemble(made.feed.modalities, made.feed.tasks, made.study.model, 0).eval()
    modality, source = made.feed.modalities["scan"], made.feed.sources["scan"]
    field = modality.batch(source, modality.view(source, np.arange(4), None))
    with torch.inference_mode():
        one, other = (n({"scan": field})["ill"] for n in (network, image_step.with_plain_norms(network)))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)
