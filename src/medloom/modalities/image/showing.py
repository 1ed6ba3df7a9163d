"""Images as a person would look at them."""

from __future__ import annotations

import numpy as np

from medloom.modalities.image.packing import Grids
from medloom.modalities.image.reading import resample
from medloom.modalities.image.reading.scan import Scan
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
