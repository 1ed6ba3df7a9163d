"""Masks laid on images share their view; dense answers are lifted back to where the masks came from."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image as Pillow

from medloom.cohort.table import make_cohort
from medloom.cohort_part import CohortPart
from medloom.draw import Draw
from medloom.errors import DataError
from medloom.feed import pack
from medloom.modalities.image import Image, ImageOptions
from medloom.modalities.image.lifting import importance
from medloom.modality import Marks, View
from medloom.packed import Source

AFFINE = np.array([[-0.8, 0.1, 0, 12], [0, 0.9, 0.2, -30], [0.1, 0, 2.5, 7], [0, 0, 0, 1.0]])
LABELS = (0, 3, 200)
SHAPES = {2: [(13, 9), (6, 20), (8, 8), (5, 6)], 3: [(13, 9, 10), (5, 12, 8), (8, 8, 8), (6, 7, 5)]}
RNG = np.random.default_rng(0)


def options_of(dims: int, **chosen: object) -> ImageOptions:
    return ImageOptions.model_validate(
        {"column": "scan", "dims": dims, "patch": [8] * dims, "levels": 2, "known_before_index": True, **chosen}
    )


def write(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    if path.suffix == ".png":
        Pillow.fromarray(values.astype(np.uint8)).save(path)
    else:
        image = nibabel.Nifti1Image(values, affine)
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, path)
    return path.name


def cases(folder: Path, dims: int) -> tuple[list[np.ndarray], list[np.ndarray], list[str | None], list[str | None]]:
    """Images in which every voxel has its label's value; their masks; the paths of both, with rows that lack one."""
    ending = "png" if dims == 2 else "nii.gz"
    masks = [np.where(RNG.random(shape) < 0.1, RNG.choice(LABELS[1:], shape), 0) for shape in SHAPES[dims]]
    images = [mask.astype(np.uint8) for mask in masks]
    scans: list[str | None] = [write(folder / f"scan-{i}.{ending}", image) for i, image in enumerate(images)]
    marks: list[str | None] = [
        write(folder / f"mask-{i}.{ending}", mask.astype(np.int16)) for i, mask in enumerate(masks)
    ]
    return images, masks, [*scans, scans[0], None], [*marks, None, marks[0]]


def source_of(folder: Path, scans: list[str | None], options: ImageOptions) -> Source:
    frame = pl.DataFrame({"id": [f"case-{i}" for i in range(len(scans))], "scan": pl.Series(scans, dtype=pl.String)})
    return pack(Image, options, make_cohort(CohortPart(row="id", independent_rows=True), frame, folder, {}))


def marks_of(folder: Path, masks: list[str | None], labels: tuple[int, ...] = LABELS) -> Marks:
    return Marks(np.array(masks, object), np.array([m is not None for m in masks]), labels, folder)


def laid_on(
    folder: Path, dims: int, store: Path | None = None, **chosen: object
) -> tuple[Image, Source, Source, list[np.ndarray]]:
    _, masks, scans, marks = cases(folder, dims)
    options = options_of(dims, **chosen)
    source = source_of(folder, scans, options)
    image = Image(options, (0.0,), (1.0,))
    return image, source, image.lay(source, marks_of(folder, marks), store), masks


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("stored", [False, True])
def test_truth_is_the_mask_as_class_ids(tmp_path: Path, dims: int, stored: bool) -> None:
    image, source, laid, masks = laid_on(tmp_path, dims, tmp_path / "store" if stored else None)
    if stored:
        laid = image.lay(source, marks_of(tmp_path, cases(tmp_path, dims)[3]), tmp_path / "store")
    lifted = image.truth(laid, np.array([2, 0, 4, 5]))
    for values, mask in zip(lifted.values, (masks[2], masks[0]), strict=False):
        assert values.shape == (1, *mask.shape)
        np.testing.assert_array_equal(np.array(LABELS)[values[0]], mask)
    assert [values.size for values in lifted.values[2:]] == [0, 0]
    assert (laid.unit > 0).tolist() == [True] * 4 + [False] * 2


