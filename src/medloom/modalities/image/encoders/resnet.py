"""The residual networks of published weights, with every BatchNorm folded into its convolution.

Source: He et al., "Deep residual learning for image recognition", CVPR 2016; bottlenecks with the stride at the 3 × 3
convolution, as published weights have them. In three axes as Chen, Ma & Zheng, "Med3D", 2019, but with strides where
theirs dilates.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from medloom.modalities.image.encoders.pyramid import Pyramid

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
POOL = {2: F.max_pool2d, 3: F.max_pool3d}
EXPANSION = 4


class FoldedBlock(nn.Module):
    """Two 3 × 3 convolutions, or a narrow one between two of 1 × 1, beside a shortcut. What is not valid stays 0."""

    def __init__(self, dims: int, entering: int, inner: int, bottleneck: bool, stride: int) -> None:
        super().__init__()
        convolution = CONVOLUTION[dims]
        leaving = inner * EXPANSION if bottleneck else inner
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv1 = convolution(entering, inner, 1)
            self.conv2 = convolution(inner, inner, 3, stride, 1)
            self.conv3 = convolution(inner, leaving, 1)
        else:
            self.conv1 = convolution(entering, inner, 3, stride, 1)
            self.conv2 = convolution(inner, inner, 3, 1, 1)
        same = stride == 1 and entering == leaving
        self.shortcut = nn.Identity() if same else convolution(entering, leaving, 1, stride)

    def forward(self, values: Tensor, valid_in: Tensor, valid_out: Tensor) -> Tensor:
        """`values` [batch, channels, *spatial]; `valid_in`, `valid_out` [batch, 1, *spatial] before and after the stride."""
        if self.bottleneck:
            inner = F.relu(self.conv1(values)) * valid_in
            inner = self.conv3(F.relu(self.conv2(inner)) * valid_out)
        else:
            inner = self.conv2(F.relu(self.conv1(values)) * valid_out)
        return F.relu(inner + self.shortcut(values)) * valid_out


class PublishedNet(nn.Module):
    """`counts` blocks at each of four levels below a stem; `fine` is a map of full resolution for outlines, which is new."""

    first_of: ClassVar[int] = 2
    """The level of the first blocks."""

    def __init__(self, pyramid: Pyramid, counts: tuple[int, ...], bottleneck: bool) -> None:
        super().__init__()
        dims, widths = pyramid.dims, pyramid.channels
        self.counts, self.bottleneck, self.dims = counts, bottleneck, dims
        self.stem = CONVOLUTION[dims](pyramid.entering, widths[1], 7, 2, 3)
        self.blocks = nn.ModuleList()
        entering = widths[1]
        for number, count in enumerate(counts):
            inner, leaving = widths[1] * 2**number, widths[self.first_of + number]
            for place in range(count):
                stride = 2 if number and not place else 1
                self.blocks.append(FoldedBlock(dims, entering, inner, bottleneck, stride))
                entering = leaving
        self.fine = CONVOLUTION[dims](pyramid.entering, widths[0], 3, 1, 1)

    def forward(self, values: Tensor, valid: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """The map of each level, finest first, and the last one once more."""
        finer = [F.relu(self.fine(values)) * valid[0]]
        values = F.relu(self.stem(values)) * valid[1]
        finer.append(values)
        values = POOL[self.dims](values, 3, 2, 1) * valid[2]
        blocks = iter(self.blocks)
        for number, count in enumerate(self.counts):
            level = self.first_of + number
            for place in range(count):
                before = valid[level - 1] if number and not place else valid[level]
                values = next(blocks)(values, before, valid[level])
            finer.append(values)
        return tuple(finer), values
