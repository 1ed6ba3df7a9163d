"""Answers as DICOM segmentations on series that are reversed, gapped, oblique or tilted: do they lie right?

Makes small series whose voxels say where they are meant to lie, writes an answer for each through the same path that
predictions take, and reads both anew with other programs: the slices with SimpleITK, the segmentation with pydicom alone.
Every voxel that is marked must lie on the voxel of the series that it was marked for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.result import Result
from medloom.cohort.table import make_cohort
from medloom.cohort_part import CohortPart
from medloom.feed import pack
from medloom.modalities.image import Image
from medloom.modalities.image.options import ImageOptions
from medloom.modalities.image.packing import Grids

ID = "dicom-seg"
SEED = 5
SHAPE = (9, 14, 12)
"""Slices, rows and columns."""
MARKED, OTHER = 1_000, 2_000
"""Intensities of voxels from which each of two labels is made; their neighbours are darker."""
COSINE, SINE = float(np.cos(0.4)), float(np.sin(0.4))
OBLIQUE = (COSINE, SINE, 0.0, -0.8 * SINE, 0.8 * COSINE, 0.6)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a series is stacked: from one file to the next, and which slices are there."""

    orientation: Sequence[float] = AXIAL
    step: Sequence[float] = (0.0, 0.0, 2.5)
    places: Sequence[int] = tuple(range(SHAPE[0]))
    gaps: str = "refuse"


KINDS: Mapping[str, Kind] = {
    "plain": Kind(),
    "reversed": Kind(step=(0.0, 0.0, -2.5)),
    "spaced": Kind(step=(0.0, 0.0, 6.0)),
    "oblique": Kind(OBLIQUE, tuple(np.cross(OBLIQUE[:3], OBLIQUE[3:]) * 3.1)),
    "oblique and reversed": Kind(OBLIQUE, tuple(np.cross(OBLIQUE[:3], OBLIQUE[3:]) * -3.1)),
    "tilted": Kind(step=(0.0, 0.5, 2.5)),
    "coronal": Kind(CORONAL, (0.0, 1.7, 0.0)),
    "gapped": Kind(places=(0, 1, 2, 4, 5, 6, 8), gaps="interpolate"),
}


def run(data: Path | None) -> list[Result]:
    """Largest distance in mm of a marked voxel from where it belongs, and voxels that are missing or too many."""
    farthest, wrong, told = 0.0, 0, []
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            away, differing, marked = _tried(kind, Path(folder))
        farthest, wrong = max(farthest, away), wrong + differing
        told.append(f"{name}: {marked} voxels, {away:.1e} mm, {differing} wrong")
    split = f"{len(KINDS)} made series: {', '.join(KINDS)}"
    return [
        Result(ID, "farthest voxel, mm", farthest, False, split, (SEED,), baseline="; ".join(told), want=1e-3),
        Result(ID, "voxels missing or too many", float(wrong), False, split, (SEED,), want=0.0),
    ]


def _tried(kind: Kind, folder: Path) -> tuple[float, int, int]:
    random = np.random.default_rng(SEED)
    values = random.integers(0, 500, SHAPE).astype(np.int16)
    for intensity, share in ((MARKED, 0.1), (OTHER, 0.05)):
        values[random.random(SHAPE) < share] = intensity
    files = _write_series(values, kind, folder / "series")
    answer = _answered(kind, folder)
    seen = [_of_slices(files, intensity) for intensity in (MARKED, OTHER)]
    said = _of_segmentation(answer)
    away, wrong = 0.0, 0
    for number, positions in enumerate(seen, 1):
        there = said[number]
        # Slices that were filled in have no voxel of the series to lie on: those on its slices are compared.
        distance = np.linalg.norm(positions[:, None] - there[None], axis=2)
        away = max(away, float(distance.min(axis=1).max()))
        extra = int((distance.min(axis=0) > 1e-2).sum())
        wrong += int((distance.min(axis=1) > 1e-2).sum()) + (0 if kind.gaps == "interpolate" else extra)
    return away, wrong, sum(map(len, seen))


def _write_series(values: np.ndarray, kind: Kind, folder: Path) -> list[Path]:
    """Files in an order that has nothing to do with their places."""
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    folder.mkdir(parents=True)
    written = []
    for place in kind.places:
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(
            entropy_srcs=["slice", str(place)]
        )
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(data, name, generate_uid(entropy_srcs=[name]))
        data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = "P1", "A", "", "O"
        data.StudyDate, data.StudyTime, data.AccessionNumber, data.StudyID = "20200101", "080000", "", "1"
        data.ReferringPhysicianName, data.Manufacturer, data.Modality = "", "", "MR"
        data.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        data.Rows, data.Columns, data.SamplesPerPixel = SHAPE[1], SHAPE[2], 1
        data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 1
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelSpacing, data.SliceThickness = [0.8, 0.6], 2.0
        data.ImageOrientationPatient = [f"{one:.9f}" for one in kind.orientation]
        position = np.array([-10.0, 5.0, 30.0]) + np.array(kind.step) * place
        data.ImagePositionPatient = [f"{one:.6f}" for one in position]
        data.PixelData = values[place].tobytes()
        written.append(folder / f"{(place * 7 + 3) % 101:03d}.dcm")
        dcmwrite(written[-1], data, enforce_file_format=True)
    return written


def _answered(kind: Kind, folder: Path) -> Path:
    """The answer of a model that marks what has either intensity, written as predictions are."""
    options = ImageOptions.model_validate(
        {
            "column": "series", "dims": 3, "patch": [8, 8, 8], "levels": 2, "known_before_index": True, "gaps": kind.gaps,
            "masks": "dicom-seg",
        }
    )  # fmt: skip
    cohort = make_cohort(CohortPart(independent_rows=True), pl.DataFrame({"series": ["series"]}), folder, {})
    source = pack(Image, options, cohort)
    grid = Grids(source.packed).unit(int(source.unit[0]))[0]
    labels = {"tumour": 3, "organ": 1}
    mask = np.select([grid == MARKED, grid == OTHER], list(labels.values()), 0).astype(np.uint8)
    return Image(options, (0.0,), (1.0,)).save(source, 0, mask, folder / "answer", labels)


def _of_slices(files: Sequence[Path], intensity: int) -> np.ndarray:
    """Where SimpleITK says that the voxels of an intensity lie: each slice read by itself."""
    import SimpleITK as itk

    found = []
    for file in files:
        image = itk.ReadImage(str(file))
        for place in np.argwhere(itk.GetArrayFromImage(image) == intensity)[:, ::-1]:
            found.append(image.TransformIndexToPhysicalPoint([int(one) for one in place]))
    return np.array(found)


def _of_segmentation(path: Path) -> dict[int, np.ndarray]:
    """Where a segmentation says that the voxels of each segment lie, by DICOM PS3.3, C.7.6.2.1.1, with pydicom alone."""
    from pydicom import dcmread

    data = dcmread(path)
    shared = data.SharedFunctionalGroupsSequence[0]
    axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    found: dict[int, list[Any]] = {}
    for frame, told in zip(data.pixel_array, data.PerFrameFunctionalGroupsSequence, strict=True):
        number = int(told.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        origin = np.array(told.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(frame):
            found.setdefault(number, []).append(origin + axes[:3] * spacing[1] * column + axes[3:] * spacing[0] * row)
    return {number: np.array(positions) for number, positions in found.items()}
