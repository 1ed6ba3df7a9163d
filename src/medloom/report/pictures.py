"""Panels as small PNG: the image in grey, a map laid over it in colour, outlines of truth and answer."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from medloom.explain.cases import Case, Panel
from medloom.report.section import Image, Images

SIDE = 208
"""Pixels along the longer side of a picture."""
MOST_BYTES = 2_000_000
"""Of all pictures of a report; those beyond are told in words."""
COLOURS = 96
OUTLINES = {"truth": (0, 158, 115), "answer": (230, 97, 0)}
"""Green is what was marked, orange what was answered (Okabe & Ito); the answer's line is dashed as well."""
FOR, AGAINST = (230, 97, 0), (0, 114, 178)
OPACITY = 0.75
DASH = 3


def drawn(cases: Iterable[Case]) -> tuple[Images, ...]:
    """All cases, within `MOST_BYTES`."""
    left, found = MOST_BYTES, []
    for case in cases:
        images, told = [], []
        for panel in case.panels:
            image = _image(panel)
            left -= len(image.png)
            if left < 0:
                told.append(f"{panel.title}: {panel.text}")
            else:
                images.append(image)
        found.append(Images(case.title, tuple(images), tuple(told)))
    return tuple(found)


def _image(panel: Panel) -> Image:
    from PIL import Image as Pillow

    height, width = _size(panel)
    rgb = _resized(panel.image, height, width)
    if len(rgb) == 1:
        rgb = np.repeat(rgb, 3, axis=0)
    if panel.heat is not None:
        (heat,) = _resized(panel.heat[None], height, width)
        rgb = _over(rgb, heat)
    for name, mask in panel.outlines.items():
        (area,) = _resized(mask[None].astype(np.float32), height, width)
        rgb = _outlined(rgb, area > 0.5, OUTLINES[name], dashed=name == "answer")
    pixels: UInt8[np.ndarray, "rows columns 3"] = np.round(255 * rgb.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
    stream = io.BytesIO()
    Pillow.fromarray(pixels).quantize(COLOURS).save(stream, "PNG", optimize=True)
    return Image(panel.title, panel.text, base64.b64encode(stream.getvalue()).decode(), width, height)


def _size(panel: Panel) -> tuple[int, int]:
    """Rows and columns of the picture, as far apart as the voxels are."""
    extent = [count * step for count, step in zip(panel.image.shape[1:], panel.spacing_mm, strict=True)]
    longest = max(extent)
    return max(8, round(SIDE * extent[0] / longest)), max(8, round(SIDE * extent[1] / longest))


def _resized(
    values: Float[np.ndarray, "channels rows columns"], height: int, width: int
) -> Float[np.ndarray, "channels height width"]:
    from PIL import Image as Pillow

    planes = [Pillow.fromarray(np.ascontiguousarray(plane, np.float32)) for plane in values]
    return np.stack([np.asarray(plane.resize((width, height), Pillow.Resampling.BILINEAR)) for plane in planes])


def _over(
    rgb: Float[np.ndarray, "3 rows columns"], heat: Float[np.ndarray, "rows columns"]
) -> Float[np.ndarray, "3 rows columns"]:
    """Orange for the answer, blue against it; the stronger, the less is seen of what is beneath."""
    strength = OPACITY * np.abs(heat).clip(0, 1)
    colour = np.where(heat >= 0, _spread(FOR), _spread(AGAINST))
    return rgb * (1 - strength) + colour * strength


def _outlined(
    rgb: Float[np.ndarray, "3 rows columns"],
    mask: Bool[np.ndarray, "rows columns"],
    colour: tuple[int, int, int],
    dashed: bool,
) -> Float[np.ndarray, "3 rows columns"]:
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    line = mask & ~inner
    if dashed:
        rows, columns = np.indices(mask.shape)
        line &= (rows + columns) // DASH % 2 == 0
    return np.where(line, _spread(colour), rgb)


def _spread(colour: tuple[int, int, int]) -> Float[np.ndarray, "3 1 1"]:
    return (np.array(colour, np.float64) / 255)[:, None, None]
