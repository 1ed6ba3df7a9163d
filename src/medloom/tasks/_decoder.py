"""From the maps of an encoder back to every voxel: a U-Net decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Field, Gives, Output, Seen
from medloom.masked import MaskedGroupNorm
from medloom.tasks._segment_loss import COARSER

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: Mapping[int, Callable[..., nn.Module]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


class UpBlock(nn.Module):
    """Doubles a map's resolution (or what `factor` says), joins the encoder's map of that resolution, and convolves."""

    def __init__(self, dims: int, channels_in: int, channels_out: int, factor: int | tuple[int, ...]) -> None:
        super().__init__()
        convolution = CONVOLUTION[dims]
        self.up = TRANSPOSED[dims](channels_in, channels_out, factor, factor, bias=False)
        self.conv_in = convolution(2 * channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm_in = MaskedGroupNorm(channels_out)
        self.conv_out = convolution(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm_out = MaskedGroupNorm(channels_out)

    def forward(self, coarse: Tensor, finer: Tensor, valid: Tensor) -> Tensor:
        """`coarse` [batch, channels, *spatial], `finer` the encoder's map, `valid` [batch, 1, *spatial] of the finer one."""
        joined = torch.cat([self.up(coarse) * valid, finer], 1)
        inner = F.relu_(self.norm_in(self.conv_in(joined), valid))
        return F.relu_(self.norm_out(self.conv_out(inner), valid))


class Decoder(nn.Module):
    """The pyramid of one input → {"logits": [batch, classes, *patch]}.

    With `deep`, in training, coarser maps say what they see too: "logits_coarser_<level>", all but the coarsest.
    Source: Ronneberger, Fischer & Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015.
    """

    def __init__(self, ground: str, gives: Gives, classes: int, deep: bool = False) -> None:
        super().__init__()
        self.ground = ground
        self.dims = gives.dims
        self.strides = tuple(stride for _, stride in gives.levels)
        self.finest = self.strides[0] if isinstance(self.strides[0], int) else max(self.strides[0])
        self.blocks = nn.ModuleList(
            UpBlock(gives.dims, coarse, finer, _factor(stride_coarse, stride_finer))
            for (finer, stride_finer), (coarse, stride_coarse) in reversed(list(pairwise(gives.levels)))
        )
        self.classify = CONVOLUTION[gives.dims](gives.levels[0][0], classes, 1)
        middle = range(1, len(gives.levels) - 1) if deep else range(0)
        self.coarser = nn.ModuleDict(
            {str(level): CONVOLUTION[gives.dims](gives.levels[level][0], classes, 1) for level in middle}
        )

    def forward(self, seen: Seen) -> Output:
        """Logits of every voxel of the view."""
        finer = seen.encoded[self.ground].finer
        valid = self._validity(seen.inputs[self.ground], finer[0])
        values, coarser = finer[-1], {}
        for level, block in zip(reversed(range(len(finer) - 1)), self.blocks, strict=True):
            values = block(values, finer[level], valid[level])
            if self.training and str(level) in self.coarser:
                coarser[f"{COARSER}{level}"] = self.coarser[str(level)](values)
        logits = self.classify(values)
        return {"logits": F.interpolate(logits, scale_factor=self.finest) if self.finest > 1 else logits, **coarser}

    def _validity(self, field: Field, finest: Tensor) -> list[Float[Tensor, "batch 1 *spatial"]]:
        """For each level 1 where a position covers any valid voxel, else 0."""
        if field.valid is None:
            whole = finest.new_ones((len(finest), 1, *(size * self.finest for size in finest.shape[2:])))
        else:
            whole = (field.valid if field.index is None else field.valid[field.index])[:, None].to(finest.dtype)
        return [POOL[self.dims](whole, stride) if stride != 1 else whole for stride in self.strides]


def _factor(coarse: int | tuple[int, ...], finer: int | tuple[int, ...]) -> int | tuple[int, ...]:
    """How much coarser one level is than the next finer one; for each axis where strides differ."""
    if isinstance(coarse, int) and isinstance(finer, int):
        return coarse // finer
    axes = len(coarse) if isinstance(coarse, tuple) else len(finer)  # type: ignore[arg-type]
    both = [stride if isinstance(stride, tuple) else (stride,) * axes for stride in (coarse, finer)]
    return tuple(a // b for a, b in zip(*both, strict=True))
