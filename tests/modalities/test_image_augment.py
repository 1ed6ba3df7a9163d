"""Training views that are altered: where they look, what they paint, and that each depends on its row alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter, map_coordinates

from medloom.draw import Draw
from medloom.modalities.image import Image
from medloom.modalities.image.augment import altered_view, basis, points
from medloom.modalities.image.augment_part import MOST_ELASTIC, AugmentPart
from medloom.modalities.image.packing import GridPacker, Grids
from medloom.modalities.image.painting import painted
from medloom.modalities.image.warp import spread, warped
from medloom.modality import View
from medloom.packed import Packer, Source
from tests.modalities.test_image import draw_of, fit, options_of, some_images, source_of

EVERYTHING = {
    "rotate_degrees": 20, "scale": 0.2, "shear_degrees": 5, "translate_mm": 1.5, "elastic": 0.3, "crop": 0.8,
    "contrast": 0.2, "brightness": 0.3, "gamma": 0.3, "bias": 0.3, "blur": 1.0, "noise": 0.1,
}  # fmt: skip


def plain_view(count: int, patch: tuple[int, ...], corner: tuple[int, ...] | None = None) -> View:
    corners = np.tile(np.array(corner or (0,) * len(patch)), (count, 1))
    return View(np.arange(count), {"corner": corners, "flip": np.zeros(corners.shape, bool)})


def lattice_of(matrix: np.ndarray, middle: np.ndarray, patch: tuple[int, ...], cells: int = 2) -> np.ndarray:
    """The lattice of an affine map by hand: `matrix` about the middle of the view, which sees `middle`."""
    control = np.stack(np.meshgrid(*[points(side, cells) for side in patch], indexing="ij"))
    centre = (np.array(patch) - 1) / 2
    return np.tensordot(matrix, control - centre.reshape(-1, *[1] * len(patch)), 1) + middle.reshape(
        -1, *[1] * len(patch)
    )


def seen_through(grid: np.ndarray, lattice: np.ndarray, patch: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    kind = np.int64 if grid.dtype.kind in "iu" else np.float32
    out, seen = np.zeros((len(grid), *patch), kind), np.zeros(patch, bool)
    warped(grid, lattice, out, seen)
    return out, seen


def test_weights_are_those_of_cubic_splines_and_keep_straight_lines() -> None:
    for side, cells in ((9, 4), (16, 1), (5, 7), (1, 2)):
        weights = basis(side, cells)
        places = np.arange(side) * cells / max(side - 1, 1)
        knots = np.arange(-3, cells + 4, dtype=float)
        expected = BSpline.design_matrix(places.clip(0, cells), knots, 3).toarray()
        np.testing.assert_allclose(weights, expected, atol=1e-12)
        np.testing.assert_allclose(weights @ points(side, cells), np.arange(side), atol=1e-12)


@pytest.mark.parametrize("patch", [(12, 9), (7, 9, 8)])
def test_a_view_without_any_change_is_the_plain_crop(patch: tuple[int, ...]) -> None:
    grid = np.random.default_rng(0).normal(size=(2, *[side + 6 for side in patch])).astype(np.float32)
    corner = np.array([2, 3, 4][: len(patch)])
    lattice = lattice_of(np.eye(len(patch)), corner + (np.array(patch) - 1) / 2, patch)
    out, seen = seen_through(grid, lattice, patch)
    crop = (slice(None), *[slice(c, c + side) for c, side in zip(corner, patch, strict=True)])
    np.testing.assert_allclose(out, grid[crop], atol=2e-5)
    assert seen.all()
    mirrored = lattice_of(np.diag([-1.0, *[1.0] * (len(patch) - 1)]), corner + (np.array(patch) - 1) / 2, patch)
    np.testing.assert_allclose(seen_through(grid, mirrored, patch)[0], grid[crop][:, ::-1], atol=2e-5)


@pytest.mark.parametrize("patch", [(64, 70), (20, 48, 40)])
def test_a_bent_view_is_what_scipy_sees_at_the_same_places(patch: tuple[int, ...]) -> None:
    random = np.random.default_rng(1)
    shape = tuple(side + 5 for side in patch)
    smooth = gaussian_filter(random.normal(size=shape), 2).astype(np.float32)
    part = AugmentPart(rotate_degrees=25, scale=0.2, shear_degrees=8, translate_mm=6, elastic=0.3, elastic_cells=3)
    view = altered_view(plain_view(2, patch, (2,) * len(patch)), part, patch, np.ones((2, len(patch))), draw_of(np.arange(2)))  # fmt: skip
    labels = (smooth > 0).astype(np.uint8)[None]
    for lattice in view.at["lattice"]:
        place = _places(lattice, patch)
        inside = np.all([(p >= -0.5) & (p <= n - 0.5) for p, n in zip(place, shape, strict=True)], axis=0)
        ends = [p.clip(0, n - 1) for p, n in zip(place, shape, strict=True)]
        out, seen = seen_through(smooth[None], lattice, patch)
        assert (seen != inside).mean() < 1e-4
        assert 0.3 < inside.mean() < 1
        both = seen & inside
        np.testing.assert_allclose(out[0][both], map_coordinates(smooth, ends, order=1)[both], atol=2e-4)
        assert (out[0][~seen] == 0).all()
        marked, also = seen_through(labels, lattice, patch)
        np.testing.assert_array_equal(also, seen)
        expected = map_coordinates(labels[0], ends, order=0)
        assert (marked[0][both] != expected[both]).mean() < 1e-3


def _places(lattice: np.ndarray, patch: tuple[int, ...]) -> np.ndarray:
    """Where each voxel looks, by scipy's splines."""
    out, cells = lattice, lattice.shape[1] - 3
    for axis, side in enumerate(patch, start=1):
        spline = BSpline(np.arange(-3, cells + 4, dtype=float), np.moveaxis(out, axis, 0), 3)
        out = np.moveaxis(spline(np.arange(side) * cells / (side - 1)), 0, axis)
    return out


