"""Parts of a view of an image: boxes that are covered, blocks that are ranked, and what stands in their place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from medloom.batch import Field

BOXES = {2: (4, 8), 3: (4, 4)}
"""By axes: a covered box is the side of a view over the first, the next one begins that side over the second later."""
BLOCKS = {2: 8, 3: 4}
"""Blocks along each axis that are ranked and taken out."""


def flat(field: Field, dims: int) -> Float[Tensor, "views ..."]:
    """The images of a field without anything to see: each channel at its own mean over the voxels that are data.

    Of the images that are near a real one it is the plainest. A blurred image, which is nearer still, keeps what is coarse:
    a bright spot stays bright, and maps miss it (docs/adr/0039). What has just this brightness cannot count. Source:
    Sturmfels, Lundberg & Lee, "Visualizing the impact of feature attribution baselines", Distill 2020.
    """
    value = field.value.float()
    valid = torch.ones_like(value.narrow(-dims - 1, 0, 1))
    if field.valid is not None:
        valid = field.valid.unsqueeze(-dims - 1).to(value.dtype)
    over = tuple(range(value.ndim - dims, value.ndim))
    mean = (value * valid).sum(over, keepdim=True) / valid.sum(over, keepdim=True).clamp_min(1.0)
    return mean * valid


def boxes(patch: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Overlapping boxes that together cover a view."""
    part, step = BOXES[len(patch)]
    along = []
    for side in patch:
        size, stride = max(1, -(-side // part)), max(1, side // step)
        starts = sorted({*range(0, max(1, side - size + 1), stride), side - size})
        along.append([slice(start, start + size) for start in starts])
    yield from product(*along)


@lru_cache(maxsize=8)
def block_of(patch: tuple[int, ...]) -> Int[np.ndarray, "*patch"]:
    """The number of the block that each voxel of a view is in."""
    each = [np.arange(side) * min(BLOCKS[len(patch)], side) // side for side in patch]
    number = np.zeros((), np.int64)
    for places in each:
        number = number[..., None] * (places[-1] + 1) + places
    number.flags.writeable = False
    return number


def block_means(
    values: Float[np.ndarray, "views ..."], valid: Shaped[np.ndarray, "views ..."], dims: int
) -> Float[np.ndarray, "views blocks"]:
    """The mean over the valid voxels of each block, NaN where it has none; of a bag, the blocks of all its images."""
    patch = values.shape[-dims:]
    number = block_of(patch).reshape(-1)
    count = int(number[-1]) + 1
    lines, there = values.reshape(-1, number.size), valid.reshape(-1, number.size)
    place = (np.arange(len(lines))[:, None] * count + number).reshape(-1)
    weight = np.bincount(place, there.reshape(-1).astype(np.float64), len(lines) * count)
    total = np.bincount(place, (lines * there).reshape(-1).astype(np.float64), len(lines) * count)
    mean = np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)
    return mean.reshape(len(values), -1)


def of_blocks(
    chosen: Shaped[np.ndarray, "views blocks"], shape: tuple[int, ...], dims: int
) -> Shaped[np.ndarray, "views ..."]:
    """Values of blocks at each voxel, "views [images] *patch"; `shape` is that of the voxels without the views."""
    number = block_of(shape[-dims:])
    each = chosen.reshape(len(chosen), *shape[:-dims], -1)
    return each[..., number]
