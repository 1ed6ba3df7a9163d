"""How alike images are: against numpy, and in what they should and should not see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloom.warping.likeness import EMPTY, FLAT, likeness, local_correlation, mind


def _image(seed=0, shape=(12, 14)):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 1, *shape)).astype(np.float32))


def test_local_correlation_is_that_of_numpy_in_the_window():
    one, other = _image(0), _image(1) + 0.5 * _image(0)
    a, b = (image[0, 0, 3:8, 4:9].double().numpy() for image in (one, other))
    cross = np.mean(a * b) - a.mean() * b.mean()
    expected = cross**2 / (a.var() + EMPTY) / (b.var() + FLAT)
    assert float(local_correlation(one, other, 5)[0, 0, 5, 6]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["lncc", "mind"])
def test_an_image_is_most_like_itself(kind):
    within = torch.ones(1, 1, 12, 14)
    own, other = (float(likeness(kind, _image(0), image, within, 5)) for image in (_image(0), _image(1)))
    assert own > 0.98 and other < 0.9


def test_local_correlation_does_not_see_brightness_and_contrast():
    one = _image(0)
    within = torch.ones(1, 1, 12, 14)
    assert float(likeness("lncc", one, 3 - 2 * one, within, 5)) == pytest.approx(
        float(likeness("lncc", one, one, within, 5)), abs=0.01
    )


def test_contrast_where_there_is_little_is_not_rewarded():
    within = torch.ones(1, 1, 12, 14)
    faint = 0.03 * _image(0)
    once, thrice = (float(likeness("lncc", times * faint, faint, within, 5)) for times in (1, 3))
    assert thrice == pytest.approx(once, abs=0.01)


def test_mind_is_the_same_for_the_negative_of_an_image():
    torch.testing.assert_close(mind(_image(0)), mind(4 - _image(0)), atol=1e-4, rtol=1e-3)


def test_only_places_within_count_and_none_gives_zero():
    one, other = _image(0), _image(0).clone()
    other[..., :7] = _image(2)[..., :7]
    right = torch.zeros(1, 1, 12, 14)
    right[..., 10:] = 1
    assert float(likeness("lncc", one, other, right, 5)) > 0.98
    assert float(likeness("lncc", one, other, torch.zeros_like(right), 5)) == 0
