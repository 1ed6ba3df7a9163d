"""Images of any shape as a few flat arrays, and back to one unit's grid without copying.

Voxels stay in the type of their file: one flat array for each of four storage types, and for each unit which of
them it lies in, where it begins and what shape it has. Unit 0 is the empty unit, a grid without voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from medloom.errors import DataError, counted, rows_named, those
from medloom.modalities.image.copies import signature
from medloom.modalities.image.intensity import centre_and_scale, counts, simple_features
from medloom.modalities.image.reading import decoding
from medloom.modalities.image.reading.scan import DICOM, NO_FILE, Refused, Scan, Wish
from medloom.packed import Packed, Packer

STORED = ("uint8", "int16", "uint16", "float32")
"""Storage types of voxels; `stored` of a unit is an index into these."""


def read_scans(paths: Sequence[Path], rows: Sequence[str], label: str, wish: Wish) -> list[Scan]:
    """All files of a block that `label` names. Raises one DataError that names the rows of every kind of trouble."""
    return sorted_out(decoding.read_scans(paths, wish), rows, label)


def sorted_out(found: Iterable[Scan | Refused], rows: Sequence[str], what: str) -> list[Scan]:
    """The scans, where all are. Raises one DataError that names the rows of every kind of trouble."""
    scans: list[Scan] = []
    refused: dict[str, list[str]] = {}
    for one, row in zip(found, rows, strict=True):
        if isinstance(one, Scan):
            scans.append(one)
        else:
            refused.setdefault(str(one), []).append(row)
    raise_refused(what, refused)
    return scans


def raise_refused(what: str, refused: dict[str, list[str]]) -> None:
    """Raises a DataError with a line for each reason: how many files, why, and which rows. Silent when there is none."""
    lines = [f"{what}: {those(len(rows), 'file', reason)} ({rows_named(rows)})" for reason, rows in refused.items()]
    if lines:
        raise DataError("\n".join(lines))


def check_series(packed: Packed, unit: Int[np.ndarray, " rows"], rows: Sequence[str], what: str) -> None:
    """Raises DataError where answers are asked for as DICOM and a row's image is none."""
    other = np.flatnonzero((unit > 0) & (packed.arrays["format"][unit] != DICOM))
    if len(other):
        raise DataError(
            f"{what}: {counted(len(other), 'image')} not of DICOM ({rows_named([rows[row] for row in other.tolist()])}), "
            'and masks = "dicom-seg" writes answers onto DICOM series; set masks = "nifti"'
        )


def pack(
    blocks: Iterable[Sequence[Scan]],
    dims: int,
    channels: int,
    store: Path | None,
    beside: Callable[[], Mapping[str, np.ndarray]] = dict,
) -> Packed:
    """Scans, block after block, as arrays; each unit with its own centre and scale and its simple numbers.

    `beside` gives other arrays, and is asked when all scans are packed.
    """
    packer = Packer(store)
    grids = GridPacker(packer)
    nothing = np.zeros((channels, *[0] * dims), np.uint8)
    empty = Scan(nothing, NO_FILE, (0, 0, 0), np.eye(4), raw_shape=(0,) * dims)
    for scan in chain([empty], chain.from_iterable(blocks)):
        grids.add(scan.values)
        packer.add("format", np.array([scan.format], np.uint8))
        packer.add("file_shape", np.array([scan.file_shape], np.int64))
        packer.add("affine", scan.affine[None])
        packer.add("codes", np.array([scan.codes], np.int16))
        packer.add("told", np.array([[scan.placed, scan.sized]], np.uint8))
        packer.add("raw_shape", np.array([scan.raw_shape], np.int64))
        packer.add("signature", signature(scan.values)[None])
        own = np.array([centre_and_scale(*counts(plane)) for plane in scan.values])
        packer.add("own_centre", own[None, :, 0])
        packer.add("own_scale", own[None, :, 1])
        packer.add("plain", simple_features(scan.values)[None])
    for name, array in beside().items():
        packer.add(name, array)
    return packer.finish({"kind": "image", "dims": dims, "channels": channels})


