"""A head that gives quantiles of several horizons, which cannot cross."""

from __future__ import annotations

import math

import torch
from scipy.special import ndtri
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Output, Seen

START = math.log(math.e - 1)
"""Where softplus is 1: a new head gives the quantiles of a standard normal, about a median near 0."""


class QuantileHead(nn.Module):
    """`{"quantiles": [batch, horizons, quantiles]}`: a median, and steps above 0 to both sides of it.

    Each step is that of a standard normal times a softplus, so that rising order holds whatever the weights are.
    """

    normal: Tensor

    def __init__(self, width: int, horizons: int, levels: tuple[float, ...]) -> None:
        super().__init__()
        self.shape = (horizons, len(levels))
        self.linear = nn.Linear(width, horizons * len(levels))
        nn.init.zeros_(self.linear.bias)
        self.linear.weight.data.mul_(0.1)
        places = torch.tensor(ndtri(levels), dtype=torch.float32)
        self.register_buffer("normal", places.diff(), persistent=False)

    def forward(self, seen: Seen) -> Output:
        made = self.linear(seen.fused).view(-1, *self.shape)
        middle = self.shape[1] // 2
        step = F.softplus(made[..., 1:] + START) * self.normal
        median = made[..., :1]
        below = median - step[..., :middle].flip(-1).cumsum(-1).flip(-1)
        above = median + step[..., middle:].cumsum(-1)
        return {"quantiles": torch.cat([below, median, above], dim=-1)}
