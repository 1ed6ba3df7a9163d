"""Other grids: what the network sees, and that answers come back to the voxels of the file."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import polars as pl
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.cohort.table import make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, StudyError
from medloom.feed import pack
from medloom.modalities.image import Image, ImageOptions
from medloom.modalities.image.reading import resample
from medloom.modality import Marks
from medloom.packed import Source
from tests.modalities.dicom_files import series

RNG = np.random.default_rng(9)
AFFINE = np.diag([0.5, 0.5, 2.0, 1.0])
OPTIONS = {"column": "scan", "dims": 3, "patch": [8, 8, 8], "levels": 2, "known_before_index": True}


def source_of(folder: Path, path: str, **given: object) -> tuple[Image, Source]:
    options = ImageOptions.model_validate({**OPTIONS, **given})
    frame = pl.DataFrame({"id": ["case"], "scan": [path]})
    source = pack(Image, options, make_cohort(CohortPart(row="id", patient="id"), frame, folder, {}))
    return Image(options, (0.0,), (1.0,)), source


def marks_of(folder: Path, path: str) -> Marks:
    return Marks(np.array([path], object), np.array([True]), (0, 1), folder)


def test_linear_is_interpolation_where_it_grows() -> None:
    values = RNG.normal(size=(1, 9, 6)).astype(np.float32)
    grown = resample.linear(values, (20, 6))
    place = ((np.arange(20) + 0.5) * 9 / 20 - 0.5).clip(0, 8)
    expected = scipy.ndimage.map_coordinates(values[0], np.meshgrid(place, np.arange(6.0), indexing="ij"), order=1)
    np.testing.assert_allclose(grown[0], expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(raw=st.integers(1, 40), size=st.integers(1, 40), slope=st.floats(-5, 5), level=st.floats(-100, 100))
def test_means_and_slopes_stay(raw: int, size: int, slope: float, level: float) -> None:
    flat = resample.linear(np.full((1, raw), level, np.float32), (size,))
    np.testing.assert_allclose(flat, level, rtol=1e-4, atol=1e-4)
    ramp = resample.linear((slope * np.arange(raw, dtype=np.float32))[None], (size,))[0]
    centre = (np.arange(size) + 0.5) * raw / size - 0.5
    inner = (centre >= max(raw / size, 1)) & (centre <= raw - 1 - max(raw / size, 1))
    np.testing.assert_allclose(ramp[inner], slope * centre[inner], atol=2e-3)


def test_fewer_voxels_skip_none() -> None:
    values = np.zeros((1, 64), np.float32)
    for place in range(8, 56):
        values[:] = 0
        values[0, place] = 64
        assert 4 <= resample.linear(values, (8,)).sum() <= 10


def test_volumes_come_at_the_spacing_that_is_asked_for(tmp_path: Path) -> None:
    x, y, z = np.meshgrid(np.arange(20), np.arange(16), np.arange(6), indexing="ij")
    nibabel.save(nibabel.Nifti1Image((10 * x + 3 * y + 50 * z).astype(np.float32), AFFINE), tmp_path / "a.nii")
    image, source = source_of(tmp_path, "a.nii", spacing_mm=[1, 1, 1])
    assert source.packed.arrays["shape"][1].tolist() == [10, 8, 12]
    assert source.packed.arrays["raw_shape"][1].tolist() == [20, 16, 6]
    values = image.batch(source, image.view(source, np.array([0]), None)).value
    seen = image.lift(source, image.view(source, np.array([0]), None), {"values": values}).values[0][0]
    assert seen.shape == (20, 16, 6)
    inner = (slice(4, -4), slice(4, -4), slice(1, -1))
    np.testing.assert_allclose(seen[inner], (10 * x + 3 * y + 50 * z)[inner], atol=0.2)


def test_truth_stays_on_the_raw_grid_and_answers_come_back_to_it(tmp_path: Path) -> None:
    mask = np.zeros((20, 16, 6), np.uint8)
    mask[4:14] = 1
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.float32) * 100, AFFINE), tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), tmp_path / "m.nii")
    image, source = source_of(tmp_path, "a.nii", size=[10, 8, 12])
    laid = image.lay(source, marks_of(tmp_path, "m.nii"), None)
    np.testing.assert_array_equal(image.truth(laid, np.array([0])).values[0][0], mask)
    view = image.view(source, np.array([0]), None)
    classes = image.batch(laid, view).value
    logits = (classes[:, None] == torch.arange(2).view(1, 2, 1, 1, 1)).float()
    back = image.lift(source, view, {"logits": logits}).values[0].argmax(axis=0)
    # The mask's faces lie on faces of the coarser voxels, so nothing is lost on the way.
    np.testing.assert_array_equal(back, mask)
    saved = nibabel.load(image.save(source, 0, back, tmp_path / "out", {"drawn": 1}))
    np.testing.assert_array_equal(saved.affine, AFFINE)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), mask)


@pytest.mark.parametrize("turn", ["flip", "swap", "both"])
def test_a_mask_that_counts_its_axes_another_way_is_turned(tmp_path: Path, turn: str) -> None:
    mask = (RNG.random((6, 5, 4)) < 0.4).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), tmp_path / "a.nii")
    image = nibabel.Nifti1Image(mask, AFFINE)
    axes = {"flip": "LAS", "swap": "ARS", "both": "IPR"}[turn]
    transform = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(axes)
    )
    nibabel.save(image.as_reoriented(transform), tmp_path / "m.nii")
    model, source = source_of(tmp_path, "a.nii")
    laid = model.lay(source, marks_of(tmp_path, "m.nii"), None)
    np.testing.assert_array_equal(model.truth(laid, np.array([0])).values[0][0], mask)


def test_a_nifti_mask_lies_on_a_dicom_series(tmp_path: Path) -> None:
    volume = RNG.integers(0, 900, (6, 5, 7), dtype=np.int16)
    series(tmp_path / "scan", volume)
    model, source = source_of(tmp_path, "scan")
    mask = (volume > 400).astype(np.uint8).transpose(2, 1, 0)
    stem = model.save(source, 0, mask, tmp_path / "drawn", {"drawn": 1})
    laid = model.lay(source, marks_of(tmp_path, stem.name), None)
    np.testing.assert_array_equal(model.truth(laid, np.array([0])).values[0][0], mask)
    moved = nibabel.load(stem)
    off = moved.affine.copy()
    off[0, 3] += 1.0
    nibabel.save(nibabel.Nifti1Image(np.asarray(moved.dataobj), off), tmp_path / "moved.nii")
    with pytest.raises(DataError, match="lie elsewhere"):
        model.lay(source, marks_of(tmp_path, "moved.nii"), None)


def test_a_picture_without_spacing_has_none_to_change(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8, 8, 8), np.uint8))
    with pytest.raises(DataError, match="tell no spacing in mm"):
        source_of(tmp_path, "a.npy", spacing_mm=[1, 1, 1])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"spacing_mm": [1, 1]}, "one for each"),
        ({"spacing_mm": [1, 1, 1], "size": [8, 8, 8]}, "two ways"),
        ({"window": [5, 5]}, "must rise"),
        ({"channels": 3, "colour": "grey"}, "channels = 1"),
    ],
)
def test_options_that_do_not_go_together(given: dict[str, object], says: str) -> None:
    with pytest.raises((ValueError, StudyError), match=says):
        ImageOptions.model_validate({**OPTIONS, **given})
