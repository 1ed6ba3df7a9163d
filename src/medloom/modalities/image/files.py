"""PNG and NIfTI files in and out, as raw grids: nothing is resampled, reoriented or converted between grey and colour.

Declared sizes are checked before anything is decoded, and what cannot be read whole raises `Refused`.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Integer, Shaped

from medloom import find

MOST_VOXELS = 2**28
"""Declared voxels beyond which a file is refused before it is decoded."""
NO_FILE, PNG, NIFTI = 0, 1, 2
"""Kinds of file, as they are stored with each unit."""
FORMAT_NAMES = ("none", "PNG", "NIfTI")
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR = {0: "grey", 2: "colour", 3: "palette", 4: "grey with alpha", 6: "colour with alpha"}


class Refused(Exception):
    """Why one file cannot be used, as words that fit after "N files": "are truncated". Never holds a path."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One decoded file: `values` with channels first, and the geometry that a mask on it must share.

    `file_shape` is the grid as the file has it, before a single slice is squeezed; `codes` are NIfTI's qform code,
    sform code and units.
    """

    values: Shaped[np.ndarray, "channels *spatial"]
    format: int
    file_shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]
    codes: tuple[int, int, int] = (0, 0, 0)


def read_scan(path: Path, dims: int, channels: int, what: Literal["image", "mask"] = "image") -> Scan:
    """One file as a `Scan`. Raises Refused.

    An "image" comes in its storage type where that is 8 or 16 bits, else as float32; a "mask" as raw label values
    (of a PNG with a palette: the indices).
    """
    if not path.is_file():
        raise Refused(
            "do not exist (paths are relative to the table's folder)"
            if not path.exists()
            else "are folders; expected a .png, .nii or .nii.gz file"
        )
    name = path.name.lower()
    if name.endswith(".png"):
        return _read_png(path, dims, channels, what)
    if name.endswith((".nii", ".nii.gz")):
        return _read_nifti(path, dims, channels, what)
    raise Refused("are of an unknown kind; expected names ending in .png, .nii or .nii.gz")


def _read_png(path: Path, dims: int, channels: int, what: str) -> Scan:
    image_module = find.need("PIL.Image")
    depth, colour = _check_png_header(path, dims)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            # `verify` compares every chunk's checksum, which decoding alone does not.
            with image_module.open(path, formats=["PNG"]) as image:
                image.verify()
            with image_module.open(path, formats=["PNG"]) as image:
                if colour == 3 and what == "image":
                    image = image.convert("RGBA" if "transparency" in image.info else "RGB")
                pixels = np.asarray(image)
    except (image_module.DecompressionBombWarning, image_module.DecompressionBombError) as error:
        raise Refused(f"declare more than {image_module.MAX_IMAGE_PIXELS} pixels; split them into tiles") from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error) as error:
        raise Refused("are truncated or broken PNG files; copy them again from their source") from error
    values = _png_channels(pixels, depth, colour, channels, what)
    return Scan(np.ascontiguousarray(values), PNG, (*pixels.shape[:2], 1), np.eye(4))


def _check_png_header(path: Path, dims: int) -> tuple[int, int]:
    """Bit depth and colour type from the header, once the declared size is known to be bearable."""
    with open(path, "rb") as handle:
        start = handle.read(33)
    if len(start) < 33 or not start.startswith(_PNG_START):
        raise Refused("end in .png and are not whole PNG files; convert or copy them again")
    columns, rows, depth, colour = struct.unpack(">IIBB", start[16:26])
    if not columns * rows:
        raise Refused("have no pixels")
    if columns * rows > MOST_VOXELS:
        raise Refused(f"declare more than {MOST_VOXELS} pixels; split them into tiles")
    if dims != 2:
        raise Refused("are PNG and so have 2 axes where dims = 3 is asked for; give NIfTI volumes, or dims = 2")
    if depth == 16 and colour in (2, 6):
        raise Refused("are colour with 16 bits a channel, which would lose 8 of them; convert them to 8 bits")
    return depth, colour


def _png_channels(pixels: np.ndarray, depth: int, colour: int, channels: int, what: str) -> np.ndarray:
    if what == "mask":
        if pixels.ndim != 2:
            raise Refused(
                f"are {_PNG_COLOUR[colour]} where masks are expected; give grey or palette files that hold label values"
            )
        # Pillow spreads samples of 1, 2 and 4 bits over 0 to 255; a label value is the sample as it stands in the file.
        spread = 255 // (2**depth - 1) if colour == 0 and depth in (2, 4) else 1
        return (pixels.astype(np.int64) // spread)[None]
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        if (pixels[..., -1] != 255).any():
            raise Refused("are partly transparent; save them without an alpha channel")
        pixels = pixels[..., :-1]
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    if colour == 3 and channels == 1 and (planes == planes[:1]).all():
        planes = planes[:1]
    return _stored(_right_channels(planes, channels))


def _read_nifti(path: Path, dims: int, channels: int, what: str) -> Scan:
    nibabel = find.need("nibabel")
    broken = (OSError, ValueError, TypeError, KeyError, EOFError, OverflowError, struct.error, zlib.error)
    nib_errors = (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.wrapstruct.WrapStructError,
    )
    try:
        image = nibabel.load(path, mmap=False)
        shape = tuple(int(size) for size in image.shape)
        affine = np.array(image.affine, np.float64)
        if not isinstance(image, nibabel.Nifti1Image) or not np.isfinite(affine).all():
            raise Refused("are not NIfTI files with a finite affine; convert them again from their source")
        _check_nifti_shape(shape)
        voxels = np.asanyarray(image.dataobj)
    except (*broken, *nib_errors) as error:
        raise Refused("are truncated or broken NIfTI files; copy them again from their source") from error
    spatial = (shape[0], shape[1], shape[2] if len(shape) > 2 else 1)
    if voxels.dtype.names is not None:
        planes = np.stack([voxels[name].reshape(spatial) for name in voxels.dtype.names[:3]])
    elif voxels.dtype.kind in "iufb":
        planes = voxels.reshape(1, *spatial)
    else:
        raise Refused(f"hold {voxels.dtype} voxels; expected whole or real numbers")
    planes = _squeezed(planes, dims)
    header = image.header
    codes = (int(header["qform_code"]), int(header["sform_code"]), int(header["xyzt_units"]))
    values = _labels(planes) if what == "mask" else _stored(_right_channels(planes, channels))
    return Scan(values, NIFTI, spatial, affine, codes)


def _check_nifti_shape(shape: tuple[int, ...]) -> None:
    if min(shape, default=0) < 1:
        raise Refused("have no voxels")
    if np.prod([float(size) for size in shape]) > MOST_VOXELS:
        raise Refused(f"declare more than {MOST_VOXELS} voxels; crop or downsample them")
    if len(shape) < 2 or any(size > 1 for size in shape[3:]):
        raise Refused(f"have {len(shape)} axes; expected one volume a file: save each time point or channel apart")


def _squeezed(planes: np.ndarray, dims: int) -> np.ndarray:
    """A volume for dims = 3; for dims = 2 its only slice, whichever axis has length 1 (the last, if several)."""
    if dims == 3:
        return planes
    single = [axis for axis in (1, 2, 3) if planes.shape[axis] == 1]
    if not single:
        raise Refused("have 3 axes where dims = 2 is asked for; set dims = 3, or save single slices")
    return planes.squeeze(single[-1])


def _right_channels(planes: np.ndarray, channels: int) -> np.ndarray:
    if len(planes) == channels:
        return planes
    if channels == 1:
        raise Refused("are in colour where grey is expected; set channels = 3, or convert them")
    raise Refused("are grey where colour is expected; set channels = 1, or convert them")


def _stored(planes: np.ndarray) -> np.ndarray:
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


def _labels(planes: np.ndarray) -> Int[np.ndarray, "1 *spatial"]:
    if len(planes) != 1:
        raise Refused("are in colour where masks are expected; give label values")
    if planes.dtype.kind == "f" and (
        not np.isfinite(planes).all() or (planes != np.round(planes)).any() or np.abs(planes).max() > 2**31
    ):
        raise Refused("hold values that are not whole numbers where label values are expected")
    return np.ascontiguousarray(planes.astype(np.int64))


def write_mask(values: Integer[np.ndarray, "*spatial"], scan: Scan, stem: Path) -> Path:
    """Writes label values as PNG or NIfTI, as `scan` is, with its affine, codes and units; returns the file's path."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    narrow = values.astype(np.uint8 if values.max(initial=0) < 256 else np.uint16)
    if scan.format == PNG:
        path = stem.with_name(f"{stem.name}.png")
        find.need("PIL.Image").fromarray(narrow).save(path)
        return path
    nibabel = find.need("nibabel")
    path = stem.with_name(f"{stem.name}.nii.gz")
    # NIfTI viewers that know no unsigned 16 bits are common; labels fit the signed ones.
    stored = narrow if narrow.dtype == np.uint8 else narrow.astype(np.int16)
    image: Any = nibabel.Nifti1Image(stored.reshape(scan.file_shape), scan.affine)
    qform, sform, units = scan.codes
    image.header["xyzt_units"] = units
    image.set_qform(scan.affine, qform)
    image.set_sform(scan.affine, sform)
    nibabel.save(image, path)
    return path
