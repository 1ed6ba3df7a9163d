"""Siemens mosaics: one DICOM image that holds all slices of a volume side by side, as functional and diffusion MR has them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from medloom import find
from medloom.modalities.image.reading.scan import Refused


def tiles(
    data: Any, rows: int, columns: int
) -> Iterator[tuple[tuple[int, int], tuple[float, ...], tuple[float, ...], tuple[int, int]]]:
    """Of each slice: its first row and column in the mosaic, its position, its orientation and its shape.

    Raises Refused where the private header that tells the number and the direction of the slices is gone.
    Source: nibabel's notes on Siemens mosaics (the position in a mosaic's header is that of a plane of the mosaic's size
    around the slice's centre).
    """
    count, normal = _private(data)
    across = int(np.ceil(np.sqrt(count)))
    height, width = rows // across, columns // across
    try:
        position, orientation = (
            np.array(data.ImagePositionPatient, float),
            np.array(data.ImageOrientationPatient, float),
        )
        spacing = np.array(data.PixelSpacing, float)
        step = float(data.get("SpacingBetweenSlices") or data.SliceThickness)
    except (AttributeError, TypeError, ValueError) as error:
        raise Refused("are mosaics without position, orientation or spacing of their slices") from error
    if not height * width:
        raise Refused("are mosaics that are smaller than their number of slices")
    right, down = orientation[:3], orientation[3:]
    first = position + right * spacing[1] * (columns - width) / 2 + down * spacing[0] * (rows - height) / 2
    for place in range(count):
        corner = (place // across * height, place % across * width)
        where = first + normal * step * place
        yield corner, tuple(where.tolist()), tuple(orientation.tolist()), (height, width)


def _private(data: Any) -> tuple[int, np.ndarray]:
    """The number of slices and the direction in which they follow one another."""
    reader = find.need("nibabel.nicom.csareader")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = reader.get_csa_header(data, "image")
            count, normal = reader.get_n_mosaic(header), reader.get_slice_normal(header)
    except MemoryError:
        raise  # says nothing of the file: the decoder tells it in words of its own
    except Exception as error:
        raise Refused("are Siemens mosaics with a broken private header") from error
    if not count or normal is None:
        raise Refused("are Siemens mosaics without the private header that tells their slices; export single slices")
    return int(count), np.array(normal, float)
