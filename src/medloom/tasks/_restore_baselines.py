"""What a learnt restoration stands beside: the mean of what is shown, and what lies around a hidden place."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from medloom.batch import Field, Output
from medloom.task import Baseline, Block
from medloom.tasks._restore_head import WHOLE, judged

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
BLOCKS = 16
"""Blocks of training rows that choose how widely is smoothed."""


class Around(Baseline):
    """Gaussian means of the shown values around each place, of the width that restored most of some training rows.

    Widths are shares of the longest side, an eighth of it at most; without any it is the mean of all that is shown.
    Source: Knutsson & Westin, "Normalized and differential convolution", CVPR 1993.
    """

    def __init__(self, label: str, ground: str, widths: tuple[float, ...]) -> None:
        self.label = label
        self._ground: Final = ground
        self._widths: Final = widths
        self._width = widths[0] if widths else None

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Chooses the width."""
        if len(self._widths) < 2:
            return
        missed = dict.fromkeys(self._widths, 0.0)
        for block in islice(iter(train), BLOCKS):
            field = block.batch.inputs[self._ground]
            for width in self._widths:
                missed[width] += float(judged(around(field, width), field)["error"].sum())
        self._width = min(missed, key=lambda width: missed[width])

    def output(self, block: Block) -> Output:
        """How well each view is restored."""
        field = block.batch.inputs[self._ground]
        return judged(around(field, self._width), field)


def around(field: Field, width: float | None) -> Float[Tensor, "batch channels *spatial"]:
    """At each place the weighted mean of the values that are shown; where none is near, the mean of all."""
    values = field.extra[WHOLE]
    shown = torch.ones_like(values[:, :1]) if field.valid is None else field.valid[:, None].to(values.dtype)
    total = shown.flatten(2).sum(2).clamp_min(1.0)
    mean = ((values * shown).flatten(2).sum(2) / total).view(*values.shape[:2], *[1] * (values.ndim - 2))
    if width is None:
        return mean.expand_as(values)
    sigma = max(0.5, width * max(values.shape[2:]) / 8)
    weight = _blurred(shown, sigma)
    told = _blurred(values * shown, sigma) / weight.clamp_min(1e-6)
    return torch.where(weight > 1e-4, told, mean)


def _blurred(
    values: Float[Tensor, "batch channels *spatial"], sigma: float
) -> Float[Tensor, "batch channels *spatial"]:
    """Along one axis after the other."""
    dims = values.ndim - 2
    reach = max(1, round(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=values.dtype) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    flat = values.reshape(-1, 1, *values.shape[2:])
    for axis in range(dims):
        shape, padding = [1] * dims, [0] * dims
        shape[axis], padding[axis] = len(kernel), reach
        flat = CONVOLVE[dims](flat, kernel.view(1, 1, *shape), padding=padding)
    return flat.view_as(values)
