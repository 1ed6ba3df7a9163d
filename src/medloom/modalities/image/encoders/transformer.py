"""A small vision transformer on what a few convolutions make of patches.

Source: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021 (section 3.1, hybrid architecture: tokens are
positions of a convolutional map); Xiao et al., "Early convolutions help transformers see better", NeurIPS 2021; Chen et
al., "TransUNet", 2021 (the convolutions' maps for a decoder); Vaswani et al., "Attention is all you need", 2017,
section 3.5 (sines and cosines of the place).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.masked import MaskedGroupNorm
from medloom.modalities.image.encoders.pyramid import Pyramid
from medloom.modalities.image.encoders.residual import CONVOLUTION

HEAD = 32
"""Features of a head, about."""
WIDENED = 4
LONGEST_WAVE = 100.0


class AttentionBlock(nn.Module):
    """Attention between positions, then a fully connected layer, each after a norm and added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(count for count in range(max(1, width // HEAD), 0, -1) if width % count == 0)
        self.before_attention, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, WIDENED * width), nn.Linear(WIDENED * width, width)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], seen: Bool[Tensor, "batch 1 1 tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        """The tokens after each has looked at those that may be `seen`."""
        parts = self.into(self.before_attention(tokens)).chunk(3, dim=2)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        found = F.scaled_dot_product_attention(query, key, value, seen)
        tokens = tokens + self.out(found.transpose(1, 2).flatten(2))
        return tokens + self.narrow(F.gelu(self.widen(self.before_layer(tokens))))


class VisionTransformer(nn.Module):
    """One convolution a level down to the deepest grid, whose positions are tokens of `blocks` transformer blocks.

    The convolutions' maps are the finer levels.
    """

    def __init__(self, pyramid: Pyramid, blocks: int) -> None:
        super().__init__()
        channels, convolution = pyramid.channels, CONVOLUTION[pyramid.dims]
        self.convs = nn.ModuleList(
            convolution(before, after, 3, pyramid.step(level), 1, bias=False)
            for level, (before, after) in enumerate(zip([pyramid.entering, *channels], channels, strict=False))
        )
        self.norms = nn.ModuleList(MaskedGroupNorm(count) for count in channels)
        self.place = nn.Linear(channels[-1], channels[-1], bias=False)
        self.blocks = nn.ModuleList(AttentionBlock(channels[-1]) for _ in range(blocks))
        self.norm = nn.LayerNorm(channels[-1])

    def forward(self, values: Tensor, valid: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """The map of each level, finest first; the last one, after attention, is the deepest grid."""
        finer: list[Tensor] = []
        for conv, norm, held in zip(self.convs, self.norms, valid, strict=True):
            values = F.relu(norm(conv(values), held))
            finer.append(values)
        held = valid[-1].flatten(1) > 0.5
        # A row without any valid position attends to its first one; what it gives is masked below.
        seen = held.clone()
        seen[:, 0] |= ~held.any(1)
        tokens = values.flatten(2).transpose(1, 2)
        tokens = tokens + self.place(waves(values.shape[2:], tokens.shape[2], tokens.device))
        for block in self.blocks:
            tokens = block(tokens, seen[:, None, None])
        tokens = self.norm(tokens) * held[:, :, None]
        grid = tokens.transpose(1, 2).reshape(values.shape)
        return (*finer[:-1], grid), grid


def waves(shape: torch.Size | tuple[int, ...], width: int, device: torch.device) -> Float[Tensor, "tokens width"]:
    """Where each position of a grid lies, the axes side by side: sines, then cosines, of its place along each."""
    shares = [width // len(shape) + (axis < width % len(shape)) for axis in range(len(shape))]
    places = torch.meshgrid(*(torch.arange(size, dtype=torch.float32, device=device) for size in shape), indexing="ij")
    return torch.cat(
        [_waves(place.reshape(-1), share) for place, share in zip(places, shares, strict=True)], dim=1
    )  # fmt: skip


def _waves(place: Float[Tensor, " tokens"], width: int) -> Float[Tensor, "tokens width"]:
    half = (width + 1) // 2
    speed = torch.exp(torch.arange(half, device=place.device) * (-math.log(LONGEST_WAVE) / half))
    angle = place[:, None] * speed
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :width]
