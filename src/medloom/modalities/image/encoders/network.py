"""The image encoder: one of several networks, the pyramid of its maps, and what becomes of the deepest one."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Encoded, Field, Gives
from medloom.modalities.image.encoders.convnext import ConvNeXt
from medloom.modalities.image.encoders.dense import DenseNet
from medloom.modalities.image.encoders.densenet import PublishedDenseNet
from medloom.modalities.image.encoders.pyramid import Pyramid
from medloom.modalities.image.encoders.residual import ResidualNet
from medloom.modalities.image.encoders.resnet import PublishedNet
from medloom.modalities.image.encoders.transformer import VisionTransformer
from medloom.modalities.image.options import PUBLISHED, PUBLISHED_DENSE, ImageOptions

NETWORKS = {"residual": ResidualNet, "dense": DenseNet, "convnext": ConvNeXt, "transformer": VisionTransformer}
MOST_SCORING = 64
"""Width of the layer that scores positions for attention pooling."""


class Trunk(Protocol):
    """What each network is: images and the validity of every level in, the maps of every level and the deepest grid out.

    Values are 0 where they are not valid, in every map.
    """

    def __call__(self, values: Tensor, valid: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """`values` [batch, channels, *patch], `valid` [batch, 1, *spatial] of each level, finest first."""


class AttentionPool(nn.Module):
    """The mean of all valid positions, each weighed by what a small network makes of it. It begins as the plain mean.

    Source: Ilse, Tomczak & Welling, "Attention-based deep multiple instance learning", ICML 2018, equations 8 and 9
    (gated).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        hidden = min(features, MOST_SCORING)
        self.look, self.gate = nn.Linear(features, hidden), nn.Linear(features, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def weights(
        self, grid: Float[Tensor, "batch features *spatial"], valid: Float[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, "batch *spatial"]:
        """Weights that sum to 1 over the valid positions of a row; 0 elsewhere, and in a row without any."""
        each, held = grid.flatten(2).transpose(1, 2), valid.flatten(1) > 0.5
        scores = self.score(torch.tanh(self.look(each)) * torch.sigmoid(self.gate(each)))[:, :, 0].float()
        share = scores.masked_fill(~held, torch.finfo(scores.dtype).min).softmax(1) * held
        return share.view(len(grid), *grid.shape[2:])

    def forward(
        self, grid: Float[Tensor, "batch features *spatial"], valid: Float[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, "batch features"]:
        """The weighted mean of each row."""
        return (grid * self.weights(grid, valid)[:, None]).flatten(2).sum(2)


class MeanPool(nn.Module):
    """The mean of all valid positions."""

    def forward(
        self, grid: Float[Tensor, "batch features *spatial"], valid: Float[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, "batch features"]:
        """The mean of each row; 0 where nothing is valid."""
        return grid.flatten(2).sum(2) / valid.flatten(1).sum(1, keepdim=True).clamp_min(1.0)


class PeakPool(nn.Module):
    """The mean of all valid positions, and beside it the highest value of each feature.

    A finding at one of many positions moves their mean by little, and the norm before it sees to that; the highest value
    it moves by all, and its gradient goes to that place alone. Source: Oquab et al., "Is object localization for free?",
    CVPR 2015 (global max-pooling, learnt from labels of whole images).
    """

    def forward(
        self, grid: Float[Tensor, "batch features *spatial"], valid: Float[Tensor, "batch 1 *spatial"]
    ) -> Float[Tensor, "batch both"]:
        """Means, then highest values, of each row; 0 where nothing is valid."""
        held = valid.flatten(2) > 0.5
        each = grid.flatten(2)
        mean = each.sum(2) / held.sum(2).clamp_min(1)
        highest = each.masked_fill(~held, torch.finfo(each.dtype).min).amax(2) * held.any(2)
        return torch.cat([mean, highest], dim=1)


POOLS = {"mean": lambda _: MeanPool(), "peak": lambda _: PeakPool(), "attention": AttentionPool}


class ImageEncoder(nn.Module):
    """Patches → pooled vector, deepest grid, and maps of every resolution, finest first.

    The pooled vector is the projected pool of the deepest grid over its valid positions: those that cover any voxel.
    """

    def __init__(self, options: ImageOptions) -> None:
        super().__init__()
        self.pyramid: Pyramid = options.pyramid
        if options.encoder in PUBLISHED:
            self.trunk: nn.Module = PublishedNet(self.pyramid, *PUBLISHED[options.encoder])
        elif options.encoder in PUBLISHED_DENSE:
            self.trunk = PublishedDenseNet(self.pyramid, PUBLISHED_DENSE[options.encoder][0])
        else:
            self.trunk = NETWORKS[options.encoder](self.pyramid, options.block_count)
        features = self.pyramid.channels[-1]
        self.pool: nn.Module = POOLS[options.pool](features)
        self.project = nn.Linear(features * (2 if options.pool == "peak" else 1), options.pooled_width)
        self.gives = Gives(
            width=options.pooled_width,
            features=features,
            dims=options.dims,
            levels=self.pyramid.gives,
            channels=options.channels,
        )

    def forward(self, field: Field) -> Encoded:
        """Encodes `field.value` [batch, channels, *patch]; rows without an image give the encoding of nothing."""
        finer, grid, valid = self._maps(field)
        return Encoded(pooled=self.project(self.pool(grid, valid)), grid=grid, finer=finer)

    def weights(self, field: Field) -> Float[Tensor, "batch *spatial"] | None:
        """How much each position of the deepest grid counts in the pooled vector; None where it is their mean.

        Weights sum to 1 over the positions of a row that cover any voxel, and are 0 elsewhere. A position covers
        `pyramid.strides(-1)` voxels of the patch.
        """
        if not isinstance(self.pool, AttentionPool):
            return None
        _, grid, valid = self._maps(field)
        return self.pool.weights(grid, valid)

    def _maps(self, field: Field) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """The maps of every level, the deepest grid, and which of its positions are valid."""
        valid = self._validity(field)
        finer, grid = cast(Trunk, self.trunk)(field.value, valid)
        return finer, grid, valid[-1]

    def _validity(self, field: Field) -> tuple[Float[Tensor, "batch 1 *spatial"], ...]:
        """For each level 1 where a position covers any valid voxel, else 0."""
        if field.valid is None:
            whole = field.value.new_ones((len(field.value), 1, *field.value.shape[2:]))
        else:
            whole = field.valid[:, None].to(field.value.dtype)
        found = [whole]
        for level in range(1, self.pyramid.levels):
            step = self.pyramid.step(level)
            found.append(F.max_pool2d(found[-1], step) if self.pyramid.dims == 2 else F.max_pool3d(found[-1], step))
        return tuple(found)
