"""How long and in what order: everything the loop needs, decided once and kept with the run."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int

from medloom.draw import Draw
from medloom.feed import Feed
from medloom.machine import cores, threads_named
from medloom.modality import Lengths
from medloom.model.assembly import Network
from medloom.model.outputs import threads_set
from medloom.parts import TrainPart
from medloom.training.distributed import ALONE, Ranks
from medloom.training.order import Order
from medloom.training.place import Place, choose
from medloom.training.step import Stepper

AUTO_RATE = {"adamw": 2e-3, "sgd": 0.05, "rmsprop": 1e-3}
BLOCK_ELEMENTS = 65_536
"""Batches are gathered together until they hold about this many numbers, so that gathering small ones costs little."""
GRID_ELEMENTS = 4_194_304
"""Images computed at a time hold about this many numbers at most: their maps need some hundred times as much memory."""
LEAST_BATCH, MOST_BATCH = 32, 1024
LEAST_BATCH_OF_GRIDS = 8
"""Where inputs are grids, a row costs so much that few rows still take many steps to learn from."""
DENSE_ELEMENTS = 262_144
"""Images of a step hold about this many numbers at most where each position is asked: more steps, not larger ones."""

FEW_ROWS = 4
MEMORY_SHARE = 0.5
"""Share of memory that maps may take, which leaves room for gradients, packed data and others."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A budget in steps and everything that decides each of them; a resumed run reads it back unchanged."""

    seed: int
    steps: int
    batch: int
    learning_rate: float
    evaluate_every: int
    threads: int
    gather: int
    loss_weights: Mapping[str, float]
    micro_batch: int | None = None
    """Rows computed at a time; None: all of a batch."""
    positions: int | None = None
    """Positions of sequences computed at a time, with padding; None: all of a batch."""
    begun: Sequence[str] = ()
    """Inputs whose encoders began with weights from elsewhere."""


