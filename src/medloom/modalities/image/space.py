"""Places that somebody marked on images, from the units of their files to normalised positions.

Along each axis the outer edges of the first and the last voxel lie at −1 and 1, whatever grid the network sees.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from medloom.errors import DataError, counted, rows_named
from medloom.modalities.image.dense import row_names
from medloom.modalities.image.packing import Grids
from medloom.modalities.image.reading.scan import Scan
from medloom.modality import Marks, Pinned
from medloom.packed import Source


def placed(scan: Scan) -> Float[np.ndarray, "4 more"]:
    """Normalised position (with a 1) → mm in the space of the file; three rows of space whatever the axes."""
    axes, size = list(scan.axes), np.array(scan.raw_shape or scan.values.shape[1:])
    linear = scan.affine[:3, axes] * (size / 2)
    shift = scan.affine[:3, 3] + scan.affine[:3, axes] @ ((size - 1) / 2)
    return np.vstack([np.column_stack([linear, shift]), [0.0] * len(axes) + [1.0]])


def pin(source: Source, marks: Marks) -> Pinned:
    """Places `[points, axes]` of each row as normalised positions: mm (RAS) of volumes, pixels from 0 of pictures.

    Rows without an image have none. Raises DataError where places have other axes than their image, where a volume does
    not tell where it lies, and where places lie beyond their image.
    """
    dims, grids = int(source.packed.meta["dims"]), Grids(source.packed)
    rows = np.flatnonzero(marks.present & (source.unit > 0)).tolist()
    most = max((len(marks.values[row]) for row in rows), default=0)
    place = np.full((len(source.unit), most, dims), np.nan)
    step = np.full((len(source.unit), dims, dims), np.nan)
    wrong: dict[str, list[str]] = {}
    for row in rows:
        scan, points = grids.scan(int(source.unit[row])), np.asarray(marks.values[row], np.float64)
        reason = _unfit(scan, points, dims)
        if reason is None:
            to_units = _of_pixels(scan) if dims == 2 else placed(scan)
            step[row] = to_units[:dims, :dims]
            found = np.linalg.solve(step[row], (points - to_units[:dims, -1]).T).T
            place[row, : len(points)] = found
            beyond = int((np.abs(found).max(axis=1) > 1).sum())
            reason = f"have {beyond} of {counted(len(points), 'point')} beyond the image" if beyond else None
        if reason is not None:
            wrong.setdefault(reason, []).append(row_names(source)[row])
    if wrong:
        unit = "mm (RAS)" if dims == 3 else "pixels from 0"
        told = [
            f"landmarks of {counted(len(rows), 'row')} {reason} ({rows_named(rows)})" for reason, rows in wrong.items()
        ]
        raise DataError("\n".join(f"{one}; expected places in {unit}, within the image of their row" for one in told))
    return Pinned(place, step)


def _unfit(scan: Scan, points: Float[np.ndarray, "points axes"], dims: int) -> str | None:
    if points.shape[1] != dims:
        found, expected = ("x, y, z", "row, column") if dims == 2 else ("row, column", "x, y, z")
        return f"have the columns {found} where the image has {expected}"
    if dims == 3 and not scan.placed:
        return "lie on an image whose file does not tell where it lies in space"
    return None


def _of_pixels(scan: Scan) -> Float[np.ndarray, "3 3"]:
    """Normalised position (with a 1) → row and column of the file, from 0."""
    size = np.array(scan.raw_shape)
    return np.vstack([np.column_stack([np.diag(size / 2), (size - 1) / 2]), [0.0, 0.0, 1.0]])
