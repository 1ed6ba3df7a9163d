"""DICOM files and series as scans: a volume `[x, y, z]` with z along the normal, or a picture `[rows, columns]`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from medloom.errors import counted
from medloom.modalities.image.reading.dicom_header import Header, Plane, read_header
from medloom.modalities.image.reading.dicom_pixels import digest_of, narrow, planes_of
from medloom.modalities.image.reading.geometry import Geometry
from medloom.modalities.image.reading.grids import voxels
from medloom.modalities.image.reading.scan import DICOM, FROM_RAS, Refused, Scan, Wish, check_spacing
from medloom.modalities.image.reading.stacks import Stack, stacks

MOST_FILES = 20_000
"""Files of one series' folder."""
MOST_FILLED = 3
"""Slices in a row that are interpolated where a study asks for it: what lies between slices further apart is unknown."""
SIDE_BY_SIDE = ("DICOMDIR", ".")
"""How files begin that lie beside images and are none."""
BROWSERS_NOTES = ("thumbs.db", "desktop.ini", ".ds_store")
"""Names, in small letters, under which Windows and macOS keep what a folder looks like."""


def read_dicom(path: Path, wish: Wish) -> Scan:
    """One file: a picture, or the volume of a multi-frame file. Raises Refused."""
    return read_stack(only(stacks([read_header(path)], _digest), wish.dims), wish)


def read_series(folder: Path, wish: Wish) -> Scan:
    """The one series in a folder, whatever its files are called. Raises Refused.

    Files without an image (reports, indexes, text) are set apart; a broken image file is not.
    """
    return read_stack(only(stacks(headers(files_in(folder)), _digest), wish.dims), wish)


def read_geometry(path: Path) -> Geometry:
    """Where the voxels of a file, or of the one series in a folder, lie, with the object of each slice. Raises Refused."""
    geometry = series_stack(path).geometry
    assert geometry is not None
    return geometry


def series_stack(path: Path) -> Stack:
    """The one volume in a file or a folder, as it is read: its planes in order, and where they lie. Raises Refused."""
    found = only(stacks(headers(files_in(path) if path.is_dir() else [path]), _digest), 3)
    if found.geometry is None:
        raise Refused("tell no place of their slices in space")
    return found


def files_in(folder: Path) -> list[Path]:
    """All files below a folder, sorted; links are not followed."""
    found = []
    for above, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        found += [Path(above) / name for name in sorted(names) if not (Path(above) / name).is_symlink()]
        if len(found) > MOST_FILES:
            raise Refused(f"hold more than {MOST_FILES} files; ingest them, or give a folder for each series")
    return found


def browsers_note(path: Path) -> bool:
    """Whether a file is a file browser's own, by its name alone: of any size, it is neither empty nor broken."""
    return path.name.lower() in BROWSERS_NOTES or path.name.startswith("._")


def headers(paths: Iterable[Path]) -> list[Header]:
    """The headers of those files that are images. Raises Refused for one that is broken, and where there is none."""
    found, apart = [], set[str]()
    for path in paths:
        if path.name.startswith(SIDE_BY_SIDE) or browsers_note(path):
            continue
        try:
            found.append(read_header(path))
        except Refused as error:
            if error.series is not None or "broken" in str(error):
                raise Refused(f"hold files that {error}") from error
            apart.add(str(error))
    if not found:
        raise Refused("hold no DICOM image" + (f" (files there {sorted(apart)[0]})" if apart else ""))
    return found


def only(found: Sequence[Stack], dims: int) -> Stack:
    """The one stack to read: the only one, or the only one that a scanner or a camera saw for itself. Raises Refused."""
    if len(found) > 1:
        first = [one for one in found if one.kind not in ("localizer", "derived", "dose", "capture")]
        series = len({one.header.series for one in found})
        if len(first) != 1:
            shown = "; ".join(sorted({one.apart for one in found if one.apart})[:4])
            told = f" ({shown})" if shown and series == 1 else ""
            raise Refused(
                f"hold {counted(series, 'series', 'series')} with {counted(len(found), 'image or volume', 'images or volumes')}{told}; give each a folder, or use medloom ingest"
            )
        found = first
    if found[0].kind == "film":
        raise Refused(
            f"are films: they hold {len(found[0].planes)} frames and tell no place of them; save one frame a file"
        )
    if dims == 2 and len(found[0].planes) > 1:
        raise Refused(
            f"hold {counted(len(found[0].planes), 'slice or frame', 'slices or frames')} where dims = 2 is asked for; set dims = 3"
        )
    return found[0]


