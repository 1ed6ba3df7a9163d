"""Writes made-up CT of lungs with nodules as an archive would export it: `python examples/make_dicom.py`, then
`medloom ingest examples/data/ct-export --to examples/data/ct`.

The export is a mess on purpose: files without names that say anything, slices in any order, two slopes of the scanners,
two compressions, localisers, a derived image, a scan that was broken off, copies, a report, and files that are no DICOM.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
import polars as pl
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)  # fmt: skip

SLICES, SIDE = 20, 48
SPACING_MM, SLICE_MM = 1.5, 2.5
RADII_MM = (3.0, 9.0)
"""Radii of nodules, from the smallest to the largest."""
OUTSIDE = -2000
"""What this scanner writes beyond its field of view."""


def uid(*parts: object) -> str:
    """The same identifier for the same words."""
    return str(generate_uid(entropy_srcs=["medloom example", *map(str, parts)]))


def thorax(nodules: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A CT `[slices, rows, columns]` in HU, and the mask of its nodules; vessels run through the lungs beside them."""
    size_mm = np.array([SLICES * SLICE_MM, SIDE * SPACING_MM, SIDE * SPACING_MM])
    steps = [
        np.arange(count) * step
        for count, step in zip((SLICES, SIDE, SIDE), (SLICE_MM, SPACING_MM, SPACING_MM), strict=True)
    ]
    at = np.stack(np.meshgrid(*steps, indexing="ij"), -1) - size_mm / 2 + random.normal(0, 1, 3)
    z, y, x = np.moveaxis(at, -1, 0)
    body = (x / 34) ** 2 + (y / 26) ** 2 < 1
    lungs = np.zeros(body.shape, bool)
    for side in (-1, 1):
        lungs |= ((x - side * 15.5) / 12.5) ** 2 + ((y + 1) / 19) ** 2 + (z / 60) ** 2 < 1
    values = np.where(body, 40.0, -1000.0)
    values[lungs] = -830
    values[(np.hypot(x, y - 19) < 5) & body] = 400
    for _ in range(16):
        start, direction = random.uniform(-1, 1, 3) * [20, 16, 26], random.normal(size=3)
        direction /= np.linalg.norm(direction)
        off = at - start
        away = np.linalg.norm(off - (off @ direction)[..., None] * direction, axis=-1)
        values[lungs & (away < random.uniform(0.8, 1.6))] = -60
    mask = np.zeros(body.shape, bool)
    for _ in range(nodules):
        radius = float(np.exp(random.uniform(*np.log(RADII_MM))))
        centre = np.array(
            [
                random.uniform(-0.7, 0.7) * size_mm[0] / 2,
                random.uniform(-12, 10),
                random.choice([-1, 1]) * random.uniform(11, 19),
            ]
        )
        lump = np.linalg.norm(at - centre, axis=-1) * (1 + 0.15 * np.sin(at.sum(-1) / 2)) < radius
        values[lump] = random.uniform(-40, 80)
        mask |= lump
    values += random.normal(0, 25, values.shape)
    values[
        :, np.hypot(*np.meshgrid(np.arange(SIDE) - SIDE / 2 + 0.5, np.arange(SIDE) - SIDE / 2 + 0.5)) > SIDE / 2 + 6
    ] = OUTSIDE
    return values, mask


