"""What masks are drawn on, as far as units go: pictures or volumes, whose files tell the spacing of voxels or do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from medloom.modality import Lifted

OF_UNIT = {1: 1.0, 2: 100.0, 3: 1000.0}
"""Cubic millimetres of a millilitre; square ones, of pictures, of a square centimetre."""


@dataclass(frozen=True, slots=True)
class Ground:
    """`axes` of what training rows are drawn on, 0 where nobody looked; how many of them tell a spacing, and how many do not.

    Where none does, sizes are voxels or pixels, and so are distances: a millimetre would be made up.
    """

    axes: int = 0
    sized: int = 0
    unsized: int = 0

    @classmethod
    def of(cls, truth: Lifted) -> Self:
        """What these rows are drawn on; rows without a mask tell nothing."""
        drawn = [place for place, values in enumerate(truth.values) if values.size]
        if not drawn:
            return cls()
        sized = sum(bool(truth.spacing_mm) and truth.spacing_mm[place] is not None for place in drawn)
        return cls(truth.values[drawn[0]].ndim - 1, sized, len(drawn) - sized)

    @property
    def in_voxels(self) -> bool:
        """Whether no file tells a spacing, so that sizes and distances are counted in voxels."""
        return self.unsized > 0 and not self.sized

    @property
    def word(self) -> str:
        """One of what images are made of."""
        return "pixel" if self.axes == 2 else "voxel"

    @property
    def length(self) -> str:
        """Unit of distances."""
        return f"{self.word}s" if self.in_voxels else "mm"

    def far(self, many: float) -> str:
        """A distance in words."""
        return f"{many:g} {self.word}" if self.in_voxels and many == 1 else f"{many:g} {self.length}"

    @property
    def size(self) -> str:
        """Unit of sizes."""
        if self.in_voxels:
            return f"{self.word}s"
        return {2: "cm²", 3: "mL"}.get(self.axes, "mL (pictures: cm²)")

    @property
    def small(self) -> str:
        """Unit of the sizes of small parts."""
        if self.in_voxels:
            return f"{self.word}s"
        return "mm²" if self.axes == 2 else "mm³"

    @property
    def note(self) -> str:
        """What a reader of distances has to know, a sentence; nothing where every file tells its spacing."""
        if self.in_voxels:
            return f"The files tell no spacing: distances are in {self.word}s."
        if self.unsized or not self.sized:
            return f"{self.word.capitalize()}s count as 1 mm wide where files tell no spacing."
        return ""

    def spacing(self, told: tuple[float, ...] | None, axes: int) -> tuple[float, ...]:
        """Distance of voxels to measure with: what a file tells, else 1; 1 for all where sizes are in voxels."""
        return (1.0,) * axes if told is None or self.in_voxels else told

    def voxel(self, told: tuple[float, ...] | None) -> float:
        """Size of one voxel in cubic (of pictures square) mm, or 1."""
        return 1.0 if told is None or self.in_voxels else float(np.prod(told))

    def of_unit(self, axes: int) -> float:
        """How many of what `voxel` counts make one of `size`."""
        return 1.0 if self.in_voxels else OF_UNIT[axes]
