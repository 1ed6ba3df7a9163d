"""Label values as a DICOM segmentation object that lies on the slices of its series and refers to them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from medloom import find
from medloom.errors import DataError
from medloom.modalities.image.reading.dicom import filled, series_stack
from medloom.modalities.image.reading.dicom_header import load
from medloom.modalities.image.reading.geometry import Geometry
from medloom.modalities.image.reading.scan import Refused, Scan
from medloom.modalities.image.reading.stacks import Stack

MUST = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
"""What a segmentation cannot do without (DICOM's type 1)."""
MAY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID",
    "ReferringPhysicianName", "Manufacturer",
)  # fmt: skip
"""What it repeats, and what stands there empty where the series does not say (type 2)."""
SERIES_NUMBER = 9_000
"""Of the new series; those of scanners are lower."""
PLACE_MM = 0.01
"""How far a slice of the answer may lie from where its series says it lies: positions are decimal text of 16 characters."""


def write_segmentation(
    values: Integer[np.ndarray, "x y z"], scan: Scan, file: Path, stem: Path, labels: Mapping[str, int]
) -> Path:
    """Writes a binary segment for each label, on every slice of the series in `file`; returns the file's path.

    Slices are in the order, and at the places, that the series was read in. Raises DataError where the series has changed
    since, or lacks what a segmentation must repeat of it (patient, study).
    """
    find.need("highdicom")
    try:
        stack = series_stack(file)
    except Refused as error:
        raise DataError(f"the series of {stem.name} can no longer be read: its files {error}") from error
    geometry = _placed(stack, values.shape[2])
    if not np.allclose(geometry.affine, scan.affine, atol=PLACE_MM):
        raise DataError(f"the series of {stem.name} lies elsewhere than when it was read; predict again")
    sources = _datasets(stack, stem.name)
    numbers = np.zeros(values.shape, np.uint8)
    for number, value in enumerate(labels.values(), 1):
        numbers[values == value] = number
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_name(f"{stem.name}.dcm")
    try:
        with warnings.catch_warnings():
            # Its warnings repeat the patient's name.
            warnings.simplefilter("ignore")
            frames = np.ascontiguousarray(numbers.transpose(2, 1, 0))
            made = _segmentation(frames, geometry, sources, tuple(labels), stem.name)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{stem.name}: the series lacks what a DICOM segmentation must repeat of it ({type(error).__name__}); "
            'mend its headers, or set masks = "nifti"'
        ) from error
    made.save_as(path, enforce_file_format=True)
    return path


def _placed(stack: Stack, slices: int) -> Geometry:
    """Where the slices of the volume lie; the even ones that were filled in, where the series misses some."""
    geometry = stack.geometry
    assert geometry is not None
    if len(geometry.origins) == slices:
        return geometry
    return filled(np.zeros((len(geometry.origins), 1, 1, 1), np.uint8), geometry)[1]


def _datasets(stack: Stack, told: str) -> list[Any]:
    """The headers of the files, in the order of their first slices. Raises DataError where they do not say enough."""
    found = [load(Path(path), pixels=False) for path in dict.fromkeys(plane.path for plane in stack.planes)]
    for data in found:
        lacking = [name for name in MUST if not data.get(name)]
        if lacking:
            raise DataError(
                f"{told}: the series has no {', '.join(lacking)}, which a DICOM segmentation must refer to; mend its "
                'headers, or set masks = "nifti"'
            )
        for name in MAY:
            if name not in data:
                setattr(data, name, "")
    return found


def _segmentation(
    frames: Integer[np.ndarray, "z y x"], geometry: Geometry, sources: Sequence[Any], names: Sequence[str], told: str
) -> Any:
    from importlib.metadata import version

    highdicom = find.need("highdicom")
    uid, codes = find.need("pydicom.uid"), find.need("pydicom.sr.codedict").codes
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="medloom", family=codes.DCM.ArtificialIntelligence, version=version("medloom")
    )
    described = [
        highdicom.seg.SegmentDescription(
            number,
            name[:64],
            # What a label is of, no study says: any structure of the body.
            codes.SCT.AnatomicalStructure,
            codes.SCT.AnatomicalStructure,
            highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm,
        )
        for number, name in enumerate(names, 1)
    ]
    digest = hashlib.sha256(frames.tobytes()).hexdigest()
    own = [str(sources[0].SeriesInstanceUID), told, digest]
    orientation = [*geometry.row_axis.tolist(), *geometry.column_axis.tolist()]
    return highdicom.seg.Segmentation(
        source_images=list(sources),
        pixel_array=frames,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=uid.generate_uid(entropy_srcs=[*own, "series"]),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid.generate_uid(entropy_srcs=[*own, "object"]),
        instance_number=1,
        manufacturer="medloom",
        manufacturer_model_name="medloom",
        software_versions=version("medloom"),
        device_serial_number="0",
        content_label="MEDLOOM",
        content_description="; ".join(names)[:64],
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=list(geometry.spacing_mm),
            slice_thickness=geometry.thickness_mm or float(np.linalg.norm(geometry.step)),
            spacing_between_slices=float(abs(geometry.step @ geometry.normal)),
        ),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", orientation),
        plane_positions=[highdicom.PlanePositionSequence("PATIENT", origin.tolist()) for origin in geometry.origins],
        omit_empty_frames=False,
    )
