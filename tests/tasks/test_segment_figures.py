"""Borders against MONAI, volumes by Bland and Altman's formula, clean-up and lesions by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from medloom.tasks._cleanup import Cleanup, candidates, learnt, tried_on
from medloom.tasks._ground import Ground
from medloom.tasks._lesions import LEVELS, froc, lesions_of
from medloom.tasks._segment_figures import empty, metrics, with_means
from medloom.tasks._segment_options import SegmentOptions
from medloom.tasks._surfaces import longest_mm, surface_figures


def blobs(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2) > 0.05)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("shape", "spacing"), [((18, 20), (0.7, 1.3)), ((14, 15, 16), (1.0, 0.8, 2.5))])
def test_borders_against_monai(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    for seed in range(3):
        answer, truth = blobs(seed, shape), blobs(seed + 50, shape)
        hot = [torch.from_numpy(mask)[None, None].float() for mask in (answer, truth)]
        found = surface_figures(answer, truth, spacing, 1.5)
        whole = compute_hausdorff_distance(*hot, include_background=True, percentile=95, spacing=spacing)
        share = compute_surface_dice(*hot, class_thresholds=[1.5], include_background=True, spacing=spacing)
        assert found[0] == pytest.approx(float(whole), rel=1e-5)
        assert found[1] == pytest.approx(float(share), rel=1e-5)
        points = np.argwhere(answer) * np.array(spacing)
        assert longest_mm(answer, spacing) == pytest.approx(pdist(points).max())


def test_borders_where_a_mask_is_empty() -> None:
    nothing, one = np.zeros((3, 4), bool), np.zeros((3, 4), bool)
    one[1, 1] = True
    assert np.isnan(surface_figures(nothing, nothing, (1, 2), 1)).all()
    for pair in ((nothing, one), (one, nothing)):
        assert surface_figures(*pair, (1.0, 2.0), 1) == (pytest.approx(np.hypot(3, 8)), 0.0)
    assert surface_figures(one, one, (1, 2), 1) == (0, 1)
    assert longest_mm(nothing, (1, 1)) == longest_mm(one, (1, 1)) == 0


def test_clean_up_by_hand() -> None:
    mask = np.zeros((9, 12), bool)
    mask[1:6, 1:6] = True
    mask[3, 3] = False
    mask[8, 9:12] = True
    assert Cleanup()(mask, 1.0) is mask
    assert Cleanup(fill=True)(mask, 1.0).sum() == 28
    assert Cleanup(largest=True)(mask, 1.0).sum() == 24
    assert Cleanup(least_mm3=10)(mask, 1.0).sum() == 24
    assert Cleanup(least_mm3=10)(mask, 4.0).sum() == 27
    assert Cleanup(True, True)(mask, 1.0)[3, 3]
    assert Cleanup(True, True).words() == "holes filled, only the largest part kept"


def test_what_is_tried_is_what_is_done() -> None:
    for seed in range(4):
        answer, truth = (
            blobs(seed, (16, 18)) ^ (np.random.default_rng(seed).random((16, 18)) < 0.04),
            blobs(seed, (16, 18)),
        )
        for one, dice in zip(candidates(), tried_on(answer, truth, 3.0), strict=True):
            mended = one(answer, 3.0)
            assert dice == pytest.approx(2 * (mended & truth).sum() / (mended.sum() + truth.sum()))


def test_what_helps_calibration_rows_is_learnt_and_chance_is_not() -> None:
    truth = np.zeros((12, 12), bool)
    truth[2:9, 2:9] = True
    island, good = truth.copy(), truth.copy()
    island[11, 10:] = True
    with_islands = [[tried_on(island, truth, 1.0)] for _ in range(4)]
    (one,) = learnt(with_islands, 1)
    assert one.largest or one.least_mm3
    assert not one.fill
    assert learnt([[tried_on(good, truth, 1.0)] for _ in range(4)], 1) == (Cleanup(),)
    assert learnt([], 2) == (Cleanup(), Cleanup())
    assert learnt(with_islands[:1], 1) == (Cleanup(),)
    # A gain in one row of four, and a loss in another: within its standard error.
    tried = np.full((4, len(candidates())), 0.9)
    tried[0, 1], tried[1, 1] = 0.95, 0.87
    assert learnt([[row] for row in tried], 1) == (Cleanup(),)
    assert tried_on(island, np.zeros_like(truth), 1.0)[0] == 0
    assert np.isnan(tried_on(np.zeros_like(truth), np.zeros_like(truth), 1.0)).all()


def test_lesions_by_hand() -> None:
    truth, sure = np.zeros((20, 20), bool), np.zeros((20, 20), np.uint8)
    truth[1:4, 1:4] = truth[10:16, 10:16] = truth[1:3, 15:17] = True
    sure[1:4, 1:4] = 200  # finds the first
    sure[10:16, 10:13] = 60  # finds the second, less surely
    sure[10:12, 15] = 250  # a second candidate on it overlaps too little to count as it
    sure[18, 18] = 128  # nothing is there
    found = lesions_of(sure > 100, sure, truth, 1.0, (3.0,))
    assert found.drawn.tolist() == [2, 1]
    assert found.touched.tolist() == [1, 1]
    steps = [level * LEVELS // 256 for level in (60, 128, 200, 250)]
    assert found.found[[0, steps[0], steps[0] + 1, steps[2], steps[2] + 1]].tolist() == [2, 2, 1, 1, 0]
    assert found.false[[0, steps[1], steps[1] + 1, steps[3], steps[3] + 1]].tolist() == [2, 2, 1, 1, 0] or (
        found.false[[0, steps[1], steps[1] + 1]].tolist() == [2, 2, 1]
    )
    none = lesions_of(sure > 100, sure, np.zeros_like(truth), 1.0, ())
    assert none.drawn.sum() == 0
    assert none.false[0] == 4


def test_froc_by_hand() -> None:
    # Two images with three lesions: the surest candidates find two without a false alarm, all find three with four.
    found, false = np.array([[3.0, 2.0, 0.0]]), np.array([[4.0, 0.0, 0.0]])
    value = froc(found, false, np.array([3.0]), np.array([2.0]))
    assert value == pytest.approx((4 * 2 / 3 + 3 * 1) / 7)
    assert np.isnan(froc(found, false, np.array([0.0]), np.array([2.0]))).all()


def test_volumes_agree_as_bland_and_altman_say() -> None:
    options = SegmentOptions.model_validate({"column": "mask", "input": "scan", "labels": {"organ": 1}})
    measured = empty(options, 5)
    away = np.array([0.5, -0.2, 0.1, 0.9, np.nan])
    measured["true_volume_organ"][:] = 3.0
    measured["volume_organ"][:] = 3.0 + away
    whole, known = with_means(measured, options.names), away[:4]
    weight = np.array([[1.0, 1, 1, 1, 1], [2.0, 0, 1, 1, 3]])
    figures = {name: metric.of(whole, weight) for name, metric in metrics(options, Ground(3, 5)).items()}
    assert figures["volume_bias_organ"][0] == pytest.approx(known.mean())
    assert figures["volume_low_organ"][0] == pytest.approx(known.mean() - 1.96 * known.std(ddof=1))
    drawn = np.array([0.5, 0.5, 0.1, 0.9])
    assert figures["volume_high_organ"][1] == pytest.approx(drawn.mean() + 1.96 * drawn.std(ddof=1))
    assert np.isnan(figures["dice"]).all()
