"""PNG, JPEG and TIFF: pictures without a place in space, `[rows, columns]`; pages of a TIFF are slices of a volume."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from medloom import find
from medloom.modalities.image.reading.grids import right_channels, stored, voxels
from medloom.modalities.image.reading.scan import MOST_VOXELS, PICTURE, PNG, Refused, Scan, Wish

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR = {0: "grey", 2: "colour", 3: "palette", 4: "grey with alpha", 6: "colour with alpha"}
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
_GREY = ("L", "I;16", "I;16B", "I;16L", "I", "F")


def read_png(path: Path, wish: Wish) -> Scan:
    """A PNG as it is stored. Raises Refused."""
    image_module = find.need("PIL.Image")
    depth, colour = _check_png_header(path, wish.dims)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            # `verify` compares every chunk's checksum, which decoding alone does not.
            with image_module.open(path, formats=["PNG"]) as image:
                image.verify()
            with image_module.open(path, formats=["PNG"]) as image:
                if colour == 3 and wish.what == "image":
                    image = image.convert("RGBA" if "transparency" in image.info else "RGB")
                pixels = np.asarray(image)
    except (image_module.DecompressionBombWarning, image_module.DecompressionBombError) as error:
        raise Refused(f"declare more than {image_module.MAX_IMAGE_PIXELS} pixels; split them into tiles") from error
    except _BROKEN as error:
        raise Refused("are truncated or broken PNG files; copy them again from their source") from error
    values = _png_channels(pixels, depth, colour, wish)
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


def _png_channels(pixels: np.ndarray, depth: int, colour: int, wish: Wish) -> np.ndarray:
    if wish.what == "mask":
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
    if colour == 3 and wish.channels == 1 and (planes == planes[:1]).all():
        planes = planes[:1]
    return stored(right_channels(planes, wish))


def read_picture(path: Path, wish: Wish) -> Scan:
    """A JPEG or a TIFF, turned upright as its header says; the pages of a TIFF as a volume `[x, y, page]`. Raises Refused."""
    image_module = find.need("PIL.Image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            with image_module.open(path, formats=["JPEG", "TIFF"]) as image:
                pages = getattr(image, "n_frames", 1)
                _check_picture(image, pages, wish)
                pixels = _pages(image, pages, wish)
    except (image_module.DecompressionBombWarning, image_module.DecompressionBombError) as error:
        raise Refused(f"declare more than {image_module.MAX_IMAGE_PIXELS} pixels; split them into tiles") from error
    except _BROKEN as error:
        raise Refused("are truncated or broken JPEG or TIFF files; copy them again from their source") from error
    if wish.dims == 2:
        planes = pixels[0][None] if pixels.ndim == 3 else np.moveaxis(pixels[0], 2, 0)
        return Scan(voxels(planes, wish), PICTURE, (*pixels.shape[1:3], 1), np.eye(4))
    planes = pixels.transpose(2, 1, 0)[None] if pixels.ndim == 3 else pixels.transpose(3, 2, 1, 0)
    return Scan(voxels(planes, wish), PICTURE, planes.shape[1:], np.eye(4))


def _check_picture(image: Any, pages: int, wish: Wish) -> None:
    if image.width * image.height * pages > MOST_VOXELS:
        raise Refused(f"declare more than {MOST_VOXELS} pixels; split them into tiles")
    if wish.what == "mask" and image.format == "JPEG":
        raise Refused("are JPEG, which blurs label values; give masks as PNG or TIFF")
    if wish.dims == 2 and pages > 1:
        raise Refused(
            f"hold {pages} pages where dims = 2 is asked for; save one page a file, or set dims = 3 for a volume"
        )
    if wish.dims == 3 and pages == 1:
        raise Refused("are flat pictures and so have 2 axes where dims = 3 is asked for; give volumes, or dims = 2")


def _pages(image: Any, pages: int, wish: Wish) -> np.ndarray:
    """The pixels of all pages, `[pages, rows, columns]` and channels behind them. Raises Refused where pages differ."""
    found: list[np.ndarray] = []
    upright = find.need("PIL.ImageOps").exif_transpose
    for page in range(pages):
        image.seek(page)
        one = upright(image)
        if one.mode in ("P", "1") and wish.what == "image":
            one = one.convert("RGB" if one.mode == "P" else "L")
        if one.mode not in (*_GREY, "RGB", "P", "1"):
            raise Refused(f"are {one.mode} pictures; convert them to grey or to RGB")
        found.append(np.asarray(one))
        if found[0].shape != found[-1].shape or found[0].dtype != found[-1].dtype:
            raise Refused("hold pages of different sizes or types, which are no volume; save one page a file")
    return np.stack(found)
