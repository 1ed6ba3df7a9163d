"""What a modality tells of its rows and of its encoder, for reports and explanations: never a contract of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int, Shaped
    from torch import Tensor, nn

    from medloom.batch import Field


@dataclass(frozen=True, slots=True)
class Held:
    """What rows hold of an input, for the report: how many of `what` each row has, and the share of rows with each part.

    `shares` names parts that enough training patients have, never those of a few. `more` says what of them is left out.
    """

    what: str
    each: Int[np.ndarray, " rows"]
    shares: tuple[tuple[str, float], ...]
    more: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """The course of one part of one row: values at ages before the index time, both as measured, oldest first.

    `window` is the unit of time where the course is that of a window: ages are then those before its end.
    """

    name: str
    age: tuple[float, ...]
    value: tuple[float, ...]
    window: str | None = None
    unit: str = ""
    """What the values are measured in, where it is known."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something of a new row that does not fit what the modality was trained on. Never holds a patient's value."""

    row: int
    text: str


@dataclass(frozen=True, slots=True)
class Feature:
    """What one plain number is of: a part of the input; `word` where it is 1 for that word and 0 for all others.

    `what` says which number of the part it is, where there are several.
    """

    part: str
    word: str = ""
    what: str = ""

    @property
    def number(self) -> str:
        """The part, and which of its numbers."""
        return f"{self.part}, {self.what}" if self.part and self.what else self.part


@dataclass(frozen=True, slots=True)
class Leaf:
    """Numbers that an encoder reads of rows, and what stands in their place in a row of nothing: `low`.

    `at` is "value" or the name of an extra of the field, or the layer whose output they are. `owner` says along the first
    axes of which part each number is, by its place in `Neutral.parts`; an axis of 1 is the same for all.
    """

    at: str | nn.Module
    low: Shaped[Tensor, "..."]
    owner: Int[Tensor, "..."]


@dataclass(frozen=True, slots=True)
class Neutral:
    """What a row of nothing in particular would be to an encoder, so that a real row can be compared with it."""

    parts: tuple[str, ...]
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True)
class Attention:
    """How much a trained encoder looked at each raw position of each view: weights that sum to 1, or to 0 where nothing is.

    Neighbouring positions are `step` apart, in `unit`.
    """

    weight: Float[Tensor, "views positions"]
    step: float
    unit: str


@dataclass(frozen=True, slots=True)
class Located:
    """Where in a trained encoder maps over images are made: `module` gives an `Encoded` whose `grid` its answer comes from.

    Images have `dims` axes. `weights` says how much each position of that grid is weighed, of a field of this input: sums of 1; None where all are
    weighed alike. Both are of images: where a row has several, of those that are data, one after another.
    """

    module: nn.Module
    dims: int
    weights: Callable[[Field], Tensor] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a row as a person would look at it, on the grid of its file, for those who may see it.

    `values` lie in 0 to 1, one channel or three. `spacing_mm` is 1 along axes of which the file says nothing. `towards`
    says what each axis of a volume counts towards: R or L (right, left), A or P (front, back), S or I (head, feet);
    empty where the file does not tell.
    """

    values: Float[np.ndarray, "channels *spatial"]
    spacing_mm: tuple[float, ...]
    towards: tuple[str, ...] = ()
