"""How far apart two borders lie, in mm, and how long a shape is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float


def border_distances(
    answer: Bool[np.ndarray, "*spatial"], truth: Bool[np.ndarray, "*spatial"], spacing_mm: Sequence[float]
) -> tuple[Float[np.ndarray, " answer"], Float[np.ndarray, " truth"]]:
    """From each border voxel of the answer to the nearest of the truth, and the other way round; none may be empty.

    Border voxels are those of a mask with a neighbour, along an axis, that is not of it; beyond the image nothing is.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    box = _box(answer | truth)
    borders = [mask[box] & ~binary_erosion(mask[box]) for mask in (answer, truth)]
    away = [distance_transform_edt(~border, sampling=spacing_mm) for border in borders]
    return away[1][borders[0]], away[0][borders[1]]


def _box(mask: Bool[np.ndarray, "*spatial"]) -> tuple[slice, ...]:
    """The smallest part of the image that holds a mask."""
    found = []
    for axis in range(mask.ndim):
        places = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        found.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(found)


def surface_figures(
    answer: Bool[np.ndarray, "*spatial"],
    truth: Bool[np.ndarray, "*spatial"],
    spacing_mm: Sequence[float],
    tolerance_mm: float,
) -> tuple[float, float]:
    """HD95 in mm and the normalised surface distance, NaN both where neither mask has a voxel.

    Where only one has, HD95 is the diagonal of the image, which nothing can exceed, and the surface distance 0: a case
    that was missed altogether must not count as if it were not there.
    Source: Huttenlocher et al., "Comparing images using the Hausdorff distance", PAMI 15, 1993 (the larger of the two
    directed 95th percentiles); Nikolov et al., "Clinically applicable segmentation of head and neck anatomy", JMIR 23,
    2021 (share of both borders within the tolerance of the other).
    """
    if not answer.any() and not truth.any():
        return float("nan"), float("nan")
    if not answer.any() or not truth.any():
        return float(np.linalg.norm(np.array(answer.shape) * np.array(spacing_mm))), 0.0
    one, other = border_distances(answer, truth, spacing_mm)
    within = int((one <= tolerance_mm).sum()) + int((other <= tolerance_mm).sum())
    return float(max(np.percentile(one, 95), np.percentile(other, 95))), within / (len(one) + len(other))


def longest_mm(mask: Bool[np.ndarray, "*spatial"], spacing_mm: Sequence[float]) -> float:
    """The largest distance between the centres of two voxels of a mask; 0 for one voxel or none."""
    if not mask.any():
        return 0.0
    box = mask[_box(mask)]
    kept = box.copy()
    for axis in range(mask.ndim):
        # Of voxels on one line only the first and the last can lie farthest from any other.
        line = np.moveaxis(box, axis, 0)
        ends = np.zeros_like(line)
        any_ = np.asarray(line.any(axis=0))
        for place in (line.argmax(axis=0), len(line) - 1 - line[::-1].argmax(axis=0)):
            np.put_along_axis(ends, place[None], any_[None] | np.take_along_axis(ends, place[None], 0), 0)
        kept &= np.moveaxis(ends, 0, axis)
    points = np.argwhere(kept) * np.array(spacing_mm)
    longest = 0.0
    for start in range(0, len(points), 256):
        away = points[start : start + 256, None] - points[None]
        longest = max(longest, float(np.sqrt((away**2).sum(axis=2)).max()))
    return longest
