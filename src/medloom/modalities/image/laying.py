"""Masks on the grids of their images: turned and mirrored where a file counts its axes another way, never resampled."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from medloom.modalities.image.reading.scan import DICOM, FLAT, FORMAT_NAMES, Refused, Scan

AFFINE_TOLERANCE = 0.05
"""Distance, in the image's smallest voxel spacing, by which no corner of a mask may be off its image."""
SHAPE = "have another shape than their images; draw or resample the masks on the grid of the images"
PLACE = "lie elsewhere in space than their images (the affines differ); resample the masks on the grid of the images"


def on_grid(mask: Scan, image: Scan, dims: int) -> Int[np.ndarray, "1 *spatial"]:
    """The labels of a mask on the raw grid of its image. Raises Refused where the geometries differ."""
    if mask.placed and image.placed:
        return _turned(mask, image)
    by_rows = [one.format in FLAT or (one.format == DICOM and dims == 2) for one in (mask, image)]
    same = mask.format == image.format or all(by_rows)
    if not same or (mask.placed != image.placed and not all(by_rows)):
        found, expected = FORMAT_NAMES[mask.format], FORMAT_NAMES[image.format]
        raise Refused(f"are {found} on images that are {expected}; give masks in the format of their images")
    if mask.file_shape != image.file_shape:
        raise Refused(SHAPE)
    return mask.values


def _turned(mask: Scan, image: Scan) -> Int[np.ndarray, "1 *spatial"]:
    """Both lie in space: each axis of the mask is one of the image's, in the same or in the other direction."""
    directions = (image.affine[:3, :3] / image.spacing_mm).T @ (mask.affine[:3, :3] / mask.spacing_mm)
    axis = np.abs(directions).argmax(axis=0)
    if len(set(axis.tolist())) < 3:
        raise Refused(PLACE)
    order = np.argsort(axis)
    if tuple(mask.file_shape[place] for place in order) != image.file_shape:
        raise Refused(SHAPE)
    turned = mask.values.reshape(mask.file_shape).transpose(order)
    mirrored = directions[axis, np.arange(3)][order] < 0
    # Corners of the image's grid as the mask has them, and as the image has them.
    shape = np.array(image.file_shape)
    corners = np.array(np.meshgrid(*([0, size - 1] for size in shape), indexing="ij")).reshape(3, -1)
    own = np.empty(corners.shape)
    own[order] = np.where(mirrored[:, None], shape[:, None] - 1 - corners, corners)
    off = _placed(mask.affine, own) - _placed(image.affine, corners)
    if np.linalg.norm(off, axis=0).max() > AFFINE_TOLERANCE * image.spacing_mm.min():
        raise Refused(PLACE)
    turned = turned[tuple(slice(None, None, -1 if flip else 1) for flip in mirrored)]
    return np.ascontiguousarray(turned).reshape(1, *image.raw_shape)


def _placed(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ index + affine[:3, 3:]
