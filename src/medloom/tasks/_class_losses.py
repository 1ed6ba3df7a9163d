"""Losses of classes, one number a row, from log-probabilities; and the head of classes that have an order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Field, Output, Seen
from medloom.tasks._class_options import Kind

LEAST = 1e-6
"""Distance of a probability from 1 in the factor of the focal loss, whose slope may have no end there."""


def log_both(logits: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 2"]:
    """Log-probabilities of no and yes."""
    return torch.stack([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=-1)


def recorded(log: Float[Tensor, "*batch classes"], noise: float) -> Float[Tensor, "*batch classes"]:
    """Log-probabilities of what is recorded, where a share `noise` of the true classes is replaced by another, any alike.

    Source: Patrini et al., "Making deep neural networks robust to label noise: a loss correction approach", CVPR 2017,
    forward correction (theorem 2), with a symmetric transition.
    """
    if not noise:
        return log
    other = noise / (log.shape[-1] - 1)
    # One class of many stays likelier than another by the odds of being recorded rightly, as noise is below one half.
    return torch.logaddexp(log + float(np.log(1 - noise - other)), torch.full_like(log, float(np.log(other))))


def class_loss(
    log: Float[Tensor, "*batch classes"],
    codes: Int[Tensor, "*batch"],
    weights: Float[Tensor, "#labels classes"] | None,
    noise: float,
    gamma: float,
) -> Float[Tensor, "*batch"]:
    """Cross-entropy of the recorded class, or focal loss where gamma > 0; with class weights after logit adjustment.

    Source: Lin et al., "Focal loss for dense object detection", ICCV 2017, equation 5; Menon et al., "Long-tail
    learning via logit adjustment", ICLR 2021, equation 10, with the weighted loss's optimum as the shift.
    """
    log = recorded(log, noise)
    if weights is not None:
        log = F.log_softmax(log + weights.log(), dim=-1)
    chosen = log.gather(-1, codes[..., None])[..., 0]
    loss = -chosen
    if gamma:
        loss = loss * (-torch.expm1(chosen)).clamp_min(LEAST) ** gamma
    if weights is not None:
        loss = loss * weights.expand(log.shape).gather(-1, codes[..., None])[..., 0]
    return loss


def cross_entropy(
    kind: Kind, logits: Float[Tensor, "batch outputs"], target: Field, weights: Sequence[float]
) -> Float[Tensor, " batch"]:
    """Cross-entropy of each row, 0 where no answer is known; of labels the mean over the known ones.

    With class weights (`weights` not empty) the logits are shifted by the log weights first, so that they stay logits of
    the cohort's own prevalence.
    """
    weight = torch.tensor(weights, dtype=logits.dtype, device=logits.device)
    if kind == "multiclass":
        loss = F.cross_entropy(logits + weight.log() if weights else logits, target.value, reduction="none")
        return (loss * weight[target.value] if weights else loss) * target.present.float()
    known = (target.present[:, None] if target.valid is None else target.valid).float()
    factor = known
    if weights:
        negative, positive = weight.reshape(-1, 2).T
        logits = logits + (positive / negative).log()
        factor = known * torch.where(target.value > 0.5, positive, negative)
    loss = F.binary_cross_entropy_with_logits(logits, target.value, factor, reduction="none")
    if loss.shape[1] == 1:
        return loss[:, 0]
    return loss.sum(dim=1) / known.sum(dim=1).clamp_min(1.0)


def corrected_loss(
    kind: Kind,
    logits: Float[Tensor, "batch outputs"],
    target: Field,
    weights: Sequence[float],
    noise: float,
    gamma: float,
) -> Float[Tensor, " batch"]:
    """Focal loss, and loss under label noise, of each row; 0 where no answer is known."""
    several = kind == "multiclass"
    log = F.log_softmax(logits, dim=1)[:, None] if several else log_both(logits)
    codes = target.value[:, None] if several else target.value.long()
    weight = None
    if weights:
        weight = torch.tensor(weights, dtype=logits.dtype, device=logits.device).view(-1, log.shape[-1])
    loss = class_loss(log, codes, weight, noise, gamma)
    known = (target.present[:, None] if target.valid is None else target.valid).to(loss.dtype)
    return (loss * known).sum(dim=1) / known.sum(dim=1).clamp_min(1.0)


class OrderedHead(nn.Module):
    """`{"logits": [batch, classes]}`, log-probabilities: one number a row on a scale, thresholds between neighbours.

    Thresholds rise by construction, so the chance of at least a class falls from class to class for every row. They are
    learnt as distances from those at which all training rows together stand. Source: McCullagh, "Regression models for
    ordinal data", JRSS B 42, 1980, the proportional odds model, with a network in place of the weighted sum.
    """

    first: Tensor
    gaps: Tensor

    def __init__(self, width: int, counts: Sequence[int]) -> None:
        super().__init__()
        share = np.cumsum(counts)[:-1] / np.sum(counts)
        threshold = np.log(share) - np.log1p(-share)
        self.line = nn.Linear(width, 1, bias=False)
        self.moved = nn.Embedding(1, len(threshold))
        nn.init.zeros_(self.moved.weight)
        # Known from the fitted state, so no part of the weights.
        self.register_buffer("first", torch.tensor(threshold[:1]).float(), persistent=False)
        self.register_buffer("gaps", torch.tensor(np.diff(threshold)).float(), persistent=False)

    def forward(self, seen: Seen) -> Output:
        moved = self.moved.weight[0]
        gaps = self.gaps * moved[1:].clamp(-10, 10).exp()
        threshold = torch.cat([self.first + moved[:1], gaps]).cumsum(dim=0)
        below = threshold - self.line(seen.fused)
        inner = F.logsigmoid(below[:, 1:]) + F.logsigmoid(-below[:, :-1]) + (-torch.expm1(-gaps)).log()
        return {"logits": torch.cat([F.logsigmoid(below[:, :1]), inner, F.logsigmoid(-below[:, -1:])], dim=1)}