def slice_of(values: np.ndarray, patient: str, series: str, number: int, kind: str = "AXIAL") -> Dataset:
    """One image of a series, in stored values of 16 bits."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, uid(series, kind, number)
    data.PatientID, data.PatientName, data.PatientBirthDate = patient, f"Made^Up^{patient.strip()}", ""
    data.Modality, data.Manufacturer = "CT", "made up"
    data.StudyInstanceUID, data.SeriesInstanceUID = uid(patient, "study"), series
    data.FrameOfReferenceUID = uid(patient, "frame")
    data.StudyDate, data.SeriesNumber, data.InstanceNumber = "20240301", 3, number
    data.ImageType = ["ORIGINAL", "PRIMARY", kind]
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.PixelData = values.astype("<i2").tobytes()
    return data


def placed(data: Dataset, place_mm: float, slope: float, intercept: float) -> Dataset:
    """With its place in the patient, and the line from stored values to HU."""
    half = -(SIDE - 1) * SPACING_MM / 2
    data.ImagePositionPatient = [half, half, round(-120 + place_mm, 3)]
    data.ImageOrientationPatient, data.PixelSpacing = [1, 0, 0, 0, 1, 0], [SPACING_MM, SPACING_MM]
    data.SliceThickness, data.RescaleSlope, data.RescaleIntercept = SLICE_MM, slope, intercept
    data.RescaleType, data.SeriesDescription = "HU", "Thorax  lung kernel "
    return data


def save(data: Dataset, folder: Path, random: np.random.Generator, packed: bool = False) -> Path:
    """Writes a file whose name says nothing; `packed` by run lengths."""
    if packed:
        data.compress(RLELossless, generate_instance_uid=False)
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = (
        data.SOPClassUID,
        data.SOPInstanceUID,
    )
    path = folder / f"{random.integers(16**8):08X}"
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def export_scan(values: np.ndarray, patient: str, series: str, folder: Path, random: np.random.Generator) -> None:
    """The slices of one scan in any order, one of them twice."""
    slope, intercept = ((1.0, -1024.0), (0.5, 0.0))[int(random.integers(2))]
    packed = bool(random.random() < 0.3)
    order = random.permutation(len(values)).tolist()
    for place in [*order, order[0]]:
        stored = np.round((values[place] - intercept) / slope)
        data = slice_of(stored, patient, series, len(values) - place)
        save(placed(data, place * SLICE_MM, slope, intercept), folder, random, packed)


def clutter(patient: str, values: np.ndarray, folder: Path, random: np.random.Generator) -> None:
    """What lies beside a scan in an archive: a localiser, a derived image, a report, a scan that was broken off."""
    scout = slice_of(np.round(values.mean(1)), patient, uid(patient, "scout"), 1, "LOCALIZER")
    scout.ImageOrientationPatient, scout.PixelSpacing = [1, 0, 0, 0, 0, -1], [SLICE_MM, SPACING_MM]
    scout.ImagePositionPatient = [-36, 0, -70]
    save(scout, folder, random)
    if random.random() < 0.4:
        highest = slice_of(np.round(values.max(0)), patient, uid(patient, "mip"), 1)
        highest.SOPClassUID, highest.ImageType = SecondaryCaptureImageStorage, ["DERIVED", "SECONDARY", "MIP"]
        save(highest, folder, random)
    if random.random() < 0.4:
        report = Dataset()
        report.file_meta = FileMetaDataset()
        report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        report.SOPClassUID, report.SOPInstanceUID = BasicTextSRStorage, uid(patient, "report")
        report.PatientID, report.Modality, report.StudyInstanceUID = patient, "SR", uid(patient, "study")
        report.SeriesInstanceUID = uid(patient, "reports")
        save(report, folder, random)
    if random.random() < 0.2:
        for place in (0, 1, 2, 5, 6):
            data = slice_of(np.round(values[place]), patient, uid(patient, "broken off"), place)
            save(placed(data, place * SLICE_MM, 1.0, 0.0), folder, random)


def save_mask(mask: np.ndarray, path: Path) -> str:
    """NIfTI `[x, y, z]` in the place of the series: RAS in mm, from DICOM's left and back."""
    half = (SIDE - 1) * SPACING_MM / 2
    affine = np.array([[-SPACING_MM, 0, 0, half], [0, -SPACING_MM, 0, half], [0, 0, SLICE_MM, -120], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(mask.transpose(2, 1, 0).astype(np.uint8)), affine), path)
    return f"{path.parent.name}/{path.name}"


def main(folder: Path, scale: float = 1.0) -> None:
    """Writes `ct-export/`, the masks, and the table of scans by their series; `scale` below 1 makes fewer."""
    export, masks = folder / "ct-export", folder / "ct-masks"
    masks.mkdir(parents=True, exist_ok=True)
    random, rows = np.random.default_rng(23), []
    for number in range(max(16, int(120 * scale))):
        patient = f"CT{number:04d}" + " " * (number % 2)
        where = export / f"{random.integers(16**6):06X}" / "IMAGES"
        where.mkdir(parents=True, exist_ok=True)
        series = uid(patient, "scan")
        values, mask = thorax(int(random.integers(1, 4)) if random.random() < 0.75 else 0, random)
        export_scan(values, patient, series, where, random)
        clutter(patient, values, where, random)
        ids = {"series": series, "patient": patient.strip()}
        rows.append(
            {**ids, "mask": save_mask(mask, masks / f"{number:04d}.nii.gz"), "nodule": "yes" if mask.any() else "no"}
        )
    (export / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (export / "README.TXT").write_text("Exported by the archive. No images in this file.\n")
    pl.DataFrame(rows).write_csv(folder / "nodules.csv")


if __name__ == "__main__":
    main(Path(__file__).parent / "data", float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
