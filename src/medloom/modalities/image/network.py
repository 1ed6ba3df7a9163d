"""The image encoder: a small residual network, and the pyramid of its maps.

Source: He et al., "Identity mappings in deep residual networks", ECCV 2016 (pre-activation blocks), with GroupNorm.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Encoded, Field, Gives
from medloom.masked import MaskedGroupNorm
from medloom.modalities.image.options import ImageOptions

MOST_CHANNELS = 256


class ResidualBlock(nn.Module):
    """Norm, activation and convolution, twice, beside a shortcut. `stride` 2 halves the resolution. Padding stays 0."""

    def __init__(self, dims: int, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        convolution = nn.Conv2d if dims == 2 else nn.Conv3d
        self.norm_in = MaskedGroupNorm(channels_in)
        self.conv_in = convolution(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm_out = MaskedGroupNorm(channels_out)
        self.conv_out = convolution(channels_out, channels_out, 3, 1, 1, bias=False)
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else convolution(channels_in, channels_out, stride, stride, bias=False)

    def forward(self, values: Tensor, valid_in: Tensor, valid_out: Tensor) -> Tensor:
        """`values` [batch, channels, *spatial]; `valid_in`, `valid_out` [batch, 1, *spatial] before and after the stride."""
        inner = self.conv_in(F.relu(self.norm_in(values, valid_in)))
        inner = self.conv_out(F.relu(self.norm_out(inner, valid_out)))
        return (inner + self.shortcut(values)) * valid_out


class ImageEncoder(nn.Module):
    """Patches → pooled vector, deepest grid, and maps of every resolution, finest first.

    The pooled vector is the projected mean of the deepest grid over its valid positions: those that cover any voxel.
    """

    def __init__(self, options: ImageOptions) -> None:
        super().__init__()
        channels = [min(options.width * 2**level, max(options.width, MOST_CHANNELS)) for level in range(options.levels)]
        self.dims = options.dims
        convolution = nn.Conv2d if options.dims == 2 else nn.Conv3d
        self.stem = convolution(options.channels, channels[0], 3, 1, 1, bias=False)
        self.blocks = nn.ModuleList(
            ResidualBlock(options.dims, before, after, 1 if level == 0 else 2)
            for level, (before, after) in enumerate(zip([channels[0], *channels], channels, strict=False))
        )
        self.norm = MaskedGroupNorm(channels[-1])
        self.project = nn.Linear(channels[-1], options.pooled_width)
        self.gives = Gives(
            width=options.pooled_width,
            features=channels[-1],
            dims=options.dims,
            channels=options.channels,
            levels=tuple((count, 2**level) for level, count in enumerate(channels)),
        )

    def forward(self, field: Field) -> Encoded:
        """Encodes `field.value` [batch, channels, *patch]; rows without an image give the encoding of nothing."""
        valid = self._validity(field)
        values = self.stem(field.value) * valid
        finer = []
        for level, block in enumerate(self.blocks):
            before = valid
            if level:
                valid = F.max_pool2d(valid, 2) if self.dims == 2 else F.max_pool3d(valid, 2)
            values = block(values, before, valid)
            finer.append(values)
        grid = F.relu(self.norm(values, valid))
        mean = grid.flatten(2).sum(2) / valid.flatten(1).sum(1, keepdim=True).clamp_min(1.0)
        return Encoded(pooled=self.project(mean), grid=grid, finer=tuple(finer))

    def _validity(self, field: Field) -> Float[Tensor, "batch 1 *spatial"]:
        if field.valid is None:
            return field.value.new_ones((len(field.value), 1, *field.value.shape[2:]))
        return field.valid[:, None].to(field.value.dtype)
