"""The loop that one would write by hand in PyTorch: what ours is measured against."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medloom.feed import Feed
from medloom.model.assembly import assemble
from medloom.model.outputs import threads_set
from medloom.prepare import Prepared
from medloom.training.loop import train
from medloom.training.plan import Plan, make_plan


def hand_written(value: torch.Tensor, target: torch.Tensor, hidden: tuple[int, ...], plan: Plan) -> float:
    """Seconds of `plan.steps` steps: AdamW, one cycle, clipping, rows drawn anew each epoch from tensors in memory."""
    sizes = [value.shape[1], *hidden]
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    network = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, total_steps=plan.steps + 1)
    random = np.random.default_rng(0)
    start = time.perf_counter()
    step = 0
    while step < plan.steps:
        order = torch.from_numpy(random.permutation(len(value)))
        for first in range(0, len(order) - plan.batch + 1, plan.batch):
            rows = order[first : first + plan.batch]
            loss = F.binary_cross_entropy_with_logits(network(value[rows]), target[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step == plan.steps:
                break
    return time.perf_counter() - start


def ours(prepared: Prepared, plan: Plan) -> float:
    """Seconds of `training.loop.train` for the same steps, without validation rows."""
    feed = prepared.feed
    network = assemble(feed.modalities, feed.tasks, prepared.study.model, 0)
    none = np.zeros(0, np.int64)
    start = time.perf_counter()
    train(network, feed, (prepared.fold.train, none), prepared.study.train, plan)
    return time.perf_counter() - start


def pairs(prepared: Prepared, hidden: tuple[int, ...], count: int) -> tuple[np.ndarray, Plan]:
    """Seconds of (ours, by hand) in turn, on one thread; the first pair warms up and is left out."""
    feed = prepared.feed
    network = assemble(feed.modalities, feed.tasks, prepared.study.model, 0)
    plan = make_plan(prepared.study.train, network, feed, prepared.fold.train, 0, {"died": 1.0})
    value, target = _tensors(feed, prepared.fold.train)
    with threads_set(plan.threads):
        times = [(ours(prepared, plan), hand_written(value, target, hidden, plan)) for _ in range(count + 1)]
    return np.array(times[1:]), plan


def _tensors(feed: Feed, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    source = feed.sources["x"]
    return torch.from_numpy(source.bound["value"][source.unit[rows]]), feed.targets(rows)["died"].value


def ratio_with_interval(pairs: np.ndarray) -> tuple[float, float, float]:
    """Ratio of medians of the first column to the second, with a bootstrap interval over pairs."""
    random = np.random.default_rng(0).integers(0, len(pairs), (2000, len(pairs)))
    ratios = np.median(pairs[random, 0], axis=1) / np.median(pairs[random, 1], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(np.median(pairs[:, 0]) / np.median(pairs[:, 1])), float(low), float(high)
