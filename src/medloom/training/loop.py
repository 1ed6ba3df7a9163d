"""The one training loop. Every step is a function of the plan and its number, so a run resumes to the bit."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from medloom.batch import Batch
from medloom.draw import Draw
from medloom.errors import StudyError
from medloom.feed import Feed
from medloom.model.assembly import Network
from medloom.model.outputs import threads_set
from medloom.parts import TrainPart
from medloom.training import distributed, state
from medloom.training.order import Order
from medloom.training.place import choose
from medloom.training.plan import Plan
from medloom.training.state import Progress
from medloom.training.step import Stepper


class Interrupted(Exception):
    """Training was asked to stop, and its checkpoint is written."""

    def __init__(self, step: int, steps: int) -> None:
        self.step, self.steps = step, steps
        super().__init__(f"stopped after step {step} of {steps}")


@dataclass(frozen=True, slots=True)
class Event:
    """Something to watch. Watchers get values and can change nothing."""

    kind: str
    step: int
    steps: int
    train_loss: float | None = None
    valid_loss: float | None = None
    seconds: float = 0.0
    text: str | None = None
    """What is told in words."""


Watch = Callable[[Event], None]


def train(
    network: Network,
    feed: Feed,
    rows: tuple[Int[np.ndarray, " train"], Int[np.ndarray, " valid"]],
    part: TrainPart,
    plan: Plan,
    checkpoint: Path | None = None,
    watch: Watch = lambda event: None,
) -> Progress:
    """Trains in place, from `checkpoint` on where it exists; leaves the weights the study asks for in the network.

    Inside `distributed.joined` all ranks train together, and rank 0 alone writes and is watched. The network is left
    where it was trained. Raises Interrupted after SIGINT, with a checkpoint written, and StudyError where the loss is
    not finite, or cannot be computed in the parts that were asked for.
    """
    ranks, feed = distributed.current(), feed.with_mixup(rows[0], part.mixup)
    rowwise = {name: task.rowwise for name, task in feed.tasks.items()}
    distributed.refuse_batchwise(rowwise, ranks, plan.batch, plan.micro_batch or plan.positions)
    place = choose(part, ranks)
    threads = max(1, plan.threads // ranks.local_count)
    with threads_set(threads), torch.random.fork_rng(devices=place.generators), _interrupt() as asked:
        stepper = Stepper(network, feed.tasks, part, plan, place, ranks)
        return _train(stepper, feed, rows, checkpoint, watch if ranks.leads else _unwatched, asked)


def _unwatched(event: Event) -> None:
    pass


def _train(
    stepper: Stepper,
    feed: Feed,
    rows: tuple[Int[np.ndarray, " train"], Int[np.ndarray, " valid"]],
    checkpoint: Path | None,
    watch: Watch,
    asked: threading.Event,
) -> Progress:
    network, part, plan, ranks = stepper.network, stepper.part, stepper.plan, stepper.ranks
    progress, best = Progress(), None
    if checkpoint is not None and checkpoint.exists():
        progress, best = state.load(checkpoint, network, stepper.optimizer, stepper.averaged)
    exchange = stepper.join(asked) if ranks.count > 1 else None
    began = saved = time.monotonic()
    watch(Event("start", progress.step, plan.steps))
    network.train()
    running = torch.tensor(progress.train_loss, dtype=torch.float64, device=stepper.place.device)
    for batch in batches(feed, Order(rows[0], plan.batch, plan.seed, feed.lengths(rows[0])), stepper, progress):
        running += stepper.step(batch, progress.step)
        progress.step += 1
        progress.train_steps += 1
        if progress.step % plan.evaluate_every == 0 or progress.step == plan.steps:
            with stepper.judged():
                best = _score(stepper, feed, rows[1], progress, float(running), best)
            running.zero_()
            watch(_scored(progress, plan, time.monotonic() - began))
        elif progress.step % 16 == 0:
            watch(Event("step", progress.step, plan.steps, seconds=time.monotonic() - began))
        due = time.monotonic() - saved > part.checkpoint_seconds
        ended = progress.stopped or progress.step == plan.steps
        stop = asked.is_set() if exchange is None else exchange.stop
        if checkpoint is not None and ranks.leads and (due or ended or stop):
            progress.train_loss = float(running)
            state.save(checkpoint, network, best, stepper.optimizer, progress, stepper.averaged)
            saved = time.monotonic()
        if stop and not ended:
            ranks.wait()
            raise Interrupted(progress.step, plan.steps)
    if part.keep == "best" and best is not None:
        network.load_state_dict(best)
    elif stepper.averaged is not None:
        stepper.averaged.take()
    network.eval()
    watch(Event("stop", progress.step, plan.steps, seconds=time.monotonic() - began))
    return progress


def _scored(progress: Progress, plan: Plan, seconds: float) -> Event:
    line = progress.history[-1]
    return Event("score", progress.step, plan.steps, line["train_loss"], line.get("valid_loss"), seconds)


def _score(
    stepper: Stepper,
    feed: Feed,
    rows: Int[np.ndarray, " valid"],
    progress: Progress,
    running: float,
    best: dict[str, Tensor] | None,
) -> dict[str, Tensor] | None:
    """Adds a line to the history, remembers better weights, and decides whether to stop early."""
    if not math.isfinite(running):
        raise _diverged("training loss is", progress.step)
    if not all(bool(weights.isfinite().all()) for weights in stepper.network.parameters()):
        raise _diverged("weights are", progress.step)
    line = {"step": progress.step, "train_loss": running / progress.train_steps}
    progress.train_steps = 0
    if len(rows):
        line["valid_loss"] = stepper.score(feed, rows)
        if not math.isfinite(line["valid_loss"]):
            raise _diverged("loss of the validation rows is", progress.step)
        if progress.best_loss is None or line["valid_loss"] < progress.best_loss:
            progress.best_loss, progress.best_step, progress.scorings_since = line["valid_loss"], progress.step, 0
            best = {name: tensor.clone() for name, tensor in stepper.network.state_dict().items()}
        else:
            progress.scorings_since += 1
        progress.stopped = bool(stepper.part.patience) and progress.scorings_since >= stepper.part.patience
    progress.history.append(line)
    return best


def _diverged(what: str, step: int) -> StudyError:
    return StudyError(f"the {what} not finite at step {step}; give a smaller train.learning_rate")


def batches(feed: Feed, order: Order, stepper: Stepper, progress: Progress) -> Iterator[Batch]:
    """This rank's rows of each batch, from `progress.step` on, where the network is.

    Blocks of batches begin at fixed steps, so that a resumed run gathers the same ones.
    """
    plan, workers, device = stepper.plan, stepper.part.workers, stepper.place.device
    own = stepper.ranks.slice(plan.batch)
    size = own.stop - own.start

    def gather(block: int) -> Batch:
        start = block * plan.gather
        rows, epoch = order.at(start, min(plan.gather, plan.steps - start))
        if size < plan.batch:
            rows, epoch = (whole.reshape(-1, plan.batch)[:, own].ravel() for whole in (rows, epoch))
        return feed.batch(rows, Draw(plan.seed, epoch)).to(device)

    first, last = progress.step // plan.gather, math.ceil(plan.steps / plan.gather)
    with ThreadPoolExecutor(max(1, workers), "gather") as pool:
        ahead: deque[Future[Batch]] = deque()
        for block in range(first, last):
            if workers:
                while len(ahead) <= workers and block + len(ahead) < last:
                    ahead.append(pool.submit(gather, block + len(ahead)))
            gathered = ahead.popleft().result() if workers else gather(block)
            for step in range(block * plan.gather, min((block + 1) * plan.gather, plan.steps)):
                if step == progress.step and not progress.stopped:
                    offset = (step - block * plan.gather) * size
                    yield gathered.slice(offset, offset + size)
            if progress.stopped:
                return


@contextmanager
def _interrupt() -> Iterator[threading.Event]:
    """The first Ctrl-C asks the loop to stop after its step; the second one interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
