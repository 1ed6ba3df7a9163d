"""Views that look through a lattice: images between their voxels, laid masks at the nearest one, both at the same places."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Num, Shaped
from torch import Tensor
from torch.nn import functional as F

from medloom.modalities.image.augment import basis

SLAB = 2**15
"""Voxels of a view that are worked on at a time: what is in between then stays in the processor's cache."""


@lru_cache(maxsize=64)
def _basis(side: int, cells: int) -> Float[Tensor, "side points"]:
    return torch.from_numpy(basis(side, cells).astype(np.float32))


def spread(lattice: Float[Tensor, "parts *points"], patch: Sequence[int]) -> Float[Tensor, "parts *patch"]:
    """The values of control points over all voxels of a view, smooth between them."""
    return _along_first(_across(lattice, patch), patch, 0, patch[0])


def _across(lattice: Float[Tensor, "parts *points"], patch: Sequence[int]) -> Float[Tensor, "parts points across"]:
    """Spread along all axes but the first."""
    out = lattice
    for axis in range(len(patch), 1, -1):
        weights = _basis(patch[axis - 1], lattice.shape[1] - 3)
        out = (out.transpose(axis, -1) @ weights.T).transpose(axis, -1)
    return out.flatten(2)


def _along_first(
    across: Float[Tensor, "parts points across"], patch: Sequence[int], start: int, stop: int
) -> Float[Tensor, "parts *slab"]:
    """Spread along the first axis too, over some of its voxels."""
    weights = _basis(patch[0], across.shape[1] - 3)[start:stop]
    return (weights @ across).view(len(across), stop - start, *patch[1:])


def warped(
    grid: Shaped[np.ndarray, "channels *spatial"],
    lattice: Float[np.ndarray, "dims *points"],
    out: Num[np.ndarray, "channels *patch"],
    seen: Bool[np.ndarray, "*patch"],
) -> None:
    """Fills `out` with what the view sees of the grid, and `seen` with where that lies within it. Elsewhere `out` stays.

    Real numbers are interpolated between voxels, whole ones (class ids) taken from the nearest. Beyond the centres of
    the outermost voxels these go on, for half a voxel.
    """
    if not grid.size:
        return
    patch = out.shape[1:]
    # Places relative to the lattice's middle, so that single precision keeps them in large images too.
    start = np.floor(lattice.reshape(len(lattice), -1).mean(1))
    relative = lattice - start.reshape(-1, *[1] * (lattice.ndim - 1))
    across = _across(torch.from_numpy(relative.astype(np.float32)), patch)
    step = max(1, SLAB // max(1, int(np.prod(patch[1:]))))
    for first in range(0, patch[0], step):
        last = min(first + step, patch[0])
        _slab(grid, _along_first(across, patch, first, last), start, out[:, first:last], seen[first:last])


def _slab(
    grid: Shaped[np.ndarray, "channels *spatial"],
    place: Float[Tensor, "dims *slab"],
    start: Float[np.ndarray, " dims"],
    out: Num[np.ndarray, "channels *slab"],
    seen: Bool[np.ndarray, "*slab"],
) -> None:
    """Some slices of a view. `place` counts from `start`, and is used up."""
    inside, box = np.ones(seen.shape, bool), []
    for axis, size in enumerate(grid.shape[1:]):
        along, first = place[axis], -float(start[axis])
        least, most = (float(end) for end in torch.aminmax(along))
        if least < first or most > first + size - 1:
            # By numpy, which compares with vector instructions; torch takes several times as long.
            values = along.numpy()
            inside &= values >= first - 0.5
            inside &= values <= first + size - 0.5
            along.clamp_(first, first + size - 1)
            least, most = (min(max(end, first), first + size - 1) for end in (least, most))
        low = int(np.floor(least - first))
        box.append(slice(low, min(int(np.floor(most - first)) + 2, size)))
        along.sub_(low + first)
    voxels = torch.from_numpy(np.ascontiguousarray(grid[(slice(None), *box)], np.float32))
    sampled = (_nearest(voxels, place) if out.dtype.kind in "iu" else _between(voxels, place)).numpy()
    seen[...] = inside
    np.copyto(out, sampled, where=inside, casting="unsafe")


def _between(
    box: Float[Tensor, "channels *spatial"], place: Float[Tensor, "dims *slab"]
) -> Float[Tensor, "channels *slab"]:
    """Linear interpolation. Of volumes between two interpolations within a slice, which is several times faster.

    torch samples pictures with vector instructions and volumes without: slices lie below one another in one picture.
    """
    if len(place) == 2:
        return _sampled(box, place.flip(0), "bilinear")
    slices, rows = box.shape[1:3]
    below = place[0].floor().clamp_(max=max(slices - 2, 0))
    stacked, share = box.flatten(1, 2), place[0].sub_(below)
    at = torch.stack([place[2], place[1].add_(below, alpha=rows)])
    one = _sampled(stacked, at.clone(), "bilinear")
    if slices == 1:
        return one
    at[1].add_(rows)
    return one.lerp_(_sampled(stacked, at, "bilinear"), share)


def _nearest(
    box: Float[Tensor, "channels *spatial"], place: Float[Tensor, "dims *slab"]
) -> Float[Tensor, "channels *slab"]:
    whole = place.round_()
    if len(place) == 2:
        return _sampled(box, whole.flip(0), "nearest")
    row = whole[1].add_(whole[0], alpha=box.shape[2])
    return _sampled(box.flatten(1, 2), torch.stack([whole[2], row]), "nearest")


def _sampled(
    picture: Float[Tensor, "channels rows columns"], place: Float[Tensor, "2 *slab"], mode: str
) -> Float[Tensor, "channels *slab"]:
    """A picture at these places, columns first, which lie within it. Uses `place` up."""
    for axis in (0, 1):
        place[axis].mul_(2 / max(picture.shape[2 - axis] - 1, 1)).sub_(1)
    # Columns lie together in memory, and so do rows, which torch reads faster than pairs of them.
    grid = place.view(2, place.shape[1], -1).permute(1, 2, 0)[None]
    found = F.grid_sample(picture[None], grid, mode=mode, padding_mode="border", align_corners=True)
    return found.view(len(picture), *place.shape[1:])
