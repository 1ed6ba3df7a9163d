"""Image files, read. Sizes are checked before anything is decoded; what cannot be read whole raises `Refused`.

These readers run in the processes of `decoding.py`, which bounds the memory that a file may ask for.
"""

from __future__ import annotations

from pathlib import Path

from medloom.modalities.image.reading.dicom import read_dicom, read_series
from medloom.modalities.image.reading.grids import as_wished
from medloom.modalities.image.reading.other_files import not_an_image
from medloom.modalities.image.reading.pictures import read_picture, read_png
from medloom.modalities.image.reading.scan import Refused, Scan, Wish
from medloom.modalities.image.reading.volumes import read_itk, read_nifti, read_numpy

ENDINGS = {
    ".png": read_png, ".nii": read_nifti, ".nii.gz": read_nifti, ".jpg": read_picture, ".jpeg": read_picture,
    ".tif": read_picture, ".tiff": read_picture, ".nrrd": read_itk, ".nhdr": read_itk, ".mha": read_itk, ".mhd": read_itk,
    ".npy": read_numpy,
}  # fmt: skip
"""Readers by the end of a file's name; everything else is looked at as DICOM, which often has no ending."""

STARTS = {
    "pn": (b"\x89PNG",), "jp": (b"\xff\xd8",), "ti": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "nr": (b"NRRD",), "nh": (b"NRRD",), "gz": (b"\x1f\x8b",),
    "np": (b"\x93NUMPY",),
}  # fmt: skip
"""How files begin, by the first letters of their ending."""


def read_scan(path: Path, wish: Wish) -> Scan:
    """One file, or one folder of a DICOM series, as a `Scan`. Raises Refused.

    An image comes in its storage type where that is 8 or 16 bits, else as float32; a mask as raw label values
    (of a PNG with a palette: the indices).
    """
    if path.is_dir():
        return as_wished(read_series(path, wish), wish)
    if not path.is_file():
        raise Refused("do not exist (paths are relative to the table's folder)")
    name = path.name.lower()
    reader = next((read for ending, read in ENDINGS.items() if name.endswith(ending)), None)
    if reader is None:
        if name.endswith((".npz", ".zip", ".tar", ".gz", ".tgz")):
            raise Refused("are archives or compressed, which are never unpacked here; unpack them to a folder first")
        reader = read_dicom
    else:
        with open(path, "rb") as handle:
            _check_start(handle.read(512), name)
    return as_wished(reader(path, wish), wish)


def _check_start(start: bytes, name: str) -> None:
    """What a file's first bytes must be; tells text, or another kind, with the ending of an image from a broken image."""
    if not start:
        raise Refused("are empty")
    ending = name.rsplit(".", 1)[1]
    expected = STARTS.get(ending[:2])
    found = not_an_image(start)
    wrong = "are text" in found and ending not in ("mha", "mhd") if expected is None else not start.startswith(expected)
    if wrong:
        raise Refused(f"end in .{ending} and are something else: they {found}")
