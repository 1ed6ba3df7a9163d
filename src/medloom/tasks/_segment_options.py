"""What a study file may say of a segmentation, and which labels a voxel of a mask file belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from jaxtyping import Bool
from pydantic import Field as Key
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from medloom.parts import Name, TargetPart

Label = Annotated[int, Key(ge=1, le=32_767)]
Millimetres = Annotated[float, Key(gt=0, le=1000)]
MOST_OVERLAPPING = 8
"""Labels that may overlap: an answer holds a bit for each."""


class SegmentOptions(TargetPart):
    """Options of `task = "segment"`."""

    task: Literal["segment"] = "segment"
    column: str | None = Key(
        None,
        description="column with the path of each row's mask file, on the grid of its image; empty where there is none",
    )
    columns: dict[Name, str] = Key(
        {},
        max_length=MOST_OVERLAPPING,
        description="in place of column: name of each label and the column with the path of its own mask file, in which "
        "everything but 0 is the label; labels may overlap; a row has all of its masks or none",
    )
    input: Name = Key(description="name of the input that the masks are drawn on")
    labels: dict[Name, Label | Annotated[tuple[Label, ...], Key(min_length=1)]] = Key(
        {},
        description="for column: name of each label and its value in the mask files, or several values that make it up; a "
        "value may belong to several labels, which then overlap; 0 is background and is not listed",
    )
    deep_supervision: bool = Key(True, description="coarser maps of the decoder learn the masks too, in training")
    boundary: float = Key(
        0.0,
        ge=0,
        le=10,
        description="weight of a loss by distance from the border, beside cross-entropy and Dice; helps thin and small labels",
    )
    cleanup: Literal["learn", "none"] = Key(
        "learn",
        description="learn: small islands, all but the largest part, and holes are mended in answers, for each label only "
        "what makes calibration rows better",
    )
    tolerance_mm: Millimetres = Key(
        1.0, description="distance of borders that still counts as agreement, for the normalised surface distance"
    )
    lesions: tuple[Name, ...] = Key(
        (),
        description="labels that are looked at one lesion at a time: found and missed by size, false alarms an image (FROC)",
    )
    lesion_mm: tuple[Millimetres, ...] = Key(
        (), description="limits between sizes of lesions, rising: diameter of a ball of the lesion's volume"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.column is None) == (not self.columns):
            raise PydanticCustomError("part", "segment needs either column, with labels, or columns")
        if self.columns and self.labels:
            raise PydanticCustomError("part", "columns name their labels themselves; leave labels out")
        if self.column is not None and not self.labels:
            raise PydanticCustomError("part", "labels is empty; expected the name and the value of each label")
        groups = list(self.groups.values())
        if len(set(groups)) < len(groups) or any(len(set(group)) < len(group) for group in groups):
            raise PydanticCustomError(
                "part", "labels gives one value to two names; expected a different value for each"
            )
        if self.overlapping and len(self.names) > MOST_OVERLAPPING:
            raise PydanticCustomError("part", "more than 8 labels overlap; give them to two targets")
        unknown = [name for name in self.lesions if name not in self.names]
        if unknown:
            raise PydanticCustomError("part", "lesions names {name}, which is no label", {"name": unknown[0]})
        if list(self.lesion_mm) != sorted(set(self.lesion_mm)) or (self.lesion_mm and not self.lesions):
            raise PydanticCustomError("part", "lesion_mm goes with lesions, and rises, such as [5, 10]")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the labels, in the order of the study file."""
        return tuple(self.columns or self.labels)

    @property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """Values in the mask file that make up each label; none where each label has a file of its own."""
        return {name: (one,) if isinstance(one, int) else one for name, one in self.labels.items()}

    @property
    def overlapping(self) -> bool:
        """Whether a voxel may belong to several labels."""
        values = [value for group in self.groups.values() for value in group]
        return len(self.columns) > 1 or len(set(values)) < len(values)

    def text_columns(self) -> tuple[str, ...]:
        """Columns that a CSV reader must leave as text."""
        return self.mask_columns

    @property
    def mask_columns(self) -> tuple[str, ...]:
        """Columns with paths of mask files."""
        return tuple(self.columns.values()) if self.column is None else (self.column,)

    @property
    def legend(self) -> Legend:
        """What the class ids of laid masks mean."""
        if self.columns:
            count = len(self.columns)
            places = np.arange(2**count)
            return Legend(tuple(places.tolist()), (places[:, None] >> np.arange(count) & 1).astype(bool))
        values = (0, *dict.fromkeys(value for group in self.groups.values() for value in group))
        member = [[value in group for group in self.groups.values()] for value in values]
        return Legend(values, np.array(member, bool))

    @property
    def written(self) -> Mapping[str, int]:
        """Value that each label has in answers: its (first) value in the mask files, or a bit where labels overlap."""
        if self.overlapping or self.columns:
            return {name: 1 << place for place, name in enumerate(self.names)}
        return {name: group[0] for name, group in self.groups.items()}


@dataclass(frozen=True, slots=True)
class Legend:
    """Ids of laid masks, from 0: the `values` in the files, and which labels each is a `member` of."""

    values: tuple[int, ...]
    member: Bool[np.ndarray, "ids labels"]

    @property
    def classes(self) -> tuple[int, ...]:
        """For labels that do not overlap, the class of each id: 0 for background, then the labels."""
        return tuple(int(one.argmax()) + 1 if one.any() else 0 for one in self.member)
