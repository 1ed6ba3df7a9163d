"""Volumes and pictures of the other formats, against the libraries that wrote them."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image as Pillow

from medloom.modalities.image.reading.files import read_scan
from medloom.modalities.image.reading.scan import Refused, Wish

RNG = np.random.default_rng(8)
VOLUME = RNG.integers(-500, 1500, (3, 4, 5), dtype=np.int16)
GREY = RNG.integers(0, 256, (7, 11), dtype=np.uint8)


def itk_volume() -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(VOLUME.transpose(2, 1, 0))
    image.SetSpacing([0.7, 0.8, 2.5])
    image.SetOrigin([-10.0, 5.0, 30.0])
    image.SetDirection([0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0])
    return image


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.nii.gz"])
def test_a_volume_lies_where_itk_says(tmp_path: Path, name: str) -> None:
    image = itk_volume()
    SimpleITK.WriteImage(image, str(tmp_path / name))
    scan = read_scan(tmp_path / name, Wish(3))
    np.testing.assert_array_equal(scan.values[0], VOLUME)
    index = np.array([2, 1, 4])
    lps = np.array(image.TransformIndexToPhysicalPoint(index.tolist()))
    ras = (scan.affine @ [*index, 1])[:3]
    np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-4)
    np.testing.assert_allclose(scan.spacing_mm, [0.7, 0.8, 2.5], rtol=1e-6)


def test_pictures_are_read_as_they_are_stored(tmp_path: Path) -> None:
    deep = RNG.integers(0, 60_000, (7, 11), dtype=np.uint16)
    Pillow.fromarray(deep).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_scan(tmp_path / "a.tif", Wish(2)).values[0], deep)
    Pillow.fromarray(GREY).save(tmp_path / "a.jpg", quality=95)
    expected = np.asarray(Pillow.open(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(read_scan(tmp_path / "a.jpg", Wish(2)).values[0], expected)
    np.save(tmp_path / "a.npy", GREY)
    np.testing.assert_array_equal(read_scan(tmp_path / "a.npy", Wish(2)).values[0], GREY)
    with pytest.raises(Refused, match="2 axes where dims = 3"):
        read_scan(tmp_path / "a.npy", Wish(3))


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    picture = Pillow.fromarray(np.repeat(np.arange(0, 240, 30, dtype=np.uint8)[:, None], 16, axis=1))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", quality=95, exif=exif)
    read = read_scan(tmp_path / "a.jpg", Wish(2)).values[0]
    assert read.shape == (16, 8)
    assert (np.diff(read[5].astype(int)) < 0).all()


def test_pages_masks_in_jpeg_and_objects_are_refused(tmp_path: Path) -> None:
    pages = [Pillow.fromarray(GREY), Pillow.fromarray(GREY)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    with pytest.raises(Refused, match="hold 2 pages where dims = 2"):
        read_scan(tmp_path / "a.tiff", Wish(2))
    pages[0].save(tmp_path / "a.jpg")
    with pytest.raises(Refused, match="blurs label values"):
        read_scan(tmp_path / "a.jpg", Wish(2, what="mask"))
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(Refused, match="Python objects"):
        read_scan(tmp_path / "a.npy", Wish(2))


def test_pages_of_one_size_are_a_volume(tmp_path: Path) -> None:
    pages = np.random.default_rng(0).integers(0, 4000, (3, 4, 5)).astype(np.uint16)
    pictures = [Pillow.fromarray(page) for page in pages]
    pictures[0].save(tmp_path / "a.tif", save_all=True, append_images=pictures[1:])
    scan = read_scan(tmp_path / "a.tif", Wish(3))
    np.testing.assert_array_equal(scan.values[0], pages.transpose(2, 1, 0))
    assert (scan.file_shape, scan.placed, scan.sized) == ((5, 4, 3), False, False)
    also = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.tif")))
    np.testing.assert_array_equal(also, pages)
    pictures[0].save(tmp_path / "b.tif", save_all=True, append_images=[Pillow.fromarray(pages[1][:2])])
    with pytest.raises(Refused, match="pages of different sizes"):
        read_scan(tmp_path / "b.tif", Wish(3))
    pictures[0].save(tmp_path / "c.tif")
    with pytest.raises(Refused, match="flat pictures"):
        read_scan(tmp_path / "c.tif", Wish(3))


@pytest.mark.parametrize(
    ("name", "says"),
    [("a.bmp", "are BMP pictures, not DICOM; convert"), ("b.tif", "end in .tif .* they are PNG pictures"),
     ("c.mha", "spacing of zero"), ("d.nii", "end in .nii .* are text"), ("e.npy", "end in .npy .* are text"), ("f.jpg", "are empty")],
)  # fmt: skip
def test_what_a_file_is_in_truth_is_said(tmp_path: Path, name: str, says: str) -> None:
    Pillow.fromarray(GREY).save(tmp_path / "a.bmp")
    Pillow.fromarray(GREY).save(tmp_path / "b.tif", format="PNG")
    image = SimpleITK.GetImageFromArray(VOLUME)
    SimpleITK.WriteImage(image, str(tmp_path / "c.mha"))
    whole = (tmp_path / "c.mha").read_bytes()
    assert b"ElementSpacing = 1 1 1" in whole
    (tmp_path / "c.mha").write_bytes(whole.replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1"))
    for text in ("d.nii", "e.npy"):
        (tmp_path / text).write_text("nothing but words")
    (tmp_path / "f.jpg").write_bytes(b"")
    with pytest.raises(Refused, match=says):
        read_scan(tmp_path / name, Wish(3 if name in ("c.mha", "d.nii") else 2))


@pytest.mark.parametrize("name", ["a.nii", "a.mha", "a.npy", "a.png"])
def test_a_picture_among_volumes_is_refused(tmp_path: Path, name: str) -> None:
    if name == "a.nii":
        nibabel.save(nibabel.Nifti1Image(VOLUME[0], np.eye(4)), tmp_path / name)
    elif name == "a.mha":
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOLUME[0]), str(tmp_path / name))
    elif name == "a.npy":
        np.save(tmp_path / name, VOLUME[0])
    else:
        Pillow.fromarray(GREY).save(tmp_path / name)
    with pytest.raises(Refused, match="2 axes where dims = 3"):
        read_scan(tmp_path / name, Wish(3))


def test_a_spacing_of_zero_is_refused_and_metres_become_millimetres(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(VOLUME, np.eye(4)), tmp_path / "zero.nii")
    held = bytearray((tmp_path / "zero.nii").read_bytes())
    held[312:328] = bytes(16)  # srow_z
    (tmp_path / "zero.nii").write_bytes(held)
    with pytest.raises(Refused, match="spacing of zero"):
        read_scan(tmp_path / "zero.nii", Wish(3))
    held[252:256] = held[80:92] = bytes(4)  # no qform, no sform, and no pixdim, of which nibabel would make 1
    with gzip.open(tmp_path / "zero.nii.gz", "wb") as handle:
        handle.write(held)
    with pytest.raises(Refused, match="spacing of zero"):
        read_scan(tmp_path / "zero.nii.gz", Wish(3))
    image = nibabel.Nifti1Image(VOLUME, np.diag([0.001, 0.002, 0.003, 1.0]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "metres.nii")
    np.testing.assert_allclose(read_scan(tmp_path / "metres.nii", Wish(3)).spacing_mm, [1, 2, 3], rtol=1e-5)


def test_the_window_bounds_intensities(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    windowed = read_scan(tmp_path / "a.npy", Wish(3, window=(-100.0, 200.0)))
    assert windowed.values.dtype == np.int16
    np.testing.assert_array_equal(windowed.values[0], VOLUME.clip(-100, 200))
    halves = read_scan(tmp_path / "a.npy", Wish(3, window=(-0.5, 99999.0))).values
    np.testing.assert_allclose(halves[0], VOLUME.clip(-0.5, 99999), rtol=1e-6)


def test_a_small_gzip_that_declares_much_is_refused(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((2000, 2000, 2000))
    with gzip.open(tmp_path / "a.nii.gz", "wb") as handle:
        handle.write(header.binaryblock + bytes(4))
    with pytest.raises(Refused, match="more than 268435456 voxels"):
        read_scan(tmp_path / "a.nii.gz", Wish(3))
