"""What a study file may say of a table."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.study import InputPart, Share, Strict


class Column(Strict):
    """One column of a table."""

    kind: Literal["numeric", "category"] = Field(
        description="numeric: a measured number; category: one of a few words or codes"
    )
    unit: str | None = Field(None, description="unit of measurement, shown in the report")
    missing: tuple[str | float, ...] = Field((), description='values that mean missing, such as "?" or -1')
    range: tuple[float, float] | None = Field(
        None, description="lowest and highest possible value; anything outside is an error"
    )
    out_of_range: Literal["refuse", "missing"] = Field(
        "refuse", description="refuse the data, or read impossible values as missing"
    )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.range is not None and (self.kind != "numeric" or not self.range[0] < self.range[1]):
            raise PydanticCustomError("part", "range goes with numeric columns and is [lowest, highest]")
        return self


class TableOptions(InputPart):
    """Options of `modality = "table"`."""

    modality: Literal["table"] = "table"
    columns: dict[str, Column] = Field(
        default_factory=dict,
        description="columns to read; left out: every column that is nothing else, by its storage type",
    )
    exclude: tuple[str, ...] = Field(
        (), description="columns not to read when columns is left out (identifiers, leaks)"
    )
    missing: tuple[str | float, ...] = Field((), description="values that mean missing in every column")
    scale: Literal["robust", "none"] = Field(
        "robust",
        description="robust: centre on the median, divide by the interquartile range, clip at 8; none: as they are",
    )
    encoder: Literal["mlp"] = Field("mlp", description="mlp: fully connected layers")
    hidden: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        (128, 64), min_length=1, description="sizes of the layers; the last is the width of the encoded row"
    )
    activation: Literal["relu", "silu", "gelu"] = Field("relu", description="activation after each layer")
    norm: Literal["layer", "none"] = Field("layer", description="layer normalisation before each activation, or none")
    dropout: Share = Field(0.1, description="dropout after each layer")
    missing_indicators: bool = Field(True, description="tell the network which numbers were missing")

    def text_columns(self) -> tuple[str, ...]:
        """Columns that a CSV reader must leave as text."""
        return tuple(name for name, column in self.columns.items() if column.kind == "category")

    def markers(self, name: str) -> tuple[Any, ...]:
        """Values that mean missing in this column."""
        return (*self.missing, *self.columns[name].missing)
