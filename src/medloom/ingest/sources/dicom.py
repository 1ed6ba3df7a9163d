"""A folder of DICOM files, whatever they are called: volumes for the image input, and an inventory."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from medloom.ingest.source import Ingested, IngestSource, Watch, unwatched
from medloom.parts import Strict

LOOKED_AT = 200
"""Files of a folder that are looked at to tell whether it holds DICOM."""


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Numbers = Annotated[tuple[Annotated[float, Field(gt=0, le=1000)], ...], BeforeValidator(_listed)]
Sizes = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], BeforeValidator(_listed)]
Range = Annotated[tuple[float, float], BeforeValidator(_listed)]
Kinds = Annotated[
    tuple[Literal["original", "derived", "localizer", "dose", "picture", "capture"], ...],
    BeforeValidator(_listed),
]


class DicomOptions(Strict):
    """Options of folders of DICOM."""

    kinds: Kinds = Field(
        ("original", "picture"),
        description="what is stored of original, derived, localizer, dose (of radiotherapy, in Gy or relative as the file says), picture and capture (screens); the inventory has all of them",
    )
    spacing_mm: Numbers | None = Field(
        None,
        min_length=3,
        max_length=3,
        description="distance of voxels of volumes along x, y and z, as 1,1,1; left out: as they are",
    )
    size: Sizes | None = Field(
        None, min_length=3, max_length=3, description="or voxels of volumes along x, y and z, as 128,128,64"
    )
    picture_size: Sizes | None = Field(
        None, min_length=2, max_length=2, description="rows and columns of pictures, as 512,512; left out: as they are"
    )
    window: Range | None = Field(None, description="lowest and highest intensity that is kept, as -1000,1000")
    gaps: Literal["refuse", "interpolate"] = Field(
        "refuse",
        description="series that miss slices: not stored and named in the inventory, or filled from neighbours",
    )
    processes: int = Field(2, ge=1, le=64, description="processes that decode; the store does not depend on it")


class Dicom(IngestSource):
    """A folder of DICOM files, or one of them."""

    Options = DicomOptions

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether one of the first files has the mark of DICOM behind its preamble."""
        if path.is_file():
            return _marked(path)
        walked = (Path(above) / name for above, _, names in os.walk(path) for name in sorted(names))
        return any(_marked(file) for file in itertools.islice(walked, LOOKED_AT))

    @classmethod
    def ingest(cls, path: Path, to: Path, options: DicomOptions, watch: Watch = unwatched) -> Ingested:
        """The store of volumes and its inventory."""
        from medloom.errors import StudyError
        from medloom.ingest.images.store import Choice, make_store

        if options.spacing_mm is not None and options.size is not None:
            raise StudyError("spacing_mm and size are two ways to name one grid; give one of them")
        if options.window is not None and not options.window[0] < options.window[1]:
            raise StudyError("window must rise, such as -1000,1000")
        choice = Choice(
            options.kinds, options.gaps, options.window, options.spacing_mm, options.size, options.picture_size
        )
        return Ingested(to, make_store(path, to, choice, options.processes, watch))


def _marked(file: Path) -> bool:
    try:
        if not file.is_file():
            return False
        with open(file, "rb") as handle:
            return handle.read(132)[128:] == b"DICM"
    except OSError:
        return False
