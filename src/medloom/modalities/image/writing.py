"""Answers on the grid of an image, written in the geometry of its file: PNG for flat pictures, else NIfTI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Num, Shaped

from medloom import find
from medloom.modalities.image.reading.scan import FLAT, Scan

SCANNER = (1, 1, 2)
"""NIfTI's codes for qform and sform in scanner space, and for millimetres."""
DISPLACEMENT = 1006
"""NIfTI's intent of displacement vectors."""


def write_mask(values: Integer[np.ndarray, "*spatial"], scan: Scan, stem: Path) -> Path:
    """Writes label values as PNG for flat pictures, else as NIfTI with the affine of `scan`; returns the file's path."""
    narrow = values.astype(np.uint8 if values.max(initial=0) < 256 else np.uint16)
    if scan.format in FLAT and narrow.ndim == 2:
        return _write_png(narrow, stem)
    # NIfTI viewers that know no unsigned 16 bits are common; labels fit the signed ones.
    return write_nifti(narrow if narrow.dtype == np.uint8 else narrow.astype(np.int16), scan, stem)


def write_numbers(values: Num[np.ndarray, "*spatial"], scan: Scan, stem: Path) -> Path:
    """Writes real numbers: of flat pictures a grey PNG from the least (0) to the greatest (255), else NIfTI as they are.

    Values of both signs have 0 at grey 128. Returns the file's path.
    """
    if scan.format in FLAT and values.ndim == 2:
        return _write_png(_grey(values), stem)
    return write_nifti(values.astype(np.float32), scan, stem)


def write_nifti(
    values: Num[np.ndarray, "..."], scan: Scan, stem: Path, *, vectors: bool = False, in_space: bool = False
) -> Path:
    """Writes values as they are on the grid of `scan`; returns the file's path.

    `vectors` are `[*spatial, 3]` and lie along NIfTI's fifth axis with the intent of a displacement. `in_space` calls
    the grid that of the scanner even where the file of `scan` says nothing of space.
    """
    nibabel = find.need("nibabel")
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_name(f"{stem.name}.nii.gz")
    shape = (*scan.file_shape, 1, 3) if vectors else scan.file_shape
    image: Any = nibabel.Nifti1Image(values.reshape(shape), scan.affine)
    told = any(scan.codes) or not (scan.placed or in_space)
    qform, sform, units = scan.codes if told else SCANNER
    image.header["xyzt_units"] = units
    image.set_qform(scan.affine, qform)
    image.set_sform(scan.affine, sform)
    if vectors:
        image.header.set_intent(DISPLACEMENT, (), "RAS displacement")
    nibabel.save(image, path)
    return path


def _write_png(values: Integer[np.ndarray, "rows columns"], stem: Path) -> Path:
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_name(f"{stem.name}.png")
    find.need("PIL.Image").fromarray(values).save(path)
    return path


def _grey(values: Float[np.ndarray, "rows columns"]) -> Shaped[np.ndarray, "rows columns"]:
    most = float(np.abs(values).max(initial=0.0)) or 1.0
    if values.min(initial=0.0) < 0:
        return np.round(128 + 127 * values / most).astype(np.uint8)
    return np.round(255 * values / most).astype(np.uint8)
