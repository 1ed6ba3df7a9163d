"""A vector for all codes of a row: each is the sum of what was learnt of it and of its wider groups.

Source: Choi et al., "GRAM: graph-based attention model for healthcare representation learning", KDD 2017, for codes as
combinations of their ancestors; here with equal weights.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medloom.batch import Field
from medloom.modalities.table.bags import FIRST, PADDING
from medloom.modalities.table.layout import BagShape


class CodeBag(nn.Module):
    """Ids "batch slots levels" → `[batch, vectors, width]`: the mean or sum over codes, then that of the main code.

    Only the widest groups begin apart: a narrow one begins as what holds it, so that few rows move it little.
    """

    def __init__(self, shape: BagShape, width: int) -> None:
        super().__init__()
        self.shape, self.width = shape, width
        self.all = _vectors(shape, width)
        self.main = _vectors(shape, width) if shape.primary else None
        self.gives = width * (1 + int(shape.primary))

    def forward(self, field: Field) -> Float[Tensor, "batch vectors width"]:
        ids = field.extra[self.shape.name]
        pooled = self.all(ids.flatten(1)).sum(dim=1)
        if self.shape.pool == "mean":
            pooled = pooled / self.codes(field).clamp(min=1)[:, None]
        if self.main is None:
            return pooled[:, None]
        return torch.stack([pooled, self.main(ids[:, 0]).sum(dim=1)], dim=1)

    def codes(self, field: Field) -> Float[Tensor, " batch"]:
        """How many codes each row has."""
        return (field.extra[self.shape.name] != PADDING).any(dim=2).sum(dim=1).float()


def _vectors(shape: BagShape, width: int) -> nn.Embedding:
    vectors = nn.Embedding(FIRST + sum(shape.words), width, padding_idx=PADDING)
    with torch.no_grad():
        vectors.weight[FIRST + shape.words[0] :] = 0.0
    return vectors
