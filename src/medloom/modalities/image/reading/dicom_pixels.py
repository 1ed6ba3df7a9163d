"""The pixels of DICOM planes as numbers: decoded, brighter for more, rescaled, in colour or grey."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from medloom import find
from medloom.modalities.image.reading.dicom_header import Plane, load
from medloom.modalities.image.reading.scan import MOST_VOXELS, Refused

TWELVE_BITS = "1.2.840.10008.1.2.4.51"


def planes_of(path: Path, planes: Sequence[Plane]) -> Shaped[np.ndarray, "planes rows columns samples"]:
    """The pixels of these planes of one file, in their order: whole numbers where the file has them. Raises Refused."""
    data, frames = _opened(str(path), path.stat().st_mtime_ns)
    out = []
    for plane in planes:
        if plane.frame >= len(frames):
            raise Refused("hold fewer frames than their header says")
        image = _rescaled(frames[plane.frame], data, plane.frame)
        if plane.tile is not None:
            top, left = plane.tile
            image = image[top : top + plane.rows, left : left + plane.columns]
        out.append(image)
    return np.stack(out)


def digest_of(path: Path, plane: Plane) -> str:
    """A few letters that are equal for equal pixels."""
    return hashlib.blake2b(np.ascontiguousarray(planes_of(path, [plane])).tobytes(), digest_size=12).hexdigest()


@lru_cache(maxsize=1)
def _opened(path: str, _changed: int) -> tuple[Any, Shaped[np.ndarray, "frames rows columns samples"]]:
    """The last file that was decoded: the volumes of one multi-frame file are asked for one after the other."""
    data = load(Path(path), pixels=True)
    return data, _frames(data, Path(path))


def _frames(data: Any, path: Path) -> Shaped[np.ndarray, "frames rows columns samples"]:
    """All frames as stored, with palettes and colour spaces resolved to RGB."""
    held = next((data[name] for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if name in data), None)
    if held is None:
        raise Refused("have no pixel data")
    rows, columns = int(data.Rows), int(data.Columns)
    samples, count = int(data.get("SamplesPerPixel") or 1), int(data.get("NumberOfFrames") or 1)
    if not 0 < rows * columns * samples * count <= MOST_VOXELS:
        raise Refused(f"declare no voxels, or more than {MOST_VOXELS}; crop or split them")
    _check_length(data, held, rows * columns * samples, count)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = _decoded(data, path)
    except MemoryError as error:
        raise Refused("need more memory than decoding is given") from error
    except Exception as error:
        name = data.file_meta.TransferSyntaxUID.name
        raise Refused(f"could not be decoded ({name}): truncated, broken, or of a kind that no decoder here reads") from error  # fmt: skip
    wide = 3 if pixels.ndim and pixels.shape[-1] == 3 and (samples == 3 or pixels.size == 3 * rows * columns * count) else 1  # fmt: skip
    if pixels.size != count * rows * columns * wide:
        raise Refused("hold another number of pixels than their header says")
    return pixels.reshape(count, rows, columns, wide)


def _check_length(data: Any, held: Any, frame: int, count: int) -> None:
    """Uncompressed pixels must be as many as declared; a header that tells of fewer or more frames is a lie."""
    if data.file_meta.TransferSyntaxUID.is_encapsulated or held.keyword != "PixelData":
        return
    bits = int(data.get("BitsAllocated") or 0)
    if data.get("PhotometricInterpretation") == "YBR_FULL_422":
        frame = frame // 3 * 2
    expected, found = (frame * count * bits + 7) // 8, len(held.value)
    if found < expected:
        raise Refused("are truncated: they hold fewer pixels than their header says")
    if found - expected >= max(frame * bits // 8, 1024):
        raise Refused("hold more frames than their header says; correct NumberOfFrames at the source")


def _decoded(data: Any, path: Path) -> np.ndarray:
    syntax = str(data.file_meta.TransferSyntaxUID)
    if syntax == TWELVE_BITS and int(data.BitsStored) > 8:
        return _by_itk(data, path)
    tools = find.need("pydicom.pixels")
    pixels: np.ndarray = tools.pixel_array(data)
    kind = str(data.get("PhotometricInterpretation", ""))
    if kind == "PALETTE COLOR":
        coloured = tools.apply_color_lut(pixels, data)[..., :3]
        coloured = (coloured >> 8).astype(np.uint8) if coloured.dtype.itemsize > 1 and coloured.max(initial=0) > 255 else coloured.astype(np.uint8)  # fmt: skip
        grey = (coloured == coloured[..., :1]).all()
        return coloured[..., 0] if grey else coloured
    if pixels.dtype.kind not in "iu" or pixels.dtype.itemsize > 4:
        return pixels
    pixels = _stored_bits(pixels.astype(pixels.dtype.newbyteorder("="), copy=False), int(data.BitsStored))
    if kind == "MONOCHROME1":
        # Brighter is more in every image: what this kind shows dark is mirrored within the bits that are stored.
        mirrored = (2 ** int(data.BitsStored) - 1 if pixels.dtype.kind == "u" else -1) - pixels.astype(np.int64)
        pixels = mirrored.astype(pixels.dtype)
    return pixels


def _by_itk(data: Any, path: Path) -> np.ndarray:
    """Extended JPEG of 12 bits, which only ITK's own decoder reads; without its rescaling, which comes later."""
    if float(data.get("RescaleSlope") or 1) != 1 or float(data.get("RescaleIntercept") or 0) != 0:
        raise ValueError("a rescaled file of this kind cannot be told from a raw one")
    itk = find.need("SimpleITK")
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    return itk.GetArrayFromImage(itk.ReadImage(str(path)))