def test_stored_masks_are_packed_again_for_other_labels(tmp_path: Path) -> None:
    image, source, first, masks = laid_on(tmp_path, 2, tmp_path / "store")
    before = image.truth(first, np.array([1])).values[0].copy()
    paths = [f"mask-{i}.png" for i in range(4)] + [None, None]
    again = image.lay(source, marks_of(tmp_path, paths, (0, 200, 3)), tmp_path / "store")
    np.testing.assert_array_equal(np.array([0, 200, 3])[image.truth(again, np.array([1])).values[0][0]], masks[1])
    np.testing.assert_array_equal(image.truth(again, np.array([1])).values[0], np.array([0, 2, 1])[before])


@pytest.mark.parametrize("dims", [2, 3])
def test_image_and_mask_share_crop_and_mirror(tmp_path: Path, dims: int) -> None:
    image, source, laid, _ = laid_on(tmp_path, dims, flip=list(range(dims)))
    rows = np.tile(np.arange(6), 20)
    view = image.view(source, rows, Draw(3, np.repeat(np.arange(20), 6)), (laid,))
    seen, marked = image.batch(source, view), image.batch(laid, view)
    assert marked.value.dtype == torch.int64
    assert marked.value.shape == (120, *[8] * dims)
    assert view.at["flip"].any(axis=0).all()
    assert marked.present.tolist() == (rows < 4).tolist()
    with_mask = rows < 4
    painted = np.array(LABELS)[marked.value.numpy()]
    np.testing.assert_array_equal(painted[with_mask], seen.value[:, 0].numpy()[with_mask].astype(int))
    assert seen.valid is not None
    assert marked.valid is not None
    np.testing.assert_array_equal(marked.valid[with_mask].numpy(), seen.valid[with_mask].numpy())
    assert not marked.valid[rows >= 4].any()


def test_half_of_the_crops_centre_on_a_mark(tmp_path: Path) -> None:
    mask = np.zeros((200, 200), np.uint8)
    mask[150, 40] = 3
    scans = [write(tmp_path / "scan.png", mask), write(tmp_path / "plain.png", mask)]
    masks = [write(tmp_path / "mask.png", mask), write(tmp_path / "empty.png", mask * 0)]
    options = options_of(2)
    image, source = Image(options, (0.0,), (1.0,)), source_of(tmp_path, scans, options)
    laid = image.lay(source, marks_of(tmp_path, masks), None)
    rows = np.repeat([0, 1], 500)
    view = image.view(source, rows, Draw(0, np.arange(1000)), (laid,))
    centred = (view.at["corner"] == [146, 36]).all(axis=1)
    assert 0.44 < centred[:500].mean() < 0.56
    free = image.view(source, rows, Draw(0, np.arange(1000)))
    np.testing.assert_array_equal(view.at["corner"][~centred], free.at["corner"][~centred])
    np.testing.assert_array_equal(view.at["corner"][500:], free.at["corner"][500:])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_lift_is_the_inverse_of_lay(tmp_path: Path, dims: int, overlap: float) -> None:
    image, source, laid, masks = laid_on(tmp_path, dims, overlap=overlap)
    rows = np.array([3, 0, 5, 1, 2])
    view = image.view(source, rows, None)
    field = image.batch(laid, view)
    logits = (field.value[:, None] == torch.arange(3).view(1, 3, *[1] * dims)).float()
    lifted = image.lift(source, view, {"logits": logits})
    np.testing.assert_array_equal(lifted.rows, rows)
    assert lifted.values[2].size == 0
    for row, values in zip(rows, lifted.values, strict=True):
        if row < 4:
            np.testing.assert_array_equal(np.array(LABELS)[values.argmax(axis=0)], masks[row])
            np.testing.assert_allclose(values.sum(axis=0), 1, rtol=1e-5)


