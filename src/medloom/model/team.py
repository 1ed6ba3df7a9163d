"""Who answers: networks that differ by their seed, and simple models stacked beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from medloom.batch import BESIDE, Field, Output
from medloom.model.assembly import Network, parameters
from medloom.task import Member, Task

NETWORK = "network"
"""What all networks together are called among the members of a team."""
PRIOR = 5.0
"""How firmly shares are held to be equal: the exponent, less one, of a Dirichlet prior on them."""

Said = Mapping[str, Output]
"""What each member says of the same rows, by the member's name."""


@dataclass(frozen=True, slots=True)
class Team:
    """Networks, simple models by target and name, and the share of each member in what they say together.

    All networks are one member, whose answer is that of the networks brought together. Where a target has no shares,
    its members count alike.
    """

    networks: tuple[Network, ...]
    simple: Mapping[str, Mapping[str, Member]] = field(default_factory=dict)
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def members(self, target: str) -> tuple[str, ...]:
        """Names of who answers for a target."""
        return (*((NETWORK,) if self.networks else ()), *self.simple.get(target, ()))

    def together(self, target: str, task: Task, said: Said) -> Output:
        """One answer of what these members say; where some are left out, the shares of the others keep their ratio."""
        if len(said) == 1:
            return next(iter(said.values()))
        held = self.shares.get(target, {})
        shares = torch.tensor([held.get(name, 1.0) for name in said], dtype=torch.float64)
        beside = {name: value for name, value in next(iter(said.values())).items() if name in BESIDE}
        parts = [{name: value for name, value in output.items() if name not in BESIDE} for output in said.values()]
        return {**task.combine(parts, shares / shares.sum()), **beside}

    def sharing(self, target: str, shares: Mapping[str, float]) -> Team:
        """The same team with these shares for one target."""
        return replace(self, shares={**self.shares, target: dict(shares)})

    @property
    def parameters(self) -> int:
        """Trainable numbers of all networks."""
        return sum(map(parameters, self.networks))


def stacked(task: Task, blocks: Sequence[tuple[Said, Field]], count: int | None = None) -> dict[str, float]:
    """Shares, positive and summing to 1, under which these rows (those of calibration) have the least loss.

    A Dirichlet prior holds them near equal where few rows speak. Rows that depend on one another speak as `count` together,
    in the unit of their mean loss: that is their likelihood where the spread of the errors is learnt beside the shares, so
    that losses in any unit can be held against the prior. Source: Wolpert, "Stacked generalization", Neural
    Networks 5, 1992; Breiman, "Stacked regressions", Machine Learning 24, 1996 (shares of one sign).
    """
    names = list(blocks[0][0])
    outputs = [
        ([{k: v.detach().clone().double() for k, v in said[n].items() if k not in BESIDE} for n in names], t)
        for said, t in blocks
    ]
    logits = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        log = torch.log_softmax(logits, dim=0)
        loss = torch.zeros((), dtype=torch.float64)
        for said, target in outputs:
            loss = loss + task.loss(task.combine(said, log.exp()), target, {}).sum()
        loss = (loss if count is None else count * torch.log(loss)) - PRIOR * log.sum()
        loss.backward()
        return loss

    with torch.inference_mode(False), torch.enable_grad():
        optimizer.step(closure)
    found = torch.softmax(logits.detach(), dim=0).numpy()
    if not np.isfinite(found).all():
        found = np.full(len(names), 1 / len(names))
    return {name: float(share) for name, share in zip(names, found, strict=True)}
