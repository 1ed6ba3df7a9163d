"""The map between two images found by gradient descent for this pair alone: no training, and no other image seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from medloom.warping.likeness import Likeness, likeness
from medloom.warping.transform import Displacement, Transform, composed, flowed, resized, roughness, same, sample

POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
LEAST_SIDE = 12
"""Voxels along the shortest axis below which an image is not made coarser."""
COARSE = (4, 2, 1)


@dataclass(frozen=True, slots=True)
class Search:
    """How a map is looked for. `smooth` weighs roughness of the flow; rates are the first steps, in normalised units
    for the affine map and in voxels of the flow's grid for the flow.
    """

    kind: Likeness = "lncc"
    window: int = 7
    smooth: float = 0.05
    affine_steps: int = 60
    affine_rate: float = 0.02
    flow_steps: int = 60
    flow_rate: float = 0.25


def standardised(image: Float[Tensor, "batch channels *spatial"]) -> Float[Tensor, "batch channels *spatial"]:
    """Each channel of each row less its mean, over its standard deviation."""
    spread = (..., *[None] * (image.ndim - 2))
    mean, deviation = image.flatten(2).mean(2), image.flatten(2).std(2, correction=0)
    return (image - mean[spread]) / deviation.clamp_min(1e-6)[spread]


def aligned(
    moving: Float[Tensor, "batch channels *source"],
    fixed: Float[Tensor, "batch channels *spatial"],
    start: Float[Tensor, "batch dims more"],
    how: Search,
) -> Transform:
    """The affine map from `start` on that makes the images most alike, coarse images first; no flow.

    Images are standardised (`standardised`). Each row is a search of its own.
    """
    dims = fixed.ndim - 2
    nothing = same(len(fixed), dims).to(fixed)
    with torch.inference_mode(False), torch.enable_grad():
        moving, fixed, start = moving.clone(), fixed.clone(), start.clone()
        change = torch.zeros_like(nothing).requires_grad_()
        for factor in _factors(fixed.shape[2:])[: -1 if len(_factors(fixed.shape[2:])) > 1 else None]:
            there, here = _coarser(moving, factor), _coarser(fixed, factor)
            descend = torch.optim.Adam([change], lr=how.affine_rate)
            for step in range(how.affine_steps):
                descend.param_groups[0]["lr"] = how.affine_rate * _falling(step, how.affine_steps)
                transform = Transform(_product(start, nothing + change))
                _step(descend, there, here, transform.forward(here.shape[2:]), how)
        return Transform(_product(start, nothing + change).detach())


def deformed(
    moving: Float[Tensor, "batch channels *source"],
    fixed: Float[Tensor, "batch channels *spatial"],
    start: Transform,
    how: Search,
) -> Transform:
    """`start`, with a flow before it that makes the images more alike: on a grid of half the fixed image's resolution.

    The flow's field is smoothed, so that it can be inverted. Each row is a search of its own. Source: the descent on
    smoothed fields of Siebert, Hansen & Heinrich, "ConvexAdam", IEEE Transactions on Medical Imaging 44, 2025, here on
    velocities.
    """
    shape = tuple(max(1, -(-size // 2)) for size in fixed.shape[2:])
    with torch.inference_mode(False), torch.enable_grad():
        moving, fixed = moving.clone(), fixed.clone()
        start = replace(start, affine=start.affine.clone(), velocities=tuple(v.clone() for v in start.velocities))
        half = torch.tensor(shape, dtype=fixed.dtype, device=fixed.device).view(1, -1, *[1] * len(shape)) / 2
        voxels = torch.zeros((len(fixed), len(shape), *shape), device=fixed.device).requires_grad_()
        levels = _factors(fixed.shape[2:])[-2:]
        for factor in levels:
            there, here = _coarser(moving, factor), _coarser(fixed, factor)
            before = start.forward(here.shape[2:]).detach()
            steps = -(-how.flow_steps // len(levels))
            descend = torch.optim.Adam([voxels], lr=how.flow_rate)
            for step in range(steps):
                descend.param_groups[0]["lr"] = how.flow_rate * _falling(step, steps)
                velocity = _smooth(voxels) / half
                moved = composed(before, resized(flowed(velocity), here.shape[2:]))
                _step(descend, there, here, moved, how, how.smooth * roughness(velocity).sum())
        return replace(start, velocities=(*start.velocities, (_smooth(voxels) / half).detach()))


def _step(
    descend: torch.optim.Optimizer,
    moving: Tensor,
    fixed: Tensor,
    moved: Displacement,
    how: Search,
    more: Tensor | float = 0.0,
) -> None:
    seen = sample(torch.ones_like(moving[:, :1]), moved.detach(), border=False) > 0.5
    alike = likeness(how.kind, sample(moving, moved), fixed, seen.to(fixed.dtype), how.window)
    descend.zero_grad(set_to_none=True)
    (more - alike.sum()).backward()
    descend.step()


def _smooth(field: Displacement) -> Displacement:
    """Means over three voxels along each axis, twice."""
    dims = field.ndim - 2
    for _ in range(2):
        field = POOL[dims](field, 3, 1, 1, count_include_pad=False)
    return field


def _factors(shape: Sequence[int]) -> tuple[int, ...]:
    """How many times coarser images are looked at, one after another; axes of few voxels stay as they are."""
    found = [factor for factor in COARSE if max(shape) // factor >= LEAST_SIDE]
    return tuple(found) or (1,)


def _coarser(image: Tensor, factor: int) -> Tensor:
    """Means over cubes of voxels; along axes that are long enough."""
    if factor == 1:
        return image
    size = tuple(max(min(side, LEAST_SIDE), side // factor) for side in image.shape[2:])
    if image.ndim == 4:
        return F.adaptive_avg_pool2d(image, (size[0], size[1]))
    return F.adaptive_avg_pool3d(image, (size[0], size[1], size[2]))


def _falling(step: int, steps: int) -> float:
    return 1.0 - 0.9 * step / max(1, steps)


def _product(outer: Tensor, inner: Tensor) -> Tensor:
    """First `inner`, then `outer`."""
    linear = outer[:, :, :-1]
    return torch.cat([linear @ inner[:, :, :-1], linear @ inner[:, :, -1:] + outer[:, :, -1:]], 2)
