"""Single rows as pictures: which slice is shown, which rows, and what is drawn on them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from medloom.explain.cases import _area, _where, cut, cut_axis, hung, with_outlines
from medloom.told import Picture
from tests.explain.pictures import study, trained


def test_volumes_are_cut_across_their_coarsest_axis_through_the_highest_value() -> None:
    values = np.random.default_rng(0).random((1, 5, 6, 7)).astype(np.float32)
    heat = np.zeros((5, 6, 7))
    heat[1, 4, 2] = 1.0
    for spacing, axis, place, size in (((1, 1, 3), 2, 2, 7), ((2, 1, 1), 0, 1, 5), ((1, 1, 1), 2, 2, 7)):
        picture = Picture(values, spacing)
        assert cut_axis(picture) == axis
        (image, apart), at = cut(picture, heat)
        assert at == f", slice {place + 1} of {size}"
        plane = values[0].take(place, axis=axis)
        np.testing.assert_array_equal(image[0], plane.T[::-1])
        assert apart == tuple(size for other, size in enumerate(spacing) if other != axis)[::-1]
    flat = Picture(values[:, :, :, 0], (0.5, 0.7))
    (image, apart), at = cut(flat, heat[:, :, 0])
    assert image is flat.values and apart == (0.5, 0.7) and not at


@pytest.mark.parametrize("across", [0, 1, 2])
def test_a_slice_hangs_as_radiologists_hang_it_however_it_is_stored(across: int) -> None:
    """Right on the left, front or head upwards: the same picture of all 48 ways to count the axes of one volume."""
    ras = np.random.default_rng(1).random((5, 6, 7)).astype(np.float32)
    spacing = [3.0 if axis == across else 1.0 + 0.1 * axis for axis in range(3)]
    marked = np.zeros_like(ras)
    marked[3, 2, 4] = 1
    # Looked at across x: rows from the head down, columns from the front to the back; and so on.
    rows, columns = ((2, 1), (2, 0), (1, 0))[across]
    there = ras.take((3, 2, 4)[across], axis=across)
    expected = (there.T if rows > columns else there)[::-1, ::-1]
    for order in itertools.permutations(range(3)):
        for turned in itertools.product((False, True), repeat=3):
            flips = tuple(slice(None, None, -1 if one else 1) for one in turned)
            letters = tuple(("RL", "AP", "SI")[axis][one] for axis, one in zip(order, turned, strict=True))
            picture = Picture(ras.transpose(order)[flips][None], tuple(spacing[axis] for axis in order), letters)
            (image, apart), at = cut(picture, marked.transpose(order)[flips])
            assert at.startswith(f", {('sagittal', 'coronal', 'axial')[across]} slice")
            assert hung(picture)[0] == (("A", "S"), ("R", "S"), ("R", "A"))[across]
            np.testing.assert_array_equal(image[0], expected)
            assert apart == (spacing[rows], spacing[columns])


def test_the_slice_of_largest_area_is_shown() -> None:
    mask = np.zeros((5, 6, 7), bool)
    mask[1:3, 2:4, 1], mask[0:4, 1:5, 5] = True, True
    area = _area(mask, Picture(np.zeros((1, 5, 6, 7), np.float32), (1, 1, 3)))
    assert area.shape == mask.shape and np.unravel_index(area.argmax(), area.shape)[2] == 5
    assert area.max() == 16


def test_places_are_told_in_words() -> None:
    heat = np.zeros((9, 9))
    assert _where(heat) == "the map is 0 everywhere"
    heat[1, 7] = 1
    assert _where(heat) == "highest in the upper right of the picture"
    heat[4, 4] = 2
    assert _where(heat) == "highest in the middle"


@pytest.fixture(scope="module")
def outlined(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("outlined")
    target = {"task": "segment", "column": "mask", "input": "scan", "labels": {"bright": 1}}
    brief = {"steps": 2, "batch": 16, "evaluations": 1}
    return trained(folder, study(folder, targets={"outline": target}, train=brief))


def test_the_worst_the_median_and_the_best_of_the_judged_rows_are_drawn(outlined: Any) -> None:
    found, feed = outlined
    rows = np.arange(1, 21, 2)
    dice = np.array([0.5, np.nan, 0.9, 0.1, 0.7, 0.2, 0.95, 0.3, 0.6, 0.8])
    # Of the row with the best figure of all another network was the judge.
    test = rows[rows != rows[6]]
    cases = with_outlines(found.team, feed, {"outline": {"model": {"dice": dice}}}, {"outline": rows}, test)
    (case,) = cases
    assert case.title == "outline: the worst, the median and the best case"
    ranks = ["worst (Dice 0.100): bright", "median (Dice 0.500): bright", "best (Dice 0.900): bright"]
    assert [panel.title for panel in case.panels] == ranks
    for panel, row in zip(case.panels, (rows[3], rows[0], rows[2]), strict=True):
        (truth,) = feed.modalities["scan"].truth(feed.laid["outline"][1], np.array([row])).values
        np.testing.assert_array_equal(panel.outlines["truth"], truth[0] > 0)
        assert panel.outlines["answer"].shape == truth[0].shape and "25 pixels are marked" in panel.text


def test_without_judged_outlines_nothing_is_drawn(outlined: Any) -> None:
    found, feed = outlined
    none = {"outline": {"model": {"dice": np.array([np.nan])}}}
    assert with_outlines(found.team, feed, none, {"outline": np.array([1])}, np.array([1])) == ()
    assert with_outlines(found.team, feed, {}, {}, np.array([1])) == ()
