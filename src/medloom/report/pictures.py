"""Panels as small PNG: the image in grey, a map laid over it in colour, outlines of truth and answer."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from medloom.explain.cases import Case, Panel
from medloom.report.section import Image, Images

SIDE, LARGE = 208, 312
"""Pixels along the longer side of a picture, and of one on which outlines are compared."""
MOST_BYTES = 2_000_000
"""Of all pictures of a report; those beyond are told in words."""
COLOURS = 96
OUTLINES = {"truth": (0, 158, 115), "answer": (230, 97, 0)}
"""Green is what was marked, orange what was answered (Okabe & Ito). The answer's line is dashed, and runs outside its border
where that of the truth runs inside: both are seen where they agree."""
WHITE = (255, 255, 255)
FOR, AGAINST = (230, 97, 0), (0, 114, 178)
OPACITY = 0.75
WIDE, DASH = 2, 5
"""Pixels of a line across, and of its dashes along."""


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
    pixels: UInt8[np.ndarray, "rows columns 3"] = np.round(255 * rgb.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
    indexed = Pillow.fromarray(pixels).quantize(COLOURS)
    lines = {
        OUTLINES[name]: _line(_resized(mask[None].astype(np.float32), height, width)[0] > 0.5, name == "answer")
        for name, mask in panel.outlines.items()
    }
    drawn = _painted(indexed, {**lines, WHITE: _letters(panel.sides, height, width)})
    stream = io.BytesIO()
    drawn.save(stream, "PNG", optimize=True)
    return Image(panel.title, panel.text, base64.b64encode(stream.getvalue()).decode(), width, height)


def _size(panel: Panel) -> tuple[int, int]:
    """Rows and columns of the picture, as far apart as the voxels are."""
    extent = [count * step for count, step in zip(panel.image.shape[1:], panel.spacing_mm, strict=True)]
    side = (LARGE if "answer" in panel.outlines else SIDE) / max(extent)
    return max(8, round(side * extent[0])), max(8, round(side * extent[1]))


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


def _line(mask: Bool[np.ndarray, "rows columns"], dashed: bool) -> Bool[np.ndarray, "rows columns"]:
    """The border of a mask: within it, or dashed and outside of it."""
    from scipy.ndimage import binary_dilation, binary_erosion

    if not dashed:
        return mask & ~binary_erosion(mask, iterations=WIDE, border_value=1)
    rows, columns = np.indices(mask.shape)
    line: Bool[np.ndarray, "rows columns"] = binary_dilation(mask, iterations=WIDE) & ~mask
    return line & ((rows + columns) // DASH % 2 == 0)


def _letters(sides: tuple[str, str], height: int, width: int) -> Bool[np.ndarray, "rows columns"]:
    """What lies on the left and above, as letters at the edges."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    plane = Pillow.new("1", (width, height))
    left, above = sides
    ImageDraw.Draw(plane).text((3, height // 2), left, 1, anchor=None)
    ImageDraw.Draw(plane).text((width // 2, 1), above, 1, anchor=None)
    return np.asarray(plane)


def _painted(picture: Any, lines: Mapping[tuple[int, int, int], Bool[np.ndarray, "rows columns"]]) -> Any:
    """A picture of few colours with lines in colours of their own, which a choice of few would lose."""
    from PIL import Image as Pillow

    palette = list(picture.getpalette() or ())[: 3 * COLOURS]
    palette += [0] * (3 * COLOURS - len(palette))
    place = np.array(picture)
    for number, (colour, line) in enumerate(lines.items()):
        place[line] = COLOURS + number
        palette += colour
    drawn = Pillow.fromarray(place, "P")
    drawn.putpalette(palette)
    return drawn


def _spread(colour: tuple[int, int, int]) -> Float[np.ndarray, "3 1 1"]:
    return (np.array(colour, np.float64) / 255)[:, None, None]
