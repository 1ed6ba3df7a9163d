"""One decoded file, and why a file cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

MOST_VOXELS = 2**28
"""Declared voxels beyond which a file is refused before it is decoded."""
NO_FILE, PNG, NIFTI, PICTURE, NUMPY, ITK, DICOM = 0, 1, 2, 3, 4, 5, 6
"""Kinds of file, as they are stored with each unit."""
FORMAT_NAMES = ("none", "PNG", "NIfTI", "JPEG or TIFF", "NumPy", "NRRD or MetaImage", "DICOM")
FLAT = (PNG, PICTURE, NUMPY)
"""Kinds that say nothing about where in space they lie."""
FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM and ITK count towards the patient's left and back (LPS), NIfTI towards the right and front (RAS)."""


class Refused(Exception):
    """Why one file cannot be used, as words that fit after "N files": "are truncated". Never holds a path.

    `series` is the SeriesInstanceUID of a broken image in DICOM, which its series now lacks; None for all else.
    """

    def __init__(self, words: str, series: str | None = None) -> None:
        super().__init__(words)
        self.series = series


@dataclass(frozen=True, slots=True)
class Wish:
    """How files are to be read: what `ImageOptions` says of it, or what a mask on such an image asks for.

    `channels` 0 takes grey and colour as they come; `window` is the lowest and the highest intensity that is kept; `spacing_mm` or `size` name another grid.
    """

    dims: int
    channels: int = 1
    what: Literal["image", "mask"] = "image"
    colour: Literal["refuse", "grey"] = "refuse"
    gaps: Literal["refuse", "interpolate"] = "refuse"
    window: tuple[float, float] | None = None
    spacing_mm: tuple[float, ...] | None = None
    size: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """One decoded file: `values` with channels first, and the geometry that a mask on it must share.

    `file_shape` is the grid as the file has it, before a single slice is squeezed, `affine` where its voxels lie
    (RAS, mm); `codes` are NIfTI's qform code, sform code and units. `placed` says that the file tells where in space it
    lies, `sized` that it tells the spacing of its voxels. `raw_shape` is the grid of one channel before it was resampled.
    """

    values: Shaped[np.ndarray, "channels *spatial"]
    format: int
    file_shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]
    codes: tuple[int, int, int] = (0, 0, 0)
    placed: bool = False
    sized: bool = False
    raw_shape: tuple[int, ...] = ()

    @property
    def spacing_mm(self) -> Float[np.ndarray, " 3"]:
        """Distance of neighbouring voxels along each axis of `file_shape`."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def raw_spacing_mm(self) -> tuple[float, ...] | None:
        """Distance of neighbouring voxels along each axis of the file's grid, less a single slice; None where untold."""
        return tuple(self.spacing_mm[list(self.axes)].tolist()) if self.sized else None

    @property
    def axes(self) -> tuple[int, ...]:
        """Which axes of `file_shape` those of `values` are: all, or without the last single one."""
        if self.values.ndim == 4:
            return (0, 1, 2)
        single = [axis for axis in range(3) if self.file_shape[axis] == 1][-1]
        return tuple(axis for axis in range(3) if axis != single)


def check_spacing(affine: Float[np.ndarray, "4 4"]) -> None:
    """Raises Refused where an affine leaves no room between voxels."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or spacing.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise Refused("have a spacing of zero or axes that coincide; correct the header from the source")
