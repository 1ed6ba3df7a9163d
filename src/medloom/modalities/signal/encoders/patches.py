"""Networks that see a signal as a row of patches: a recurrent one, and a transformer.

Source: Nie et al., "A time series is worth 64 words", ICLR 2023 (patches as tokens); Vaswani et al., "Attention is all
you need", 2017, section 3.5 (sines and cosines of the place).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Field
from medloom.modalities.signal.encoders.options import EncoderOptions
from medloom.modalities.signal.encoders.recurrent import Recurrent
from medloom.modalities.signal.encoders.trunk import Leads, Trunk, any_of, patched

LONGEST_WAVE = 10_000.0


class Patches(nn.Module):
    """Samples → one vector for each patch, by one linear layer, with a norm behind it."""

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.leads, self.size = Leads(channels), size
        self.layer = nn.Linear(self.leads.width * size, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, field: Field) -> tuple[Float[Tensor, "batch tokens width"], Bool[Tensor, "batch tokens"]]:
        values, valid = self.leads(field)
        held = any_of(valid, self.size)[:, 0] > 0.5
        return self.norm(self.layer(patched(values, self.size))) * held[:, :, None], held


class PatchRecurrent(Trunk):
    """A recurrent network that reads patch after patch."""

    def __init__(self, options: EncoderOptions, channels: int) -> None:
        super().__init__()
        self.stride = options.the("patch_samples")
        self.patches = Patches(channels, self.stride, options.the("hidden"))
        self.recurrent = Recurrent(options, options.the("hidden"))
        self.features = self.recurrent.features

    def forward(self, field: Field) -> tuple[Float[Tensor, "batch tokens features"], Bool[Tensor, "batch tokens"]]:
        tokens, valid = self.patches(field)
        return self.recurrent(F.gelu(tokens), valid), valid


class Block(nn.Module):
    """Attention, then a fully connected layer, each after a norm and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.share = heads, dropout
        self.before_attention, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], valid: Bool[Tensor, "batch 1 1 tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        parts = self.into(self.before_attention(tokens)).chunk(3, dim=2)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        share = self.share if self.training else 0.0
        seen = F.scaled_dot_product_attention(query, key, value, valid, dropout_p=share)
        tokens = tokens + self.dropout(self.out(seen.transpose(1, 2).flatten(2)))
        return tokens + self.dropout(self.narrow(F.gelu(self.widen(self.before_layer(tokens)))))


class PatchTransformer(Trunk):
    """Attention between patches, which know their place."""

    def __init__(self, options: EncoderOptions, channels: int) -> None:
        super().__init__()
        width = options.the("hidden")
        self.features, self.stride = width, options.the("patch_samples")
        self.patches = Patches(channels, self.stride, width)
        self.place = nn.Linear(width, width, bias=False)
        self.blocks = nn.ModuleList(
            Block(width, options.the("heads"), options.dropout) for _ in range(options.the("blocks"))
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, field: Field) -> tuple[Float[Tensor, "batch tokens features"], Bool[Tensor, "batch tokens"]]:
        tokens, valid = self.patches(field)
        tokens = tokens + self.place(waves(tokens.shape[1], self.features, tokens.device))
        # A row without any valid patch attends to its first one; what it gives is masked below.
        seen = valid.clone()
        seen[:, 0] |= ~valid.any(1)
        for block in self.blocks:
            tokens = block(tokens, seen[:, None, None])
        return self.norm(tokens) * valid[:, :, None], valid


def waves(places: int, width: int, device: torch.device) -> Float[Tensor, "places width"]:
    """Sines, then cosines, of each place, from one radian a place to `LONGEST_WAVE` times slower."""
    half = (width + 1) // 2
    speed = torch.exp(torch.arange(half, device=device) * (-math.log(LONGEST_WAVE) / half))
    angle = torch.arange(places, device=device)[:, None] * speed
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :width]
