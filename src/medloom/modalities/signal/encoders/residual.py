"""Residual convolutions along time.

Source: He et al., "Identity mappings in deep residual networks", ECCV 2016 (pre-activation blocks), with GroupNorm.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Field
from medloom.masked import MaskedGroupNorm
from medloom.modalities.signal.encoders.options import EncoderOptions
from medloom.modalities.signal.encoders.trunk import Leads, Trunk, any_of, doubled


class Block(nn.Module):
    """Norm, activation and convolution, twice, beside a shortcut. Every block halves the resolution; padding stays 0."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.norm_in, self.norm_out = MaskedGroupNorm(before), MaskedGroupNorm(after)
        self.conv_in = nn.Conv1d(before, after, kernel, 2, kernel // 2, bias=False)
        self.conv_out = nn.Conv1d(after, after, kernel, 1, kernel // 2, bias=False)
        self.shortcut = nn.Conv1d(before, after, 1, bias=False) if before != after else nn.Identity()

    def forward(
        self,
        values: Float[Tensor, "batch before samples"],
        valid: Float[Tensor, "batch 1 samples"],
        valid_out: Float[Tensor, "batch 1 fewer"],
    ) -> Float[Tensor, "batch after fewer"]:
        inner = self.conv_in(F.relu(self.norm_in(values, valid)))
        inner = self.conv_out(F.relu(self.norm_out(inner, valid_out)))
        short = F.avg_pool1d(F.pad(values, (0, values.shape[2] % 2)), 2)
        return (inner + self.shortcut(short)) * valid_out


class Residual(Trunk):
    """A first convolution, then one block a level."""

    def __init__(self, options: EncoderOptions, channels: int) -> None:
        super().__init__()
        widths = doubled(options.the("channels"), options.the("levels"))
        kernel = options.the("kernel")
        self.leads = Leads(channels)
        self.stem = nn.Conv1d(self.leads.width, widths[0], 2 * kernel + 1, 2, kernel, bias=False)
        self.blocks = nn.ModuleList(
            Block(before, after, kernel) for before, after in zip([widths[0], *widths], widths, strict=False)
        )
        self.norm = MaskedGroupNorm(widths[-1])
        self.features, self.stride = widths[-1], 2 ** (1 + len(widths))

    def forward(self, field: Field) -> tuple[Float[Tensor, "batch tokens features"], Bool[Tensor, "batch tokens"]]:
        values, valid = self.leads(field)
        values, valid = self.stem(values), any_of(valid, 2)
        values = values * valid
        for block in self.blocks:
            fewer = any_of(valid, 2)
            values, valid = block(values, valid, fewer), fewer
        found = torch.relu(self.norm(values, valid)) * valid
        return found.transpose(1, 2), valid[:, 0] > 0.5
