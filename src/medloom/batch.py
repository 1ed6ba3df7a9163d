"""What flows through a model: `Field` and `Batch` go in, `Encoded` and `Seen` come out of the encoders.

Axis words, used in every shape of the project:

- ``rows``      rows of the cohort; ``units`` distinct records that rows point at (unit 0 is the empty one)
- ``batch``     rows of one batch; ``views`` crops or windows of rows, several a row only in prediction
- ``width``     features of an encoded row; ``features`` input features; ``classes`` of an answer
- ``tokens``    positions along an encoded sequence; ``spatial`` one or more image axes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

Output = dict[str, Tensor]
"""What a head returns: named tensors, batch first."""
GROUP = "group"
"""Beside what a head returns: the group of each row, int64, for tasks whose limits differ between groups."""
BASE = "base"
"""Beside what a head returns: numbers of each row that its answers are told relative to, float64 [batch, numbers]."""
BESIDE = (GROUP, BASE)


@dataclass(frozen=True, slots=True)
class Field:
    """One input, or one target, of a batch.

    `value` has one entry a unit; `index` says which unit each row of the batch uses where several rows share one.
    `present` is false where the row has no such input; `valid` marks positions that are data and not padding.
    """

    value: Shaped[Tensor, "units ..."]
    present: Bool[Tensor, " batch"]
    valid: Bool[Tensor, "units ..."] | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    index: Int[Tensor, " batch"] | None = None

    def rows(self, start: int, stop: int) -> Field:
        """The field of the rows `start:stop` of this batch, without copying."""
        if self.index is not None:
            return replace(self, present=self.present[start:stop], index=self.index[start:stop])
        return Field(
            value=self.value[start:stop],
            present=self.present[start:stop],
            valid=None if self.valid is None else self.valid[start:stop],
            extra={name: tensor[start:stop] for name, tensor in self.extra.items()},
        )

    def to(self, device: torch.device) -> Field:
        """The field on a device."""
        return Field(
            self.value.to(device),
            self.present.to(device),
            None if self.valid is None else self.valid.to(device),
            {name: tensor.to(device) for name, tensor in self.extra.items()},
            None if self.index is None else self.index.to(device),
        )


@dataclass(frozen=True, slots=True)
class Mixed:
    """Answers of the rows that are mixed into those of a batch. `share` is how much a row's own answer counts."""

    targets: Mapping[str, Field]
    share: Float[Tensor, " batch"]

    def rows(self, start: int, stop: int) -> Mixed:
        """What is mixed into the rows `start:stop`, without copying."""
        return Mixed({name: part.rows(start, stop) for name, part in self.targets.items()}, self.share[start:stop])

    def to(self, device: torch.device) -> Mixed:
        """The same on a device."""
        return Mixed({name: part.to(device) for name, part in self.targets.items()}, self.share.to(device))


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs and targets of the same rows; row identity always travels. In training, others may be `mixed` in."""

    inputs: Mapping[str, Field]
    targets: Mapping[str, Field]
    rows: Int[Tensor, " batch"]
    weight: Float[Tensor, " batch"]
    mixed: Mixed | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def positions(self) -> int:
        """Positions along the longest sequence, padding and all; 1 where no input is a sequence."""
        return max(
            (f.valid.shape[1] for f in self.inputs.values() if f.valid is not None and f.valid.ndim == 2), default=1
        )

    def slice(self, start: int, stop: int) -> Batch:
        """The batch of the rows `start:stop` of this one, without copying."""
        return Batch(
            {name: part.rows(start, stop) for name, part in self.inputs.items()},
            {name: part.rows(start, stop) for name, part in self.targets.items()},
            self.rows[start:stop],
            self.weight[start:stop],
            None if self.mixed is None else self.mixed.rows(start, stop),
        )

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; itself on the CPU, where batches are made."""
        if device.type == "cpu":
            return self
        return Batch(
            {name: part.to(device) for name, part in self.inputs.items()},
            {name: part.to(device) for name, part in self.targets.items()},
            self.rows.to(device),
            self.weight.to(device),
            None if self.mixed is None else self.mixed.to(device),
        )


@dataclass(frozen=True, slots=True)
class Gives:
    """What an encoder will return, known before any data flow, so that heads can be built.

    `width` of the pooled vector; `features` of tokens or of the grid's channels (0: none); `dims` spatial axes of
    the grid (0: none); `levels` of the pyramid, finest first, as (channels, stride), with a stride for
    each axis where they differ; `members` of an ensemble; `channels` of the values that the grid is made
    of, for heads that give them back (0: none do).
    """

    width: int
    features: int = 0
    dims: int = 0
    levels: tuple[tuple[int, int | tuple[int, ...]], ...] = ()
    members: int = 1
    channels: int = 0


@dataclass(frozen=True, slots=True)
class Encoded:
    """One input after its encoder. `finer` are the maps of the pyramid, finest first.

    An ensemble gives what each of its `members` makes of a row, and their mean as `pooled`: pooled heads and their
    losses are each member's own, and only predictions are brought together (docs/adr/0009).
    """

    pooled: Float[Tensor, "batch width"]
    tokens: Float[Tensor, "batch tokens features"] | None = None
    valid: Bool[Tensor, "batch tokens"] | None = None
    grid: Float[Tensor, "batch features *spatial"] | None = None
    finer: tuple[Tensor, ...] = ()
    members: Float[Tensor, "batch members width"] | None = None

    def take(self, index: Int[Tensor, " batch"]) -> Encoded:
        """Units → rows: every part indexed along its first axis."""
        return Encoded(
            self.pooled[index],
            None if self.tokens is None else self.tokens[index],
            None if self.valid is None else self.valid[index],
            None if self.grid is None else self.grid[index],
            tuple(level[index] for level in self.finer),
            None if self.members is None else self.members[index],
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a head sees: the fused vector, every encoded input, and the raw inputs."""

    fused: Float[Tensor, "batch width"]
    encoded: Mapping[str, Encoded]
    inputs: Mapping[str, Field]
