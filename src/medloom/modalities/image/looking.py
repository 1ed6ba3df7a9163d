"""What size images have, from their headers alone: nothing is decoded, and only so many files are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medloom import find
from medloom.errors import DataError
from medloom.modalities.image import stored
from medloom.modalities.image.options import ImageOptions
from medloom.modalities.image.packing import read_scans
from medloom.modalities.image.reading import decoding
from medloom.modalities.image.reading.resample import target_shape
from medloom.modalities.image.reading.scan import MOST_VOXELS, Refused, Wish

if TYPE_CHECKING:
    from medloom.cohort.table import Cohort

MOST_FILES = 200
FEW_FILES = 5
MOST_LABELS = 32
"""Different values of masks beyond which they are images of something else."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Images as the network will see them: voxels along each axis and their distance, the median of `files`.

    `largest` is the largest size along each axis. `spacing_mm` is None where files do not tell it, or where `size` sets
    the grid.
    """

    files: int
    shape: tuple[int, ...]
    largest: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None


def looked(options: ImageOptions, cohort: Cohort, keys: Sequence[str | None]) -> Looked | None:
    """The size of some of these files, evenly chosen; None where there is no file. Raises DataError for broken ones."""
    rows = {
        key: row for key, row in zip(reversed(keys), reversed(cohort.row.to_list()), strict=True) if key is not None
    }
    every = sorted(rows)
    if not every:
        return None
    some = [every[place] for place in np.linspace(0, len(every) - 1, min(len(every), MOST_FILES)).astype(int)]
    found: list[tuple[tuple[int, ...], tuple[float, ...] | None]] = []
    for one in _grids(options, cohort, some):
        if not isinstance(one, Refused):
            found.append(one)
    if not found:
        _tell(options, cohort, some, rows)
    shapes = np.array([target_shape(shape, gap, options.spacing_mm, options.size) for shape, gap in found])
    told = [gap for _, gap in found if gap is not None]
    gaps = options.spacing_mm or (tuple(np.median(told, axis=0).tolist()) if told and options.size is None else None)
    median = tuple(int(side) for side in np.median(shapes, axis=0))
    return Looked(len(found), median, tuple(shapes.max(axis=0).tolist()), gaps)


def _tell(options: ImageOptions, cohort: Cohort, keys: Sequence[str], rows: Mapping[str, str]) -> None:
    """Raises DataError with what reading says of these files, none of which tells its size."""
    paths = [cohort.files / key for key in keys[:FEW_FILES]]
    read_scans(paths, [rows[key] for key in keys[:FEW_FILES]], options.label, options.wish)
    raise DataError(f"{options.label}: no file tells its size without being decoded; give patch and levels")


def _grids(
    options: ImageOptions, cohort: Cohort, keys: Sequence[str]
) -> Iterator[tuple[tuple[int, ...], tuple[float, ...] | None] | Refused]:
    if options.store is not None:
        wish = Wish(options.dims, 0)
        for scan in stored.read_scans(cohort.folder / options.store, keys, keys, options.label, wish):
            gaps = tuple(scan.spacing_mm[list(scan.axes)].tolist()) if scan.sized else None
            yield tuple(scan.values.shape[1:]), gaps
        return
    paths = [str((cohort.files / key).absolute()) for key in keys]
    for answer in decoding.pool().answers({"do": "grid", "path": path, "dims": options.dims} for path in paths):
        if isinstance(answer, Refused):
            yield answer
        else:
            told = answer[0]
            yield tuple(told["shape"]), None if told["spacing_mm"] is None else tuple(told["spacing_mm"])


def labels_in(paths: Sequence[Path], dims: int) -> tuple[int, ...]:
    """The values of these mask files, rising, without 0. Files that cannot be read tell nothing.

    Raises DataError where none can, and where so many values are in them that they are no masks.
    """
    found: set[int] = set()
    refused: list[Refused] = []
    for scan in decoding.read_scans(paths, Wish(dims, 1, "mask")):
        if isinstance(scan, Refused):
            refused.append(scan)
            continue
        found |= set(np.unique(scan.values).tolist())
        if len(found) > MOST_LABELS:
            raise DataError(
                f"they hold more than {MOST_LABELS} values; expected a value for each label and 0 elsewhere"
            )
    if len(refused) == len(paths):
        raise DataError(f"they {refused[0]}" if refused else "there are none")
    return tuple(sorted(int(value) for value in found if value > 0))


def grid_of(path: Path, dims: int) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """Voxels of a file, or of a folder of DICOM, along each axis, and their distance where it is told. Raises Refused.

    Runs in a decoding process. Axes are those of the image once read: [rows, columns], or [x, y, z].
    """
    name = path.name.lower()
    if path.is_dir() or not path.is_file():
        shape, gaps = _dicom(path, dims)
    elif name.endswith((".png", ".jpg", ".jpeg", ".tif", ".tiff")):
        shape, gaps = _picture(path), None
    elif name.endswith((".nii", ".nii.gz")):
        shape, gaps = _nifti(path)
    elif name.endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
        shape, gaps = _itk(path)
    elif name.endswith(".npy"):
        shape, gaps = np.load(path, mmap_mode="r").shape[:dims], None
    else:
        shape, gaps = _dicom(path, dims)
    if min(shape, default=0) < 1 or np.prod([float(side) for side in shape]) > MOST_VOXELS:
        raise Refused(f"hold no voxels, or declare more than {MOST_VOXELS}; crop or downsample them")
    if len(shape) == 3 and dims == 2:
        single = [axis for axis in range(3) if shape[axis] == 1]
        if not single:
            raise Refused("have 3 axes where dims = 2 is asked for; set dims = 3, or save single slices")
        kept = [axis for axis in range(3) if axis != single[-1]]
        shape, gaps = tuple(shape[axis] for axis in kept), gaps and tuple(gaps[axis] for axis in kept)
    if len(shape) != dims:
        raise Refused(f"have {len(shape)} axes where dims = {dims} is asked for")
    return tuple(int(side) for side in shape), gaps


def _picture(path: Path) -> tuple[int, ...]:
    image_module = find.need("PIL.Image")
    with image_module.open(path, formats=["PNG", "JPEG", "TIFF"]) as image:
        # Orientations 5 to 8 are turned by a quarter, and so will the picture be.
        turned = image.format != "PNG" and image.getexif().get(0x0112, 1) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)


def _nifti(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    image = find.need("nibabel").load(path)
    shape = tuple(int(side) for side in image.shape[:3])
    return (*shape, 1, 1)[:3], tuple(np.linalg.norm(image.affine[:3, :3], axis=0).tolist())


def _itk(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    itk = find.need("SimpleITK")
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = itk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return (*reader.GetSize(), 1)[:3], (*reader.GetSpacing(), 1.0)[:3]


def _dicom(path: Path, dims: int) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    from medloom.modalities.image.reading.dicom import files_in, headers, only
    from medloom.modalities.image.reading.dicom_header import read_header
    from medloom.modalities.image.reading.stacks import stacks

    if not path.exists():
        raise Refused("do not exist (paths are relative to the table's folder)")
    found = headers(files_in(path)) if path.is_dir() else [read_header(path)]
    stack = only(stacks(found, lambda plane: f"{plane.uid}/{plane.frame}"), dims)
    plane, geometry = stack.planes[0], stack.geometry
    if dims == 2:
        return (plane.rows, plane.columns), plane.spacing_mm
    gaps = None
    if geometry is not None:
        between = float(np.linalg.norm(geometry.step))
        gaps = (geometry.spacing_mm[1], geometry.spacing_mm[0], between)
    return (plane.columns, plane.rows, len(stack.planes)), gaps