def read_stack(stack: Stack, wish: Wish) -> Scan:
    """The voxels of a stack, decoded. Raises Refused where it is no volume, unless gaps may be filled."""
    gaps = stack.refused is not None and stack.refused.startswith(("miss ", "have slices at uneven"))
    flat = wish.dims == 2 and len(stack.planes) == 1
    if stack.refused is not None and not flat and not (gaps and wish.gaps == "interpolate"):
        hint = '; set gaps = "interpolate" to fill them from their neighbours' if gaps else ""
        raise Refused(stack.refused + hint)
    if not flat and stack.geometry is None:
        raise Refused("have no ImagePositionPatient, ImageOrientationPatient or PixelSpacing, which a volume needs")
    planes = _pixels(stack.planes)
    if flat:
        return _picture(planes[0], stack, wish)
    assert stack.geometry is not None
    geometry = stack.geometry
    if gaps:
        planes, geometry = filled(planes, geometry)
    if len(planes) > 1:
        check_spacing(geometry.affine)
    grid = voxels(narrow(planes.transpose(3, 2, 1, 0)), wish)
    shape = (grid.shape[1], grid.shape[2], grid.shape[3])
    return Scan(grid, DICOM, shape, geometry.affine, (1, 1, 2), True, True)


def _pixels(planes: Sequence[Plane]) -> Shaped[np.ndarray, "planes rows columns samples"]:
    """The pixels of planes that may lie in many files; each file is decoded once."""
    files: dict[str, list[int]] = defaultdict(list)
    for place, plane in enumerate(planes):
        files[plane.path].append(place)
    parts: dict[int, np.ndarray] = {}
    for path, places in files.items():
        parts.update(zip(places, planes_of(Path(path), [planes[place] for place in places]), strict=True))
    images = [parts[place] for place in range(len(planes))]
    if len({image.shape for image in images}) > 1:
        raise Refused("hold slices of different sizes or colours in one series")
    return np.stack(images)


def _picture(image: Shaped[np.ndarray, "rows columns samples"], stack: Stack, wish: Wish) -> Scan:
    grid = voxels(narrow(np.moveaxis(image, -1, 0)), wish)
    shape = (grid.shape[1], grid.shape[2], 1)
    plane, geometry = stack.planes[0], stack.geometry
    if geometry is not None:
        across = geometry.normal * (plane.thickness_mm or 1.0)
        down, right = geometry.column_axis * geometry.spacing_mm[0], geometry.row_axis * geometry.spacing_mm[1]
        matrix = np.eye(4)
        matrix[:3] = np.stack([down, right, across, geometry.origins[0]], axis=1)
        return Scan(grid, DICOM, shape, FROM_RAS @ matrix, (1, 1, 2), True, True)
    if plane.spacing_mm is None:
        return Scan(grid, DICOM, shape, np.eye(4))
    affine = np.diag([*plane.spacing_mm, 1.0, 1.0])
    check_spacing(affine)
    return Scan(grid, DICOM, shape, affine, sized=True)


def filled(
    planes: Shaped[np.ndarray, "slices rows columns samples"], geometry: Geometry
) -> tuple[Shaped[np.ndarray, "even rows columns samples"], Geometry]:
    """An even stack over the same extent, at the distance that most slices have, each between its two neighbours.

    Raises Refused where so many are missing in a row that nobody knows what lay there.
    """
    from dataclasses import replace

    heights = geometry.heights_mm - geometry.heights_mm[0]
    usual = float(np.median(np.diff(heights)))
    lost = round(float(np.diff(heights).max()) / usual) - 1
    if lost > MOST_FILLED:
        raise Refused(f"miss {lost} slices in a row, and no more than {MOST_FILLED} are filled from their neighbours")
    count = round(heights[-1] / usual) + 1
    wanted = np.linspace(0, heights[-1], count)
    above = np.searchsorted(heights, wanted - 1e-6).clip(1, len(heights) - 1)
    share = ((wanted - heights[above - 1]) / (heights[above] - heights[above - 1]))[:, None, None, None]
    out = (planes[above - 1] * (1 - share) + planes[above] * share).astype(np.float32)
    if planes.dtype.kind in "iu":
        out = out.round().astype(np.int64)
    line = geometry.origins[-1] - geometry.origins[0]
    origins = geometry.origins[0] + line * (wanted / heights[-1])[:, None]
    return out, replace(geometry, origins=origins, uids=(), frames=())


def _digest(plane: Plane) -> str:
    try:
        return digest_of(Path(plane.path), plane)
    except Refused:
        return ""