def make_plan(
    part: TrainPart,
    network: Network,
    feed: Feed,
    rows: Int[np.ndarray, " rows"],
    seed: int,
    loss_weights: Mapping[str, float],
    ranks: Ranks = ALONE,
    begun: Sequence[str] = (),
) -> Plan:
    """Turns batch "auto", threads "auto" and minutes into numbers. Time is measured here and never again.

    Of several ranks, one measures steps of its own rows; what the sums between ranks take comes on top.
    """
    batch = _auto_batch(network, feed, rows, seed) if part.batch == "auto" else min(part.batch, len(rows))
    threads = part.threads if part.threads != "auto" else _auto_threads(network, ranks)
    lengths = feed.lengths(rows)
    elements = _elements(feed, Order(rows, batch, seed, lengths), seed)
    # Batches of like lengths are gathered each by itself: together they would be padded to the longest of all.
    mixed = lengths is None or lengths.pool < 2
    gather = max(1, min(64, BLOCK_ELEMENTS // max(1, elements))) if mixed else 1
    rate = AUTO_RATE[part.optimizer] if part.learning_rate == "auto" else part.learning_rate
    micro_batch = _micro_batch(part, batch, elements if network.on_grids else 0, ranks)
    positions = None if lengths is None else _positions(lengths, math.ceil(batch / ranks.count))
    draft = Plan(
        seed, 1, batch, float(rate), 1, threads, gather, dict(loss_weights), micro_batch, positions, tuple(begun)
    )
    if network.on_grids and part.micro_batch == "auto":
        draft = _within_memory(draft, network, feed, rows, part, ranks)
    steps = _steps(part, draft, network, feed, rows, ranks)
    return replace(draft, steps=steps, evaluate_every=max(1, steps // part.evaluations))


def _auto_threads(network: Network, ranks: Ranks) -> int:
    """One where more would wait for one another; else what `OMP_NUM_THREADS` allows each process, or all cores."""
    if not network.on_grids:
        return 1
    named = threads_named()
    return cores() if named is None else named * ranks.local_count


def _micro_batch(part: TrainPart, batch: int, elements: int, ranks: Ranks) -> int | None:
    own = math.ceil(batch / ranks.count)
    most = GRID_ELEMENTS * batch // max(elements, 1) if part.micro_batch == "auto" else part.micro_batch
    return max(1, most) if most < own else None


def _within_memory(
    draft: Plan, network: Network, feed: Feed, rows: Int[np.ndarray, " rows"], part: TrainPart, ranks: Ranks
) -> Plan:
    """The plan with fewer rows at a time, where what they keep would take more than its share of memory."""
    place = choose(part, ranks)
    own = draft.micro_batch or math.ceil(draft.batch / ranks.count)
    # Processes share a machine's memory, and have a GPU each.
    processes = 1 if place.generators else ranks.local_count
    # A row that has all its inputs: nothing is kept of what is not there.
    there = np.sum([source.unit[rows] > 0 for source in feed.sources.values()], axis=0)
    each = bytes_kept(draft, network, feed, rows[[int(there.argmax())]], part, place, 1)
    most = int(MEMORY_SHARE * place.memory_bytes / processes / max(each, 1))
    return replace(draft, micro_batch=max(1, most)) if most < own else draft


def _positions(lengths: Lengths, own: int) -> int | None:
    """The budget, where the longest rows together would go beyond it."""
    longest = int(np.sort(lengths.each)[-own:].max(initial=0))
    return lengths.budget if own * longest > lengths.budget else None


def _auto_batch(network: Network, feed: Feed, rows: Int[np.ndarray, " rows"], seed: int) -> int:
    """A sixtieth of the rows within limits; fewer where each position of an image is asked, so that one row teaches much."""
    least = LEAST_BATCH_OF_GRIDS if network.on_grids else LEAST_BATCH
    sixtieth = 2 ** round(math.log2(max(1, len(rows) / 60)))
    batch = min(len(rows), max(least, min(sixtieth, MOST_BATCH)))
    if not any(task.dense or task.sees_inputs for task in feed.tasks.values()):
        return batch
    each = _elements(feed, Order(rows[:1], 1, seed), seed)
    return min(batch, max(2, 2 ** int(math.log2(max(1, DENSE_ELEMENTS / max(each, 1))))))


def _elements(feed: Feed, order: Order, seed: int) -> int:
    rows, epoch = order.at(0, 1)
    inputs = feed.batch(rows, Draw(seed, epoch)).inputs.values()
    return sum(field.value.numel() + sum(t.numel() for t in field.extra.values()) for field in inputs)


def _steps(
    part: TrainPart, draft: Plan, network: Network, feed: Feed, rows: Int[np.ndarray, " rows"], ranks: Ranks
) -> int:
    if part.steps is not None:
        return part.steps
    if part.minutes is None:
        epochs = 40.0 if part.epochs is None else part.epochs
        return max(1, math.ceil(epochs * len(rows) / draft.batch))
    return max(1, int(part.minutes * 60 / seconds_a_step(draft, network, feed, rows, part, ranks)))


def seconds_a_step(
    draft: Plan,
    network: Network,
    feed: Feed,
    rows: Int[np.ndarray, " rows"],
    part: TrainPart,
    ranks: Ranks = ALONE,
    most_seconds: float = 3.0,
) -> float:
    """Median seconds of a training step, measured on a copy of the network; the first step is not counted."""
    place, own = choose(part, ranks), ranks.slice(draft.batch)
    feed, trial = feed.with_mixup(rows, part.mixup), copy.deepcopy(network)
    order = Order(rows, draft.batch, draft.seed, feed.lengths(rows))
    times: list[float] = []
    began = time.perf_counter()
    with threads_set(max(1, draft.threads // ranks.local_count)), torch.random.fork_rng(devices=place.generators):
        stepper = Stepper(trial, feed.tasks, part, draft, place)
        for step in range(50):
            start = time.perf_counter()
            data, epoch = order.at(step, 1)
            # Reading the loss waits for a GPU to be done.
            float(stepper.step(feed.batch(data[own], Draw(draft.seed, epoch[own])).to(place.device), step))
            times.append(time.perf_counter() - start)
            if time.perf_counter() - began > most_seconds and len(times) > 1:
                break
    return float(np.median(times[1:]))


def bytes_kept(
    plan: Plan,
    network: Network,
    feed: Feed,
    rows: Int[np.ndarray, " rows"],
    part: TrainPart,
    place: Place,
    at_once: int,
) -> int:
    """About how many bytes a step keeps, beside weights, until the way back, where it computes so many rows at once.

    Counted on few of these rows, as it grows with them.
    """
    few = min(at_once, FEW_ROWS, len(rows))
    order = Order(rows, few, plan.seed, feed.lengths(rows))
    data, epoch = order.at(0, 1)
    trial = copy.deepcopy(network)
    held: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage
        return tensor

    with torch.random.fork_rng(devices=place.generators):
        stepper = Stepper(trial, feed.tasks, part, plan, place)
        batch = feed.batch(data, Draw(plan.seed, epoch)).to(place.device)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            stepper.loss(batch)
    for weight in trial.parameters():
        held.pop(weight.untyped_storage().data_ptr(), None)
    return sum(storage.nbytes() for storage in held.values()) * at_once // few
