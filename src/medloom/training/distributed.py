"""Several processes that train one network: each computes its slice of every batch, and gradients are summed.

Order and randomness are functions of the seed and the position, so nothing has to be agreed on but the sums. Rank 0
leads: it alone plans, writes and judges.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import ParamSpec, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from medloom.errors import MedloomError, StudyError, counted
from medloom.parts import TrainPart

STEP_TIMEOUT = timedelta(minutes=30)
"""How long a step waits for the slowest rank."""
WAIT_TIMEOUT = timedelta(days=7)
"""How long the others wait while rank 0 packs or judges. One that dies is noticed at once all the same."""

P = ParamSpec("P")
T = TypeVar("T")


class PeerEnded(MedloomError):
    """Another process of this training ended, so this one cannot go on."""

    def __init__(self, cause: BaseException) -> None:
        words = str(cause).splitlines() or [type(cause).__name__]
        super().__init__(
            "another process of this training ended; its own message says why. "
            f"Mend that and run the same command again ({words[0]})"
        )


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together: `rank` of `count`, `local` of `local_count` on this machine."""

    rank: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1
    control: dist.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """Whether this process plans, writes and judges."""
        return self.rank == 0

    def slice(self, batch: int) -> slice:
        """The places of a batch that this rank computes. They differ by one row where it does not divide evenly."""
        return slice(self.rank * batch // self.count, (self.rank + 1) * batch // self.count)

    def share(self, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " some"]:
        """This rank's part of rows that are scored together."""
        return rows[self.slice(len(rows))]

    def wait(self) -> None:
        """Until every rank is here. Raises PeerEnded."""
        self.total([0.0])

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all ranks, the same on each of them. Raises PeerEnded."""
        if self.count == 1:
            return list(numbers)
        summed = torch.tensor(numbers, dtype=torch.float64)
        with _peers():
            dist.all_reduce(summed, group=self.control)
        return [float(number) for number in summed]

    def in_turn(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `make` gives: rank 0 makes it while the others wait, and then find it made."""
        if not self.leads:
            self.wait()
            return make(*args, **kwargs)
        made = make(*args, **kwargs)
        self.wait()
        return made

    def by_lead(self, do: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Done by rank 0 alone, while the others wait."""
        if self.leads:
            do(*args, **kwargs)
        self.wait()

    def check_same(self, described: object) -> None:
        """Raises StudyError where this rank was started with another study, or other data, than rank 0."""
        if self.count == 1:
            return
        own = json.dumps(described, sort_keys=True).encode()
        told = torch.tensor(list(own), dtype=torch.uint8) if self.leads else torch.zeros(len(own), dtype=torch.uint8)
        with _peers():
            dist.broadcast(told, 0, group=self.control)
        if bytes(told.tolist()) != own:
            raise StudyError(
                f"process {self.rank + 1} of {self.count} has another study or other data than the first; "
                "start all with the same command, on the same files"
            )


ALONE = Ranks()
_RANKS: ContextVar[Ranks] = ContextVar("ranks", default=ALONE)


def current() -> Ranks:
    """The ranks that this process belongs to; itself alone outside `joined`."""
    return _RANKS.get()


@contextmanager
def joined(part: TrainPart) -> Iterator[Ranks]:
    """Joins the processes that `torchrun` started, or a process group that exists already; else this process alone."""
    unbegun = not dist.is_initialized()
    if unbegun and not (dist.is_torchelastic_launched() and int(os.environ.get("WORLD_SIZE", "1")) > 1):
        yield ALONE
        return
    gpu = part.device == "cuda" or (part.device == "auto" and torch.cuda.is_available())
    if unbegun:
        dist.init_process_group("nccl" if gpu else "gloo", timeout=STEP_TIMEOUT)
        # Left at the end of the process: torchrun's processes cannot meet a second time.
        atexit.register(dist.destroy_process_group)
    local, local_count = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    control = dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), local, local_count, control)
    token = _RANKS.set(ranks)
    try:
        yield ranks
    finally:
        _RANKS.reset(token)
        dist.destroy_process_group(control)


def refuse_batchwise(rowwise: Mapping[str, bool], ranks: Ranks, batch: int, micro_batch: int | None) -> None:
    """Raises StudyError where a batch is cut that cannot be: too small, or with a loss of the batch as a whole.

    `rowwise` says of each target whether its loss of a row depends on that row alone.
    """
    if batch < ranks.count:
        raise StudyError(
            f"found batches of {counted(batch, 'row')} for {ranks.count} processes; "
            f"give train.batch = {ranks.count} or more, or start fewer processes"
        )
    whole = [name for name, single in rowwise.items() if not single]
    if whole and ranks.count > 1:
        raise StudyError(
            f"targets.{whole[0]}: its loss compares the rows of a batch, and cannot be computed by "
            f"{ranks.count} processes; start one, or choose a loss of single rows"
        )
    if whole and micro_batch is not None:
        raise StudyError(
            f"targets.{whole[0]}: its loss compares the rows of a batch, and cannot be computed in parts; "
            "leave train.micro_batch out, or give an input of long rows a larger budget"
        )


class Exchange:
    """Sums what a step needs over all ranks in one flat message: gradients, the loss, and whether anyone was asked to stop.

    `stop` is the same on all ranks, so that they stop after the same step.
    """

    def __init__(self, ranks: Ranks, trained: Sequence[nn.Parameter], asked: threading.Event) -> None:
        self._ranks, self._trained, self._asked = ranks, trained, asked
        self.stop = False

    def begin(self, tensors: Sequence[Tensor]) -> None:
        """All ranks go on from rank 0's numbers, also where two machines draw first weights that differ in rounding."""
        with _peers():
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def sum(self, loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Leaves the summed gradients in the parameters, and returns the summed loss. Raises PeerEnded."""
        has = [float(p.grad is not None) for p in self._trained]
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._trained]
        told = loss.new_tensor([float(self._asked.is_set()), *has])
        flat = torch.cat([*(part.flatten() for part in parts), loss.view(1), told])
        with _peers():
            dist.all_reduce(flat)
        *gradients, total, told = flat.split([*(p.numel() for p in self._trained), 1, len(told)])
        asked, *any_has = told.tolist()
        self.stop = asked > 0
        for parameter, gradient, some in zip(self._trained, gradients, any_has, strict=True):
            parameter.grad = gradient.view_as(parameter) if some else None
        return total[0]


@contextmanager
def _peers() -> Iterator[None]:
    """A broken connection says that another process ended, and that one says why."""
    try:
        yield
    except RuntimeError as error:
        raise PeerEnded(error) from error
