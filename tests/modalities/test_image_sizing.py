"""The size of an image network where the study leaves it open: what is looked at, and what follows from it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import polars as pl
import pytest
from PIL import Image as Pillow

from medloom.cli.describe import guessed
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError
from medloom.modalities.image import Image, ImageOptions, sizing
from medloom.modalities.image.looking import Looked, grid_of, labels_in
from medloom.modalities.image.reading.scan import Refused
from medloom.modality import Budget
from medloom.study import make, read
from tests.modalities.dicom_files import series


def options_of(dims: int, **chosen: object) -> ImageOptions:
    return ImageOptions.model_validate({"column": "scan", "dims": dims, "known_before_index": True, **chosen})


def cohort_of(folder: Path, paths: list[str | None]) -> Cohort:
    frame = pl.DataFrame({"scan": pl.Series(paths, dtype=pl.String)})
    return make_cohort(CohortPart(independent_rows=True), frame, folder, {})


def looked(*shape: int, gap: tuple[float, ...] | None = None) -> Looked:
    return Looked(10, shape, shape, gap)


def budget(rows: int, minutes: float | None = None, inputs: int = 1, gigabytes: int = 16) -> Budget:
    """A machine of two cores."""
    return Budget(rows, minutes, "auto", inputs, gigabytes << 30, 2)


def png(path: Path, rows: int, columns: int) -> None:
    """A header, and nothing that could be decoded: whoever looks further fails."""
    body = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + body
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(start + struct.pack(">I", 900) + b"IDATnothing")


def test_headers_alone_are_read_and_of_many_files_some(tmp_path: Path) -> None:
    for row in range(450):
        png(tmp_path / f"{row:03d}.png", 40 if row % 3 else 90, 30)
    paths = [f"{row:03d}.png" for row in range(450)]
    found = Image.sized(options_of(2), cohort_of(tmp_path, [*paths, None, paths[0]]), budget(452))
    assert "200 headers: 40 × 30 voxels in the median, 90 × 30 at most" in found.why[0]
    chosen = found.options
    assert isinstance(chosen, ImageOptions)
    assert (chosen.patch, chosen.width, chosen.levels, chosen.halvings) == ((40, 32), 16, 4, None)
    assert "larger ones in windows" in found.why[1]


def test_numbers_that_are_given_stay_and_nothing_is_looked_at(tmp_path: Path) -> None:
    options = options_of(2, patch=[8, 8], width=4, levels=2)
    assert Image.sized(options, cohort_of(tmp_path, ["absent.png"]), budget(1)).options is options
    some = sizing.sized(options_of(2, patch=[48, 40], width=6), looked(500, 500), budget(100)).options
    assert isinstance(some, ImageOptions)
    assert (some.patch, some.width, some.levels) == ((48, 40), 6, 4)
    levels = sizing.sized(options_of(3, levels=3), looked(30, 30, 13), budget(100)).options
    assert isinstance(levels, ImageOptions) and (levels.patch, levels.levels) == ((32, 32, 16), 3)


@pytest.mark.parametrize(
    ("shape", "gap", "halvings"),
    [
        ((64, 64), None, (4, 4)),
        ((28, 28), None, (2, 2)),
        ((28, 100), None, (2, 4)),
        ((512, 512, 24), (0.5, 0.5, 6.0), (4, 4, 1)),
        ((512, 512, 120), (0.7, 0.7, 2.5), (4, 4, 3)),
        ((40, 40, 40), (1.0, 1.0, 1.0), (3, 3, 3)),
        ((6, 6, 6), None, (0, 0, 0)),
    ],
)
def test_axes_are_halved_until_4_positions_are_left_and_coarse_ones_wait(
    shape: tuple[int, ...], gap: tuple[float, ...] | None, halvings: tuple[int, ...]
) -> None:
    assert sizing.halvings_of(shape, gap, options_of(len(shape)), exact=False) == halvings


def test_sizes_that_are_given_are_halved_while_they_are_even() -> None:
    options = options_of(2, size=[90, 96])
    assert options.seen_whole
    found = sizing.sized(options, looked(90, 96), budget(100))
    assert isinstance(found.options, ImageOptions)
    assert found.options.patch == (90, 96) and found.options.halvings == (1, 4)
    assert "the whole of every image" in found.why[1] and "axes differ" in found.why[1]


def test_the_transformer_keeps_a_larger_grid_and_not_too_large_a_one() -> None:
    options = options_of(2, encoder="transformer")
    assert sizing.halvings_of((64, 64), None, options, exact=False) == (3, 3)
    thin = sizing.halvings_of((8192, 512), None, options, exact=False)
    assert 8192 / 2 ** thin[0] * 512 / 2 ** thin[1] <= 4096


def test_memory_makes_a_volume_smaller_along_its_longest_side() -> None:
    seen = looked(120, 120, 60, gap=(1.0, 1.0, 3.0))
    large = sizing.sized(options_of(3), seen, budget(50)).options
    small = sizing.sized(options_of(3), seen, budget(50, gigabytes=1)).options
    assert isinstance(large, ImageOptions) and isinstance(small, ImageOptions)
    assert large.sides == (128, 128, 64) and small.width == 16
    assert np.prod(small.sides) < np.prod(large.sides) / 2
    assert small.sides[2] < 64, "180 mm along the last axis are the longest"
    assert sizing.cost_of(small).bytes * sizing.ON_TOP <= 0.25 * (1 << 30)


def test_time_makes_a_network_wider_or_narrower_and_only_volumes_smaller() -> None:
    picture = [sizing.sized(options_of(2), looked(96, 96), budget(3000, minutes)).options for minutes in (1, 30, 600)]
    assert [(o.patch, o.width) for o in picture if isinstance(o, ImageOptions)] == [
        ((96, 96), 8), ((96, 96), 16), ((96, 96), 32)
    ]  # fmt: skip
    volume = [sizing.sized(options_of(3), looked(64, 64, 64), budget(300, minutes)) for minutes in (1, 60, 2000)]
    sides = [(o.options.sides, o.options.width) for o in volume if isinstance(o.options, ImageOptions)]
    assert sides[2] == ((64, 64, 64), 32) and sides[0] == ((32, 32, 32), 8)
    assert 32 <= min(sides[1][0]) < 64 and sides[1][1] == 16
    assert "still more than memory or time allow" in "".join(volume[0].why)
    shared = sizing.sized(options_of(2), looked(96, 96), budget(3000, 600, inputs=20)).options
    assert isinstance(shared, ImageOptions) and shared.width == 16


def test_what_a_view_takes_is_counted() -> None:
    """One level, one block: the stem and two convolutions of 3 × 3, there and twice as much back."""
    cost = sizing.cost_of(options_of(2, patch=[10, 12], levels=1, width=4, pooled_width=8))
    products = 120 * 9 * (1 * 4 + 4 * 4 + 4 * 4) + 4 * 8
    assert cost.operations == 3 * 2 * products
    larger = sizing.cost_of(options_of(2, patch=[20, 24], levels=1, width=4, pooled_width=8))
    assert 3.5 < larger.bytes / cost.bytes < 4.5


def test_a_dense_network_is_never_too_narrow_for_its_layers() -> None:
    seen = looked(32, 32)
    for blocks, least in ((4, 8), (5, 16), (9, 32)):
        chosen = sizing.sized(options_of(2, encoder="dense", blocks=blocks), seen, budget(3000, 0.01)).options
        assert isinstance(chosen, ImageOptions) and chosen.width == least


def test_images_that_nobody_can_size_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match="end in .png .* are text and no images .row '1'"):
        Image.sized(options_of(2), cohort_of(tmp_path, ["text.png"]), budget(1))
    with pytest.raises(DataError, match="do not exist"):
        Image.sized(options_of(2), cohort_of(tmp_path, ["absent.png"]), budget(1))
    with pytest.raises(DataError, match="no row has an image"):
        Image.sized(options_of(2), cohort_of(tmp_path, [None, None]), budget(2))
    with pytest.raises(TypeError, match="before the data were looked at"):
        _ = options_of(2).pyramid


def test_grids_of_every_kind_of_file(tmp_path: Path) -> None:
    Pillow.fromarray(np.zeros((7, 11), np.uint8)).save(tmp_path / "a.tif")
    turned = Pillow.Exif()
    turned[0x0112] = 6
    Pillow.fromarray(np.zeros((7, 11), np.uint8)).save(tmp_path / "a.jpg", exif=turned)
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([2.0, 3.0, 4.0, 1.0])), tmp_path / "a.nii.gz"
    )
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((4, 1, 6), np.int16), np.diag([2.0, 3.0, 4.0, 1.0])), tmp_path / "flat.nii"
    )
    with open(tmp_path / "a.npy", "wb") as handle:
        np.lib.format.write_array(handle, np.zeros((3, 9, 3), np.uint8))
    series(
        tmp_path / "dicom", np.zeros((4, 6, 5), np.int16), name="s", origin=(0, 0, 0), orientation=(1, 0, 0, 0, 1, 0),
        spacing=(1.5, 1.25), step=(0, 0, 2.0),
    )  # fmt: skip
    assert grid_of(tmp_path / "a.tif", 2) == ((7, 11), None)
    assert grid_of(tmp_path / "a.jpg", 2) == ((11, 7), None)
    assert grid_of(tmp_path / "a.nii.gz", 3) == ((4, 5, 6), (2.0, 3.0, 4.0))
    assert grid_of(tmp_path / "flat.nii", 2) == ((4, 6), (2.0, 4.0))
    assert grid_of(tmp_path / "a.npy", 2) == ((3, 9), None)
    shape, gaps = grid_of(tmp_path / "dicom", 3)
    assert shape == (5, 6, 4) and gaps == pytest.approx((1.25, 1.5, 2.0))
    with pytest.raises(Refused, match="set dims = 3"):
        grid_of(tmp_path / "a.nii.gz", 2)
    with pytest.raises(Refused, match="2 axes where dims = 3"):
        grid_of(tmp_path / "a.tif", 3)


def test_a_pair_that_is_left_open_must_be_one_size() -> None:
    scan = {"modality": "image", "size": [32, 32], "known_before_index": True}
    study = {
        "name": "pair",
        "cohort": {"table": "t.csv", "independent_rows": True},
        "inputs": {"a": {**scan, "column": "a"}, "b": {**scan, "column": "b", "size": [32, 48]}},
        "targets": {"map": {"task": "register", "moving": "a", "fixed": "b"}},
    }
    with pytest.raises(Exception, match=r"moving has size = \(32, 32\) and fixed has size = \(32, 48\)"):
        make(study)


def test_a_first_guess_has_the_labels_that_masks_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        png(tmp_path / f"image{number}.png", 8, 8)
        mask = np.zeros((8, 8), np.uint8)
        mask[2:5, 2:5] = 7 if number == 29 else 2  # the last rows, of another reader, have another value
        Pillow.fromarray(mask).save(tmp_path / f"mask{number}.png")
    (tmp_path / "mask3.png").write_text("no image")
    number = pl.Series(range(30)).cast(pl.String)
    rows = pl.DataFrame({"image": "image" + number + ".png", "mask": "mask" + number + ".png"})
    rows.write_csv(tmp_path / "rows.csv")
    guessed(tmp_path / "rows.csv", "mask", tmp_path / "study.toml")
    assert read(tmp_path / "study.toml").targets["mask"].labels == {"label_2": 2, "label_7": 7}  # type: ignore[attr-defined]
    assert labels_in([tmp_path / "mask0.png"], 2) == (2,)
    with pytest.raises(DataError, match="they end in .png and are something else"):
        labels_in([tmp_path / "mask3.png"], 2)
    png(tmp_path / "mask0.png", 60_000, 60_000)
    Pillow.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "mask29.png")
    capsys.readouterr()
    guessed(tmp_path / "rows.csv", "mask", tmp_path / "again.toml")
    assert "warning: the masks of 'mask' were not looked at: they hold more than 32 values" in capsys.readouterr().out
    assert read(tmp_path / "again.toml").targets["mask"].labels == {"outline": 1}  # type: ignore[attr-defined]
