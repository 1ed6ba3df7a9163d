"""Images as a person would look at them, and numbers on their grid written in the geometry of their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Num, Shaped

from medloom import find
from medloom.modalities.image.packing import Grids
from medloom.modalities.image.reading import resample
from medloom.modalities.image.reading.scan import FLAT, Scan
from medloom.packed import Packed
from medloom.told import Picture

DARKEST, BRIGHTEST = 0.5, 99.5
"""Percentiles of the voxels that are drawn black and white."""
TOWARDS = ("RL", "AP", "SI")
"""What rises, and what falls, along each axis of RAS."""


def picture(packed: Packed, unit: int) -> Picture:
    """One unit as the network is given it, on the grid of its file, from black to white."""
    scan = Grids(packed).scan(unit)
    values = np.asarray(scan.values, np.float32)
    low, high = np.percentile(values, (DARKEST, BRIGHTEST)).tolist()
    grey = np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0).astype(np.float32)
    raw = resample.linear(grey, list(scan.raw_shape))
    spacing = scan.spacing_mm if scan.sized else np.ones(3)
    axes = scan.axes if scan.file_shape != (0, 0, 0) else tuple(range(values.ndim - 1))
    return Picture(np.asarray(raw, np.float32), tuple(float(spacing[axis]) for axis in axes), towards(scan))


def towards(scan: Scan) -> tuple[str, ...]:
    """What each axis of a volume counts towards in the patient: the nearest direction where it lies oblique."""
    if not scan.placed or len(scan.axes) < 3:
        return ()
    directions = scan.affine[:3, :3] / np.linalg.norm(scan.affine[:3, :3], axis=0)
    space = np.abs(directions).argmax(axis=0).tolist()
    if len(set(space)) < 3:
        return ()
    return tuple(TOWARDS[one][int(directions[one, axis] < 0)] for axis, one in enumerate(space))


def write_numbers(values: Num[np.ndarray, "*spatial"], scan: Scan, stem: Path) -> Path:
    """Writes real numbers: of flat pictures a grey PNG from the least (0) to the greatest (255), else NIfTI as they are.

    Values of both signs have 0 at grey 128. Returns the file's path.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    if scan.format in FLAT and values.ndim == 2:
        path = stem.with_name(f"{stem.name}.png")
        find.need("PIL.Image").fromarray(_grey(values)).save(path)
        return path
    nibabel = find.need("nibabel")
    path = stem.with_name(f"{stem.name}.nii.gz")
    image: Any = nibabel.Nifti1Image(values.astype(np.float32).reshape(scan.file_shape), scan.affine)
    qform, sform, units = scan.codes if not scan.placed or any(scan.codes) else (1, 1, 2)
    image.header["xyzt_units"] = units
    image.set_qform(scan.affine, qform)
    image.set_sform(scan.affine, sform)
    nibabel.save(image, path)
    return path


def _grey(values: Float[np.ndarray, "rows columns"]) -> Shaped[np.ndarray, "rows columns"]:
    most = float(np.abs(values).max(initial=0.0)) or 1.0
    if values.min(initial=0.0) < 0:
        return np.round(128 + 127 * values / most).astype(np.uint8)
    return np.round(255 * values / most).astype(np.uint8)
