"""Small DICOM files for tests, written by pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def uid(*parts: object) -> str:
    """The same identifier for the same words."""
    return generate_uid(entropy_srcs=[str(part) for part in parts])


def image(values: np.ndarray, series: str = "s", number: int = 0, **elements: Any) -> Dataset:
    """A dataset of one image `[rows, columns]`, or of frames `[frames, rows, columns]`."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uid(series, number)
    data.PatientID, data.Modality = "P1", "MR"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = uid("study"), uid(series), uid("frame")
    data.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    data.Rows, data.Columns = values.shape[-2:]
    if values.ndim == 3:
        data.NumberOfFrames = len(values)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = values.dtype.itemsize * 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    for name, value in elements.items():
        if value is not None:
            setattr(data, name, value)
    return data


def save(data: Dataset, path: Path) -> Path:
    """Writes the dataset with preamble and meta information."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def series(
    folder: Path,
    volume: np.ndarray,
    *,
    name: str = "s",
    origin: Sequence[float] = (-10.0, 5.0, 30.0),
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (0.8, 0.6),
    step: Sequence[float] | None = None,
    order: Sequence[int] | None = None,
    **elements: Any,
) -> Path:
    """A series of the slices of a volume `[slices, rows, columns]`, in files whose names say nothing of their order."""
    along = np.cross(orientation[:3], orientation[3:]) * 2.5 if step is None else np.array(step)
    for place in range(len(volume)) if order is None else order:
        where = {
            "ImagePositionPatient": [f"{v:.6f}" for v in np.array(origin) + along * place],
            "ImageOrientationPatient": [f"{v:.9f}" for v in orientation],
            "PixelSpacing": list(spacing),
            "SliceThickness": 2.0,
        }
        data = image(volume[place], name, place, **{**where, **elements})
        save(data, folder / f"{(place * 7 + 3) % 101:03d}{name}")
    return folder
