"""What a study file may say of an image."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.parts import InputPart

Side = Annotated[int, Field(ge=1, le=4096)]
Axis = Annotated[int, Field(ge=0, le=2)]


class ImageOptions(InputPart):
    """Options of `modality = "image"`."""

    modality: Literal["image"] = "image"
    column: str = Field(
        description="column with the path of a PNG (.png) or NIfTI (.nii, .nii.gz) file, relative to the table's folder; empty where the row has none"
    )
    dims: Literal[2, 3] = Field(2, description="spatial axes: 2 for PNG and single-slice NIfTI, 3 for NIfTI volumes")
    channels: Literal[1, 3] = Field(1, description="1 for grey, 3 for colour; nothing is converted")
    patch: tuple[Side, ...] = Field(
        min_length=2,
        max_length=3,
        description="voxels along each axis that the network sees at a time: [rows, columns] of a PNG, [x, y, z] of a NIfTI",
    )
    overlap: float = Field(
        0.5, ge=0, le=0.75, description="share of a window that its neighbour sees too, in prediction"
    )
    flip: tuple[Axis, ...] = Field((), description="axes that may be mirrored in training, from 0")
    intensity: Literal["cohort", "image"] = Field(
        "cohort",
        description="centre and scale from all training images (X-ray, CT, photographs), or from each image alone (MR, whose units are arbitrary)",
    )
    width: int = Field(
        16, ge=4, le=256, description="channels of the network at full resolution; they double at each level, up to 256"
    )
    levels: int = Field(3, ge=1, le=7, description="resolutions of the network, each half of the one before")
    pooled_width: int = Field(128, ge=4, le=4096, description="features of a whole view, handed on to fusion")

    @property
    def stride(self) -> int:
        """Voxels that one step on the deepest grid covers."""
        return 2 ** (self.levels - 1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.patch) != self.dims:
            raise PydanticCustomError(
                "part",
                "patch has {found} sizes; expected one for each of the {dims} dims",
                {"found": len(self.patch), "dims": self.dims},
            )
        if any(side % self.stride for side in self.patch):
            raise PydanticCustomError(
                "part",
                "patch = {patch} does not fit {levels} levels: every size must be a multiple of {stride}; the nearest is {near}",
                {
                    "patch": list(self.patch),
                    "levels": self.levels,
                    "stride": self.stride,
                    "near": [self._nearest(side) for side in self.patch],
                },
            )
        if any(axis >= self.dims for axis in self.flip) or len(set(self.flip)) != len(self.flip):
            raise PydanticCustomError(
                "part",
                "flip = {flip} must name different axes from 0 to {last}",
                {"flip": list(self.flip), "last": self.dims - 1},
            )
        return self

    def _nearest(self, side: int) -> int:
        return max(self.stride, round(side / self.stride) * self.stride)

    def text_columns(self) -> tuple[str, ...]:
        """Columns that a CSV reader must leave as text."""
        return (self.column,)
