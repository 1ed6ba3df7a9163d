"""What a study file may say of one column of a table."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.cohort.codes import System
from medloom.errors import StudyError
from medloom.parts import Strict

Kind = Literal["numeric", "category", "boolean", "ordinal", "datetime", "duration", "code"]
SECONDS = {"s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0, "week": 604_800.0}
"""Units that a duration may be read in, and how long each is."""


class Column(Strict):
    """One column of a table."""

    kind: Kind = Field(
        description="numeric: a measured number; category: one of a few words or codes; boolean: true or false, yes or no, 1 or 0; ordinal: one of a few words that have an order; datetime: a date, read as days before the index time; duration: 3 d, 12:30 (hours and minutes), P3DT4H; code: diagnoses, drugs or other codes, any number a row"
    )
    unit: str | None = Field(
        None, description="numeric: unit of measurement of what is read; duration: s, min, h, d or week"
    )
    unit_in: str | None = Field(None, description="numeric: unit in the table, converted to unit by the package pint")
    molar_mass: float | None = Field(
        None, gt=0, description="numeric: g/mol, for a conversion between mass and amount of substance"
    )
    factor: float | None = Field(
        None, description="numeric: what the table's number is multiplied by, in place of a conversion by pint"
    )
    order: tuple[str | float, ...] | None = Field(None, description="ordinal: all words, the lowest first")
    missing: tuple[str | float, ...] = Field(
        (), description='values that mean missing, such as "?" or -1, as they stand in the table'
    )
    range: tuple[float, float] | None = Field(
        None, description="lowest and highest possible value, in unit (of a date: in days); anything outside is an error"
    )  # fmt: skip
    out_of_range: Literal["refuse", "missing"] = Field(
        "refuse", description="refuse the data, or read impossible values as missing"
    )

    system: System | None = Field(
        None,
        description="code: icd9 (chapter, three digits, code), icd10 (chapter, letter and two, code), atc (its five levels), none (the code alone)",
    )
    separator: str | None = Field(
        None, min_length=1, description='code: what parts several codes in one cell, such as ";"'
    )
    columns: tuple[str, ...] | None = Field(
        None, min_length=1, description="code: columns of the table that hold the codes; left out: the one of this name"
    )
    primary: str | None = Field(None, description="code: that of the columns whose first code is the main one")
    pool: Literal["mean", "sum"] | None = Field(
        None, description="code: how the vectors of a row's codes become one; left out: mean"
    )
    encoding: Literal["embedding", "target", "both"] = Field(
        "embedding",
        description="category, code: a learnt vector; or target: the mean answer of the training rows with this word, out of fold; or both",
    )
    smoothing: float = Field(
        20.0, gt=0, description="encoding target and both: how many rows the mean of all others counts for beside a word's own"
    )  # fmt: skip

    @model_validator(mode="after")
    def _coded(self) -> Self:
        given = [key for key in ("system", "separator", "columns", "primary", "pool") if getattr(self, key) is not None]
        if self.kind != "code" and given:
            raise PydanticCustomError("part", '{key} goes with kind = "code"', {"key": given[0]})
        if self.kind == "code" and self.system is None:
            raise PydanticCustomError("part", 'kind = "code" needs system = "icd9", "icd10", "atc" or "none"')
        if self.columns is not None and len(set(self.columns)) != len(self.columns):
            raise PydanticCustomError("part", "columns names a column twice")
        if self.primary is not None and self.primary not in (self.columns or ()):
            raise PydanticCustomError("part", "primary is one of columns")
        if self.encoding != "embedding" and self.kind not in ("category", "code"):
            raise PydanticCustomError("part", "encoding goes with category and code columns")
        if "smoothing" in self.model_fields_set and self.encoding == "embedding" and self.smoothing != 20.0:
            raise PydanticCustomError("part", 'smoothing goes with encoding = "target" or "both"')
        return self

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        measured = self.kind in ("numeric", "duration", "datetime")
        if self.range is not None and (not measured or not self.range[0] < self.range[1]):
            raise PydanticCustomError(
                "part", "range goes with numeric, duration and datetime columns and is [lowest, highest]"
            )
        if (self.kind == "ordinal") != (self.order is not None):
            raise PydanticCustomError(
                "part", 'kind = "ordinal" needs order = ["lowest", …, "highest"], and order goes with no other kind'
            )
        if self.order is not None and (len(self.levels) < 2 or len(set(self.levels)) != len(self.levels)):
            raise PydanticCustomError("part", "order needs at least two words, all different")
        if self.kind == "duration" and self.unit is not None and self.unit not in SECONDS:
            raise PydanticCustomError(
                "part",
                "{why}",
                {"why": f"found unit {self.unit!r}; expected one of {', '.join(SECONDS)} for a duration"},
            )
        return self

    @model_validator(mode="after")
    def _convertible(self) -> Self:
        given = [key for key in ("unit_in", "molar_mass", "factor") if getattr(self, key) is not None]
        if given and self.kind != "numeric":
            raise PydanticCustomError("part", "{key} goes with numeric columns", {"key": given[0]})
        if self.factor is not None:
            if self.factor == 0 or self.molar_mass is not None:
                raise PydanticCustomError("part", "factor is not 0, and stands in place of molar_mass")
        elif given and (self.unit_in is None or self.unit is None):
            raise PydanticCustomError("part", "a conversion needs both unit_in (as in the table) and unit (as read)")
        self.line  # noqa: B018  an unknown unit is a mistake of the study, and is told with the others
        return self

    @property
    def levels(self) -> tuple[str, ...]:
        """The words of an ordinal column as text, the lowest first."""
        return tuple(word if isinstance(word, str) else f"{word:g}" for word in self.order or ())

    @property
    def line(self) -> tuple[float, float]:
        """Slope and offset from the table's number to the number that is read. Raises PydanticCustomError."""
        if self.factor is not None:
            return self.factor, 0.0
        if self.unit_in is None or self.unit is None:
            return 1.0, 0.0
        from medloom.modalities.table.units import line

        try:
            return line(self.unit_in, self.unit, self.molar_mass)
        except StudyError as error:
            raise PydanticCustomError("part", "{why}", {"why": str(error)}) from error
