"""One line for each volume or picture that was found: who, what, where its voxels lie, and what is wrong with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medloom.modalities.image.reading.geometry import plane_word
from medloom.modalities.image.reading.stacks import FLAT, Stack, natural

COLUMNS = {
    "volume": "name of the volume: its series, with a number where a series holds several; of a picture its object",
    "patient": "PatientID, with its issuer where there is one; empty where the files tell none",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "kind": "original, derived, localizer, dose (a grid of radiotherapy), picture (one image without a place), film (frames without one) or capture (a screen)",
    "apart": "what tells it from others of its series: an echo, a b-value, a direction",
    "modality": "MR, CT, …",
    "series_number": "SeriesNumber",
    "description": "SeriesDescription, as somebody typed it at the scanner",
    "acquired": "when it was made, as far as the files tell",
    "frame_of_reference": "FrameOfReferenceUID: volumes that share one lie in one space",
    "slices": "how many images it is made of",
    "rows": "rows of a slice",
    "columns": "columns of a slice",
    "spacing_mm": "distance of columns, rows and slices",
    "plane": "axial, coronal, sagittal or oblique",
    "tilt_degrees": "tilt of the gantry",
    "syntax": "TransferSyntaxUID",
    "problems": "what a reader should know, and why it was not stored",
    "copy_of": "the first volume of the store with the same voxels, where there is one before it",
    "stored": "whether its voxels are in the store",
    "shape": "voxels of the stored array, channels first",
    "dtype": "type of the stored array",
    "geometry": "grid and affine (RAS, mm) of the stored array, as JSON",
}
"""Columns of the inventory, in their order, and what stands in them."""


def names_of(series: str, found: Sequence[Stack]) -> list[str]:
    """A name for each stack of one series, the same whatever its files are called."""
    placed = [one for one in found if one.kind not in FLAT]
    series = series or f"unnamed-{_contents(found)}"
    names, number = [], 0
    for one in found:
        if one.kind in FLAT:
            names.append(one.planes[0].uid or series)
        else:
            number += 1
            names.append(f"{series}:{number}" if len(placed) > 1 else series)
    return names


def _contents(found: Sequence[Stack]) -> str:
    """A few letters for images without a series, from what tells them from others."""
    known = sorted(f"{plane.uid} {plane.frame} {plane.position} {plane.tells}" for one in found for plane in one.planes)
    return hashlib.blake2b("\n".join(known).encode(), digest_size=6).hexdigest()


def line_of(stack: Stack, name: str) -> dict[str, Any]:
    """What the headers tell of a stack, before anything is decoded."""
    header, plane, geometry = stack.header, stack.planes[0], stack.geometry
    spacing = None if plane.spacing_mm is None else [plane.spacing_mm[1], plane.spacing_mm[0]]
    if spacing is not None and geometry is not None and len(stack.planes) > 1:
        spacing.append(geometry.usual_gap_mm)
    return {
        "volume": name,
        "patient": header.patient or None,
        "study": header.study or None,
        "series": header.series or None,
        "kind": stack.kind,
        "apart": "" if stack.kind in FLAT else stack.apart,
        "modality": header.modality,
        "series_number": header.series_number,
        "description": header.description,
        "acquired": header.acquired or None,
        "frame_of_reference": header.frame_of_reference,
        "slices": len(stack.planes),
        "rows": plane.rows,
        "columns": plane.columns,
        "spacing_mm": " × ".join(f"{one:g}" for one in spacing) if spacing else None,
        "plane": None if geometry is None else plane_word(geometry.normal),
        "tilt_degrees": None if geometry is None else round(geometry.tilt_degrees, 2),
        "syntax": header.syntax,
        "problems": list(stack.problems),
        "copy_of": None,
        "stored": False,
        "shape": None,
        "dtype": None,
        "geometry": None,
    }


def made_of(stack: Stack, root: Path) -> str:
    """A digest of the files that a stack is made of: other files give another one."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted({plane.path for plane in stack.planes}):
        file = Path(path)
        digest.update(json.dumps([str(file.relative_to(root)), file.stat().st_size]).encode())
    digest.update(json.dumps([[plane.uid, plane.frame] for plane in stack.planes]).encode())
    return digest.hexdigest()


def _place(line: dict[str, Any]) -> tuple[object, ...]:
    """A patient's lines together, study after study, series by their number."""
    return (
        line["patient"] or "", line["acquired"][:10] if line["acquired"] else "", line["study"] or "",
        natural(line["series_number"] or ""), line["series"] or "", natural(line["volume"]),
    )  # fmt: skip


def write_inventory(lines: Sequence[dict[str, Any]], folder: Path) -> None:
    """`inventory.parquet` for programs, `inventory.csv` for people: the same lines, in the order of a clinic's list."""
    import polars as pl

    kinds = {
        "slices": pl.Int64,
        "rows": pl.Int64,
        "columns": pl.Int64,
        "tilt_degrees": pl.Float64,
        "stored": pl.Boolean,
    }
    schema = {name: kinds.get(name, pl.String) for name in COLUMNS}
    ordered = sorted(lines, key=_place)
    joined = [{**{name: line[name] for name in COLUMNS}, "problems": "; ".join(line["problems"])} for line in ordered]
    frame = pl.DataFrame(joined, schema=schema)
    for name, write in (
        ("inventory.csv", frame.drop("geometry").write_csv),
        ("inventory.parquet", frame.write_parquet),
    ):
        partial = folder / f"{name}.partial"
        write(partial)
        partial.replace(folder / name)
