"""Files in: what is read exactly, and what is refused with the rows that it stands on."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import polars as pl
import pytest
from PIL import Image as Pillow

from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, StudyError
from medloom.feed import pack
from medloom.modalities.image import Image, ImageOptions
from medloom.modalities.image.packing import Grids
from medloom.modalities.image.reading.scan import MOST_VOXELS
from medloom.study import make


def cohort_of(folder: Path, paths: list[str | None], **columns: object) -> Cohort:
    frame = pl.DataFrame(
        {"id": [f"case-{i}" for i in range(len(paths))], "scan": pl.Series(paths, dtype=pl.String), **columns}
    )
    part = CohortPart(row="id", patient="id", at="seen" if "seen" in columns else None)
    return make_cohort(part, frame, folder, {})


def options_of(**given: object) -> ImageOptions:
    return ImageOptions.model_validate(
        {"column": "scan", "patch": [8, 8], "levels": 2, "known_before_index": True, **given}
    )


def raw(folder: Path, path: str, **given: object) -> np.ndarray:
    """The one file as it lies in the pack."""
    return Grids(pack(Image, options_of(**given), cohort_of(folder, [path])).packed).unit(1)


def save_nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> None:
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bytes(columns: int, rows: int, depth: int, colour: int, lines: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (7, 11), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (7, 11), dtype=np.uint16)
COLOUR = RNG.integers(0, 256, (7, 11, 3), dtype=np.uint8)


@pytest.mark.parametrize("values", [GREY8, GREY16])
def test_grey_png_is_read_as_it_is_stored(tmp_path: Path, values: np.ndarray) -> None:
    Pillow.fromarray(values).save(tmp_path / "a.png")
    read = raw(tmp_path, "a.png")
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values[None])


def test_colour_png_has_channels_first(tmp_path: Path) -> None:
    Pillow.fromarray(COLOUR).save(tmp_path / "a.png")
    np.testing.assert_array_equal(raw(tmp_path, "a.png", channels=3), np.moveaxis(COLOUR, 2, 0))


def test_opaque_alpha_goes_and_a_grey_palette_is_grey(tmp_path: Path) -> None:
    opaque = np.concatenate([COLOUR, np.full((7, 11, 1), 255, np.uint8)], axis=2)
    Pillow.fromarray(opaque).save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(raw(tmp_path, "opaque.png", channels=3), np.moveaxis(COLOUR, 2, 0))
    palette = Pillow.frombytes("P", (11, 7), (GREY8 % 16).tobytes())
    palette.putpalette([level for i in range(256) for level in (255 - i,) * 3])
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(raw(tmp_path, "palette.png"), 255 - (GREY8 % 16)[None])


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("u1", "uint8"),
        ("i1", "int16"),
        ("<i2", "int16"),
        (">i2", "int16"),
        ("<u2", "uint16"),
        ("<i4", "float32"),
        ("<f4", "float32"),
        ("<f8", "float32"),
    ],
)
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_nifti_volumes(tmp_path: Path, dtype: str, stored: str, ending: str) -> None:
    values = np.arange(3 * 4 * 5).reshape(3, 4, 5).astype(dtype)
    save_nifti(tmp_path / f"a.{ending}", values)
    read = raw(tmp_path, f"a.{ending}", dims=3, patch=[4, 4, 4])
    assert read.dtype.name == stored
    np.testing.assert_array_equal(read, np.arange(60).reshape(1, 3, 4, 5))


def test_nifti_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    image.header.set_slope_inter(0.5, -3.0)
    nibabel.save(image, tmp_path / "a.nii")
    stored = nibabel.load(tmp_path / "a.nii").get_fdata()
    np.testing.assert_allclose(raw(tmp_path, "a.nii", dims=3, patch=[4, 4, 4])[0], stored)


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 1), (6, 1, 7), (1, 6, 7), (6, 7, 1, 1)])
def test_a_single_slice_is_squeezed(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.arange(42, dtype=np.int16)
    save_nifti(tmp_path / "a.nii", values.reshape(shape))
    np.testing.assert_array_equal(raw(tmp_path, "a.nii"), values.reshape(1, 6, 7))


def test_files_of_several_types_and_shapes_lie_in_one_pack(tmp_path: Path) -> None:
    Pillow.fromarray(GREY8).save(tmp_path / "a.png")
    Pillow.fromarray(GREY16[:, :5]).save(tmp_path / "b.png")
    save_nifti(tmp_path / "c.nii", np.full((3, 4), 0.5, np.float32))
    paths = ["b.png", None, "a.png", "c.nii", "b.png", ""]
    for store in (None, tmp_path / "store"):
        source = pack(Image, options_of(), cohort_of(tmp_path, paths), store)
        grids = Grids(source.packed)
        expected = {0: GREY16[:, :5], 2: GREY8, 3: np.full((3, 4), 0.5), 4: GREY16[:, :5]}
        for row, values in expected.items():
            np.testing.assert_array_equal(grids.unit(int(source.unit[row]))[0], values)
        assert source.unit[1] == source.unit[5] == 0
        assert source.unit[0] == source.unit[4]
        assert grids.unit(0).size == 0
    reopened = pack(Image, options_of(), cohort_of(tmp_path, paths), tmp_path / "store")
    np.testing.assert_array_equal(Grids(reopened.packed).unit(int(reopened.unit[2]))[0], GREY8)


def write_bad(folder: Path, kind: str) -> str:
    """Writes one bad file and returns its name."""
    good_png, good_nifti = folder / "good.png", folder / "good.nii"
    Pillow.fromarray(RNG.integers(0, 256, (64, 64), dtype=np.uint8)).save(good_png)
    save_nifti(good_nifti, np.ones((8, 8, 1), np.float32))
    if kind == "missing":
        return "nowhere.png"
    if kind == "folder":
        (folder / "bad.png").mkdir()
        return "bad.png"
    if kind == "nan" or kind == "inf":
        save_nifti(folder / "bad.nii", np.full((8, 8, 1), float(kind), np.float32))
        return "bad.nii"
    if kind == "float32 overflow":
        save_nifti(folder / "bad.nii", np.full((8, 8, 1), 1e300))
        return "bad.nii"
    if kind == "complex":
        save_nifti(folder / "bad.nii", np.ones((8, 8, 1), np.complex64))
        return "bad.nii"
    if kind == "volume":
        save_nifti(folder / "bad.nii", np.ones((8, 8, 2), np.float32))
        return "bad.nii"
    if kind == "time series":
        save_nifti(folder / "bad.nii", np.ones((8, 8, 1, 3), np.float32))
        return "bad.nii"
    if kind in {"zero-size nifti", "huge nifti"}:
        content = bytearray(good_nifti.read_bytes())
        content[40:48] = (
            struct.pack("<4h", 3, 8, 0, 8) if kind.startswith("zero") else struct.pack("<4h", 3, 32000, 32000, 3)
        )
        (folder / "bad.nii").write_bytes(content)
        return "bad.nii"
    content = {
        "text png": b"hello",
        "empty png": b"",
        "truncated png": good_png.read_bytes()[:-2000],
        "flipped bit": good_png.read_bytes()[:1000]
        + bytes([good_png.read_bytes()[1000] ^ 1])
        + good_png.read_bytes()[1001:],
        "huge png": png_bytes(60_000, 60_000, 8, 0, b""),
        "large png": png_bytes(12_000, 12_000, 8, 0, b""),
        "zero-size png": png_bytes(0, 5, 8, 0, b""),
        "16-bit colour": png_bytes(1, 1, 16, 2, bytes(7)),
        "text nifti": b"hello",
        "truncated nifti": good_nifti.read_bytes()[:400],
        "no gzip": good_nifti.read_bytes(),
        "unknown kind": b"hello",
    }
    endings = {"text nifti": "nii", "truncated nifti": "nii", "no gzip": "nii.gz", "unknown kind": "jpg"}
    if kind in content:
        name = f"bad.{endings.get(kind, 'png')}"
        (folder / name).write_bytes(content[kind])
        return name
    if kind == "colour":
        Pillow.fromarray(COLOUR).save(folder / "bad.png")
    elif kind == "transparent":
        Pillow.fromarray(np.stack([GREY8, GREY8], axis=2)).save(folder / "bad.png")
    return "bad.png"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "do not exist"),
        ("folder", "hold no DICOM image"),
        ("unknown kind", "are text and no images"),
        ("text png", "end in .png .* are text"),
        ("empty png", "are empty"),
        ("truncated png", "truncated or broken"),
        ("flipped bit", "truncated or broken"),
        ("zero-size png", "no pixels"),
        ("huge png", "declare more than"),
        ("large png", "declare more than"),
        ("16-bit colour", "16 bits a channel"),
        ("colour", "colour where grey"),
        ("transparent", "transparent"),
        ("text nifti", "end in .nii .* are text"),
        ("truncated nifti", "truncated or broken"),
        ("no gzip", "end in .gz and are something else"),
        ("zero-size nifti", "no voxels"),
        ("huge nifti", f"more than {MOST_VOXELS}"),
        ("nan", "not finite"),
        ("inf", "not finite"),
        ("float32 overflow", "not finite"),
        ("complex", "complex64"),
        ("volume", "3 axes where dims = 2"),
        ("time series", "one volume a file"),
    ],
)
def test_a_bad_file_is_refused_by_row(tmp_path: Path, kind: str, says: str) -> None:
    bad = write_bad(tmp_path, kind)
    with pytest.raises(DataError, match=says) as caught:
        pack(Image, options_of(), cohort_of(tmp_path, ["good.png", bad]))
    assert "case-1" in str(caught.value)
    assert "case-0" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_every_trouble_of_a_block_is_named_at_once(tmp_path: Path) -> None:
    Pillow.fromarray(COLOUR).save(tmp_path / "colour.png")
    paths = [f"nowhere-{i}.png" for i in range(7)] + ["colour.png"]
    with pytest.raises(DataError) as caught:
        pack(Image, options_of(), cohort_of(tmp_path, paths))
    absent, colour = str(caught.value).splitlines()
    assert "7 files do not exist" in absent
    assert "and 2 more" in absent
    assert "case-7" in colour


def test_grey_where_colour_and_png_where_volumes_are_expected(tmp_path: Path) -> None:
    Pillow.fromarray(GREY8).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="grey where colour"):
        raw(tmp_path, "a.png", channels=3)
    with pytest.raises(DataError, match="2 axes where dims = 3"):
        raw(tmp_path, "a.png", dims=3, patch=[8, 8, 8])


def test_images_not_known_before_the_index_time_are_absent(tmp_path: Path) -> None:
    Pillow.fromarray(GREY8).save(tmp_path / "a.png")
    times = {"seen": ["2024-05-02"] * 4, "taken": ["2024-05-01", "2024-05-02", "2024-05-03", None]}
    source = pack(Image, options_of(known_before_index=False, at="taken"), cohort_of(tmp_path, ["a.png"] * 4, **times))
    np.testing.assert_array_equal(source.unit > 0, [True, False, False, False])
    assert source.newest is not None
    np.testing.assert_array_equal(np.isnan(source.newest), [False, True, True, True])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"patch": [8, 8, 8]}, "patch has 3 sizes; expected one for each of the 2 dims"),
        ({"patch": [8, 10], "levels": 3}, "multiple of 4; the nearest is [8, 8]"),
        ({"flip": [2]}, "different axes from 0 to 1"),
        ({"flip": [0, 0]}, "different axes from 0 to 1"),
        ({"overlap": 0.9}, "overlap"),
        ({"channels": 2}, "channels"),
        ({"patsh": [8, 8]}, "did you mean 'patch'"),
    ],
)
def test_mistakes_of_a_study_file(given: dict[str, object], says: str) -> None:
    part = {"modality": "image", "column": "scan", "patch": [8, 8], "levels": 2, "known_before_index": True, **given}
    with pytest.raises(StudyError) as caught:
        make(
            {
                "name": "s",
                "cohort": {"independent_rows": True},
                "inputs": {"scan": part},
                "targets": {"y": {"task": "classify", "column": "y"}},
            }
        )
    assert says in str(caught.value)
