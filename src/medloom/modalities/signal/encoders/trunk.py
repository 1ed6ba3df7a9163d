"""The contract of a trunk: windows of a signal → tokens along time."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Field

MOST_DOUBLINGS = 2
"""How often the channels of a convolutional trunk double, at most."""


class Trunk(nn.Module, ABC):
    """Tokens of `features` numbers, one for each `stride` samples; the first begins at sample 0.

    What stands in samples that are not valid, and how many of them follow the last valid one, changes no valid token.
    """

    features: int
    stride: int

    @abstractmethod
    def forward(self, field: Field) -> tuple[Float[Tensor, "batch tokens features"], Bool[Tensor, "batch tokens"]]:
        """Tokens, and which of them are of data; the others are zeros."""


class Leads(nn.Module):
    """Windows as they enter a network: 0 where not valid, and beside them which channels are there.

    A channel that is missing is a flat line; that it is missing is told by a row of its own, valid positions alone.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.several = channels > 1
        self.width = 2 * channels if self.several else channels

    def forward(self, field: Field) -> tuple[Float[Tensor, "batch width samples"], Float[Tensor, "batch 1 samples"]]:
        """What a first layer sees, and 1 where the samples are data."""
        valid = validity(field)[:, None].to(field.value.dtype)
        value = known(field)
        if not self.several:
            return value, valid
        return torch.cat([value, absent(field)[:, :, None] * valid], dim=1), valid


def validity(field: Field) -> Bool[Tensor, "batch samples"]:
    """Which samples are data; all of them where the field does not say."""
    if field.valid is not None:
        return field.valid
    return torch.ones(len(field.value), field.value.shape[-1], dtype=torch.bool, device=field.value.device)


def known(field: Field) -> Float[Tensor, "batch channels samples"]:
    """The windows, 0 where samples are not valid and where a channel is missing."""
    value = field.value * validity(field)[:, None]
    lead = field.extra.get("lead")
    return value if lead is None else value * lead[:, :, None]


def absent(field: Field) -> Float[Tensor, "batch channels"]:
    """1 where a channel is missing."""
    lead = field.extra.get("lead")
    return field.value.new_zeros(field.value.shape[:2]) if lead is None else 1.0 - lead.to(field.value.dtype)


def doubled(channels: int, levels: int) -> list[int]:
    """Channels of each level."""
    return [channels * 2 ** min(level, MOST_DOUBLINGS) for level in range(levels)]


def patched(values: Float[Tensor, "batch channels samples"], size: int) -> Float[Tensor, "batch patches inside"]:
    """Samples in patches of `size`, all channels side by side; the last one is filled with zeros."""
    values = F.pad(values, (0, -values.shape[2] % size))
    return values.unflatten(2, (-1, size)).transpose(1, 2).flatten(2)


def any_of(valid: Float[Tensor, "batch 1 samples"], stride: int) -> Float[Tensor, "batch 1 fewer"]:
    """1 where any of `stride` samples is valid."""
    return F.max_pool1d(valid, stride, stride, ceil_mode=True) if stride > 1 else valid
