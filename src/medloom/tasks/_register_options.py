"""What a study file may say of a registration."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field as Key
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from medloom.parts import Name, TargetPart

Label = Annotated[int, Key(ge=1, le=32_767)]


class RegisterOptions(TargetPart):
    """Options of `task = "register"`."""

    task: Literal["register"] = "register"
    moving: Name = Key(description="name of the input whose image is moved")
    fixed: Name = Key(description="name of the input whose image stays; both are images with size = patch and no flip")
    similarity: Literal["lncc", "mind"] = Key(
        "lncc",
        description="what is made alike: lncc (local correlation; one kind of scan) or mind (neighbourhood descriptors; different kinds)",
    )
    window: int = Key(7, ge=3, le=31, description="voxels along the side of the cube in which lncc correlates; odd")
    smooth: float = Key(0.05, ge=0, le=100, description="weight of the flows' roughness: more makes them smoother")
    refine: int = Key(
        0, ge=0, le=1000, description="steps of gradient descent for each new pair, after the network has answered"
    )
    moving_mask: str | None = Key(
        None, description="column with the path of a mask on each moving image; with fixed_mask, masks judge the map"
    )
    fixed_mask: str | None = Key(None, description="column with the path of a mask on each fixed image")
    moving_points: str | None = Key(
        None,
        description="column with the path of a CSV of landmarks on each moving image: point and x, y, z (mm, RAS) of a volume, "
        "or row, column (pixels from 0) of a picture; with fixed_points, they judge the map; empty where a pair has none",
    )
    fixed_points: str | None = Key(
        None, description="column with the path of a CSV of the same landmarks on each fixed image"
    )
    labels: dict[Name, Label] = Key({}, description="name of each label and its value in the mask files")
    supervise: float = Key(
        0.0,
        ge=0,
        le=100,
        description="weight of 1 − Dice of carried masks in the training; 0: masks judge and never train",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.moving == self.fixed:
            raise PydanticCustomError("part", "moving and fixed name one input; expected two")
        if not self.window % 2:
            raise PydanticCustomError("part", "window must be odd, such as 7")
        if len({self.moving_mask is None, self.fixed_mask is None, not self.labels}) > 1:
            raise PydanticCustomError(
                "part", "moving_mask, fixed_mask and labels go together: give all of them, or none"
            )
        if (self.moving_points is None) != (self.fixed_points is None):
            raise PydanticCustomError("part", "moving_points and fixed_points go together: give both of them, or none")
        if self.supervise and not self.labels:
            raise PydanticCustomError("part", "supervise needs masks: give moving_mask, fixed_mask and labels")
        if len(set(self.labels.values())) < len(self.labels):
            raise PydanticCustomError(
                "part", "labels gives one value to two names; expected a different value for each"
            )
        return self

    def text_columns(self) -> tuple[str, ...]:
        """Columns that a CSV reader must leave as text."""
        named = (self.moving_mask, self.fixed_mask, self.moving_points, self.fixed_points)
        return tuple(column for column in named if column is not None)
