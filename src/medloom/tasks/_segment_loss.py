"""What a segmentation learns from: cross-entropy, soft Dice and distance from the border, of each row by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from medloom.batch import Field, Output
from medloom.tasks._segment_options import Legend

SMOOTHING = 1.0
"""Voxels added to both halves of the soft Dice, so that a view without a label has a gradient that is not steep."""
COARSER = "logits_coarser_"
"""Names of what coarser maps say in training, followed by their level from 1."""


def segmentation_loss(
    output: Output, target: Field, legend: Legend, overlapping: bool, boundary: float
) -> Float[Tensor, " batch"]:
    """The loss of each row at full resolution, and half as much for each coarser level; 0 without a mask.

    Source: Lee et al., "Deeply-supervised nets", AISTATS 2015; weights as in Isensee et al., Nature Methods 2021.
    """
    total = _at_one_resolution(output["logits"], target, legend, overlapping)
    weights = 1.0
    for name, logits in output.items():
        if name.startswith(COARSER):
            share = 0.5 ** int(name.removeprefix(COARSER))
            total = total + share * _at_one_resolution(logits, _every(target, logits.shape[2:]), legend, overlapping)
            weights += share
    total = total / weights
    if boundary:
        total = total + boundary * boundary_loss(output["logits"], target, legend, overlapping)
    return total * target.present.to(total.dtype)


def _every(target: Field, shape: Sequence[int]) -> Field:
    """The target at the middle of every position of a coarser grid."""
    strides = [size // coarse for size, coarse in zip(target.value.shape[1:], shape, strict=True)]
    at = (slice(None), *(slice(stride // 2, None, stride) for stride in strides))
    return Field(target.value[at], target.present, None if target.valid is None else target.valid[at])


def _at_one_resolution(
    logits: Float[Tensor, "batch classes *patch"], target: Field, legend: Legend, overlapping: bool
) -> Float[Tensor, " batch"]:
    """Mean cross-entropy over valid voxels plus 1 − soft Dice, the mean over labels, of each row by itself.

    Source: Milletari, Navab & Ahmadi, "V-Net", 3DV 2016 (soft Dice); the sum as in Isensee et al., Nature Methods 2021.
    """
    valid = torch.ones_like(target.value, dtype=logits.dtype) if target.valid is None else target.valid.to(logits.dtype)
    truth = _truth(target, legend).to(logits.dtype)
    if overlapping:
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1)
        answer = logits.sigmoid()
    else:
        log_probability = F.log_softmax(logits, 1)
        classes = torch.tensor(legend.classes, device=logits.device)[target.value]
        entropy = -log_probability.gather(1, classes[:, None])[:, 0]
        answer = log_probability[:, 1:].exp()
    entropy = (entropy * valid).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp_min(1.0)
    answer, truth = ((part * valid[:, None]).flatten(2) for part in (answer, truth))
    both = (answer * truth).sum(2)
    dice = (2 * both + SMOOTHING) / (answer.sum(2) + truth.sum(2) + SMOOTHING)
    return entropy + 1 - dice.mean(1)


def _truth(target: Field, legend: Legend) -> Bool[Tensor, "batch labels *patch"]:
    member = torch.from_numpy(legend.member).to(target.value.device)
    return member[target.value].movedim(-1, 1)


def boundary_loss(
    logits: Float[Tensor, "batch classes *patch"], target: Field, legend: Legend, overlapping: bool
) -> Float[Tensor, " batch"]:
    """Mean over valid voxels and labels of the answer times its distance from the drawn border, negative inside.

    Distances are in voxels, as shares of the patch's longest side; a label that a view lacks adds nothing.
    Source: Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019, equation 5.
    """
    answer = logits.sigmoid() if overlapping else logits.softmax(1)[:, 1:]
    truth = _truth(target, legend)
    valid = torch.ones_like(target.value, dtype=torch.bool) if target.valid is None else target.valid
    away = _signed_distances((truth & valid[:, None]).cpu().numpy()) / max(target.value.shape[1:])
    weighted = answer * torch.from_numpy(away).to(answer) * valid[:, None]
    return weighted.mean(1).flatten(1).sum(1) / valid.flatten(1).sum(1).clamp_min(1)


def _signed_distances(masks: Bool[np.ndarray, "batch labels *patch"]) -> Float[np.ndarray, "batch labels *patch"]:
    """Distance from the border in voxels: outside positive, inside negative or 0; 0 everywhere for an empty mask."""
    from scipy.ndimage import distance_transform_edt

    away = np.zeros(masks.shape, np.float32)
    for place in np.ndindex(*masks.shape[:2]):
        mask = masks[place]
        if mask.any():
            inside = distance_transform_edt(mask)
            away[place] = distance_transform_edt(~mask) - np.where(mask, inside - 1, 0)
    return away
