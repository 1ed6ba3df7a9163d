"""The coarse pattern of an image in numbers that stay when it is saved anew, resized, turned, mirrored or brightened."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Float, Num

from medloom.modalities.image.reading.resample import linear

GRID = {2: 32, 3: 16}
WAVES = {2: 9, 3: 5}
"""Waves along each axis of the cosine transform that are kept, for images of 2 and of 3 axes."""


def signature(values: Num[np.ndarray, "channels *spatial"]) -> Float[np.ndarray, " features"]:
    """Sizes of cosine waves of the image on a coarse grid, of length 1; zeros where it has no voxels or one value.

    Mirroring changes the signs of waves, turning by 90° their axes: what is kept are absolute values, sorted among the
    axes, so that all turned and mirrored copies have one signature and small changes change it little. Brightness and
    contrast go with the mean and the length.
    """
    dims = values.ndim - 1
    if not values.size:
        return np.zeros(len(_orbits(dims)[1]), np.float32)
    # The coarse grid of all channels is taken first, for most images are far larger.
    coarse = linear(values, (GRID[dims],) * dims).astype(np.float64).mean(axis=0)
    waves = coarse
    for _ in range(dims):
        waves = np.tensordot(waves, _cosines(GRID[dims], WAVES[dims]), axes=(0, 1))
    order, orbit = _orbits(dims)
    size = np.abs(waves).reshape(-1)[order]
    size = size[np.lexsort((size, orbit))]
    size[orbit == 0] = 0.0
    length = np.linalg.norm(size)
    scale = float(np.abs(coarse).max())
    return (size / length if length > 1e-6 * max(scale, 1e-12) else size * 0).astype(np.float32)


@lru_cache(maxsize=4)
def _cosines(size: int, waves: int) -> Float[np.ndarray, "waves size"]:
    place = np.pi * (np.arange(size) + 0.5) / size
    return np.cos(np.arange(waves)[:, None] * place) * np.sqrt(2 / size)


@lru_cache(maxsize=2)
def _orbits(dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of waves, those that turns exchange side by side, and the number of each one's group; 0 is the mean."""
    waves = np.array(list(product(range(WAVES[dims]), repeat=dims)))
    group = np.unique(np.sort(waves, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(group, kind="stable")
    return order, group[order]