def test_overlapping_views_are_averaged_with_gaussian_weights(tmp_path: Path) -> None:
    options = options_of(2)
    source = source_of(tmp_path, [write(tmp_path / "a.png", np.ones((8, 12)))], options)
    view = View(np.array([0, 0]), {"corner": np.array([[0, 0], [0, 4]]), "flip": np.zeros((2, 2), bool)})
    values = torch.stack([torch.full((1, 8, 8), 1.0), torch.full((1, 8, 8), 5.0)])
    lifted = Image(options, (0.0,), (1.0,)).lift(source, view, {"logits": values}).values[0][0]
    profile = np.exp(-0.5 * ((np.arange(8) - 3.5) / 1.0) ** 2)
    first, second = profile[4:], profile[:4]
    np.testing.assert_allclose(lifted[3, 4:8], (first * 1 + second * 5) / (first + second), rtol=1e-5)
    np.testing.assert_allclose(lifted[:, :4], 1, rtol=1e-6)
    np.testing.assert_allclose(lifted[:, 8:], 5, rtol=1e-6)
    assert importance((8, 8)).max() == 1


def test_views_that_leave_gaps_cannot_be_lifted(tmp_path: Path) -> None:
    options = options_of(2)
    source = source_of(tmp_path, [write(tmp_path / "a.png", np.ones((8, 12)))], options)
    view = View(np.array([0]), {"corner": np.array([[0, 0]]), "flip": np.zeros((1, 2), bool)})
    with pytest.raises(ValueError, match="uncovered"):
        Image(options, (0.0,), (1.0,)).lift(source, view, {"logits": torch.zeros(1, 2, 8, 8)})


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "do not exist"),
        ("format", "masks in the format of their images"),
        ("shape", "another shape"),
        ("shifted", "affines differ"),
        ("spacing", "affines differ"),
        ("label", "hold the labels '7'; expected only '0', '3', '200'"),
        ("fraction", "not whole numbers"),
        ("nan", "not whole numbers"),
        ("broken", "truncated or broken"),
    ],
)
def test_a_bad_mask_is_refused_by_row(tmp_path: Path, kind: str, says: str) -> None:
    scans = [write(tmp_path / f"scan-{i}.nii", np.ones((8, 9, 10), np.float32)) for i in range(2)]
    good = np.zeros((8, 9, 10), np.int16)
    moved, spaced = AFFINE.copy(), AFFINE.copy()
    moved[0, 3] += 0.5
    spaced[2, 2] = 2.6
    if kind == "format":
        bad = write(tmp_path / "bad.png", np.zeros((8, 9)))
    elif kind == "missing":
        bad = "nowhere.nii"
    elif kind == "broken":
        bad = "bad.nii"
        (tmp_path / bad).write_bytes(b"\x5c\x01\0\0hello")
    else:
        values = {
            "shape": good[1:],
            "label": good + np.int16(7),
            "fraction": good + np.float32(0.5),
            "nan": good + np.float32("nan"),
        }
        bad = write(
            tmp_path / "bad.nii", values.get(kind, good), {"shifted": moved, "spacing": spaced}.get(kind, AFFINE)
        )
    options = options_of(3)
    source = source_of(tmp_path, scans, options)
    with pytest.raises(DataError, match="case-1") as caught:
        Image(options, (0.0,), (1.0,)).lay(source, marks_of(tmp_path, [write(tmp_path / "good.nii", good), bad]), None)
    expected = "2 axes where dims = 3" if kind == "format" else says
    assert expected in str(caught.value)
    assert "case-0" not in str(caught.value)


def test_a_png_mask_on_a_single_slice_nifti_is_refused(tmp_path: Path) -> None:
    options = options_of(2)
    source = source_of(tmp_path, [write(tmp_path / "a.nii", np.ones((8, 9), np.float32))], options)
    with pytest.raises(DataError, match="are PNG on images that are NIfTI"):
        Image(options, (0.0,), (1.0,)).lay(
            source, marks_of(tmp_path, [write(tmp_path / "m.png", np.zeros((8, 9)))]), None
        )


