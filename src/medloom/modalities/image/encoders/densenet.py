"""The densely connected network of published weights. What BatchNorm leaves once its statistics rest is kept.

After a convolution it is folded into it. Before one, with the activation between, it cannot be: there it stays as a
factor and a shift of each channel, which learn as weights do.

Source: Huang et al., "Densely connected convolutional networks", CVPR 2017 (DenseNet-BC).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.modalities.image.encoders.pyramid import Pyramid

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
MOST = {2: F.max_pool2d, 3: F.max_pool3d}
MEAN = {2: F.avg_pool2d, 3: F.avg_pool3d}
STEM, GROWTH, INNER = 64, 32, 128
"""Channels after the first convolution, added by each layer, and within each layer."""


class Affine(nn.Module):
    """A factor and a shift for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, values: Tensor) -> Tensor:
        """`values` [batch, channels, *spatial]."""
        each = (1, -1, *[1] * (values.ndim - 2))
        return values * self.weight.view(each) + self.bias.view(each)


class PublishedLayer(nn.Module):
    """What a layer adds to a map: 32 channels, of a 1 × 1 and a 3 × 3 convolution."""

    def __init__(self, dims: int, entering: int) -> None:
        super().__init__()
        self.before = Affine(entering)
        self.narrow = CONVOLUTION[dims](entering, INNER, 1)
        self.grow = CONVOLUTION[dims](INNER, GROWTH, 3, 1, 1, bias=False)

    def forward(self, values: Tensor, valid: Tensor) -> Tensor:
        """`values` [batch, channels, *spatial], `valid` [batch, 1, *spatial] → [batch, 32, *spatial]."""
        inner = F.relu(self.narrow(F.relu(self.before(values)))) * valid
        return torch.as_tensor(self.grow(inner) * valid)


class PublishedTransition(nn.Module):
    """Half the channels and half the positions along each axis."""

    def __init__(self, dims: int, entering: int) -> None:
        super().__init__()
        self.dims = dims
        self.before = Affine(entering)
        self.narrow = CONVOLUTION[dims](entering, entering // 2, 1, bias=False)

    def forward(self, values: Tensor, valid: Tensor) -> Tensor:
        """`values` and `valid` of the finer level → the coarser one."""
        pool = MEAN[self.dims]
        # The mean over those positions that are valid: beside padding a position is as bright as anywhere else.
        kept = self.narrow(F.relu(self.before(values))) * valid
        return pool(kept, 2) / pool(valid, 2).clamp_min(1e-6)


class PublishedDenseNet(nn.Module):
    """`counts` layers at each of four levels below a stem; `fine` is a map of full resolution for outlines, which is new."""

    def __init__(self, pyramid: Pyramid, counts: tuple[int, ...]) -> None:
        super().__init__()
        dims = pyramid.dims
        self.counts, self.dims = counts, dims
        self.stem = CONVOLUTION[dims](pyramid.entering, STEM, 7, 2, 3)
        self.layers, self.transitions = nn.ModuleList(), nn.ModuleList()
        channels = STEM
        for level, count in enumerate(counts):
            if level:
                self.transitions.append(PublishedTransition(dims, channels))
                channels //= 2
            self.layers.extend(PublishedLayer(dims, channels + GROWTH * place) for place in range(count))
            channels += GROWTH * count
        self.last = Affine(channels)
        self.fine = CONVOLUTION[dims](pyramid.entering, pyramid.channels[0], 3, 1, 1)

    def forward(self, values: Tensor, valid: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """The map of each level, finest first, and the last one once more."""
        finer = [F.relu(self.fine(values)) * valid[0]]
        values = F.relu(self.stem(values)) * valid[1]
        finer.append(values)
        values = MOST[self.dims](values, 3, 2, 1) * valid[2]
        layers = iter(self.layers)
        for number, count in enumerate(self.counts):
            held = valid[2 + number]
            if number:
                values = self.transitions[number - 1](values, valid[1 + number])
            for _ in range(count):
                values = torch.cat([values, next(layers)(values, held)], 1)
            finer.append(values)
        finer[-1] = F.relu(self.last(values)) * valid[-1]
        return tuple(finer), finer[-1]
