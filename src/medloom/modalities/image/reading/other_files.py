"""What lies in an archive beside images, in words: from the first bytes of a file, or from what a DICOM object says of itself."""

from __future__ import annotations

from typing import Any

from medloom import find

OBJECTS = {
    "SR": "reports", "PR": "presentation states", "KO": "key object selections", "RTSTRUCT": "contours",
    "RTPLAN": "plans", "SEG": "segmentations", "REG": "registrations", "DOC": "documents", "ECG": "waveforms",
}  # fmt: skip
"""Kinds of object that are no images themselves, in words."""
PICTURES = {
    b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP", b"II*\0": "TIFF", b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
}  # fmt: skip
"""How files of other kinds begin."""
ARCHIVES = (b"PK\x03\x04", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"BZh", b"\xfd7zXZ\0")
"""How archives begin, but for tar, whose mark stands further in."""
NIFTI_MARKS = (b"\x5c\x01\x00\x00", b"\0\0\x01\x5c")


def not_an_image(start: bytes) -> str:
    """What a file is that no reader knows, from its first bytes, in words."""
    if not start:
        return "are empty"
    if start.startswith(b"\x1f\x8b"):
        return "are compressed with gzip; decompress them first"
    if start[257:262] == b"ustar" or start.startswith(ARCHIVES):
        return "are archives, which are never unpacked here; unpack them to a folder first"
    if start.startswith(NIFTI_MARKS):
        return "are NIfTI or Analyze volumes and not DICOM; a study reads them where they are"
    for mark, name in PICTURES.items():
        if start.startswith(mark):
            return f"are {name} pictures"
    if start.startswith(b"%PDF"):
        return "are PDF documents"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "are text and no images"
    text = all(byte >= 32 or byte in b"\t\r\n\f" for byte in start)
    return "are text and no images" if text else "are no images of a known kind"


def no_image(modality: str, sop_class: str) -> str | None:
    """What a DICOM object without an image is, by its modality or its class; None for what may be an image."""
    if modality in OBJECTS:
        return f"are {OBJECTS[modality]} (DICOM {modality}) and no images"
    name = _class(sop_class)
    if name is None or any(word in name for word in ("Image", "Dose Storage", "Volume", "Map")):
        return None
    return f"are objects of another kind ({name.removesuffix(' Storage')}) and no images"


def image_like(data: Any) -> bool:
    """Whether a DICOM object should hold an image, even where it is cut short before it."""
    return _class(str(data.get("SOPClassUID") or "")) is not None


def _class(sop_class: str) -> str | None:
    uid = find.need("pydicom.uid").UID(sop_class)
    return uid.name if uid in find.need("pydicom.uid").UID_dictionary else None
