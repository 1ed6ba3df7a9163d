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
LARGEST_RATE = 2.5
"""Log of the cumulative hazard that one interval may add: nobody is left behind it."""


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


def cause_periods(
    time: Float[np.ndarray, " rows"], event: Float[np.ndarray, " rows"], edges: Float[np.ndarray, " bins"], causes: int
) -> tuple[Float[np.ndarray, "rows causes bins"], Float[np.ndarray, "rows bins"]]:
    """As `periods`, where `event` is the number of the cause that ended the follow-up, 0 where it is censored."""
    times, events, bins = (torch.from_numpy(np.array(one, np.float64)) for one in (time, event, edges))
    ended, outlived = cause_periods_on(times, events, bins, causes)
    return ended.numpy(), outlived.numpy()


def cause_periods_on(
    time: Float[Tensor, " rows"], event: Float[Tensor, " rows"], edges: Float[Tensor, " bins"], causes: int
) -> tuple[Float[Tensor, "rows causes bins"], Float[Tensor, "rows bins"]]:
    """`cause_periods` on whatever device the rows are."""
    any_cause, outlived = periods_on(time, (event > 0).to(time.dtype), edges)
    cause = torch.arange(1, causes + 1, device=event.device)
    return any_cause[:, None] * (event[:, None, None] == cause[:, None]), outlived


def marginal_causes(
    time: Float[np.ndarray, " rows"], event: Float[np.ndarray, " rows"], edges: Float[np.ndarray, " bins"], causes: int
) -> Float[np.ndarray, "causes bins"]:
    """The hazards of each cause in each interval that make these rows likeliest, the same for all of them."""
    ended, outlived = (part.sum(axis=0) for part in cause_periods(time, event, edges, causes))
    followed = ended.sum(axis=0) + outlived
    hazard = np.divide(ended, followed, out=np.zeros_like(ended), where=ended > 0)
    # Where nobody is left, the causes share what can be given.
    return np.maximum(hazard * np.minimum(1, (1 - LEAST) / np.maximum(hazard.sum(axis=0), LEAST)), LEAST)


def log_odds(hazards: Float[np.ndarray, "*rows causes bins"]) -> Float[np.ndarray, "*rows causes bins"]:
    """Log-odds of each cause against none: of one cause the logit."""
    return np.asarray(np.log(hazards) - np.log(np.maximum(1 - hazards.sum(axis=-2, keepdims=True), LEAST)))


def log_rates(logits: Float[np.ndarray, "*rows causes bins"]) -> Float[np.ndarray, "*rows causes bins"]:
    """Log of the cumulative hazard that each cause adds in an interval, where all hazards are constant within it.

    Of one cause the complementary log-log of the interval's hazard.
    """
    total = np.logaddexp.reduce(logits, axis=-2, keepdims=True)
    return np.asarray(logits - total + np.log(np.logaddexp(0, total)))


def odds_of_rates(rates: Float[np.ndarray, "*rows causes bins"]) -> Float[np.ndarray, "*rows causes bins"]:
    """The inverse of `log_rates`."""
    held = np.clip(rates, -LARGEST_RATE * 10, LARGEST_RATE)
    together = np.exp(held).sum(axis=-2, keepdims=True)
    return np.asarray(held + together + np.log(-np.expm1(-together) / together))


def incidence(logits: Float[np.ndarray, "rows causes bins"]) -> Float[np.ndarray, "rows causes bins"]:
    """Cumulative incidence of each cause by each edge: the chance that it came first, by then."""
    total = np.logaddexp(0, np.logaddexp.reduce(logits, axis=1))
    reached = np.cumsum(total, axis=1) - total
    return np.cumsum(np.exp(logits - total[:, None] - reached[:, None]), axis=2)


def causes_loss(
    logits: Float[np.ndarray, "rows causes bins"],
    ended: Float[np.ndarray, "rows causes bins"],
    outlived: Float[np.ndarray, "rows bins"],
) -> float:
    """Mean negative log-likelihood over rows, as `hazard_loss` of each."""
    total = np.logaddexp(0, np.logaddexp.reduce(logits, axis=1))
    each = (ended.sum(axis=1) + outlived) * total - (ended * logits).sum(axis=1)
    return float(each.sum(axis=1).mean())


