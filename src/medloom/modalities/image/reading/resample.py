"""Images on a grid of another size over the same extent, axis by axis, and back again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Num, Shaped


def target_shape(
    shape: Sequence[int],
    spacing: Sequence[float] | None,
    spacing_mm: Sequence[float] | None,
    size: Sequence[int] | None,
) -> tuple[int, ...]:
    """The grid that is asked for, for a raw grid of `shape` with voxels of `spacing` mm."""
    if size is not None:
        return tuple(size)
    if spacing_mm is None or spacing is None:
        return tuple(shape)
    return tuple(max(1, round(n * s / t)) for n, s, t in zip(shape, spacing, spacing_mm, strict=True))


def linear(
    values: Num[np.ndarray, "channels *spatial"], shape: Sequence[int], rounded: bool = False
) -> Num[np.ndarray, "channels *resampled"]:
    """Linear interpolation; towards fewer voxels its mean over the new ones, so that nothing is skipped.

    The edges of both grids coincide, and so do the centres where sizes are equal. `rounded` keeps the type of whole
    numbers.
    """
    out = values
    for axis, size in enumerate(shape, start=1):
        if out.shape[axis] != size:
            weights = _weights(out.shape[axis], size)
            moved = np.tensordot(weights, out.astype(np.float32, copy=False), axes=(1, axis))
            out = np.moveaxis(moved, 0, axis)
    if out is values:
        return values
    if rounded and values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        return np.ascontiguousarray(out.round().clip(limits.min, limits.max).astype(values.dtype))
    return np.ascontiguousarray(out)


def linear_slab(
    values: Float[np.ndarray, "channels *spatial"], shape: Sequence[int], first: int, last: int
) -> Float[np.ndarray, "channels *slab"]:
    """The part `first:last` along the first axis of what `linear` gives for this shape, at the cost of that part."""
    out = values
    if out.shape[1] == shape[0]:
        out = out[:, first:last]
    else:
        weights = _weights(out.shape[1], shape[0])[first:last]
        used = np.flatnonzero(weights.any(axis=0))
        near = slice(int(used[0]), int(used[-1]) + 1)
        out = np.moveaxis(np.tensordot(weights[:, near], out[:, near], axes=(1, 1)), 0, 1)
    return linear(out, (out.shape[1], *shape[1:]))


def nearest(
    values: Shaped[np.ndarray, "channels *spatial"], shape: Sequence[int]
) -> Shaped[np.ndarray, "channels *resampled"]:
    """The value of the voxel in which each new centre lies: for masks, whose labels must not be mixed."""
    out = values
    for axis, size in enumerate(shape, start=1):
        if out.shape[axis] != size:
            place = ((np.arange(size) + 0.5) * out.shape[axis] / size).astype(np.int64)
            out = out.take(place, axis=axis)
    return np.ascontiguousarray(out)


@lru_cache(maxsize=64)
def _weights(raw: int, size: int) -> Float[np.ndarray, "new raw"]:
    """Weights of the raw voxels in each new one; beyond the border the last voxel goes on.

    The line between raw voxels, taken at each new centre; of larger voxels its mean over what they are wider. Both
    keep a steady rise as it is.
    """
    step = raw / size
    centre = (np.arange(size) + 0.5) * step - 0.5
    wider = max(step - 1.0, 0.0)
    weights = np.zeros((size, raw))
    reach = int(np.ceil(1 + wider / 2))
    for offset in range(-reach, reach + 1):
        place = np.floor(centre).astype(np.int64) + offset
        away = centre - place
        if wider > 1e-6:
            share = (_below(away + wider / 2) - _below(away - wider / 2)) / wider
        else:
            share = np.maximum(0.0, 1 - np.abs(away))
        np.add.at(weights, (np.arange(size), place.clip(0, raw - 1)), share)
    weights /= weights.sum(axis=1, keepdims=True)
    out = weights.astype(np.float32)
    out.flags.writeable = False
    return out


def _below(place: Float[np.ndarray, " places"]) -> Float[np.ndarray, " places"]:
    """How much of a triangle of width 2 around 0 lies below each place."""
    inner = place.clip(-1, 1)
    return np.where(inner < 0, (inner + 1) ** 2 / 2, 1 - (1 - inner) ** 2 / 2)
