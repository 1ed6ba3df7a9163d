"""From the maps of an encoder that saw a part to what was hidden from it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Field, Gives, Output, Seen
from medloom.masked import MaskedGroupNorm

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOL = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
WIDTH = 16
"""Channels of the decoder: small beside the encoder, which is what is wanted."""
WHOLE, HIDDEN = "whole", "hidden"
"""What a modality puts beside an input that it hid parts of: all of its values, and where they were hidden."""


class RestoreHead(nn.Module):
    """The pyramid of a partly hidden input → error, variance and presence of each row, `[batch]`.

    A learnt vector stands where nothing was seen; the pooled vector is added everywhere, so that it learns as well.
    """

    def __init__(self, ground: str, gives: Gives) -> None:
        super().__init__()
        convolution = CONVOLUTION[gives.dims]
        self.ground, self.dims = ground, gives.dims
        self.lifts = nn.ModuleList(convolution(channels, WIDTH, 1) for channels, _ in gives.levels)
        self.unknown = nn.Embedding(len(gives.levels), WIDTH)
        self.blend = nn.ModuleList(convolution(WIDTH, WIDTH, 3, 1, 1, bias=False) for _ in gives.levels)
        self.norms = nn.ModuleList(MaskedGroupNorm(WIDTH) for _ in gives.levels)
        self.whole = nn.Linear(gives.width, WIDTH)
        self.tell = convolution(WIDTH, gives.channels, 1)

    def forward(self, seen: Seen) -> Output:
        """Figures of what was hidden; of nothing where nothing was."""
        field, encoded = seen.inputs[self.ground], seen.encoded[self.ground]
        shown, inside = _shown_and_inside(field)
        spread = [1] * self.dims
        values = self.whole(encoded.pooled).view(len(encoded.pooled), WIDTH, *spread)
        for level in reversed(range(len(encoded.finer))):
            own = encoded.finer[level]
            size = own.shape[2:]
            seen_here, here = (POOL[self.dims](mask.to(own.dtype), size) for mask in (shown, inside))
            lifted = torch.where(seen_here > 0, self.lifts[level](own), self.unknown.weight[level].view(-1, *spread))
            if values.shape[2:] != size and values.shape[2] > 1:
                values = F.interpolate(values, size=size)
            values = F.relu(self.norms[level](self.blend[level]((values + lifted) * here), here))
        told = self.tell(values)
        if told.shape[2:] != field.value.shape[2:]:
            told = F.interpolate(told, size=field.value.shape[2:])
        return judged(told, field)


def _shown_and_inside(field: Field) -> tuple[Bool[Tensor, "batch 1 *spatial"], Bool[Tensor, "batch 1 *spatial"]]:
    """Where the encoder saw values, and where there are any."""
    hidden = _hidden(field)
    shown = ~hidden if field.valid is None else field.valid
    return shown[:, None], (shown | hidden)[:, None]


def _hidden(field: Field) -> Bool[Tensor, "batch *spatial"]:
    """Where values are hidden: nowhere, where an explanation shows the whole."""
    nowhere = torch.zeros_like(field.value[:, 0], dtype=torch.bool)
    return field.extra.get(HIDDEN, nowhere)


def judged(told: Float[Tensor, "batch channels *spatial"], field: Field) -> Output:
    """Mean squared error of what is told of hidden positions, their variance, and 1 where a row has any."""
    hidden = _hidden(field)[:, None].to(told.dtype)
    truth = field.extra.get(WHOLE, field.value)
    count = hidden.flatten(1).sum(1)
    cells = (count * truth.shape[1]).clamp_min(1.0)
    mean = (truth * hidden).flatten(2).sum(2) / count.clamp_min(1.0)[:, None]
    away = (truth - mean.view(*mean.shape, *[1] * (truth.ndim - 2))) * hidden
    error = ((told.to(truth.dtype) - truth) * hidden).square().flatten(1).sum(1) / cells
    return {"error": error, "spread": away.square().flatten(1).sum(1) / cells, "known": (count > 0).to(truth.dtype)}