class GridPacker:
    """Appends grids of any shape to the flat arrays of their storage type."""

    def __init__(self, packer: Packer, prefix: str = "") -> None:
        self.packer = packer
        self._prefix = prefix
        self._ends = dict.fromkeys(STORED, 0)
        for name in STORED:
            self.packer.add(f"{prefix}values_{name}", np.zeros(0, name))

    def add(self, values: Shaped[np.ndarray, "channels *spatial"]) -> None:
        """Appends one unit's grid."""
        name = values.dtype.name
        prefix = self._prefix
        self.packer.add(f"{prefix}values_{name}", values.reshape(-1))
        self.packer.add(f"{prefix}stored", np.array([STORED.index(name)], np.uint8))
        self.packer.add(f"{prefix}offset", np.array([self._ends[name]], np.int64))
        self.packer.add(f"{prefix}shape", np.array([values.shape[1:]], np.int64))
        self._ends[name] += values.size


@dataclass(frozen=True, slots=True)
class Grids:
    """The units of a `Packed` as arrays with channels first: views of the stored values, never copies.

    `prefix` names another set of grids of the same units: what a mask was before it was resampled.
    """

    packed: Packed
    prefix: str = ""

    @property
    def shapes(self) -> Int[np.ndarray, "units dims"]:
        """Spatial shape of every unit, as the network sees it."""
        return self.packed.arrays[f"{self.prefix}shape"]

    def spacing(self, units: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows dims"]:
        """Distance of voxels in mm along each axis, as the network sees the units; 1 where files tell none."""
        arrays = self.packed.arrays
        shape, raw = self.shapes[units], arrays["raw_shape"][units]
        every = np.linalg.norm(arrays["affine"][units][:, :3, :3], axis=1)
        if shape.shape[1] == 2:
            # Without the last single axis of the file, as `Scan.axes` has it.
            single = 2 - np.argmax(arrays["file_shape"][units][:, ::-1] == 1, axis=1)
            every = every[np.arange(3) != single[:, None]].reshape(-1, 2)
        known = (arrays["told"][units][:, 1:] > 0) & (shape > 0)
        return np.where(known, every * raw / np.maximum(shape, 1), 1.0)

    def unit(self, unit: int) -> Shaped[np.ndarray, "channels *spatial"]:
        """One unit's grid."""
        return next(self.units(np.array([unit])))

    def units(self, units: Int[np.ndarray, " rows"]) -> Iterator[Shaped[np.ndarray, "channels *spatial"]]:
        """The grid of each of these units."""
        arrays, channels = self.packed.arrays, int(self.packed.meta["channels"])
        # Mapped files as arrays that know nothing of files: a slice of those costs a tenth.
        flat = [np.asarray(arrays[f"{self.prefix}values_{name}"]) for name in STORED]
        stored, offset, shape = (
            arrays[f"{self.prefix}{name}"][units].tolist() for name in ("stored", "offset", "shape")
        )
        for kind, start, spatial in zip(stored, offset, shape, strict=True):
            yield flat[kind][start : start + channels * prod(spatial)].reshape(channels, *spatial)

    def scan(self, unit: int) -> Scan:
        """One unit with the geometry of its file."""
        arrays = self.packed.arrays
        depth, rows, columns = arrays["file_shape"][unit].tolist()
        qform, sform, units = arrays["codes"][unit].tolist()
        placed, sized = arrays["told"][unit].tolist()
        return Scan(
            self.unit(unit),
            int(arrays["format"][unit]),
            (depth, rows, columns),
            np.array(arrays["affine"][unit]),
            (qform, sform, units),
            bool(placed),
            bool(sized),
            tuple(arrays["raw_shape"][unit].tolist()),
        )
