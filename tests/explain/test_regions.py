"""Parts of views: boxes cover all, blocks are means of what is data, and flat images keep their brightness."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloom.batch import Field
from medloom.explain.regions import block_means, block_of, boxes, flat, of_blocks


@pytest.mark.parametrize("patch", [(16, 16), (28, 20), (9, 7), (3, 3), (8, 8, 8), (10, 12, 5)])
def test_boxes_cover_a_view(patch: tuple[int, ...]) -> None:
    count = np.zeros(patch, int)
    for box in boxes(patch):
        count[box] += 1
    assert count.min() >= 1
    assert all(box.stop <= side for one in boxes(patch) for box, side in zip(one, patch, strict=True))


def test_blocks_are_numbered_along_every_axis() -> None:
    number = block_of((16, 24))
    assert number[0, 0] == 0 and number[-1, -1] == 63 and len(np.unique(number)) == 64
    assert (number[:2, :3] == 0).all() and number[0, 3] == 1 and number[2, 0] == 8
    assert len(np.unique(block_of((3, 2)))) == 6 and len(np.unique(block_of((8, 8, 8)))) == 64


def test_means_of_blocks_leave_out_what_is_no_data() -> None:
    random = np.random.default_rng(0)
    values, valid = random.normal(size=(2, 16, 16)), np.ones((2, 16, 16), bool)
    valid[1, :2, :2] = False
    valid[1, 2, 2] = False
    means = block_means(values, valid, 2)
    np.testing.assert_allclose(means[0], values[0].reshape(8, 2, 8, 2).mean(axis=(1, 3)).reshape(-1))
    assert np.isnan(means[1, 0])
    assert means[1, 9] == pytest.approx(values[1, 2:4, 2:4].reshape(-1)[1:].mean())


def test_blocks_of_a_bag_are_those_of_all_its_images() -> None:
    values = np.arange(2 * 3 * 8 * 8, dtype=float).reshape(2, 3, 8, 8)
    means = block_means(values, np.ones(values.shape, bool), 2)
    assert means.shape == (2, 3 * 64)
    np.testing.assert_array_equal(of_blocks(means, (3, 8, 8), 2), values)


def test_a_flat_image_has_the_brightness_of_its_data_alone() -> None:
    value = torch.randn(3, 2, 6, 5)
    valid = torch.rand(3, 6, 5) < 0.7
    valid[2] = False
    made = flat(Field(value, torch.ones(3, dtype=torch.bool), valid), 2)
    for row in range(2):
        for channel in range(2):
            held = made[row, channel][valid[row]]
            torch.testing.assert_close(held, value[row, channel][valid[row]].mean().expand_as(held))
    assert (made[~valid[:, None].expand_as(made)] == 0).all()
