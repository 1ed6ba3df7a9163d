"""Discrete-time hazards: what each row says of each interval of time, the head, and the loss.

Interval b runs from edge b − 1, which it does not hold, to edge b, which it holds; the first runs from 0, and holds 0.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Output, Seen

LEAST = 1e-6
"""Distance of every hazard from 0 and 1."""


def periods(
    time: Float[np.ndarray, " rows"], event: Float[np.ndarray, " rows"], edges: Float[np.ndarray, " bins"]
) -> tuple[Float[np.ndarray, "rows bins"], Float[np.ndarray, "rows bins"]]:
    """1 in the interval that ends with the row's event; and the share of each interval that the row outlived.

    A row censored inside an interval outlived the part of it until then, which is exact where the hazard is constant
    within intervals. An event after the last edge is none: the row outlived every interval. A row censored at time 0
    outlived nothing, and says nothing.
    """
    ended, outlived = periods_on(*(torch.from_numpy(np.array(one, np.float64)) for one in (time, event, edges)))
    return ended.numpy(), outlived.numpy()


def periods_on(
    time: Float[Tensor, " rows"], event: Float[Tensor, " rows"], edges: Float[Tensor, " bins"]
) -> tuple[Float[Tensor, "rows bins"], Float[Tensor, "rows bins"]]:
    """`periods` on whatever device the rows are."""
    lower = torch.cat([torch.zeros_like(edges[:1]), edges[:-1]])
    share = ((time[:, None] - lower) / (edges - lower)).clamp(0.0, 1.0)
    inside = torch.searchsorted(edges, time.contiguous(), side="left")
    places = torch.arange(len(edges), device=edges.device)
    ended = (places == inside[:, None]) & (event == 1)[:, None]
    return ended.to(time.dtype), torch.where(ended, torch.zeros_like(share), share)


def marginal(
    time: Float[np.ndarray, " rows"], event: Float[np.ndarray, " rows"], edges: Float[np.ndarray, " bins"]
) -> Float[np.ndarray, " bins"]:
    """The hazard of each interval that makes these rows likeliest, the same for all of them."""
    ended, outlived = (part.sum(axis=0) for part in periods(time, event, edges))
    hazard = np.divide(ended, ended + outlived, out=np.zeros(len(edges)), where=ended > 0)
    return np.clip(hazard, LEAST, 1 - LEAST)


def logit(hazard: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Log-odds of hazards, held off 0 and 1."""
    held = np.clip(hazard, LEAST, 1 - LEAST)
    return np.log(held) - np.log1p(-held)


def negative_log_likelihood(
    logits: Float[np.ndarray, "rows bins"],
    ended: Float[np.ndarray, "rows bins"],
    outlived: Float[np.ndarray, "rows bins"],
) -> float:
    """Mean over rows, as `hazard_loss` of each."""
    return float((ended * np.logaddexp(0, -logits) + outlived * np.logaddexp(0, logits)).sum(axis=1).mean())


def hazard_loss(
    logits: Float[Tensor, "batch bins"], ended: Float[Tensor, "batch bins"], outlived: Float[Tensor, "batch bins"]
) -> Float[Tensor, " batch"]:
    """Negative log-likelihood of each row's follow-up, in nats.

    Source: Singer & Willett, "It's about time", Journal of Educational Statistics 18, 1993; as a network: Gensheimer &
    Narasimhan, "A scalable discrete-time survival model for neural networks", PeerJ 7, 2019.
    """
    return (ended * F.softplus(-logits) + outlived * F.softplus(logits)).sum(dim=1)


class HazardHead(nn.Module):
    """`{"logits": [batch, bins]}`: the hazards of the training rows, moved for all intervals together and for each.

    It begins with one number a row for all intervals, which is proportional odds of the hazards; what differs between
    intervals begins at zero.
    """

    def __init__(self, width: int, hazards: Float[np.ndarray, " bins"]) -> None:
        super().__init__()
        self.shared = nn.Linear(width, 1, bias=False)
        self.each = nn.Linear(width, len(hazards))
        nn.init.zeros_(self.each.weight)
        with torch.no_grad():
            self.each.bias.copy_(torch.from_numpy(logit(hazards)))

    def forward(self, seen: Seen) -> Output:
        return {"logits": self.shared(seen.fused) + self.each(seen.fused)}