def test_the_way_there_and_back_is_the_image() -> None:
    random = np.random.default_rng(2)
    smooth = gaussian_filter(random.normal(size=(60, 60)), 4).astype(np.float32)[None]
    angle = np.radians(17)
    matrix = 1.1 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([29.5, 29.5])
    there, _ = seen_through(smooth, lattice_of(matrix, middle, (60, 60)), (60, 60))
    back, _ = seen_through(there, lattice_of(np.linalg.inv(matrix), middle, (60, 60)), (60, 60))
    inner = (slice(None), slice(20, 40), slice(20, 40))
    assert np.abs(back[inner] - smooth[inner]).max() < 0.03 * smooth.std()
    assert np.abs(there[inner] - smooth[inner]).max() > 0.5 * smooth.std()


def test_rotations_and_shifts_are_in_degrees_and_mm_whatever_the_spacing() -> None:
    patch, spacing, count = (16, 12, 8), np.array([0.5, 1.0, 4.0]), 40
    part = AugmentPart(rotate_degrees=(10, 20, 30), translate_mm=3)
    view = altered_view(plain_view(count, patch), part, patch, np.tile(spacing, (count, 1)), draw_of(np.arange(count)))
    lattice = view.at["lattice"]
    step = np.array([points(side, 1)[1:3] @ [-1, 1] for side in patch])
    matrices = np.stack(
        [(lattice.take(1, axis=2 + a) - lattice.take(0, axis=2 + a))[:, :, 0, 0] / step[a] for a in range(3)], axis=2
    )
    rigid = matrices * spacing[:, None] / spacing
    np.testing.assert_allclose(rigid @ rigid.transpose(0, 2, 1), np.tile(np.eye(3), (count, 1, 1)), atol=1e-9)
    about_x = altered_view(plain_view(count, patch), AugmentPart(rotate_degrees=(10, 0, 0)), patch, np.ones((count, 3)), draw_of(np.arange(count)))  # fmt: skip
    turned = about_x.at["lattice"]
    along = (turned[:, :, 0, 1, 0] - turned[:, :, 0, 0, 0]) / step[1]
    found = np.degrees(np.arctan2(along[:, 2], along[:, 1]))
    assert 7 < np.abs(found).max() <= 10
    np.testing.assert_allclose(along[:, 0], 0, atol=1e-12)
    middle = lattice.reshape(count, 3, -1).mean(2) - (np.array(patch) - 1) / 2
    assert (np.abs(middle * spacing).max(0) <= 3).all()
    assert (np.abs(middle * spacing).max(0) > 2).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_folds_at_the_strongest_bending(dims: int) -> None:
    patch, cells = (24,) * dims, 3
    step = 23 / cells
    for seed in range(4):
        sign = np.random.default_rng(seed).choice([-1.0, 1.0], (dims, *[cells + 3] * dims))
        lattice = lattice_of(np.eye(dims), np.full(dims, 11.5), patch, cells) + sign * MOST_ELASTIC * step
        place = spread(torch.from_numpy(lattice.astype(np.float32)), patch).numpy()
        jacobian = np.stack([np.stack(np.gradient(along, axis=tuple(range(dims))), -1) for along in place], -2)
        assert np.linalg.det(jacobian).min() > 0


