"""How each training view is altered: numbers that are a function of the draw and the row, put beside its corner.

`at["lattice"]` says where a view looks: for the points of a coarse grid over it, the voxel of the image that is seen
there, with corner, mirror, affine map and bending in one. Between the points it is a cubic B-spline, which keeps an affine
map exactly. `at["moved"]` is false for views that are plain crops.
Source: Rueckert et al., "Nonrigid registration using free-form deformations: application to breast MR images", IEEE
Transactions on Medical Imaging 18, 1999.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.draw import Draw
from medloom.modalities.image.augment_part import AugmentPart
from medloom.modality import View

FIELD_CELLS = 2
"""Cells of the coarse grid of a bias field along each axis."""


class Shares:
    """Uniform numbers between -1 and 1 for each row: 0 where a transform is not done to it."""

    def __init__(self, draw: Draw, rows: Int[np.ndarray, " views"], share: float) -> None:
        self._draw, self._rows, self._share = draw, rows, share

    def done(self, name: str) -> Bool[np.ndarray, " views"]:
        """Whether the transform of this name is done to each row."""
        return self._draw.uniform(f"image.{name}.done", self._rows) < self._share

    def signed(self, name: str, *shape: int) -> Float[np.ndarray, "views ..."]:
        """An array of `shape` for each row."""
        uniform = 2 * self._draw.uniform(f"image.{name}", self._rows, *shape) - 1
        return uniform * self.done(name).reshape(-1, *[1] * len(shape))


def altered_view(
    view: View,
    part: AugmentPart,
    patch: tuple[int, ...],
    spacing: Float[np.ndarray, "views dims"],
    draw: Draw,
) -> View:
    """The view with everything that `part` asks for drawn for each of its rows. `spacing` is in mm, or all 1."""
    shares = Shares(draw, view.rows, part.share)
    at = {**view.at, **_painting(part, shares, len(patch), view.rows, draw)}
    if part.moves:
        at |= _moving(view, part, patch, spacing, shares)
    return View(view.rows, at)


def _moving(
    view: View, part: AugmentPart, patch: tuple[int, ...], spacing: Float[np.ndarray, "views dims"], shares: Shares
) -> dict[str, np.ndarray]:
    dims, count = len(patch), len(view.rows)
    side = np.array(patch, float)
    matrix = _turned(part, dims, shares) / spacing[:, :, None] * spacing[:, None, :]
    box = np.ones((count, dims))
    if part.crop < 1:
        done = shares.done("crop")[:, None]
        size = shares.signed("crop", dims) * 0.5 + 0.5
        box = np.where(done, part.crop + (1 - part.crop) * size, 1.0)
    middle = view.at["corner"] + (side - 1) / 2
    middle = middle + shares.signed("crop.place", dims) * (1 - box) * side / 2
    middle = middle + shares.signed("translate", dims) * part.translate_mm / spacing
    cells = part.elastic_cells if part.elastic else 1
    bend = np.zeros((count, dims, *[cells + 3] * dims))
    if part.elastic:
        step = (np.maximum(side - 1, 1) / cells).reshape(1, dims, *[1] * dims)
        bend = shares.signed("elastic", *bend.shape[1:]) * part.elastic * step
    scaled = matrix * (box * np.where(view.at["flip"], -1, 1))[:, None, :]
    control = np.stack(np.meshgrid(*[points(n, cells) for n in patch], indexing="ij"))
    offset = control - ((side - 1) / 2).reshape(dims, *[1] * dims) + bend
    lattice = np.einsum("vab,vb...->va...", scaled, offset) + middle.reshape(count, dims, *[1] * dims)
    identity = (scaled == np.where(view.at["flip"], -1.0, 1.0)[:, None, :] * np.eye(dims)).all((1, 2))
    plain = identity & (middle == view.at["corner"] + (side - 1) / 2).all(1) & (bend.reshape(count, -1) == 0).all(1)
    return {"lattice": lattice, "moved": ~plain}


def _turned(part: AugmentPart, dims: int, shares: Shares) -> Float[np.ndarray, "views dims dims"]:
    """Rotation, shear and scale in mm, from a view to its image."""
    limits = np.radians(np.array(part.angles(dims)))
    angles = shares.signed("rotate", len(limits)) * limits
    out = np.broadcast_to(np.eye(dims), (len(angles), dims, dims)).copy()
    for place, (first, second) in enumerate([(0, 1)] if dims == 2 else [(1, 2), (2, 0), (0, 1)]):
        turn = np.broadcast_to(np.eye(dims), out.shape).copy()
        turn[:, first, first] = turn[:, second, second] = np.cos(angles[:, place])
        turn[:, first, second], turn[:, second, first] = -np.sin(angles[:, place]), np.sin(angles[:, place])
        out = out @ turn
    sheared = shares.signed("shear", dims, dims) * np.radians(part.shear_degrees)
    shear = np.triu(np.tan(sheared), 1) + np.eye(dims)
    factor = np.exp(shares.signed("scale") * np.log1p(part.scale))
    return (out @ shear) * factor[:, None, None]


def _painting(
    part: AugmentPart, shares: Shares, dims: int, rows: Int[np.ndarray, " views"], draw: Draw
) -> dict[str, np.ndarray]:
    """What is done to intensities; nothing stands here for what the study does not ask for."""
    at: dict[str, np.ndarray] = {}
    for name, limit in (("contrast", part.contrast), ("gamma", part.gamma)):
        if limit:
            at[name] = np.exp(shares.signed(name) * np.log1p(limit))
    if part.brightness:
        at["brightness"] = shares.signed("brightness") * part.brightness
    if part.bias:
        at["bias"] = shares.signed("bias", *[FIELD_CELLS + 3] * dims) * np.log1p(part.bias)
    for name, limit in (("blur", part.blur), ("noise", part.noise)):
        if limit:
            at[name] = draw.uniform(f"image.{name}", rows) * shares.done(name) * limit
    if part.noise:
        at["noise_key"] = np.floor(draw.uniform("image.noise.key", rows) * 2.0**32).astype(np.int64)
    return at


def points(side: int, cells: int) -> Float[np.ndarray, " points"]:
    """Where the control points of one axis lie, in voxels of the view: one before it, one behind it, the rest within."""
    return (np.arange(cells + 3) - 1) * max(side - 1, 1) / cells


@lru_cache(maxsize=64)
def basis(side: int, cells: int) -> Float[np.ndarray, "side points"]:
    """The weight of each control point in each voxel along one axis: uniform cubic B-splines."""
    place = np.arange(side) * cells / max(side - 1, 1)
    cell = np.minimum(place.astype(np.int64), cells - 1)
    s = place - cell
    weights = np.stack([(1 - s) ** 3, 3 * s**3 - 6 * s**2 + 4, -3 * s**3 + 3 * s**2 + 3 * s + 1, s**3], 1) / 6
    out = np.zeros((side, cells + 3))
    np.put_along_axis(out, cell[:, None] + np.arange(4), weights, axis=1)
    out.flags.writeable = False
    return out
