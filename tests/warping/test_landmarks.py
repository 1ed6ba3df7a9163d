"""Landmarks: the table, places under known maps, and the interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medloom import DataError
from medloom.warping.landmarks import Landmarks, errors, read_landmarks, told
from medloom.warping.transform import Transform

GRID = np.array([[5.0, 0, 0, 2], [0, 8.0, 0, -3], [0, 0, 6.0, 1], [0, 0, 0, 1]])
"""Normalised positions → mm."""


def test_a_known_shift_is_what_is_missed() -> None:
    """A map that moves by .2 of half the image along x: 1 mm here, and what is left of 1.5 mm is .5 mm."""
    affine = torch.eye(3, 4)[None].clone()
    affine[0, 0, 3] = 0.2
    forward = Transform(affine).forward((7, 9, 8))
    fixed = np.array([[2.0, -3, 1], [4.0, 1, -2]])
    marks = Landmarks(("a", "b"), fixed + np.array([1.5, 0.0, 0.0]), fixed)
    before, after = errors(marks, forward, GRID, GRID)
    np.testing.assert_allclose(before, 1.5)
    np.testing.assert_allclose(after, 0.5, atol=1e-5)


def test_places_are_found_where_the_axes_are_turned() -> None:
    """The moving file counts another axis first and the other way round; nothing moves in space."""
    turned = np.array([[0, -5.0, 0, 2], [8.0, 0, 0, -3], [0, 0, 6.0, 1], [0, 0, 0, 1]])
    affine = torch.from_numpy((np.linalg.inv(turned) @ GRID)[:3]).float()[None]
    places = np.array([[3.0, -1, 2], [0.5, 2, -1], [5.9, 3, 4]])
    _, after = errors(Landmarks(("a", "b", "c"), places, places), Transform(affine).forward((6, 7, 8)), turned, GRID)
    np.testing.assert_allclose(after, 0, atol=2e-6)


def test_pictures_count_pixels() -> None:
    grid = np.array([[10.0, 0, 9.5], [0, 12.0, 11.5], [0, 0, 0], [0, 0, 1]])
    still = Transform(torch.eye(2, 3)[None]).forward((20, 24))
    marks = Landmarks(("a",), np.array([[3.0, 5]]), np.array([[3.0, 8]]))
    before, after = errors(marks, still, grid, grid)
    assert before.tolist() == pytest.approx([3]) and after.tolist() == pytest.approx([3], abs=1e-5)
    summary = told(before, after, "voxels")
    assert summary["low"] is None and summary["points"] == 1


def test_the_interval_holds_the_mean_and_widens_with_spread() -> None:
    even, uneven = np.full(20, 2.0), np.linspace(0, 4, 20)
    flat, wide = told(even, even, "mm"), told(even, uneven, "mm")
    assert flat["low"] == flat["high"] == 2
    # 1.96 standard errors of the mean, which a bootstrap of 20 points meets closely.
    assert wide["high"] - wide["low"] == pytest.approx(2 * 1.96 * uneven.std() / np.sqrt(20), rel=0.1)


def test_points_that_stand_on_one_image_alone_are_left_out(tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text("image,point,x,y,z\nm,a,1,2,3\nm,b,1,2,4\nf,b,1,2,5\nf,c,0,0,0\n")
    (marks,) = read_landmarks(table, "m", ["f"], 3)
    assert marks.names == ("b",) and marks.moving.tolist() == [[1, 2, 4]] and marks.fixed.tolist() == [[1, 2, 5]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,point,x,y\nm,a,1,2\n", "expected image, point, x, y, z"),
        ("image,point,x,y,z\nm,a,1,2,high\n", "line 2: a place is no number"),
        ("image,point,x,y,z\nm,a,1,2,nan\n", "line 2: a place is no number"),
        ("image,point,x,y,z\nm,a,1,2\n", "line 2: a place is no number"),
        ("image,point,x,y,z\nm,a,1,2,3\nm,a,1,2,3\n", "line 3: the point stands on two lines"),
        ("image,point,x,y,z\nm,a,1,2,3\nf,b,1,2,3\n", "no point stands on both"),
        ("", "has the columns"),
    ],
)
def test_a_table_that_is_no_table_of_landmarks_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_landmarks(tmp_path / "p.csv", "m", ["f"], 3)


def test_a_landmark_beyond_the_image_is_refused() -> None:
    still = Transform(torch.eye(3, 4)[None]).forward((4, 4, 4))
    with pytest.raises(DataError, match="1 landmarks lie beyond"):
        errors(Landmarks(("a",), np.zeros((1, 3)), np.array([[50.0, 0, 0]])), still, GRID, GRID)
    with pytest.raises(DataError, match="cannot be read"):
        read_landmarks(Path("nowhere.csv"), "m", ["f"], 3)
