"""Images from pack to encoder: what is seen of them, how they are scaled, and that a row stands alone."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as Pillow

from medloom import fitted
from medloom.batch import Field
from medloom.cohort.table import make_cohort
from medloom.cohort_part import CohortPart
from medloom.draw import Draw
from medloom.feed import pack
from medloom.modalities.image import Image, ImageOptions
from medloom.modalities.image.intensity import (
    MOST_COUNTED,
    centre_and_scale,
    counts,
    every_nth,
    feature_count,
)
from medloom.modalities.image.views import starts
from medloom.modality import View
from medloom.packed import Source
from medloom.tally import add


def options_of(dims: int, **chosen: object) -> ImageOptions:
    base = {
        "column": "scan",
        "dims": dims,
        "patch": [8] * dims,
        "levels": 2,
        "width": 4,
        "pooled_width": 6,
        "known_before_index": True,
    }
    return ImageOptions.model_validate({**base, **chosen})


def source_of(folder: Path, images: list[np.ndarray | None], options: ImageOptions) -> Source:
    """A source whose rows are these images: PNG for two axes (last axis colour), NIfTI for three."""
    paths: list[str | None] = []
    for number, image in enumerate(images):
        if image is None:
            paths.append(None)
        elif options.dims == 2:
            Pillow.fromarray(image).save(folder / f"{number}.png")
            paths.append(f"{number}.png")
        else:
            nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), folder / f"{number}.nii")
            paths.append(f"{number}.nii")
    frame = pl.DataFrame({"scan": pl.Series(paths, dtype=pl.String)})
    return pack(Image, options, make_cohort(CohortPart(independent_rows=True), frame, folder, {}))


def some_images(dims: int, shapes: list[tuple[int, ...] | None], seed: int = 0) -> list[np.ndarray | None]:
    random = np.random.default_rng(seed)
    kind = np.uint8 if dims == 2 else np.int16
    return [None if shape is None else random.integers(1, 200, shape).astype(kind) for shape in shapes]


SHAPES = {2: [(13, 9), (5, 20), None, (8, 8), (6, 7)], 3: [(13, 9, 10), (5, 12, 8), None, (8, 8, 8), (6, 7, 5)]}


def fit(options: ImageOptions, source: Source, rows: np.ndarray | None = None) -> Image:
    every = np.arange(len(source.unit)) if rows is None else rows
    return Image.fit(options, [Image.summarise(options, source, every)])


def draw_of(rows: np.ndarray, epoch: int = 0) -> Draw:
    return Draw(0, np.full(len(rows), epoch))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_identity_crop_is_a_plain_slice(tmp_path: Path, dims: int) -> None:
    options = options_of(dims)
    images = some_images(dims, [(13, 12, 11)[:dims]])
    source = source_of(tmp_path, images, options)
    unscaled = Image(options, (0.0,), (1.0,))
    corner = np.array([[0] * dims, [3, 2, 1][:dims], [5, 4, 3][:dims]])
    field = unscaled.batch(source, View(np.zeros(3, np.int64), {"corner": corner, "flip": np.zeros((3, dims), bool)}))
    for place, first in enumerate(corner):
        expected = images[0][tuple(slice(c, c + 8) for c in first)]
        np.testing.assert_array_equal(field.value[place, 0].numpy(), expected.astype(np.float32))
    assert field.valid is not None
    assert field.valid.all()
    scaled = Image(options, (7.0,), (3.0,)).batch(
        source, View(np.zeros(1, np.int64), {"corner": corner[:1], "flip": np.zeros((1, dims), bool)})
    )
    expected = (images[0][(slice(0, 8),) * dims].astype(np.float32) - np.float32(7)) * np.float32(1 / 3)
    np.testing.assert_array_equal(scaled.value[0, 0].numpy(), expected)


def test_a_mirrored_crop_is_the_slice_in_a_mirror(tmp_path: Path) -> None:
    options = options_of(2)
    images = some_images(2, [(13, 12)])
    source = source_of(tmp_path, images, options)
    at = {"corner": np.array([[3, 2], [-2, 6]]), "flip": np.array([[True, False], [False, True]])}
    field = Image(options, (0.0,), (1.0,)).batch(source, View(np.zeros(2, np.int64), at))
    np.testing.assert_array_equal(field.value[0, 0].numpy(), images[0][3:11, 2:10][::-1].astype(np.float32))
    beyond = np.zeros((8, 8), np.float32)
    beyond[2:8, 0:6] = images[0][0:6, 6:12]
    np.testing.assert_array_equal(field.value[1, 0].numpy(), beyond[:, ::-1])
    np.testing.assert_array_equal(field.valid[1].numpy(), beyond[:, ::-1] > 0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_windows_cover_every_voxel_and_stand_side_by_side(tmp_path: Path, dims: int, overlap: float) -> None:
    options = options_of(dims, overlap=overlap, flip=[0])
    source = source_of(tmp_path, some_images(dims, SHAPES[dims]), options)
    rows = np.array([3, 0, 2, 1, 4])
    view = fit(options, source).view(source, rows, None)
    np.testing.assert_array_equal(view.rows[np.append(True, np.diff(view.rows) != 0)], rows)
    assert not view.at["flip"].any()
    for row, shape in enumerate(SHAPES[dims]):
        if shape is None:
            assert (view.rows == row).sum() == 1
            continue
        seen = np.zeros(shape, int)
        for corner in view.at["corner"][view.rows == row]:
            seen[tuple(slice(max(c, 0), c + 8) for c in corner)] += 1
        assert seen.min() > 0
        inside = np.maximum(np.array(shape) - 8, 0)
        assert (view.at["corner"][view.rows == row] <= inside).all()


@given(st.integers(1, 200), st.integers(1, 64), st.floats(0, 0.75))
def test_window_starts(size: int, patch: int, overlap: float) -> None:
    places = starts(size, patch, overlap)
    covered = {voxel for start in places for voxel in range(start, start + patch)}
    assert set(range(size)) <= covered
    if size > patch:
        steps = np.diff(places)
        assert places[0] == 0
        assert places[-1] == size - patch
        assert (steps > 0).all()
        assert steps.max() <= max(1, patch * (1 - overlap)) + 1


@pytest.mark.parametrize("dims", [2, 3])
def test_training_views_stay_in_reach_and_follow_the_draw(tmp_path: Path, dims: int) -> None:
    options = options_of(dims, flip=[1])
    source = source_of(tmp_path, some_images(dims, SHAPES[dims]), options)
    image = fit(options, source)
    rows = np.tile([0, 1, 2, 3, 4], 60)
    draw = Draw(0, np.repeat(np.arange(60), 5))
    view = image.view(source, rows, draw)
    shapes = np.array([shape or (0,) * dims for shape in SHAPES[dims]])[rows]
    room = shapes - 8
    assert (view.at["corner"] >= np.minimum(room, 0)).all()
    assert (view.at["corner"] <= np.maximum(room, 0)).all()
    first = view.at["corner"][rows == 0, 0]
    assert set(first.tolist()) == set(range(6))
    np.testing.assert_array_equal(view.at["flip"].any(axis=0), np.arange(dims) == 1)
    assert 0.4 < view.at["flip"][:, 1].mean() < 0.6
    some = np.array([7, 3, 250])
    again = image.view(source, rows[some], Draw(0, np.repeat(np.arange(60), 5)[some]))
    np.testing.assert_array_equal(again.at["corner"], view.at["corner"][some])
    np.testing.assert_array_equal(again.at["flip"], view.at["flip"][some])


def test_padding_and_absent_rows_are_zero_and_not_valid(tmp_path: Path) -> None:
    options = options_of(2)
    source = source_of(tmp_path, some_images(2, SHAPES[2]), options)
    image = fit(options, source)
    field = image.batch(source, image.view(source, np.arange(5), draw_of(np.arange(5))))
    assert field.value.dtype == torch.float32
    assert field.present.tolist() == [True, True, False, True, True]
    assert field.valid is not None
    assert field.valid.flatten(1).sum(1).tolist() == [64, 40, 0, 64, 42]
    assert (field.value[:, 0][~field.valid] == 0).all()


def test_colour_keeps_its_channels_apart(tmp_path: Path) -> None:
    options = options_of(2, channels=3)
    image = np.random.default_rng(0).integers(0, 256, (21, 31, 3), dtype=np.uint8) // np.array([1, 2, 4], np.uint8)
    source = source_of(tmp_path, [image], options)
    fitted_image = fit(options, source)
    np.testing.assert_array_equal(fitted_image.centre, np.median(image.reshape(-1, 3), axis=0))
    bound = fitted_image.bind(source)
    field = fitted_image.batch(
        bound, View(np.array([0]), {"corner": np.array([[2, 3]]), "flip": np.zeros((1, 2), bool)})
    )
    centre, rate = np.float32(fitted_image.centre), np.float32(1 / np.array(fitted_image.scale))
    np.testing.assert_array_equal(field.value[0].numpy(), np.moveaxis((image[2:10, 3:11] - centre) * rate, 2, 0))


@settings(max_examples=30)
@given(st.lists(arrays(np.int16, st.integers(0, 30), elements=st.integers(-4, 4)), min_size=1, max_size=6))
def test_counts_add_up_in_any_order(parts: list[np.ndarray]) -> None:
    together, number = counts(np.concatenate(parts))
    for order in (parts, parts[::-1]):
        values, added = add([counts(part) for part in order])
        np.testing.assert_array_equal(values, together)
        np.testing.assert_array_equal(added, number)


def test_summaries_merge_exactly_and_only_training_rows_count(tmp_path: Path) -> None:
    options = options_of(3)
    images = [np.random.default_rng(i).normal(size=(9, 9, 9)).astype(np.float32) for i in range(5)]
    source = source_of(tmp_path, [*images, None], options)
    whole = Image.summarise(options, source, np.arange(6))
    parts = [Image.summarise(options, source, np.array(rows)) for rows in ([5, 3], [0], [4, 1, 2])]
    assert fitted.same(Image.fit(options, [whole]), Image.fit(options, parts))
    assert fitted.same(Image.fit(options, [whole]), Image.fit(options, parts[::-1]))
    shifted = source_of(tmp_path, [*images[:4], images[4] + 1e6, None], options)
    train = np.array([0, 1, 2, 3])
    assert fitted.same(fit(options, source, train), fit(options, shifted, train))
    assert not fitted.same(fit(options, source), fit(options, shifted))
    alone = fit(options, source_of(tmp_path, [images[0]], options))
    np.testing.assert_allclose(alone.centre[0], np.median(images[0]), atol=1e-3)
    np.testing.assert_allclose(alone.scale[0], np.subtract(*np.percentile(images[0], [75, 25])) / 1.349, atol=1e-2)


def test_centre_and_scale_leave_the_background_out() -> None:
    random = np.random.default_rng(0)
    tissue = random.normal(100, 10, 5000).round()
    values, number = counts(np.concatenate([np.zeros(5000), tissue]))
    centre, scale = centre_and_scale(values, number)
    assert centre == np.median(tissue)
    assert 9 < scale < 11
    assert centre_and_scale(*counts(np.full(10, 3.0))) == (3.0, 1.0)
    assert centre_and_scale(*counts(np.zeros(0))) == (0.0, 1.0)
    mostly_one = np.array([0.0] * 40 + [5.0] * 90 + [7.0] * 9)
    assert centre_and_scale(*counts(mostly_one))[1] > 0


def test_very_large_images_are_counted_by_every_nth_voxel() -> None:
    large = np.arange(3 * MOST_COUNTED + 5, dtype=np.float32)
    assert len(every_nth(large)) <= MOST_COUNTED
    np.testing.assert_array_equal(every_nth(large), every_nth(large.copy()))
    small = np.arange(100.0).reshape(10, 10)
    np.testing.assert_array_equal(every_nth(small), small.reshape(-1))


def test_the_fitted_state_survives_json(tmp_path: Path) -> None:
    options = options_of(3, flip=[0, 2], intensity="image")
    image = Image.fit(
        options,
        [
            Image.summarise(
                options,
                source_of(tmp_path, [np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32)], options),
                np.array([0]),
            )
        ],
    )
    again = fitted.load(Image, json.loads(json.dumps(fitted.dump(image))))
    assert again == image
    assert fitted.same(again, image)


def test_each_image_by_its_own_intensity(tmp_path: Path) -> None:
    options = options_of(3, intensity="image")
    scan = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    source = source_of(tmp_path, [scan, scan * 64 + 512], options)
    image = fit(options, source, np.array([0]))
    bound = image.bind(source)
    field = image.batch(bound, image.view(bound, np.array([0, 1]), None))
    np.testing.assert_allclose(field.value[0], field.value[1], atol=1e-2)
    cohort = fit(options_of(3), source)
    other = cohort.batch(cohort.bind(source), image.view(bound, np.array([0, 1]), None))
    assert (other.value[0] - other.value[1]).abs().max() > 1


@pytest.mark.parametrize("dims", [2, 3])
def test_plain_numbers(tmp_path: Path, dims: int) -> None:
    options = options_of(dims)
    images = some_images(dims, SHAPES[dims])
    source = source_of(tmp_path, images, options)
    image = fit(options, source)
    plain = image.plain(image.bind(source), np.array([0, 2, 3, 0]))
    assert plain.shape == (4, feature_count(dims))
    assert np.isnan(plain[1]).all()
    assert np.isfinite(plain[[0, 2]]).all()
    np.testing.assert_array_equal(plain[0], plain[3])
    scaled = (images[0].astype(np.float64) - image.centre[0]) / image.scale[0]
    np.testing.assert_allclose(plain[0, :4], [scaled.std(), scaled.mean(), scaled.min(), scaled.max()])
    np.testing.assert_allclose(plain[0, 4:11], np.quantile(scaled, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]))
    cube = ((images[3].astype(np.float64) - image.centre[0]) / image.scale[0])[(slice(0, 2),) * dims]
    np.testing.assert_allclose(plain[2, 11], cube.mean())
    named = dict(zip(image.plain_names(), plain[0], strict=True))
    assert named["highest intensity"] == pytest.approx(scaled.max())
    assert named["95 % quantile of the intensities"] == pytest.approx(np.quantile(scaled, 0.95))
    edge = [np.linspace(0, size, 4 if dims == 3 else 5).astype(int) for size in scaled.shape]
    last = scaled[(slice(edge[0][-2], None), *(slice(0, max(1, one[1])) for one in edge[1:]))]
    cell = "row 4, column 1 of 4 × 4" if dims == 2 else "x 3, y 1, z 1 of 3 × 3 × 3"
    assert named[f"mean intensity of {cell} cells"] == pytest.approx(last.mean())


@pytest.mark.parametrize("dims", [2, 3])
def test_the_encoder_gives_what_it_says(tmp_path: Path, dims: int) -> None:
    options = options_of(dims, levels=3)
    source = source_of(tmp_path, some_images(dims, SHAPES[dims]), options)
    image = fit(options, source)
    encoder = image.encoder()
    encoded = encoder(image.batch(source, image.view(source, np.arange(5), draw_of(np.arange(5)))))
    assert encoder.gives.levels == ((4, 1), (8, 2), (16, 4))
    assert encoded.pooled.shape == (5, encoder.gives.width) == (5, 6)
    assert [tuple(level.shape) for level in encoded.finer] == [
        (5, c, *[8 // s] * dims) for c, s in encoder.gives.levels
    ]
    assert encoded.grid.shape == (5, encoder.gives.features, *[2] * dims)
    assert torch.isfinite(encoded.pooled).all()
    assert all((level[2] == 0).all() for level in encoded.finer)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_row_alone_equals_the_row_in_a_batch(tmp_path: Path, dims: int) -> None:
    options = options_of(dims, flip=[0])
    source = source_of(tmp_path, some_images(dims, SHAPES[dims]), options)
    image = fit(options, source)
    torch.manual_seed(0)
    encoder = image.encoder().eval()
    rows = np.array([0, 1, 2, 3, 4, 0])
    together = encoder(image.batch(source, image.view(source, rows, draw_of(rows))))
    for place in range(6):
        one = rows[place : place + 1]
        alone = encoder(image.batch(source, image.view(source, one, draw_of(one))))
        torch.testing.assert_close(alone.pooled[0], together.pooled[place], atol=1e-5, rtol=1e-5)
        for level, other in zip(alone.finer, together.finer, strict=True):
            torch.testing.assert_close(level[0], other[place], atol=1e-5, rtol=1e-5)


def test_padding_changes_nothing_that_the_encoder_says() -> None:
    encoder = Image(options_of(2), (0.0,), (1.0,)).encoder().eval()
    values = torch.randn(1, 1, 8, 8)
    tight = encoder(Field(values, torch.tensor([True]), torch.ones(1, 8, 8, dtype=torch.bool)))
    wide = torch.zeros(1, 1, 16, 16)
    wide[:, :, 4:12, 4:12] = values
    valid = torch.zeros(1, 16, 16, dtype=torch.bool)
    valid[:, 4:12, 4:12] = True
    padded = encoder(Field(wide, torch.tensor([True]), valid))
    torch.testing.assert_close(padded.pooled, tight.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(padded.finer[0][:, :, 4:12, 4:12], tight.finer[0], atol=1e-5, rtol=1e-5)