@pytest.mark.parametrize("dims", [2, 3])
def test_masks_move_with_their_images(tmp_path: Path, dims: int) -> None:
    options = options_of(dims, augment={**EVERYTHING, "noise": 0, "blur": 0, "bias": 0, "gamma": 0}, flip=[0])
    blob = np.zeros((20, 18, 16)[:dims], np.uint8 if dims == 2 else np.int16)
    blob[(slice(6, 15), slice(4, 12), slice(5, 11))[:dims]] = 200
    blob[0] = 50
    source = source_of(tmp_path, [blob] * 12, options)
    fitted, rows = fit(options, source), np.arange(12)
    view = fitted.view(source, rows, draw_of(rows))
    image = Image(options, (0.0,), (1.0,)).batch(source, View(rows, _places_only(view)))
    laid = _laid(source, (blob == 200).astype(np.uint8))
    mask = fitted.batch(laid, view)
    np.testing.assert_array_equal(mask.valid.numpy(), image.valid.numpy())
    value, marked = image.value[:, 0].numpy(), mask.value.numpy()
    if dims == 2:
        assert marked.sum() > 100
    assert (value[marked == 1] > 55).mean() > 0.99
    assert (value[(marked == 0) & image.valid.numpy()] < 195).all()


def _places_only(view: View) -> dict[str, np.ndarray]:
    return {name: view.at[name] for name in ("corner", "flip", "lattice", "moved")}


def _laid(source: Source, mask: np.ndarray) -> Source:
    """The same mask on every row."""
    packer = Packer(None)
    grids = GridPacker(packer)
    grids.add(np.zeros((1, *[0] * mask.ndim), np.uint8))
    grids.add(mask[None])
    packed = packer.finish({"kind": "mask", "dims": mask.ndim, "channels": 1, "labels": [0, 1]})
    return replace(source, packed=packed, unit=np.ones(len(source.unit), np.int64))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_row_is_altered_alike_in_any_batch_and_anew_in_each_epoch(tmp_path: Path, dims: int) -> None:
    options = options_of(dims, augment=EVERYTHING, flip=[1])
    shapes = [(13, 19, 10)[:dims], (5, 12, 8)[:dims], None, (8, 8, 8)[:dims], (20, 9, 11)[:dims]]
    source = source_of(tmp_path, some_images(dims, shapes), options)
    fitted, rows = fit(options, source), np.array([4, 2, 0, 1, 3, 0])
    together = fitted.batch(source, fitted.view(source, rows, draw_of(rows)))
    for place, row in enumerate(rows.tolist()):
        one = np.array([row])
        alone = fitted.batch(source, fitted.view(source, one, draw_of(one)))
        torch.testing.assert_close(alone.value[0], together.value[place], rtol=1e-5, atol=1e-5)
        assert (alone.valid[0] == together.valid[place]).all()
    torch.testing.assert_close(together.value[2], together.value[5], rtol=0, atol=0)
    assert (together.value[1] == 0).all()
    assert torch.isfinite(together.value).all()
    later = fitted.batch(source, fitted.view(source, rows, draw_of(rows, epoch=1)))
    assert not torch.equal(later.value[0], together.value[0])
    assert (later.value[~later.valid[:, None]] == 0).all()


def test_a_new_transform_shifts_no_other() -> None:
    view, rows, ones = plain_view(50, (8, 8)), np.arange(50), np.ones((50, 2))
    less = altered_view(view, AugmentPart(rotate_degrees=10, contrast=0.2), (8, 8), ones, draw_of(rows))
    more = altered_view(view, AugmentPart(rotate_degrees=10, contrast=0.2, noise=0.1, gamma=0.2), (8, 8), ones, draw_of(rows))  # fmt: skip
    for name in less.at:
        np.testing.assert_array_equal(less.at[name], more.at[name])
    bent = altered_view(view, AugmentPart(rotate_degrees=10, elastic=0.1, elastic_cells=1), (8, 8), ones, draw_of(rows))
    assert np.abs(bent.at["lattice"] - less.at["lattice"]).max() <= 0.1 * 7 * np.sqrt(2)


def test_a_share_of_the_views_stays_as_it_is() -> None:
    rows = np.arange(2000)
    view = altered_view(plain_view(2000, (8, 8)), AugmentPart(rotate_degrees=10, noise=0.1, share=0.3), (8, 8), np.ones((2000, 2)), draw_of(rows))  # fmt: skip
    assert abs(view.at["moved"].mean() - 0.3) < 0.04
    assert abs((view.at["noise"] > 0).mean() - 0.3) < 0.04
    assert abs(((view.at["noise"] > 0) & view.at["moved"]).mean() - 0.09) < 0.03


def test_prediction_is_never_altered(tmp_path: Path) -> None:
    options, plain = options_of(2, augment=EVERYTHING), options_of(2)
    source = source_of(tmp_path, some_images(2, [(13, 12), (6, 7)]), options)
    fitted, rows = fit(options, source), np.arange(2)
    view = fitted.view(source, rows, None)
    assert set(view.at) == {"corner", "flip"}
    torch.testing.assert_close(
        fitted.batch(source, view).value, fit(plain, source).batch(source, view).value, rtol=0, atol=0
    )


