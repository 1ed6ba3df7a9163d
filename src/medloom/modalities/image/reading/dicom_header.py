"""What a DICOM file says of itself: its planes, one for each frame, with all that tells them apart. No pixel is decoded."""

from __future__ import annotations

import hashlib
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medloom import find
from medloom.modalities.image.reading.other_files import image_like, no_image, not_an_image
from medloom.modalities.image.reading.scan import MOST_VOXELS, Refused

MOST_INFLATED = 64 << 20
"""Bytes beyond which a deflated file may not grow by more than `MOST_RATIO`."""
MOST_RATIO = 200
MOST_FRAMES = 100_000
DEFLATED = b"1.2.840.10008.1.2.1.99"
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
SLICED = ("MR", "CT", "PT", "NM")
"""Scanners whose own images lie in space: a secondary capture of theirs is a picture of a screen."""
TELLING = (
    "EchoNumbers", "EchoTime", "InversionTime", "RepetitionTime", "FlipAngle", "DiffusionBValue",
    "DiffusionGradientOrientation", "TemporalPositionIdentifier", "TemporalPositionIndex", "NominalCardiacTriggerDelayTime",
    "TriggerTime", "NominalPercentageOfCardiacPhase", "StackID", "ConvolutionKernel", "KVP", "AcquisitionNumber",
    "FrameReferenceDateTime", "AcquisitionDateTime", "AcquisitionTime", "ContentTime",
)  # fmt: skip
"""What may tell two images of one place in one series apart, the most meaningful first."""
PRIVATE_B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C), (0x0043, "GEMS_PARM_01", 0x39), (0x2001, "Philips Imaging DD 001", 0x03),
)  # fmt: skip
"""Group, creator and element of the b-value where a maker keeps it in an element of its own."""
_GROUPS = (
    "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "MREchoSequence", "MRDiffusionSequence",
    "FrameContentSequence", "MRTimingAndRelatedParametersSequence", "CardiacSynchronizationSequence",
    "MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PixelValueTransformationSequence",
    "PlanePositionVolumeSequence", "PlaneOrientationVolumeSequence",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plane:
    """One two-dimensional image: a file, a frame of one, or a tile of a mosaic (`tile` is its first row and column)."""

    path: str
    frame: int
    uid: str
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, float] | None
    thickness_mm: float | None
    rows: int
    columns: int
    samples: int
    image_type: tuple[str, ...]
    tells: dict[str, str]
    tile: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """One file of images: who and what, and its planes."""

    patient: str
    study: str
    series: str
    modality: str
    frame_of_reference: str
    series_number: str
    description: str
    acquired: str
    syntax: str
    burned_in: str
    planes: tuple[Plane, ...]
    birth: str = ""
    """A digest of the date of birth, to tell two patients of one PatientID; it is in no store."""
    capture: bool = False
    """Whether it is a screenshot or a scanned page, and nothing that a scanner or a camera saw."""


