"""One optimiser step: the loss of a batch, its gradient, the update."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from medloom.batch import Batch, Output
from medloom.draw import seed_of
from medloom.feed import Feed
from medloom.model.assembly import Network
from medloom.parts import TrainPart
from medloom.task import Task
from medloom.training.averaging import Averaged
from medloom.training.distributed import ALONE, Exchange, Ranks
from medloom.training.place import CPU, Place, in_float32

if TYPE_CHECKING:
    from medloom.training.plan import Plan


class Stepper:
    """A network with its optimiser: one call of `step` is one step, of this rank's rows of a batch."""

    def __init__(
        self,
        network: Network,
        tasks: Mapping[str, Task],
        part: TrainPart,
        plan: Plan,
        place: Place = CPU,
        ranks: Ranks = ALONE,
    ) -> None:
        self.network, self.tasks, self.part, self.plan = network.to(place.device), tasks, part, plan
        self.place, self.ranks = place, ranks
        self.exchange: Exchange | None = None
        self._trained = [p for p in network.parameters() if p.requires_grad]
        self._groups = groups(network, plan.begun, part)
        self._decayed = [
            [p.detach() for p in group.parameters if p.ndim >= 2] if part.weight_decay else [] for group in self._groups
        ]
        self.optimizer = make_optimizer(self._groups, part, plan.learning_rate)
        self.averaged = Averaged(self.network, part.average) if part.average else None

    def join(self, asked: threading.Event) -> Exchange:
        """Steps with all ranks from now on, from rank 0's weights; whoever sets `asked` stops all of them."""
        self.exchange = Exchange(self.ranks, self._trained, asked)
        average = list(self.averaged.weights.values()) if self.averaged is not None else []
        self.exchange.begin([*self.network.state_dict().values(), *average])
        return self.exchange

    def step(self, batch: Batch, step: int) -> Tensor:
        """Loss of the batch before the step, detached. Dropout is a function of (seed, step), and of a rank after 0."""
        place = (self.ranks.rank,) if self.ranks.rank else ()
        self.place.seed(seed_of(self.plan.seed, "dropout", step, *place))
        rate = self.plan.learning_rate * rate_share(self.part.schedule, step, self.plan.steps)
        self._set_rates(rate, step)
        for parameter in self._trained:
            parameter.grad = None
        if self._frozen(step):
            self._learning(False)
            loss = self._backward(batch)
            self._learning(True)
        else:
            loss = self._backward(batch)
        if self.exchange is not None:
            loss = self.exchange.sum(loss)
        self._clip()
        for own, decayed in zip(self.optimizer.param_groups, self._decayed, strict=True):
            if decayed:
                torch._foreach_mul_(decayed, 1 - own["lr"] * self.part.weight_decay)
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.add(step)
        return loss

    def judged(self) -> AbstractContextManager[None]:
        """The network with the weights that are scored and kept: their average, where the study asks for it."""
        return nullcontext() if self.averaged is None else self.averaged.shown()

    def _set_rates(self, rate: float, step: int) -> None:
        """The learning rate of each group at a step: 0 while it is frozen."""
        for own, group in zip(self.optimizer.param_groups, self._groups, strict=True):
            own["lr"] = 0.0 if group.begun and self._frozen(step) else rate * group.share

    def _frozen(self, step: int) -> bool:
        return step < self.part.freeze * self.plan.steps

    def _learning(self, learning: bool) -> None:
        """Whether encoders that began elsewhere get gradients: without one, no optimiser moves them."""
        for group in self._groups:
            if group.begun:
                for parameter in group.parameters:
                    parameter.requires_grad_(learning)

    def _backward(self, batch: Batch) -> Tensor:
        """Adds the gradient of the rows' share of the batch's loss, part after part; returns that share, detached."""
        total = None
        for part in self._parts(batch):
            loss = torch.dot(self.loss(part), part.weight) / self.plan.batch
            loss.backward()
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """The batch, or as many rows of it at a time as the plan says."""
        size = self.plan.micro_batch or len(batch)
        if self.plan.positions is not None:
            size = min(size, max(1, self.plan.positions // batch.positions))
        if len(batch) <= size:
            yield batch
            return
        for start in range(0, len(batch), size):
            yield batch.slice(start, start + size)

    def _clip(self) -> None:
        """Scales all gradients so that their joint norm is at most `clip_norm`."""
        if self.part.clip_norm:
            gradients = [p.grad for p in self._trained if p.grad is not None]
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            torch._foreach_mul_(gradients, (self.part.clip_norm / (norm + 1e-6)).clamp(max=1.0))

    def loss(self, batch: Batch) -> Tensor:
        """Weighted sum over targets of the losses of each row: [batch].

        Members of an ensemble learn each by its own loss; what is scored is the prediction that they make together.
        """
        if self.place.bfloat16:
            with torch.autocast(self.place.device.type, torch.bfloat16):
                outputs = self._outputs(batch)
            outputs = {name: tuple(map(in_float32, parts)) for name, parts in outputs.items()}
        else:
            outputs = self._outputs(batch)
        losses = []
        for name, task in self.tasks.items():
            share = self.plan.loss_weights[name] / len(outputs[name])
            for output in outputs[name]:
                loss = task.loss(output, batch.targets[name], batch.inputs)
                if batch.mixed is not None:
                    other = task.loss(output, batch.mixed.targets[name], batch.inputs)
                    loss = torch.lerp(other, loss, batch.mixed.share.to(loss.dtype))
                losses.append(loss if share == 1 else share * loss)
        return sum(losses[1:], start=losses[0])

    def _outputs(self, batch: Batch) -> dict[str, tuple[Output, ...]]:
        if self.network.training:
            return self.network.apart(batch.inputs)
        return {name: (output,) for name, output in self.network(batch.inputs).items()}

    def score(self, feed: Feed, rows: Int[np.ndarray, " rows"]) -> float:
        """Mean loss of these rows over all ranks, each row counted by its share of views: some of very many."""
        self.network.eval()
        total, count = 0.0, 0.0
        # Not inference mode, in which heads do what they do where answers are given: a refinement of each pair takes minutes.
        with torch.no_grad():
            for _, _, batch in feed.cover(self.ranks.share(rows), most=self.part.valid_windows or None):
                for part in self._parts(batch.to(self.place.device)):
                    total += float(torch.dot(self.loss(part), part.weight))
                    count += len(part)
        self.network.train()
        total, count = self.ranks.total((total, count))
        return total / count


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that learn at one share of the rate; `begun` where they hold weights from elsewhere."""

    parameters: list[nn.Parameter]
    share: float = 1.0
    begun: bool = False


def groups(network: nn.Module, begun: Sequence[str], part: TrainPart) -> list[Group]:
    """All parameters in their order: one group, or those of encoders that began elsewhere level by level, and the rest."""
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    encoders = tuple(f"encoders.input_{name}." for name in begun)
    if not encoders or (part.freeze, part.encoder_rate, part.level_decay) == (0.0, 1.0, 1.0):
        return [Group([p for _, p in named])]
    sorted_out: dict[int | None, list[nn.Parameter]] = {}
    depth = {name: place for start in encoders for name, place in _below(named, start).items()}
    for name, parameter in named:
        below = depth.get(name)
        sorted_out.setdefault(below if part.level_decay < 1 or below is None else 0, []).append(parameter)
    return [
        Group(parameters) if below is None else Group(parameters, part.encoder_rate * part.level_decay**below, True)
        for below, parameters in sorted_out.items()
    ]


def _below(named: Sequence[tuple[str, nn.Parameter]], encoder: str) -> dict[str, int]:
    """How many blocks lie between each parameter of an encoder and its last one, in the order in which they were made.

    A block is one entry of a list of modules, or a module beside them.
    """
    blocks: dict[str, int] = {}
    for name, _ in named:
        if name.startswith(encoder):
            blocks.setdefault(_block(name), len(blocks))
    return {name: len(blocks) - 1 - blocks[_block(name)] for name, _ in named if name.startswith(encoder)}


def _block(name: str) -> str:
    """The name up to its first number, or without the name of the tensor."""
    numbered = re.match(r"(.*?\.\d+)\.", name)
    return numbered[1] if numbered else name.rpartition(".")[0]


def make_optimizer(trained: list[Group], part: TrainPart, rate: float) -> torch.optim.Optimizer:
    """The optimiser of a study, without weight decay: the step decays matrices itself, for all optimisers alike.

    Source: Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
    """
    each = [{"params": group.parameters} for group in trained]
    if part.optimizer == "adamw":
        return torch.optim.AdamW(each, lr=rate, weight_decay=0.0, fused=True)
    if part.optimizer == "sgd":
        return torch.optim.SGD(each, lr=rate, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.RMSprop(each, lr=rate, alpha=0.9, eps=1e-7, foreach=True)


def rate_share(schedule: str, step: int, steps: int) -> float:
    """Learning rate of a step as a share of the highest: rises over the first 30 %, then falls as a cosine to 0.001.

    Source: Smith & Topin, "Super-convergence", 2017, with cosine arms.
    """
    if schedule == "constant":
        return 1.0
    peak = 0.3 * steps
    if step < peak:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * step / peak)) / 2
    return 0.001 + 0.999 * (1 + math.cos(math.pi * (step - peak) / max(1.0, steps - peak))) / 2
