"""An average of the weights of the last steps, which is steadier than those of the last step alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

WARM = 10
"""Steps after which an average may remember most of what it has seen: the first weights are not worth keeping."""


class Averaged:
    """The exponential average of a network's trained weights: of each step `1 - decay`, of what was before `decay`.

    Source: Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control 30, 1992; with
    exponential weights as in Tarvainen & Valpola, "Mean teachers", NeurIPS 2017.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._trained = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
        self.weights = {name: tensor.clone() for name, tensor in self._trained.items()}

    def add(self, step: int) -> None:
        """Takes the weights after step number `step`, from 0, into the average."""
        share = 1 - min(self._decay, (1 + step) / (WARM + step))
        torch._foreach_lerp_(list(self.weights.values()), list(self._trained.values()), share)

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Goes on from an average that was kept. Raises KeyError for another network's."""
        for name, tensor in self.weights.items():
            tensor.copy_(weights[name])

    def take(self) -> None:
        """Leaves the average in the network, for good."""
        for name, tensor in self._trained.items():
            tensor.copy_(self.weights[name])

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The network with the average in it; afterwards as it was, to the bit."""
        before = {name: tensor.clone() for name, tensor in self._trained.items()}
        self.take()
        try:
            yield
        finally:
            for name, tensor in self._trained.items():
                tensor.copy_(before[name])