def by_cause(logits: Float[Tensor, "batch *causes bins"]) -> Float[Tensor, "batch causes bins"]:
    """Log-odds with an axis of causes, where a single cause has none."""
    return logits[:, None] if logits.ndim == 2 else logits


def hazard_loss(
    logits: Float[Tensor, "batch causes bins"],
    ended: Float[Tensor, "batch causes bins"],
    outlived: Float[Tensor, "batch bins"],
) -> Float[Tensor, " batch"]:
    """Negative log-likelihood of each row's follow-up, in nats.

    Source: Singer & Willett, "It's about time", Journal of Educational Statistics 18, 1993; as a network: Gensheimer &
    Narasimhan, "A scalable discrete-time survival model for neural networks", PeerJ 7, 2019; of several causes: Lee et
    al., "Analysis of time-to-event data with discrete competing risks", Biometrics 74, 2018.
    """
    total = F.softplus(torch.logsumexp(logits, dim=1))
    return ((ended.sum(dim=1) + outlived) * total - (ended * logits).sum(dim=1)).sum(dim=1)


def mean_incidence(
    logits: Float[Tensor, "members batch causes bins"], weights: Float[Tensor, " members"]
) -> Float[Tensor, "batch causes bins"]:
    """Log-odds whose cumulative incidences are the weighted mean of the members'.

    Of the share that is still followed, each member counts by what it expects to be there.
    """
    outlived = -F.softplus(torch.logsumexp(logits, dim=2, keepdim=True)).cumsum(dim=3)
    share = outlived + weights.log()[:, None, None, None]
    return torch.logsumexp(share + logits, dim=0) - torch.logsumexp(share, dim=0)


class HazardHead(nn.Module):
    """`{"logits": [batch, causes, bins]}`: the hazards of the training rows, moved for all intervals together and each.

    A single cause has no axis of its own: [batch, bins].

    It begins with one number a row and cause for all intervals, which is proportional odds of the hazards; what differs
    between intervals begins at zero.
    """

    def __init__(self, width: int, logits: Float[np.ndarray, "causes bins"]) -> None:
        super().__init__()
        self.shape = logits.shape
        self.shared = nn.Linear(width, self.shape[0], bias=False)
        self.each = nn.Linear(width, logits.size)
        nn.init.zeros_(self.each.weight)
        with torch.no_grad():
            self.each.bias.copy_(torch.from_numpy(logits.ravel()))

    def forward(self, seen: Seen) -> Output:
        logits = self.shared(seen.fused)[:, :, None] + self.each(seen.fused).unflatten(1, self.shape)
        return {"logits": logits[:, 0] if self.shape[0] == 1 else logits}


class ProportionalHead(nn.Module):
    """`{"logits": [batch, causes, bins]}`: one number a row and cause multiplies the hazard at all times.

    The cumulative hazard that an interval adds is exp(baseline + number), so that hazards are proportional in
    continuous time, whatever the intervals; the baseline is learnt with the rest, as a distance from that of all
    training rows. Source: Prentice & Gloeckler, "Regression analysis of grouped survival data with application to
    breast cancer data", Biometrics 34, 1978, equation 2.
    """

    start: Tensor

    def __init__(self, width: int, logits: Float[np.ndarray, "causes bins"]) -> None:
        super().__init__()
        self.shape = logits.shape
        self.line = nn.Linear(width, self.shape[0], bias=False)
        self.baseline = nn.Embedding(1, logits.size)
        nn.init.zeros_(self.baseline.weight)
        # Known from the fitted state, so no part of the weights.
        self.register_buffer("start", torch.from_numpy(log_rates(logits)).float(), persistent=False)

    def forward(self, seen: Seen) -> Output:
        baseline = self.start + self.baseline.weight.view(self.shape)
        rates = (baseline + self.line(seen.fused)[:, :, None]).clamp(-10 * LARGEST_RATE, LARGEST_RATE)
        together = rates.exp().sum(dim=1, keepdim=True)
        logits = rates + together + (-torch.expm1(-together) / together).log()
        return {"logits": logits[:, 0] if self.shape[0] == 1 else logits}
