"""Where voxels lie, against SimpleITK and against the formula of the standard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from medloom.modalities.image.reading.dicom import files_in, filled, headers, read_geometry, read_series, read_stack
from medloom.modalities.image.reading.geometry import of_planes
from medloom.modalities.image.reading.scan import Refused, Wish
from medloom.modalities.image.reading.stacks import stacks
from tests.modalities.dicom_files import series

RNG = np.random.default_rng(5)
VOLUME = RNG.integers(-500, 1500, (6, 5, 7), dtype=np.int16)
OBLIQUE = tuple(Rotation.from_euler("xyz", [20, -35, 10], degrees=True).as_matrix()[:, :2].T.ravel())
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def by_itk(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("orientation", [(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), CORONAL, OBLIQUE])
@pytest.mark.parametrize("backwards", [False, True])
def test_positions_and_voxels_are_those_of_simpleitk(
    tmp_path: Path, orientation: tuple[float, ...], backwards: bool
) -> None:
    normal = np.cross(orientation[:3], orientation[3:])
    series(tmp_path, VOLUME, orientation=orientation, step=normal * (-2.5 if backwards else 2.5))
    geometry, image = read_geometry(tmp_path), by_itk(tmp_path)
    index = RNG.integers(0, [7, 5, 6], (40, 3))
    expected = [image.TransformIndexToPhysicalPoint([int(v) for v in one]) for one in index]
    np.testing.assert_allclose(geometry.positions(index.astype(float)), expected, atol=1e-4)
    scan = read_series(tmp_path, Wish(3))
    np.testing.assert_array_equal(scan.values[0], SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0))
    lps = (np.diag([-1, -1, 1]) @ (scan.affine[:3, :3] @ index.T + scan.affine[:3, 3:])).T
    np.testing.assert_allclose(lps, expected, atol=1e-4)


def test_every_slice_of_a_gapped_stack_has_its_own_place(tmp_path: Path) -> None:
    series(tmp_path, VOLUME, order=[0, 1, 4, 5])
    geometry = read_geometry(tmp_path)
    assert (geometry.even, geometry.straight, geometry.missing) == (False, True, 2)
    places = geometry.positions(np.array([[2.0, 3.0, 2.0], [0.0, 0.0, 3.0]]))
    # C.7.6.2.1-1: S + X Δi i + Y Δj j, with the column's spacing along the row
    np.testing.assert_allclose(places, [[-10 + 0.6 * 2, 5 + 0.8 * 3, 30 + 2.5 * 4], [-10, 5, 30 + 2.5 * 5]])
    with pytest.raises(Refused, match="miss 2 slices .* gaps"):
        read_series(tmp_path, Wish(3))
    whole = read_series(tmp_path, Wish(3, gaps="interpolate"))
    assert whole.values.shape == (1, 7, 5, 6)
    raw = VOLUME.transpose(2, 1, 0).astype(float)
    np.testing.assert_array_equal(whole.values[0][..., [0, 1, 4, 5]], raw[..., [0, 1, 4, 5]])
    np.testing.assert_allclose(whole.values[0][..., 2], raw[..., 1] * 2 / 3 + raw[..., 4] / 3, atol=0.51)


def test_regions_far_apart_are_volumes_and_what_lies_between_is_not_made_up(tmp_path: Path) -> None:
    far = np.repeat(VOLUME, 5, axis=0)
    series(tmp_path / "hips", far, order=[0, 1, 2, 3, 20, 21, 22, 23])
    found = stacks(headers(files_in(tmp_path / "hips")), lambda plane: plane.path)
    assert [(one.apart, len(one.planes), one.refused) for one in found] == [
        ("region 1 of 2", 4, None),
        ("region 2 of 2", 4, None),
    ]
    assert found[0].problems == ("one of 2 regions far apart, unless slices between them are missing",)
    second = read_stack(found[1], Wish(3))
    np.testing.assert_array_equal(second.values[0], far[20:24].transpose(2, 1, 0))
    np.testing.assert_allclose(second.affine[:3, 3], [10, -5, 30 + 2.5 * 20], atol=1e-4)
    # A slice or two by themselves are no region: the scan lacks what lies between.
    series(tmp_path / "lost", far, order=[0, 1, 2, 3, 20, 21])
    (one,) = stacks(headers(files_in(tmp_path / "lost")), lambda plane: plane.path)
    assert one.refused == "miss 16 slices between the first and the last"
    with pytest.raises(Refused, match="miss 16 slices in a row, and no more than 3 are filled"):
        read_stack(one, Wish(3, gaps="interpolate"))


def test_a_tilted_gantry_shears_the_grid(tmp_path: Path) -> None:
    series(tmp_path, VOLUME, step=(0.0, 2.5 * np.tan(np.radians(15)), 2.5))
    geometry = read_geometry(tmp_path)
    assert geometry.tilt_degrees == pytest.approx(15, abs=1e-3)
    scan = read_series(tmp_path, Wish(3))
    place = scan.affine @ [1, 2, 4, 1]
    np.testing.assert_allclose(
        place[:3], [10 - 0.6, -(5 + 0.8 * 2 + 4 * 2.5 * np.tan(np.radians(15))), 30 + 10], atol=1e-4
    )


def test_uneven_and_crooked_stacks_are_told_apart() -> None:
    def stack(heights: list[float], aside: float = 0.0) -> tuple[bool, bool, int | None]:
        origins = np.array([[aside * (n == 1), 0.0, h] for n, h in enumerate(heights)])
        geometry = of_planes(origins, np.array([1.0, 0, 0, 0, 1, 0]), (1.0, 1.0))[0]
        return geometry.even, geometry.straight, geometry.missing

    assert stack([0, 5, 10, 15.004]) == (True, True, 0)
    assert stack([0, 5, 15, 20, 25]) == (False, True, 1)
    assert stack([0, 5, 7.3, 10, 16]) == (False, True, None)
    assert stack([0, 5, 10], aside=3.0)[1] is False


@pytest.mark.parametrize(
    ("orientation", "spacing", "says"),
    [
        ([1, 0, 0, 1, 0, 0], (1, 1), "right angles"),
        ([0, 0, 0, 0, 1, 0], (1, 1), "no|not a finite"),
        ([1, 0, 0, 0, np.nan, 0], (1, 1), "not a finite"),
        ([1, 0, 0, 0, 1, 0], (0, 1), "spacing of zero"),
    ],
)
def test_impossible_geometry_is_refused(orientation: list[float], spacing: tuple[float, float], says: str) -> None:
    with pytest.raises(Refused, match=says):
        of_planes(np.zeros((1, 3)), np.array(orientation, float), spacing)


def test_filled_stacks_keep_their_ends() -> None:
    origins = np.array([[0.0, 0, h] for h in (0, 1, 2, 5)])
    geometry, _ = of_planes(origins, np.array([1.0, 0, 0, 0, 1, 0]), (1.0, 1.0))
    planes = np.arange(4.0).reshape(4, 1, 1, 1)
    out, even = filled(planes, geometry)
    assert even.even
    np.testing.assert_allclose(out.ravel(), [0, 1, 2, 2 + 1 / 3, 2 + 2 / 3, 3], rtol=1e-6)
    np.testing.assert_allclose(even.heights_mm, np.arange(6.0))
