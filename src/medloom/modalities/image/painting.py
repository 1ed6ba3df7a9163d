"""What training does to the intensities of views: blur, bias field, contrast, brightness, gamma and noise, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from medloom.modalities.image.warp import spread

REACH = 3
"""Standard deviations of a blur after which its kernel ends."""


def painted(
    view: Float[Tensor, "channels *patch"],
    valid: Bool[Tensor, "*patch"],
    at: Mapping[str, Any],
    zero: Float[np.ndarray, " channels"],
) -> None:
    """Alters the scaled values of one view in place.

    `zero` is what a raw intensity of 0 is in scaled ones. Voxels that are not `valid` are left for the caller to empty.
    """
    if at.get("blur", 0) > 0:
        _blurred(view, valid, float(at["blur"]))
    if "bias" in at and at["bias"].any():
        below = torch.from_numpy(zero.astype(np.float32)).view(-1, *[1] * (view.ndim - 1))
        field = spread(torch.from_numpy(at["bias"].astype(np.float32))[None], view.shape[1:]).exp_()
        view.sub_(below).mul_(field).add_(below)
    if at.get("contrast", 1) != 1:
        view.mul_(float(at["contrast"]))
    if at.get("brightness", 0) != 0:
        view.add_(float(at["brightness"]))
    if at.get("gamma", 1) != 1:
        _bent(view, valid, float(at["gamma"]))
    if at.get("noise", 0) > 0:
        random = torch.Generator().manual_seed(int(at["noise_key"]))
        view.add_(torch.randn(view.shape, generator=random), alpha=float(at["noise"]))


def _bent(view: Float[Tensor, "channels *patch"], valid: Bool[Tensor, "*patch"], power: float) -> None:
    """Each channel between the least and the most of its valid voxels, raised to a power there."""
    whole = bool(valid.all())
    for channel in view:
        known = channel if whole else channel[valid]
        if not known.numel():
            return
        least, most = (float(end) for end in torch.aminmax(known))
        if most > least:
            channel.sub_(least).div_(most - least).clamp_(0, 1).pow_(power).mul_(most - least).add_(least)


def _blurred(view: Float[Tensor, "channels *patch"], valid: Bool[Tensor, "*patch"], deviation: float) -> None:
    """A Gaussian axis by axis over the valid voxels alone: nothing comes in from beyond the image."""
    reach = max(1, int(np.ceil(REACH * deviation)))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float32) / deviation) ** 2)
    weight = valid[None].to(view.dtype)
    both = torch.cat([view * weight, weight])[:, None]
    convolve = F.conv2d if view.ndim == 3 else F.conv3d
    for axis in range(view.ndim - 1):
        shape, padding = [1] * (view.ndim - 1), [0] * (view.ndim - 1)
        shape[axis], padding[axis] = len(kernel), reach
        both = convolve(both, kernel.view(1, 1, *shape), padding=padding)
    view.copy_(torch.where(valid, both[:-1, 0] / both[-1:, 0].clamp_min(1e-12), view))