def load(path: Path, pixels: bool) -> Any:
    """The dataset of a file, with or without its pixels. Raises Refused for what is no DICOM, or is dangerous."""
    pydicom = find.need("pydicom")
    _check_start(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(path, force=True, stop_before_pixels=not pixels)
            len(data)
    except RecursionError as error:
        raise Refused("nest sequences so deep that they cannot be read") from error
    except MemoryError as error:
        raise Refused("need more memory than decoding is given") from error
    except Exception as error:
        raise Refused("are broken DICOM files; copy them again from their source") from error
    if not any(name in data for name in ("SOPClassUID", "Rows", "Modality", "DirectoryRecordSequence")):
        raise Refused("are no images of a known kind (no DICOM elements were found)")
    _name_syntax(data)
    return data


def _name_syntax(data: Any) -> None:
    """Writes the transfer syntax, as the elements were found to be written, where the file does not name it."""
    pydicom = find.need("pydicom")
    if not hasattr(data, "file_meta"):
        data.file_meta = pydicom.dataset.FileMetaDataset()
    if "TransferSyntaxUID" in data.file_meta:
        return
    implicit, little = data.original_encoding
    uid = pydicom.uid
    known = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    data.file_meta.TransferSyntaxUID = known if little else uid.ExplicitVRBigEndian


def _check_start(path: Path) -> None:
    if not path.is_file():
        raise Refused("are no regular files")
    try:
        handle = open(path, "rb")
    except PermissionError as error:
        raise Refused("may not be opened; allow it, and ingest again") from error
    with handle:
        start = handle.read(4096)
        if len(start) < 8:
            raise Refused("are empty" if not start else not_an_image(start))
        if start[128:132] != b"DICM":
            group = struct.unpack("<H", start[:2])[0]
            if group not in (0x0002, 0x0008) and group not in (0x0200, 0x0800):
                found = not_an_image(start)
                hint = ", not DICOM; convert them to PNG, or give them their ending" if "pictures" in found else ""
                raise Refused(found + hint)
        if DEFLATED in start:
            handle.seek(0)
            _check_inflated(handle.read(), path.stat().st_size)


def _check_inflated(raw: bytes, size: int) -> None:
    """Inflates without keeping anything, to see that a small file does not become a huge one."""
    end = raw.find(DEFLATED)
    meta_length = raw.find(b"\x02\x00\x00\x00UL\x04\x00", 0, 256)
    begin = 144 + struct.unpack("<I", raw[140:144])[0] if meta_length == 132 else end + len(DEFLATED)
    inflater, total, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, raw[begin:]
    try:
        while rest and not inflater.eof:
            total += len(inflater.decompress(rest, 1 << 20))
            rest = inflater.unconsumed_tail
            if total > MOST_INFLATED and total > MOST_RATIO * size:
                raise Refused(f"are deflated and grow more than {MOST_RATIO} times; save them uncompressed")
    except zlib.error as error:
        raise Refused("are deflated and broken; copy them again from their source") from error


def read_header(path: Path) -> Header:
    """All planes of a file. Raises Refused: with what it is, where it is a DICOM object without images."""
    data = load(path, pixels=False)
    if "DirectoryRecordSequence" in data:
        raise Refused("are DICOMDIR indexes; the files are found without them")
    other = no_image(_text(data, "Modality"), _text(data, "SOPClassUID"))
    if other is not None:
        raise Refused(other)
    try:
        return _header(data, path)
    except Refused as error:
        raise Refused(str(error), _text(data, "SeriesInstanceUID") if image_like(data) else None) from error


def _header(data: Any, path: Path) -> Header:
    rows, columns = _whole(data, "Rows"), _whole(data, "Columns")
    if not rows or not columns:
        raise Refused("are DICOM objects without an image, or cut short before it (no Rows and Columns)")
    frames = 1 if "NumberOfFrames" not in data or data.get("NumberOfFrames") is None else _whole(data, "NumberOfFrames")
    samples = _whole(data, "SamplesPerPixel") or 1
    if not 0 < frames <= MOST_FRAMES or rows * columns * frames * samples > MOST_VOXELS:
        raise Refused(f"declare no frame, more than {MOST_FRAMES} or more than {MOST_VOXELS} voxels")
    planes = tuple(_planes(data, str(path), rows, columns, frames, samples))
    issuer, patient = _text(data, "IssuerOfPatientID"), _text(data, "PatientID")
    return Header(
        f"{issuer}/{patient}" if issuer and patient else patient,
        _text(data, "StudyInstanceUID"),
        _text(data, "SeriesInstanceUID"),
        _text(data, "Modality"),
        _text(data, "FrameOfReferenceUID"),
        _text(data, "SeriesNumber"),
        _text(data, "SeriesDescription"),
        _acquired(data),
        str(data.file_meta.TransferSyntaxUID),
        _text(data, "BurnedInAnnotation"),
        planes,
        _birth(data),
        _capture(data, planes[0]),
    )


def _birth(data: Any) -> str:
    born = _text(data, "PatientBirthDate")
    return hashlib.blake2b(born.encode(), digest_size=8).hexdigest() if born else ""


def _capture(data: Any, plane: Plane) -> bool:
    """Secondary captures are photographs and digitised films, too: only what says that it is neither is a capture."""
    if plane.position is not None or SECONDARY not in _text(data, "SOPClassUID"):
        return False
    shot = "SCREEN SAVE" in plane.image_type or _text(data, "ConversionType") in ("WSD", "SD")
    return shot or _text(data, "Modality") in SLICED


def _planes(data: Any, path: str, rows: int, columns: int, frames: int, samples: int) -> Iterator[Plane]:
    uid = _text(data, "SOPInstanceUID")
    image_type = tuple(str(word).upper() for word in _several(data, "ImageType"))
    if "MOSAIC" in image_type and frames == 1:
        from medloom.modalities.image.reading.mosaic import tiles

        for place, (corner, first, turned, shape) in enumerate(tiles(data, rows, columns)):
            spacing = _pair(data, "PixelSpacing")
            thick = _number(data, "SliceThickness")
            tells = _told([data])
            yield Plane(path, 0, f"{uid}.{place + 1}", first, turned, spacing, thick, *shape, samples, image_type, tells, corner)  # fmt: skip
        return
    shared = _first(data, "SharedFunctionalGroupsSequence")
    each = list(data.get("PerFrameFunctionalGroupsSequence") or [])
    offsets = _numbers(data, "GridFrameOffsetVector") if frames > 1 else None
    for frame in range(frames):
        own = each[frame] if frame < len(each) else None
        where = [group for part in (own, shared) if part is not None for group in _groups(part)] + [data]
        position, orientation = _find(where, "ImagePositionPatient", 3), _find(where, "ImageOrientationPatient", 6)
        if frames > 1 and own is None:
            position = _offset(position, orientation, offsets, frame)
        kind = next((_several(one, "FrameType") for one in where if "FrameType" in one), None)
        yield Plane(
            path,
            frame,
            uid,
            position,
            orientation,
            _spacing(where),
            next((n for one in where if (n := _number(one, "SliceThickness"))), _number(data, "SpacingBetweenSlices")),
            rows,
            columns,
            samples,
            tuple(str(word).upper() for word in kind) if kind else image_type,
            _told(where),
        )


def _offset(
    position: tuple[float, ...] | None,
    orientation: tuple[float, ...] | None,
    offsets: Sequence[float] | None,
    frame: int,
) -> tuple[float, ...] | None:
    """A dose grid names the distance of each frame from the first. Other frames without a position have none."""
    if position is None or orientation is None or offsets is None or frame >= len(offsets):
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    first = offsets[0] if abs(offsets[0]) < 1e-6 else float(np.dot(position, normal))
    return tuple(float(v) for v in np.array(position) + normal * (offsets[frame] - first))


def _spacing(where: Sequence[Any]) -> tuple[float, float] | None:
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        for one in where:
            if (pair := _pair(one, name)) is not None:
                return pair
    return None


def _groups(part: Any) -> Iterator[Any]:
    for name in _GROUPS:
        if (group := _first(part, name)) is not None:
            yield group
            if name == "MRDiffusionSequence" and (inner := _first(group, "DiffusionGradientDirectionSequence")):
                yield inner


def _told(where: Sequence[Any]) -> dict[str, str]:
    tells = {}
    for name in (*TELLING, "InstanceNumber"):
        asked = ("EffectiveEchoTime", name) if name == "EchoTime" else (name,)
        found = next((one.get(key) for one in where for key in asked if one.get(key) not in (None, "")), None)
        if found is None and name == "DiffusionBValue":
            found = next((value for one in where if (value := _private_b_value(one)) is not None), None)
        if found is not None:
            tells[name] = f"{float(found):g}" if name == "DiffusionBValue" else str(found)
    return tells


def _private_b_value(data: Any) -> float | None:
    """The b-value where only the maker's own element tells it, as in most archives before enhanced MR; s/mm².

    GE adds 10⁹ to it. Source: the makers' conformance statements, as dcm2niix reads them.
    """
    for group, creator, element in PRIVATE_B_VALUES:
        try:
            value = data.private_block(group, creator)[element].value
            number = float(value if isinstance(value, (str, int, float)) else value[0])
        except (KeyError, TypeError, ValueError, IndexError):
            continue
        if np.isfinite(number) and number >= 0:
            return number % 1e9
    return None


def _first(data: Any, name: str) -> Any:
    sequence = data.get(name)
    return sequence[0] if sequence else None


def _text(data: Any, name: str) -> str:
    value = data.get(name)
    return "" if value is None else str(value).strip().strip("\0")


def _several(data: Any, name: str) -> list[Any]:
    value = data.get(name)
    return [] if value is None or value == "" else [value] if isinstance(value, str) else list(value)


def _whole(data: Any, name: str) -> int:
    value = data.get(name)
    if value is None or value == "":
        return 0
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise Refused(f"have a {name} that is no whole number") from error


def _numbers(data: Any, name: str) -> tuple[float, ...] | None:
    value = data.get(name)
    if value is None or value == "":
        return None
    try:
        return tuple(float(one) for one in ([value] if isinstance(value, (str, int, float)) else value))
    except (TypeError, ValueError) as error:
        raise Refused(f"have a {name} that is no number") from error


def _number(data: Any, name: str) -> float | None:
    found = _numbers(data, name)
    return found[0] if found and np.isfinite(found[0]) and found[0] > 0 else None


def _pair(data: Any, name: str) -> tuple[float, float] | None:
    found = _numbers(data, name)
    return (found[0], found[1]) if found and len(found) == 2 else None


def _find(where: Sequence[Any], name: str, count: int) -> tuple[float, ...] | None:
    for one in where:
        found = _numbers(one, name)
        if found is not None and len(found) == count:
            return found
    return None


def _acquired(data: Any) -> str:
    """When the image was made, as `2024-05-31T14:02:11`; the day alone where the hour is not told; empty if unknown."""
    whole = _text(data, "AcquisitionDateTime")
    day = next((d for name in ("AcquisitionDate", "SeriesDate", "StudyDate") if (d := _text(data, name))), whole[:8])
    hour = next((t for name in ("AcquisitionTime", "SeriesTime", "StudyTime") if (t := _text(data, name))), whole[8:14])
    day = day.replace(".", "")
    if len(day) != 8 or not day.isdigit():
        return ""
    clock = hour.split(".")[0].replace(":", "")
    time = f"T{clock[:2]}:{clock[2:4]}:{clock[4:6]}" if len(clock) >= 6 and clock[:6].isdigit() else ""
    return f"{day[:4]}-{day[4:6]}-{day[6:]}{time}"