def test_rounding_in_an_affine_is_no_displacement(tmp_path: Path) -> None:
    options = options_of(3)
    source = source_of(tmp_path, [write(tmp_path / "a.nii", np.ones((8, 9, 10), np.float32))], options)
    mask = write(tmp_path / "m.nii", np.full((8, 9, 10), 3, np.float32), AFFINE + 1e-5)
    laid = Image(options, (0.0,), (1.0,)).lay(source, marks_of(tmp_path, [mask]), None)
    assert laid.unit.tolist() == [1]


@pytest.mark.parametrize("name", ["grey 2 bits", "grey 1 bit", "palette"])
def test_png_masks_hold_samples_as_they_stand_in_the_file(tmp_path: Path, name: str) -> None:
    values = (
        RNG.integers(0, 2, (8, 9), dtype=np.uint8)
        if name == "grey 1 bit"
        else RNG.integers(0, 4, (8, 9), dtype=np.uint8)
    )
    if name == "palette":
        mask = Pillow.frombytes("P", (9, 8), values.tobytes())
        mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
        mask.save(tmp_path / "m.png")
    elif name == "grey 1 bit":
        Pillow.fromarray(values.astype(bool)).save(tmp_path / "m.png")
    else:
        (tmp_path / "m.png").write_bytes(_two_bit_png(values))
    options = options_of(2)
    source = source_of(tmp_path, [write(tmp_path / "a.png", values)], options)
    image = Image(options, (0.0,), (1.0,))
    laid = image.lay(source, marks_of(tmp_path, ["m.png"], (0, 1, 2, 3)), None)
    np.testing.assert_array_equal(image.truth(laid, np.array([0])).values[0][0], values)


def _two_bit_png(values: np.ndarray) -> bytes:
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    padded = np.pad(values, ((0, 0), (0, -values.shape[1] % 4))).reshape(len(values), -1, 4)
    packed = (padded << np.array([6, 4, 2, 0])).sum(axis=2).astype(np.uint8)
    lines = b"".join(b"\0" + line.tobytes() for line in packed)
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), 2, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0), (0, 0)])
def test_saved_nifti_lies_where_its_image_lies(tmp_path: Path, codes: tuple[int, int]) -> None:
    rigid = np.diag([-2.0, 1.5, 3.0, 1.0])
    rigid[:3, 3] = [4, -5, 6]
    image = nibabel.Nifti1Image(np.ones((8, 1, 10), np.float32), rigid)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(rigid, codes[0])
    image.set_sform(rigid, codes[1])
    nibabel.save(image, tmp_path / "scan.nii.gz")
    options = options_of(2)
    source = source_of(tmp_path, ["scan.nii.gz"], options)
    values = RNG.choice([0, 3, 300], (8, 10)).astype(np.int16)
    path = Image(options, (0.0,), (1.0,)).save(source, 0, values, tmp_path / "out" / "case.1", {})
    assert path == tmp_path / "out" / "case.1.nii.gz"
    saved, first = nibabel.load(path), nibabel.load(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(np.asarray(saved.dataobj), values[:, None])
    assert saved.get_data_dtype() == np.int16
    np.testing.assert_allclose(saved.affine, first.affine, atol=1e-5)
    for field in ("qform_code", "sform_code", "xyzt_units"):
        assert saved.header[field] == first.header[field]
    np.testing.assert_allclose(saved.header.get_zooms(), first.header.get_zooms(), rtol=1e-6)


@pytest.mark.parametrize("highest", [3, 300])
def test_saved_png_holds_label_values(tmp_path: Path, highest: int) -> None:
    options = options_of(2)
    source = source_of(tmp_path, [write(tmp_path / "a.png", np.ones((8, 9)))], options)
    values = RNG.choice([0, 1, highest], (8, 9)).astype(np.int16)
    path = Image(options, (0.0,), (1.0,)).save(source, 0, values, tmp_path / "answer", {})
    np.testing.assert_array_equal(np.asarray(Pillow.open(path)), values)