def paint(values: np.ndarray, valid: np.ndarray | None = None, zero: float = -2.0, **at: object) -> np.ndarray:
    """One view of one channel, painted."""
    tensor = torch.from_numpy(values.astype(np.float32).copy())[None]
    seen = torch.from_numpy(np.ones(values.shape, bool) if valid is None else valid)
    painted(tensor, seen, at, np.array([zero]))
    return tensor[0].numpy()


def test_intensities_are_painted_as_their_names_say() -> None:
    values = np.random.default_rng(3).normal(size=(20, 24))
    expected = values.astype(np.float32)
    nothing = paint(values, contrast=1.0, brightness=0.0, gamma=1.0, blur=0.0, noise=0.0, noise_key=1, bias=np.zeros((5, 5)))  # fmt: skip
    np.testing.assert_array_equal(nothing, expected)
    np.testing.assert_allclose(paint(values, contrast=1.2), expected * 1.2, rtol=1e-6)
    np.testing.assert_allclose(paint(values, brightness=-0.3), expected - 0.3, atol=1e-6)
    bent = paint(values, gamma=1.5)
    share = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(bent, share**1.5 * (expected.max() - expected.min()) + expected.min(), atol=1e-5)
    even = paint(values, bias=np.full((5, 5), np.log(1.3)))
    np.testing.assert_allclose(even + 2, (expected + 2) * 1.3, rtol=1e-5)
    uneven = paint(np.full((20, 24), -2.0), bias=np.random.default_rng(0).normal(size=(5, 5)))
    np.testing.assert_allclose(uneven, -2, atol=1e-6)


def test_noise_is_gaussian_and_comes_from_its_key() -> None:
    empty = np.zeros((200, 200))
    noise = paint(empty, noise=0.25, noise_key=7)
    assert abs(noise.std() - 0.25) < 0.005
    assert abs(noise.mean()) < 0.005
    assert abs((np.abs(noise) < 0.25).mean() - 0.6827) < 0.01
    np.testing.assert_array_equal(noise, paint(empty, noise=0.25, noise_key=7))
    assert np.abs(np.corrcoef(noise.ravel(), paint(empty, noise=0.25, noise_key=8).ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("shape", [(20, 24), (9, 10, 11)])
def test_blur_is_a_gaussian_over_what_is_there(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(4).normal(size=shape)
    valid = np.ones(shape, bool)
    valid[:4] = False
    found = paint(values, valid, blur=1.0)
    weight = gaussian_filter(valid.astype(float), 1.0, truncate=3, mode="constant")
    expected = gaussian_filter(np.where(valid, values, 0), 1.0, truncate=3, mode="constant") / np.maximum(weight, 1e-9)
    np.testing.assert_allclose(found[valid], expected[valid], atol=1e-5)


def test_spacing_is_that_of_the_grid_the_network_sees(tmp_path: Path) -> None:
    options = options_of(3, size=[8, 8, 8])
    source = source_of(tmp_path, some_images(3, [(16, 8, 4), None]), options)
    np.testing.assert_allclose(Grids(source.packed).spacing(source.unit), [[2, 1, 0.5], [1, 1, 1]])
    picture = options_of(2)
    flat = source_of(tmp_path, some_images(2, [(16, 8)]), picture)
    np.testing.assert_allclose(Grids(flat.packed).spacing(flat.unit), [[1, 1]])


def test_sections_that_say_nothing_or_too_much_are_refused() -> None:
    for wrong, word in (
        ({}, "nothing to do"),
        ({"share": 0.5}, "nothing to do"),
        ({"elastic": 0.5}, "less than or equal to 0.4"),
        ({"rotate_degrees": 200}, "180"),
        ({"mixup": 0.2}, "Extra inputs"),
    ):
        with pytest.raises(ValidationError, match=word):
            AugmentPart.model_validate(wrong)
    with pytest.raises(ValidationError, match="three angles"):
        options_of(2, augment={"rotate_degrees": [10, 0, 0]})
    assert options_of(2).augment is None
    assert options_of(3, augment={"rotate_degrees": [10, 0, 0]}).augment.angles(3) == (10, 0, 0)


def test_a_draw_says_all_so_a_view_can_be_replayed(tmp_path: Path) -> None:
    options = options_of(2, augment=EVERYTHING)
    source = source_of(tmp_path, some_images(2, [(13, 12), (16, 17)]), options)
    fitted, rows = fit(options, source), np.array([0, 1])
    view = fitted.view(source, rows, Draw(3, np.array([5, 6])))
    again = View(view.rows, {name: np.array(array.tolist(), array.dtype) for name, array in view.at.items()})
    torch.testing.assert_close(fitted.batch(source, view).value, fitted.batch(source, again).value, rtol=0, atol=0)
