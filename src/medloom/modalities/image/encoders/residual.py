"""A residual network.

Source: He et al., "Identity mappings in deep residual networks", ECCV 2016 (pre-activation blocks), with GroupNorm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.masked import MaskedGroupNorm
from medloom.modalities.image.encoders.pyramid import Pyramid

CONVOLUTION: Mapping[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}


class ResidualBlock(nn.Module):
    """Norm, activation and convolution, twice, beside a shortcut. `step` 2 halves an axis. Padding stays 0."""

    def __init__(self, channels_in: int, channels_out: int, step: tuple[int, ...]) -> None:
        super().__init__()
        convolution = CONVOLUTION[len(step)]
        self.norm_in = MaskedGroupNorm(channels_in)
        self.conv_in = convolution(channels_in, channels_out, 3, step, 1, bias=False)
        self.norm_out = MaskedGroupNorm(channels_out)
        self.conv_out = convolution(channels_out, channels_out, 3, 1, 1, bias=False)
        same = max(step) == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else convolution(channels_in, channels_out, step, step, bias=False)

    def forward(self, values: Tensor, valid_in: Tensor, valid_out: Tensor) -> Tensor:
        """`values` [batch, channels, *spatial]; `valid_in`, `valid_out` [batch, 1, *spatial] before and after the step."""
        inner = self.conv_in(F.relu_(self.norm_in(values, valid_in)))
        inner = self.conv_out(F.relu_(self.norm_out(inner, valid_out)))
        return (inner + self.shortcut(values)) * valid_out


class ResidualNet(nn.Module):
    """`blocks` residual blocks at each level, the first of which makes the map coarser."""

    def __init__(self, pyramid: Pyramid, blocks: int) -> None:
        super().__init__()
        channels = pyramid.channels
        self.each = blocks
        self.stem = CONVOLUTION[pyramid.dims](pyramid.entering, channels[0], 3, 1, 1, bias=False)
        self.blocks = nn.ModuleList()
        for level, (before, after) in enumerate(zip([channels[0], *channels], channels, strict=False)):
            self.blocks.append(ResidualBlock(before, after, pyramid.step(level)))
            self.blocks.extend(ResidualBlock(after, after, (1,) * pyramid.dims) for _ in range(blocks - 1))
        self.norm = MaskedGroupNorm(channels[-1])

    def forward(self, values: Tensor, valid: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """The map of each level, finest first, and the last one after its norm."""
        values = self.stem(values) * valid[0]
        if values.ndim == 5:
            # Volumes with their channels last: a step is a tenth to a quarter quicker on a CPU.
            values = values.contiguous(memory_format=torch.channels_last_3d)
        finer = []
        for number, block in enumerate(self.blocks):
            level, place = divmod(number, self.each)
            values = block(values, valid[level if place else max(0, level - 1)], valid[level])
            if place == self.each - 1:
                finer.append(values)
        return tuple(finer), F.relu_(self.norm(values, valid[-1]))
