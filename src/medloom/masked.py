"""Group normalisation that padding does not reach."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class MaskedGroupNorm(nn.Module):
    """GroupNorm over valid positions only: how much padding surrounds a row changes none of its values.

    Gives 0 where `valid` is 0. Statistics are of one row, so a row alone equals the row in any batch.
    Source: Wu & He, "Group normalization", ECCV 2018.
    """

    def __init__(self, channels: int, most_groups: int = 8, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.groups = math.gcd(channels, most_groups)
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self, values: Float[Tensor, "batch channels *spatial"], valid: Float[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, "batch channels *spatial"]:
        """Normalised values; `valid` is 1 for positions that are data and 0 for padding."""
        batch, channels = values.shape[:2]
        kept = values * valid
        count = valid.flatten(1).sum(1, keepdim=True).clamp_min(1.0) * (channels // self.groups)
        # Sums of squares rather than of squared differences: one pass over the maps, which are large, and not three.
        axes = tuple(range(2, values.ndim))
        mean = self._over_groups(kept.sum(axes)) / count
        square = self._over_groups(kept.square().sum(axes)) / count
        scale = ((square - mean.square()).clamp_min(0.0) + self.epsilon).rsqrt()
        scale, mean = (part.repeat_interleave(channels // self.groups, 1) for part in (scale, mean))
        each = (batch, channels, *[1] * (values.ndim - 2))
        shift = self.bias - mean * scale * self.weight
        factor = (scale * self.weight).view(each)
        # Where nothing is learnt, the map itself may be written over.
        scaled = kept * factor if torch.is_grad_enabled() else kept.mul_(factor)
        return scaled.add_(shift.view(each)).mul_(valid)

    def _over_groups(self, of_channels: Float[Tensor, "batch channels"]) -> Float[Tensor, "batch groups"]:
        return of_channels.reshape(len(of_channels), self.groups, -1).sum(2)
