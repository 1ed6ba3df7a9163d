"""A convolutional network after the manner of transformers: wide depthwise kernels, few norms, one activation a block.

Source: Liu et al., "A ConvNet for the 2020s", CVPR 2022 (figure 4, and section 2.6 for the layers between levels). Unlike
there the first map has the image's own resolution, so that outlines keep theirs.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.modalities.image.encoders.pyramid import Pyramid
from medloom.modalities.image.encoders.residual import CONVOLUTION

KERNEL = {2: 7, 3: 5}
"""Side of the depthwise kernels: a cube of 7 has as many weights as a square of 18."""
WIDENED = 4
FIRST_SCALE = 0.1
"""What a block adds is first a tenth of what it finds. Source: Touvron et al., "Going deeper with image transformers",
ICCV 2021 (0.1 for networks of up to 18 blocks; smaller ones are for deeper networks and longer training)."""


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each position by itself. 0 where nothing is valid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(
        self, values: Float[Tensor, "batch channels *spatial"], valid: Float[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, "batch channels *spatial"]:
        """Normalised values."""
        normed: Tensor = self.norm(values.movedim(1, -1))
        return normed.movedim(-1, 1) * valid


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution, a norm, and two layers at each position with GELU between, scaled and added."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        side = KERNEL[dims]
        self.across = CONVOLUTION[dims](channels, channels, side, 1, side // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.widen, self.narrow = nn.Linear(channels, WIDENED * channels), nn.Linear(WIDENED * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), FIRST_SCALE))

    def forward(self, values: Tensor, valid: Tensor) -> Tensor:
        """`values` [batch, channels, *spatial], `valid` [batch, 1, *spatial] → as `values`."""
        inner = self.norm(self.across(values).movedim(1, -1))
        inner = self.narrow(F.gelu(self.widen(inner))) * self.scale
        return values + inner.movedim(-1, 1) * valid


class ConvNeXt(nn.Module):
    """`blocks` blocks at each level; a norm and a convolution as wide as the step between levels."""

    def __init__(self, pyramid: Pyramid, blocks: int) -> None:
        super().__init__()
        channels, convolution = pyramid.channels, CONVOLUTION[pyramid.dims]
        self.each = blocks
        self.stem = convolution(pyramid.entering, channels[0], 3, 1, 1)
        self.norms = nn.ModuleList(ChannelNorm(count) for count in (channels[0], *channels[:-1]))
        self.coarser = nn.ModuleList(
            convolution(channels[level - 1], channels[level], pyramid.step(level), pyramid.step(level))
            for level in range(1, pyramid.levels)
        )
        self.blocks = nn.ModuleList(ConvNeXtBlock(pyramid.dims, count) for count in channels for _ in range(blocks))
        self.norm = ChannelNorm(channels[-1])

    def forward(self, values: Tensor, valid: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """The map of each level, finest first, and the last one after its norm."""
        finer: list[Tensor] = []
        values = self.norms[0](self.stem(values), valid[0])
        for level, held in enumerate(valid):
            if level:
                values = self.coarser[level - 1](self.norms[level](values, valid[level - 1])) * held
            for block in self.blocks[level * self.each : (level + 1) * self.each]:
                values = block(values, held)
            finer.append(values)
        return tuple(finer), self.norm(values, valid[-1])