def _stored_bits(pixels: np.ndarray, stored: int) -> np.ndarray:
    """Without what lies in the bits above those that are stored (old overlays)."""
    spare = pixels.dtype.itemsize * 8 - stored
    if spare <= 0 or stored == 1:
        return pixels
    return np.right_shift(np.left_shift(pixels, spare), spare)


def _rescaled(image: np.ndarray, data: Any, frame: int) -> np.ndarray:
    """Modality units: the file's slope and intercept, those of the frame, its table, or the scaling of a grid of dose."""
    tools = find.need("pydicom.pixels")
    if data.get("Modality") == "RTDOSE":
        return image.astype(np.float64) * _dose_scaling(data)
    if data.get("ModalityLUTSequence"):
        return tools.apply_modality_lut(image, data)
    where = [data]
    groups = data.get("PerFrameFunctionalGroupsSequence")
    shared = data.get("SharedFunctionalGroupsSequence")
    for group in ([groups[frame]] if groups and frame < len(groups) else []) + ([shared[0]] if shared else []):
        inner = group.get("PixelValueTransformationSequence")
        if inner:
            where.insert(0, inner[0])
    found = next((one for one in where if one.get("RescaleSlope") not in (None, "")), None)
    slope = float(found.RescaleSlope) if found is not None else 1.0
    intercept = float(found.get("RescaleIntercept") or 0.0) if found is not None else float(data.get("RescaleIntercept") or 0)  # fmt: skip
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise Refused("have a RescaleSlope or RescaleIntercept that is zero or no number")
    if (slope, intercept) == (1.0, 0.0):
        return image
    if image.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer() and max(abs(slope), abs(intercept)) < 2**31:  # fmt: skip
        return image.astype(np.int64) * int(slope) + int(intercept)
    return image.astype(np.float64) * slope + intercept


def _dose_scaling(data: Any) -> float:
    """Dose of one step of the stored values. Raises Refused."""
    try:
        scaling = float(data.get("DoseGridScaling") or 0)
    except (TypeError, ValueError):
        scaling = 0.0
    if not np.isfinite(scaling) or scaling <= 0:
        raise Refused("are grids of dose without a DoseGridScaling, which tells what a stored value is")
    return scaling


def narrow(values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Whole numbers in the fewest bits of uint8, int16 and uint16 that hold them; else float32."""
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind in "iu" and values.size:
        least, most = int(values.min()), int(values.max())
        if values.dtype == np.uint8 or (values.dtype.itemsize > 2 and 0 <= least and most < 256):
            return values.astype(np.uint8)
        for name in ("int16", "uint16"):
            limits = np.iinfo(name)
            if limits.min <= least and most <= limits.max:
                return values.astype(name)
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
