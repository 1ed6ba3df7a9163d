"""From what a decoder gives to the voxels of a `Scan`: channels, storage types, labels, and the grid that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from medloom.modalities.image.reading import resample
from medloom.modalities.image.reading.scan import Refused, Scan, Wish

LUMA = (0.299, 0.587, 0.114)
"""Source: Recommendation ITU-R BT.601, luma of red, green and blue."""
MOST_RESAMPLED = 2**28


def squeezed(planes: np.ndarray, dims: int) -> np.ndarray:
    """A volume for dims = 3; for dims = 2 its only slice, whichever axis has length 1 (the last, if several)."""
    if dims == 3:
        return planes
    single = [axis for axis in (1, 2, 3) if planes.shape[axis] == 1]
    if not single:
        raise Refused("have 3 axes where dims = 2 is asked for; set dims = 3, or save single slices")
    return planes.squeeze(single[-1])


def voxels(planes: np.ndarray, wish: Wish) -> np.ndarray:
    """Label values of a mask; of an image its intensities as they are stored. Raises Refused."""
    return labels(planes) if wish.what == "mask" else stored(right_channels(planes, wish))


def right_channels(planes: np.ndarray, wish: Wish) -> np.ndarray:
    """The planes, in grey where colour is there, grey is asked for and the study allows it. Raises Refused."""
    if len(planes) == wish.channels or not wish.channels:
        return planes
    if wish.channels == 1 and len(planes) == 3:
        if wish.colour == "grey":
            grey = np.tensordot(np.array(LUMA, np.float32), planes.astype(np.float32), axes=(0, 0))[None]
            return grey.round().astype(planes.dtype) if planes.dtype.kind in "iu" else grey
        raise Refused('are in colour where grey is expected; set channels = 3, or colour = "grey", or convert them')
    if wish.channels == 1:
        raise Refused(f"have {len(planes)} channels where grey is expected; save one channel a file")
    raise Refused("are grey where colour is expected; set channels = 1, or convert them")


def stored(planes: np.ndarray) -> np.ndarray:
    """The same numbers in C order, as 8 or 16 bits where the file has them so, else as float32. Raises Refused."""
    if planes.dtype == bool:
        planes = planes.astype(np.uint8)
    planes = planes.astype(planes.dtype.newbyteorder("="), copy=False)
    if planes.dtype == np.int8:
        planes = planes.astype(np.int16)
    if planes.dtype not in (np.uint8, np.int16, np.uint16):
        with np.errstate(over="ignore"):
            planes = planes.astype(np.float32)
        if not np.isfinite(planes).all():
            raise Refused("hold voxels that are not finite numbers; fill or crop them")
    return np.ascontiguousarray(planes)


def labels(planes: np.ndarray) -> Int[np.ndarray, "1 *spatial"]:
    """Whole numbers. Raises Refused for anything else."""
    if len(planes) != 1:
        raise Refused("are in colour where masks are expected; give label values")
    if planes.dtype.kind == "f" and (
        not np.isfinite(planes).all() or (planes != np.round(planes)).any() or np.abs(planes).max() > 2**31
    ):
        raise Refused("hold values that are not whole numbers where label values are expected")
    return np.ascontiguousarray(planes.astype(np.int64))


def as_wished(scan: Scan, wish: Wish) -> Scan:
    """The scan with its intensities within the window and its voxels on the grid that is asked for. Raises Refused."""
    scan = replace(scan, raw_shape=tuple(scan.values.shape[1:]))
    if wish.what == "mask":
        return scan
    values = scan.values
    if wish.window is not None:
        values = _within(values, wish.window)
    spacing: Float[np.ndarray, " dims"] | None = None
    if wish.spacing_mm is not None:
        if not scan.sized:
            raise Refused("tell no spacing in mm; use size in the place of spacing_mm")
        spacing = scan.spacing_mm[list(scan.axes)]
    shape = resample.target_shape(
        scan.raw_shape, None if spacing is None else spacing.tolist(), wish.spacing_mm, wish.size
    )
    if np.prod([float(size) for size in shape]) * len(values) > MOST_RESAMPLED:
        raise Refused(f"would have more than {MOST_RESAMPLED} voxels at this spacing_mm; choose a larger one")
    return replace(scan, values=resample.linear(values, shape, rounded=True))


def _within(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    low, high = window
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        if not (float(low).is_integer() and float(high).is_integer()):
            values = values.astype(np.float32)
        elif low > limits.max or high < limits.min:
            return np.full_like(values.astype(np.float32), low if low > limits.max else high)
        else:
            low, high = max(low, limits.min), min(high, limits.max)
    return values.clip(values.dtype.type(low), values.dtype.type(high))
