"""Groups of patients by bands of a number, in the section `evaluate` of a study file."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.strict import Strict


class SubgroupPart(Strict):
    """Bands of a number, such as the age."""

    column: str = Field(description="column of the table that holds the number")
    cuts: tuple[float, ...] | None = Field(
        None, min_length=1, max_length=19, description="rising borders of the bands; a value at a border is above it"
    )
    quantiles: int | None = Field(None, ge=2, le=20, description="or so many bands with about equal numbers of rows")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.cuts is None) == (self.quantiles is None):
            raise PydanticCustomError("subgroup", "expected either cuts or quantiles")
        if self.cuts is not None and any(b <= a for a, b in zip(self.cuts, self.cuts[1:], strict=False)):
            raise PydanticCustomError("subgroup", "cuts must rise, such as [50, 70]")
        return self
