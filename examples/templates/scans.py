"""Loaders of published sets in DICOM and NIfTI; see pictures.py."""

from __future__ import annotations

import xml.etree.ElementTree as tree
from collections import defaultdict
from pathlib import Path

import nibabel
import numpy as np
import polars as pl
import pydicom
from pictures import read
from PIL import Image, ImageDraw

READERS = 2
"""How many of LIDC's four readers must have drawn a voxel for it to belong to a nodule."""
GROUPS = {"CN": "no", "AD": "yes"}
"""ADNI's groups that a study of dementia compares; mild impairment (MCI, …) is left out."""


def cbis_ddsm(root: Path, out: Path) -> pl.DataFrame:
    """CBIS-DDSM: `mass_case_description_{train,test}_set.csv`, and for each image a folder such as
    `Mass-Training_P_00001_LEFT_CC/…/….dcm`, anywhere below.

    A row for each mammogram: malignant where any of its masses is. Its parts are the publishers'.
    """
    folders = {path.name: path for path in root.rglob("Mass-T*_P_*") if path.is_dir()}
    tables = []
    for part in ("train", "test"):
        case = pl.col("image file path").str.split("/").list.first()
        tables.append(
            read(root / f"mass_case_description_{part}_set.csv").with_columns(
                case.alias("case"), pl.lit(part).alias("part")
            )
        )
    rows = []
    both = pl.concat(tables, how="diagonal_relaxed")
    for (name,), found in both.group_by("case", maintain_order=True):
        files = sorted(folders[str(name)].rglob("*.dcm")) if name in folders else []
        if not files:
            continue
        ill = "MALIGNANT" in found["pathology"].to_list()
        first = found.row(0, named=True)
        rows.append(
            {
                "picture": name, "patient": first["patient_id"], "image": str(files[0]),
                "breast": first["left or right breast"], "view": first["image view"],
                "part": first["part"], "malignant": "yes" if ill else "no",
            }
        )  # fmt: skip
    return pl.DataFrame(rows)


def adni(root: Path, out: Path) -> pl.DataFrame:
    """ADNI: the CSV of a collection (Image Data ID, Subject, Group, Sex, Age, Visit, …) beside the folder `ADNI/`, where the
    images lie at `<subject>/<description>/<date>/<image id>/`, one NIfTI or a series of DICOM each.
    """
    tables = sorted(root.glob("*.csv"))
    if not tables:
        raise FileNotFoundError(2, "no table", str(root / "*.csv"))
    where = {}
    for path in sorted((root / "ADNI").glob("*/*/*/*")):
        if path.is_dir():
            scan = next((one for one in sorted(path.iterdir()) if one.name.endswith((".nii", ".nii.gz"))), path)
            where[path.name.removeprefix("I")] = str(scan)
    number = pl.col("Image Data ID").str.strip_prefix("I")
    return (
        read(tables[0])
        .filter(pl.col("Group").is_in(list(GROUPS)))
        .select(
            pl.col("Image Data ID").alias("scan"),
            pl.col("Subject").alias("patient"),
            number.replace_strict(where, default=None, return_dtype=pl.String).alias("image"),
            pl.col("Sex").alias("sex"),
            pl.col("Age").alias("age"),
            pl.col("Group").replace_strict(GROUPS).alias("dementia"),
        )
        .drop_nulls("image")
    )


def lidc(root: Path, out: Path) -> pl.DataFrame:
    """LIDC-IDRI: `LIDC-IDRI-0001/<study>/<series>/` with the slices of a CT and one XML of what four readers drew.

    A mask of the voxels that at least `READERS` of them drew, as NIfTI beside the table; nodules below 3 mm, which are
    marked by a point, are in none.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for drawn in sorted(root.rglob("*.xml")):
        slices = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(drawn.parent.glob("*.dcm"))]
        slices = [one for one in slices if one.get("Modality") == "CT"]
        if not slices:
            continue
        mask = nodule_mask(tree.parse(drawn).getroot(), slices)
        path = out / f"{slices[0].SeriesInstanceUID}.nii.gz"
        nibabel.save(mask, path)
        patient = next(part for part in drawn.parts if part.startswith("LIDC-IDRI-"))
        rows.append(
            {
                "scan": str(slices[0].SeriesInstanceUID),
                "patient": patient,
                "image": str(drawn.parent),
                "mask": str(path),
            }
        )
    return pl.DataFrame(rows)


def nodule_mask(told: tree.Element, slices: list[pydicom.Dataset]) -> nibabel.Nifti1Image:
    """The mask of one series, `[columns, rows, slices]`, in the place of its slices (axial, rows along x)."""
    slices = sorted(slices, key=lambda one: float(one.ImagePositionPatient[2]))
    place = {str(one.SOPInstanceUID): number for number, one in enumerate(slices)}
    first = slices[0]
    readers = np.zeros((len(slices), first.Rows, first.Columns), np.uint8)
    for reading in told.iterfind(".//{*}readingSession"):
        for number, contours in contours_of(reading, place).items():
            plane = Image.new("1", (int(first.Columns), int(first.Rows)))
            for points, within in sorted(contours, key=lambda one: not one[1]):
                ImageDraw.Draw(plane).polygon(points, fill=int(within))
            readers[number] += np.asarray(plane)
    row_mm, column_mm = (float(one) for one in first.PixelSpacing)
    x, y, z = (float(one) for one in first.ImagePositionPatient)
    step_mm = (float(slices[-1].ImagePositionPatient[2]) - z) / max(1, len(slices) - 1)
    affine = np.array([[-column_mm, 0, 0, -x], [0, -row_mm, 0, -y], [0, 0, step_mm, z], [0, 0, 0, 1]])
    return nibabel.Nifti1Image((readers >= READERS).transpose(2, 1, 0).astype(np.uint8), affine)


def contours_of(
    reading: tree.Element, place: dict[str, int]
) -> dict[int, list[tuple[list[tuple[float, float]], bool]]]:
    """The outlines that one reader drew, by slice: points, and whether what is inside belongs to a nodule or is a hole."""
    found = defaultdict(list)
    for outline in reading.iterfind(".//{*}unblindedReadNodule/{*}roi"):
        points = [
            (float(edge.findtext("{*}xCoord", "0")), float(edge.findtext("{*}yCoord", "0")))
            for edge in outline.iterfind("{*}edgeMap")
        ]
        number = place.get(str(outline.findtext("{*}imageSOP_UID")).strip())
        if number is not None and len(points) > 2:
            found[number].append((points, outline.findtext("{*}inclusion", "TRUE").strip().upper() == "TRUE"))
    return found
