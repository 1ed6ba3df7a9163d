"""From tokens to the row: attention that says what it looked at, and band powers beside it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from medloom.batch import Encoded, Field, Gives
from medloom.modalities.signal.bands import edges_of, frame_size, shares_of
from medloom.modalities.signal.encoders.options import EncoderOptions
from medloom.modalities.signal.encoders.spectrogram import Frames
from medloom.modalities.signal.encoders.trunk import Trunk, known, validity

LEAST_POWER = 1e-6
"""Power, on the scale of the fitted signal, that counts as none."""


class Attention(nn.Module):
    """One weight for each token; the weighted mean and spread of the tokens.

    Source: Okabe et al., "Attentive statistics pooling for deep speaker embedding", Interspeech 2018, equations 3 to 6.
    """

    def __init__(self, features: int, learnt: bool) -> None:
        super().__init__()
        hidden = max(8, features // 2)
        self.score = nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, 1)) if learnt else None

    def forward(
        self, tokens: Float[Tensor, "batch tokens features"], valid: Bool[Tensor, "batch tokens"]
    ) -> tuple[Float[Tensor, "batch both"], Float[Tensor, "batch tokens"]]:
        """Mean and spread side by side, and the weights: they sum to 1, or to 0 where no token is valid."""
        score = tokens.new_zeros(tokens.shape[:2]) if self.score is None else self.score(tokens)[:, :, 0]
        low = torch.finfo(score.dtype).min
        weight = torch.softmax(score.masked_fill(~valid, low), dim=1) * valid
        mean = (weight[:, :, None] * tokens).sum(1)
        square = (weight[:, :, None] * (tokens - mean[:, None]).square()).sum(1)
        return torch.cat([mean, (square + 1e-6).sqrt()], dim=1), weight


class BandPowers(nn.Module):
    """The logarithmic power of each channel in each band, by Welch's method on the valid frames."""

    def __init__(self, channels: int, samples: int, rate_hz: float) -> None:
        super().__init__()
        size = frame_size(samples, rate_hz)
        self.frames = Frames(size)
        shares = torch.from_numpy(shares_of(size, rate_hz, edges_of(rate_hz))).float()
        self.register_buffer("shares", shares, persistent=False)
        self.width = channels * shares.shape[1]

    def forward(self, field: Field) -> Float[Tensor, "batch powers"]:
        power, held = self.frames(known(field), validity(field))
        count = held.sum(1)[:, None, None].clamp_min(1)
        mean = power.sum(3) / count
        shares: Tensor = self.shares  # type: ignore[assignment]
        return torch.log(mean @ shares + LEAST_POWER).flatten(1)


class SignalEncoder(nn.Module):
    """A trunk, attention over its tokens, and one layer to the encoded row."""

    def __init__(self, options: EncoderOptions, trunk: Trunk, channels: int, samples: int, rate_hz: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.pool = Attention(trunk.features, options.pooling == "attention")
        self.bands = BandPowers(channels, samples, rate_hz) if options.bands else None
        width = 2 * trunk.features + (self.bands.width if self.bands is not None else 0)
        self.project = nn.Sequential(nn.Dropout(options.dropout), nn.Linear(width, options.width))
        self.gives = Gives(width=options.width, features=trunk.features, dims=1)

    def forward(self, field: Field) -> Encoded:
        """Encodes `field.value` [batch, channels, samples]; the tokens are in the order of time."""
        tokens, valid = self.trunk(field)
        pooled, _ = self.pool(tokens, valid)
        if self.bands is not None:
            pooled = torch.cat([pooled, self.bands(field)], dim=1)
        return Encoded(self.project(pooled), tokens, valid, tokens.transpose(1, 2))

    def attention(self, field: Field) -> Float[Tensor, "batch samples"]:
        """The weight of each sample in the encoded row; they sum to 1, or to 0 where nothing is valid."""
        tokens, valid = self.trunk(field)
        _, weight = self.pool(tokens, valid)
        samples = field.value.shape[-1]
        spread = weight.repeat_interleave(self.trunk.stride, dim=1)[:, :samples]
        spread = torch.nn.functional.pad(spread, (0, samples - spread.shape[1])) * validity(field)
        total = spread.sum(1, keepdim=True)
        return spread / total.clamp_min(torch.finfo(spread.dtype).tiny)
