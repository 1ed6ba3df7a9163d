"""A densely connected network: each layer sees what all layers before it on its level found.

Source: Huang et al., "Densely connected convolutional networks", CVPR 2017 (bottlenecks, compression by half), with
GroupNorm. Unlike there, layers grow wider from level to level rather than more, so that the maps have the channels of
the other encoders.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.masked import MaskedGroupNorm
from medloom.modalities.image.encoders.pyramid import Pyramid
from medloom.modalities.image.encoders.residual import CONVOLUTION

POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
BOTTLENECK = 4
"""Width of a layer's inner map, in features that it adds, as in the paper."""


class DenseLayer(nn.Module):
    """Features that are added to a map: a bottleneck and a convolution, each after norm and activation."""

    def __init__(self, dims: int, channels_in: int, growth: int) -> None:
        super().__init__()
        convolution = CONVOLUTION[dims]
        inner = min(BOTTLENECK * growth, channels_in)
        self.norm_in = MaskedGroupNorm(channels_in)
        self.narrow = convolution(channels_in, inner, 1, bias=False)
        self.norm_inner = MaskedGroupNorm(inner)
        self.grow = convolution(inner, growth, 3, 1, 1, bias=False)

    def forward(self, values: Tensor, valid: Tensor) -> Tensor:
        """`values` [batch, channels, *spatial], `valid` [batch, 1, *spatial] → [batch, growth, *spatial]."""
        inner = self.narrow(F.relu(self.norm_in(values, valid)))
        return torch.as_tensor(self.grow(F.relu(self.norm_inner(inner, valid))) * valid)


class Transition(nn.Module):
    """From one level to the next: half the channels, then the mean over the voxels that each position covers."""

    def __init__(self, channels_in: int, channels_out: int, step: tuple[int, ...]) -> None:
        super().__init__()
        self.step = step
        self.norm = MaskedGroupNorm(channels_in)
        self.narrow = CONVOLUTION[len(step)](channels_in, channels_out, 1, bias=False)

    def forward(self, values: Tensor, valid: Tensor) -> Tensor:
        """`values` and `valid` of the finer level → the coarser one."""
        pool = POOL[len(self.step)]
        # The mean over those voxels that are valid: beside padding a position is as bright as anywhere else.
        return pool(self.narrow(F.relu(self.norm(values, valid))), self.step) / pool(valid, self.step).clamp_min(1e-6)


class DenseNet(nn.Module):
    """`blocks` dense layers at each level, and a transition between levels."""

    def __init__(self, pyramid: Pyramid, blocks: int) -> None:
        super().__init__()
        channels = pyramid.channels
        entering = [max(1, channels[0] // 2), *(before // 2 for before in channels[:-1])]
        self.each = blocks
        self.stem = CONVOLUTION[pyramid.dims](pyramid.entering, entering[0], 3, 1, 1, bias=False)
        self.layers = nn.ModuleList()
        for first, last in zip(entering, channels, strict=True):
            ends = [first + (last - first) * done // blocks for done in range(blocks + 1)]
            self.layers.extend(DenseLayer(pyramid.dims, before, after - before) for before, after in pairwise(ends))
        self.transitions = nn.ModuleList(
            Transition(before, after, pyramid.step(level))
            for level, (before, after) in enumerate(zip(channels[:-1], entering[1:], strict=True), start=1)
        )
        self.norm = MaskedGroupNorm(channels[-1])

    def forward(self, values: Tensor, valid: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """The map of each level, finest first, and the last one after its norm."""
        values = self.stem(values) * valid[0]
        finer: list[Tensor] = []
        for level, held in enumerate(valid):
            if level:
                values = self.transitions[level - 1](values, valid[level - 1])
            for layer in self.layers[level * self.each : (level + 1) * self.each]:
                values = torch.cat([values, layer(values, held)], 1)
            finer.append(values)
        return tuple(finer), F.relu(self.norm(values, valid[-1]))
