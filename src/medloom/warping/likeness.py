"""How alike two images on one grid are, for each row of a batch: 1 where they match, near 0 where they have nothing in common."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Likeness = Literal["lncc", "mind"]
POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
FLAT = 1e-3
"""Variance, of fixed images scaled to a variance of about 1, below which a window counts for little."""
EMPTY = 1e-5
"""Variance of a warped window below which it shows nothing. Small: a floor here rewards whatever brings contrast into a
window, and a flow then enlarges what it carries."""
MIND_RADIUS = 1


def likeness(
    kind: Likeness,
    warped: Float[Tensor, "batch channels *spatial"],
    fixed: Float[Tensor, "batch channels *spatial"],
    within: Float[Tensor, "batch 1 *spatial"],
    window: int,
) -> Float[Tensor, " batch"]:
    """Mean likeness where `within` is 1; 0 for a row without such a place."""
    if kind == "lncc":
        each = local_correlation(warped, fixed, window)
    else:
        each = (-(mind(warped) - mind(fixed)).abs().mean(1, keepdim=True)).exp()
    weight = within.flatten(1)
    return (each.mean(1, keepdim=True).flatten(1) * weight).sum(1) / weight.sum(1).clamp_min(1.0)


def local_correlation(
    warped: Float[Tensor, "batch channels *spatial"], fixed: Float[Tensor, "batch channels *spatial"], window: int
) -> Float[Tensor, "batch channels *spatial"]:
    """Squared correlation of both images in a cubic window around each voxel, less where the fixed one is flat.

    Source: Avants et al., "Symmetric diffeomorphic image registration with cross-correlation", Medical Image Analysis
    12, 2008.
    """
    channels = warped.shape[1]
    means = _mean_around(torch.cat([warped, fixed, warped * warped, fixed * fixed, warped * fixed], 1), window)
    a, b, aa, bb, ab = means.split(channels, 1)
    cross = ab - a * b
    return cross * cross / ((aa - a * a).clamp_min(0) + EMPTY) / ((bb - b * b).clamp_min(0) + FLAT)


def mind(image: Float[Tensor, "batch channels *spatial"]) -> Float[Tensor, "batch neighbours *spatial"]:
    """How like each voxel's surroundings are to those of its neighbours along each axis: the same in other modalities.

    Source: Heinrich et al., "MIND: modality independent neighbourhood descriptor", Medical Image Analysis 16, 2012.
    """
    apart = []
    for axis in range(2, image.ndim):
        for step in (-1, 1):
            difference = (image - _shifted(image, axis, step)).square()
            apart.append(_mean_around(difference, 2 * MIND_RADIUS + 1))
    distance = torch.stack(apart, 2)
    variance = distance.mean(2, keepdim=True)
    floor = variance.flatten(1).mean(1).view(-1, *[1] * (variance.ndim - 1)) * 0.01 + 1e-6
    return (-distance / (variance + floor)).exp().flatten(1, 2)


def _shifted(image: Tensor, axis: int, step: int) -> Tensor:
    """The image moved by one voxel; its edge goes on."""
    size = image.shape[axis]
    place = (torch.arange(size, device=image.device) + step).clamp(0, size - 1)
    return image.index_select(axis, place)


def _mean_around(values: Tensor, window: int) -> Tensor:
    """Mean over a cube around each voxel, axis after axis; at the border over what lies within."""
    dims = values.ndim - 2
    for axis in range(dims):
        kernel = [1] * dims
        kernel[axis] = window
        padding = [side // 2 for side in kernel]
        values = POOL[dims](values, kernel, 1, padding, count_include_pad=False)
    return values
