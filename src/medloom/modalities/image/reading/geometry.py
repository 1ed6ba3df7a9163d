"""Where the voxels of a stack of slices lie in the patient, for stacks that are reversed, gapped, oblique or tilted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from medloom.modalities.image.reading.scan import FROM_RAS, Refused

ABOUT_MM = 0.02
ABOUT_SHARE = 0.02
"""How far a slice may lie from its even place: this distance, or this share of the distance between slices."""
TILT_DEGREES = 0.5


@dataclass(frozen=True, slots=True)
class Geometry:
    """A stack of equal slices in the patient's coordinates (LPS: towards left, back and head; mm).

    `row_axis` points along a row (towards higher columns), `column_axis` down a column; `spacing_mm` is the distance
    of neighbouring rows, then of neighbouring columns, as DICOM's PixelSpacing has it. `origins` are the centres of the
    first voxel of each slice, in rising order along the normal. `uids` and `frames` name the object, and its frame
    (from 1), that each slice came from.
    Source: DICOM PS3.3, C.7.6.2.1.1 (equation C.7.6.2.1-1).
    """

    row_axis: Float[np.ndarray, " 3"]
    column_axis: Float[np.ndarray, " 3"]
    spacing_mm: tuple[float, float]
    origins: Float[np.ndarray, "slices 3"]
    thickness_mm: float | None = None
    frame_of_reference: str = ""
    uids: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()

    @property
    def normal(self) -> Float[np.ndarray, " 3"]:
        """Unit vector across the slices."""
        return np.cross(self.row_axis, self.column_axis)

    @property
    def heights_mm(self) -> Float[np.ndarray, " slices"]:
        """Place of each slice along the normal."""
        return self.origins @ self.normal

    def positions(self, index: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 3"]:
        """Patient positions (LPS, mm) of voxels given as column, row and slice, of which the slice is whole.

        Exact for uneven stacks too: every slice has its own origin.
        """
        column, row, place = index[:, 0], index[:, 1], index[:, 2].astype(np.int64)
        along = column[:, None] * self.row_axis * self.spacing_mm[1]
        return self.origins[place] + along + row[:, None] * self.column_axis * self.spacing_mm[0]

    @property
    def step(self) -> Float[np.ndarray, " 3"]:
        """From one slice to the next, for an even stack; of one slice its thickness. Raises Refused without either."""
        if len(self.origins) > 1:
            return (self.origins[-1] - self.origins[0]) / (len(self.origins) - 1)
        if not self.thickness_mm:
            raise Refused("are one slice without a thickness; set dims = 2, or give whole series")
        return self.normal * self.thickness_mm

    @property
    def even(self) -> bool:
        """Whether all slices lie at even distances on one line."""
        count = len(self.origins)
        if count < 3:
            return True
        off = self.origins - (self.origins[0] + np.arange(count)[:, None] * self.step)
        return bool(np.linalg.norm(off, axis=1).max() <= max(ABOUT_MM, ABOUT_SHARE * np.linalg.norm(self.step)))

    @property
    def straight(self) -> bool:
        """Whether all slices lie on one line, at whatever distances."""
        heights = self.heights_mm - self.heights_mm[0]
        if len(heights) < 3:
            return True
        line = (self.origins[-1] - self.origins[0]) / heights[-1]
        off = self.origins - (self.origins[0] + heights[:, None] * line)
        return bool(np.linalg.norm(off, axis=1).max() <= max(ABOUT_MM, ABOUT_SHARE * np.diff(heights).max()))

    @property
    def usual_gap_mm(self) -> float:
        """Distance along which most neighbouring slices follow one another, whatever is missing or there twice."""
        steps, line = np.diff(self.heights_mm), self.step
        steps = steps[steps > ABOUT_MM / 2]
        if not len(steps):
            return float(np.linalg.norm(line))
        return float(np.median(steps) * np.linalg.norm(line) / abs(line @ self.normal))

    @property
    def missing(self) -> int | None:
        """Slices that gaps of whole steps leave out; None where distances are uneven in another way."""
        steps = np.diff(self.heights_mm)
        if len(steps) < 2:
            return 0
        least = float(np.median(steps[steps <= 1.25 * steps.min()]))
        times = np.round(steps / least)
        if np.abs(steps - times * least).max() > max(ABOUT_MM, 2.5 * ABOUT_SHARE * least):
            return None
        return int((times - 1).sum())

    @property
    def tilt_degrees(self) -> float:
        """Angle between the line through the slices and their normal: a tilted gantry; 0 for one slice."""
        line = self.origins[-1] - self.origins[0]
        length = float(np.linalg.norm(line))
        return float(np.degrees(np.arccos(np.clip(line @ self.normal / length, -1, 1)))) if length > 0 else 0.0

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """From (column, row, slice) to the patient in NIfTI's sense (RAS, mm), sheared where the gantry was tilted."""
        matrix = np.eye(4)
        matrix[:3, 0] = self.row_axis * self.spacing_mm[1]
        matrix[:3, 1] = self.column_axis * self.spacing_mm[0]
        matrix[:3, 2] = self.step
        matrix[:3, 3] = self.origins[0]
        return FROM_RAS @ matrix


def of_planes(
    positions: Float[np.ndarray, "slices 3"],
    orientation: Float[np.ndarray, " 6"],
    spacing_mm: tuple[float, float],
    thickness_mm: float | None = None,
) -> tuple[Geometry, np.ndarray]:
    """The geometry of slices in any order, and the order that sorts them along their normal. Raises Refused."""
    row_axis, column_axis = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row_axis), np.linalg.norm(column_axis)
    if not np.isfinite(orientation).all() or not np.isfinite(positions).all() or min(lengths) < 1e-6:
        raise Refused("have a position or an orientation that is not a finite number")
    row_axis, column_axis = row_axis / lengths[0], column_axis / lengths[1]
    if abs(row_axis @ column_axis) > 0.01 or max(abs(length - 1) for length in lengths) > 0.01:
        raise Refused("have an ImageOrientationPatient whose axes are no unit vectors at right angles")
    if not min(spacing_mm) > 0 or not np.isfinite(spacing_mm).all():
        raise Refused("have a pixel spacing of zero; correct the header from the source")
    order = np.argsort(positions @ np.cross(row_axis, column_axis), kind="stable")
    return Geometry(row_axis, column_axis, spacing_mm, positions[order], thickness_mm), order


def plane_word(normal: Float[np.ndarray, " 3"]) -> str:
    """How slices lie in the body, within 15°."""
    axis = int(np.abs(normal).argmax())
    if abs(normal[axis]) < np.cos(np.radians(15)):
        return "oblique"
    return ("sagittal", "coronal", "axial")[axis]
