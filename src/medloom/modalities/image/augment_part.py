"""What a study file may say of how training images are altered: `[inputs.<name>.augment]`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.strict import Strict

Degrees = Annotated[float, Field(ge=0, le=180)]
MOST_ELASTIC = 0.4
"""Share of their distance by which control points may move and nothing folds, in two axes and in three.

Source: Choi & Lee, "Injectivity conditions of 2D and 3D uniform cubic B-spline functions", Graphical Models 62, 2000.
"""


class AugmentPart(Strict):
    """How the views of training rows are altered, each row anew in each epoch; never in prediction. All is off by default."""

    share: float = Field(
        1.0, gt=0, le=1, description="share of the views that each of these is done to, drawn for each of them apart"
    )
    rotate_degrees: Degrees | tuple[Degrees, Degrees, Degrees] = Field(
        0.0,
        description="largest rotation, either way: in the plane of a picture, about each axis of a volume; or one angle for each "
        "of x, y and z. Distances of voxels are heeded; of files that tell none they count as equal",
    )
    scale: float = Field(0.0, ge=0, le=1, description="0.2: larger or smaller by a factor of up to 1.2")
    shear_degrees: float = Field(0.0, ge=0, le=45, description="largest shear, either way")
    translate_mm: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="largest shift along each axis, either way, in mm; in voxels where a file tells no spacing",
    )
    elastic: float = Field(
        0.0,
        ge=0,
        le=MOST_ELASTIC,
        description="how far the points of a coarse grid move, as a share of their distance; smooth between them, and nothing folds",
    )
    elastic_cells: int = Field(4, ge=1, le=32, description="cells of this coarse grid along each axis of a view")
    crop: float = Field(
        1.0,
        gt=0,
        le=1,
        description="0.7: a box within the view is seen in its place, enlarged, each side at least this share of it",
    )
    contrast: float = Field(
        0.0,
        ge=0,
        le=1,
        description="0.2: distances from the centre are multiplied by a factor between 1/1.2 and 1.2",
    )
    brightness: float = Field(
        0.0, ge=0, le=5, description="largest shift of all intensities, either way, in the input's fitted scale"
    )
    gamma: float = Field(
        0.0,
        ge=0,
        le=2,
        description="0.3: intensities between a view's least and most are raised to a power between 1/1.3 and 1.3",
    )
    bias: float = Field(
        0.0,
        ge=0,
        le=1,
        description="0.3: raw intensities are multiplied by a smooth field between 1/1.3 and 1.3, as the coils of MR do",
    )
    blur: float = Field(0.0, ge=0, le=4, description="largest Gaussian blur, as its standard deviation in voxels")
    noise: float = Field(
        0.0, ge=0, le=5, description="largest standard deviation of Gaussian noise, in the input's fitted scale"
    )

    @property
    def moves(self) -> bool:
        """Whether voxels are seen elsewhere than they lie."""
        return self.turns or any((self.scale, self.shear_degrees, self.translate_mm, self.elastic)) or self.crop < 1

    @property
    def turns(self) -> bool:
        """Whether images are rotated about any axis."""
        angles = self.rotate_degrees
        return any(angles) if isinstance(angles, tuple) else angles > 0

    def angles(self, dims: int) -> tuple[float, ...]:
        """The largest angle about each axis: one for pictures, three for volumes."""
        if isinstance(self.rotate_degrees, tuple):
            return self.rotate_degrees
        return (self.rotate_degrees,) * (1 if dims == 2 else 3)

    @model_validator(mode="after")
    def _something(self) -> Self:
        paints = (self.contrast, self.brightness, self.gamma, self.bias, self.blur, self.noise)
        if not self.moves and not any(paints):
            raise PydanticCustomError(
                "part", "augment says nothing to do; give for example rotate_degrees = 10, or take the section out"
            )
        return self
