"""Training rows mixed with one another: their inputs, and what they learn from, by one share.

Source: Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018. Answers are not mixed but losses: a row's
own answer counts by the share, that of the other row by what is left. For cross-entropy that is the same, and a class, a
time of an event and a mask stay what they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from medloom.batch import Batch, Field, Mixed
from medloom.draw import Draw


@dataclass(frozen=True, slots=True)
class Mixup:
    """Which rows are mixed in, those that train, and how strongly: shares are drawn from Beta(strength, strength)."""

    rows: Int[np.ndarray, " train"]
    strength: float

    def drawn(
        self, rows: Int[np.ndarray, " batch"], draw: Draw
    ) -> tuple[Int[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
        """Another row for each of these, and the share of the row itself, at least a half.

        Both are functions of the draw and the row alone, whatever else is in the batch.
        """
        from scipy.special import betaincinv

        which, much = draw.uniform("mixing", rows, 2).T
        other = self.rows[np.floor(which * len(self.rows)).astype(np.int64)]
        share = betaincinv(self.strength, self.strength, much)
        return other, np.maximum(share, 1 - share)


def mixed(both: Batch, share: Float[np.ndarray, " batch"]) -> Batch:
    """The first half of a batch with the second half mixed in, row by row.

    Where a row or its other one lacks an input, the row stays as it is.
    """
    count = len(share)
    own, other = both.slice(0, count), both.slice(count, 2 * count)
    kept = torch.from_numpy(share.astype(np.float32))
    for name in own.inputs:
        there = own.inputs[name].present & other.inputs[name].present
        kept = torch.where(there, kept, torch.ones_like(kept))
    inputs = {name: _field(part, other.inputs[name], kept) for name, part in own.inputs.items()}
    return replace(own, inputs=inputs, mixed=Mixed(other.targets, kept))


def _field(own: Field, other: Field, share: Float[Tensor, " batch"]) -> Field:
    """Values between those of two rows; what is valid in either is valid, and 0 in a row where it is not."""
    weight = share.view(-1, *[1] * (own.value.ndim - 1))
    valid = own.valid
    if own.valid is not None and other.valid is not None:
        taken = (share < 1).view(-1, *[1] * (own.valid.ndim - 1))
        valid = own.valid | (other.valid & taken)
    return replace(own, value=torch.lerp(other.value, own.value, weight), valid=valid)
