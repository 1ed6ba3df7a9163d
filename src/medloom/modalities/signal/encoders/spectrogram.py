"""Convolutions over frequency and time: the logarithmic power of short frames, as a picture a channel."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Field
from medloom.masked import MaskedGroupNorm
from medloom.modalities.signal.encoders.options import EncoderOptions
from medloom.modalities.signal.encoders.trunk import Trunk, absent, doubled, known, validity

FLOOR = 1e-4
"""Power below which frames are alike, on the scale of the fitted signal."""


class Frames(nn.Module):
    """Frames that overlap by half, under a Hann window → their power at each frequency.

    One begins every half frame as long as there are samples, and is used where half of it is data at least; a window of
    less data than that has its first frame.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.hop = size, size // 2
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(
        self, values: Float[Tensor, "batch channels samples"], valid: Bool[Tensor, "batch samples"]
    ) -> tuple[Float[Tensor, "batch channels frequencies frames"], Bool[Tensor, "batch frames"]]:
        """Power, on the scale of the signal's variance, and which frames are used; the others are zeros.

        `values` are 0 where they are not valid.
        """
        filled = (self.size - values.shape[2]) % self.hop + self.size - self.hop
        values, valid = F.pad(values, (0, filled)), F.pad(valid, (0, filled))
        window: Tensor = self.window  # type: ignore[assignment]
        data = valid.unfold(1, self.size, self.hop).to(values.dtype)
        held = data.mean(2) >= 0.5
        first = valid.any(1) & ~held.any(1)
        held = torch.cat([held[:, :1] | first[:, None], held[:, 1:]], dim=1)
        power = torch.fft.rfft(values.unfold(2, self.size, self.hop) * window).abs().square()
        weight = (data * window.square()).sum(2).clamp_min(torch.finfo(values.dtype).tiny)
        return (power / weight[:, None, :, None] * held[:, None, :, None]).transpose(2, 3), held


class Spectrogram(Trunk):
    """Residual convolutions over the picture; both axes are halved at each level after the first."""

    def __init__(self, options: EncoderOptions, channels: int, samples: int) -> None:
        super().__init__()
        size = min(options.the("frame_samples"), max(samples, 8))
        widths = doubled(options.the("channels"), options.the("levels"))
        self.frames = Frames(size)
        rows = size // 2 + 1
        self.several = channels > 1
        self.stem = nn.Conv2d(2 * channels if self.several else channels, widths[0], 3, 1, 1, bias=False)
        # Convolutions do not know at which frequency they stand; every frequency has a number of its own for each channel.
        self.frequency = nn.Parameter(torch.zeros(widths[0], rows, 1))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, 1 if level == 0 else 2, 1, bias=False)
            for level, (before, after) in enumerate(zip([widths[0], *widths], widths, strict=False))
        )
        self.norms = nn.ModuleList(MaskedGroupNorm(width) for width in [widths[0], *widths])
        for _ in widths[1:]:
            rows = (rows + 1) // 2
        self.rows, self.join = rows, nn.Linear(widths[-1] * rows, widths[-1])
        self.features, self.stride = widths[-1], self.frames.hop * 2 ** (len(widths) - 1)

    def forward(self, field: Field) -> tuple[Float[Tensor, "batch tokens features"], Bool[Tensor, "batch tokens"]]:
        power, held = self.frames(known(field), validity(field))
        valid = held[:, None, None].to(power.dtype)
        picture = torch.log(power + FLOOR)
        if self.several:
            # As for other trunks: that a channel is missing is told by a picture of its own.
            picture = torch.cat([picture, absent(field)[:, :, None, None].expand_as(picture)], dim=1)
        values = (self.stem(picture * valid) + self.frequency) * valid
        for level, convolution in enumerate(self.convolutions):
            values = F.relu(self._normed(self.norms[level], values, valid))
            if level:
                valid = F.max_pool2d(valid, (1, 2), ceil_mode=True)
            values = convolution(values) * valid
        values = F.relu(self._normed(self.norms[-1], values, valid))
        tokens = F.relu(self.join(values.flatten(1, 2).transpose(1, 2)))
        held = valid[:, 0, 0] > 0.5
        return tokens * held[:, :, None], held

    @staticmethod
    def _normed(norm: nn.Module, values: Tensor, valid: Float[Tensor, "batch 1 1 frames"]) -> Tensor:
        return norm(values, valid.expand(-1, -1, values.shape[2], -1))
