"""Stochastic gates that let some of the numbers of a table through, learnt beside the network.

Every gate has a mean; in training noise is added and the sum held between 0 and 1, and a penalty on the expected
number of open gates closes those that help little. In place of a fixed weight of the penalty, it grows while more gates
are open than the study keeps, and turns round where fewer are. In prediction there is no noise, and exactly as many pass as the
study keeps: those with the highest means.
Source: Yamada et al., "Feature selection using stochastic gates", ICML 2020 (arXiv 1810.04247), equations 3 to 5.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

SIGMA = 0.5
"""Standard deviation of the noise, and the first mean of every gate."""
SPEED = 3.0
"""Means move so many times faster than other weights, so that a gate closes within some hundred steps."""
FIRST_PENALTY, MOST_PENALTY, CHANGE = 1e-4, 1.0, 1.02


class _Penalised(torch.autograd.Function):
    """The means as they are; backwards, the slope of the expected number of open gates is added to their gradient."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(mean, weight)
        return mean.view_as(mean)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        mean, weight = ctx.saved_tensors
        slope = torch.exp(-0.5 * (mean / SIGMA) ** 2) / (SIGMA * math.sqrt(2 * math.pi))
        return gradient + weight * slope, None


class Gates(nn.Module):
    """From 0, closed, to 1, open, for each number; those beyond the first `numbers` always pass."""

    penalty: Tensor

    def __init__(self, numbers: int, always: int, keep: float) -> None:
        super().__init__()
        self.keep = min(numbers, int(keep) if keep >= 1 else max(1, round(keep * numbers)))
        self.mean = nn.Parameter(torch.full((numbers,), SIGMA / SPEED))
        self.always = always
        # Part of the state: a run that is resumed goes on with the penalty it had.
        self.register_buffer("penalty", torch.tensor(FIRST_PENALTY))

    def forward(self) -> Float[Tensor, " columns"]:
        mean = SPEED * self.mean
        if self.training:
            mean = _Penalised.apply(mean, self._weight(mean.detach()))
            passes = (mean + SIGMA * torch.randn_like(mean)).clamp(0.0, 1.0)
        else:
            passes = torch.zeros_like(mean)
            kept = _highest(mean, self.keep)
            passes[kept] = mean[kept].clamp(0.0, 1.0)
        return torch.cat([passes, passes.new_ones(self.always)])

    def _weight(self, mean: Float[Tensor, " columns"]) -> Float[Tensor, ""]:
        """The penalty's weight: less the nearer the gates are to the number that is kept, below 0 where too few open."""
        excess = torch.special.ndtr(mean / SIGMA).sum() / self.keep - 1
        self.penalty.mul_(torch.where(excess > 0, CHANGE, 1.0)).clamp_(max=MOST_PENALTY)
        return self.penalty * excess.clamp(-1.0, 1.0)

    def kept(self) -> list[int]:
        """The numbers that pass in prediction, in their order."""
        return sorted(_highest(self.mean.detach(), self.keep).tolist())


def _highest(mean: Float[Tensor, " columns"], keep: int) -> Int[Tensor, " kept"]:
    """Places of the highest means; of equal ones the first, so that the answer is the same everywhere."""
    return torch.sort(mean.detach(), descending=True, stable=True).indices[:keep]
