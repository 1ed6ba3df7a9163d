"""A training step on images, from files to weights, beside a loop by hand with the same network. Needs no data.

By hand, images are scaled once and lie in memory as one tensor; rows are drawn anew each epoch; AdamW, one cycle, clipping.
The second ratio is to that loop with torch's own group norm in the place of ours, which minds what is no image.
"""

from __future__ import annotations

import copy
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.by_hand import ratio_with_interval
from benchmarks.result import Result
from medloom.batch import Field
from medloom.masked import MaskedGroupNorm
from medloom.model.assembly import Network, assemble
from medloom.model.outputs import threads_set
from medloom.prepare import Prepared, prepare, read
from medloom.study import make
from medloom.training.loop import train
from medloom.training.plan import Plan, make_plan

ID = "image-step"
IMAGES, SIDE, BATCH, STEPS, PAIRS = 256, 64, 16, 24, 7


class PlainNorm(nn.Module):
    """Group norm of all positions, with the weights of the masked one."""

    def __init__(self, masked: MaskedGroupNorm, groups: int) -> None:
        super().__init__()
        self.groups, self.weight, self.bias = groups, masked.weight, masked.bias

    def forward(self, values: Tensor, valid: Tensor) -> Tensor:
        return F.group_norm(values, self.groups, self.weight, self.bias)


def prepared(folder: Path, steps: int = STEPS, images: int = IMAGES) -> Prepared:
    """A study of pictures with a bright square or none."""
    random = np.random.default_rng(0)
    for row in range(images):
        picture = random.integers(60, 120, (SIDE, SIDE)).astype(np.uint8)
        if row % 2:
            picture[20:30, 30:40] += 60
        Image.fromarray(picture).save(folder / f"{row}.png")
    frame = {"id": list(range(images)), "image": [f"{row}.png" for row in range(images)], "ill": [row % 2 for row in range(images)]}  # fmt: skip
    pl.DataFrame(frame).write_csv(folder / "cohort.csv")
    seen = {"patch": [SIDE, SIDE], "size": [SIDE, SIDE], "width": 16, "levels": 4}
    part = {"modality": "image", "known_before_index": True, "column": "image", **seen}
    study = make(
        {
            "name": "step", "cohort": {"table": str(folder / "cohort.csv"), "row": "id", "patient": "id"},
            "inputs": {"scan": part}, "targets": {"ill": {"task": "classify", "column": "ill"}},
            "train": {"patience": 0, "steps": steps, "batch": BATCH, "threads": 1},
        }
    )  # fmt: skip
    return prepare(*read(study))


def ours(made: Prepared, plan: Plan) -> float:
    """Seconds of `training.loop.train`, without validation rows."""
    network = assemble(made.feed.modalities, made.feed.tasks, made.study.model, 0)
    start = time.perf_counter()
    train(network, made.feed, (made.fold.train, np.zeros(0, np.int64)), made.study.train, plan)
    return time.perf_counter() - start


def by_hand(made: Prepared, plan: Plan, plain: bool) -> float:
    """Seconds of the same steps in a loop of one's own."""
    network = assemble(made.feed.modalities, made.feed.tasks, made.study.model, 0)
    if plain:
        network = with_plain_norms(network)
    rows = made.fold.train
    modality, source = made.feed.modalities["scan"], made.feed.sources["scan"]
    value = modality.batch(source, modality.view(source, rows, None)).value
    target = made.feed.targets(rows)["ill"].value
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, total_steps=plan.steps + 1)
    random, present, step = np.random.default_rng(0), torch.ones(BATCH, dtype=torch.bool), 0
    network.train()
    start = time.perf_counter()
    while step < plan.steps:
        order = torch.from_numpy(random.permutation(len(value)))
        for first in range(0, min(len(order) - BATCH + 1, (plan.steps - step) * BATCH), BATCH):
            chosen = order[first : first + BATCH]
            logits = next(iter(network({"scan": Field(value[chosen], present)})["ill"].values()))
            loss = cross_entropy(logits, target[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
    return time.perf_counter() - start


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Of one logit or of one for each class."""
    if logits.ndim == 1 or logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits.flatten(), target.flatten().float())
    return F.cross_entropy(logits, target.long())


def with_plain_norms(network: Network) -> Network:
    """The network with torch's group norms."""
    plain = copy.deepcopy(network)
    for module in list(plain.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, MaskedGroupNorm):
                setattr(module, name, PlainNorm(child, child.groups))
    return plain


def measure(made: Prepared, pairs: int = PAIRS) -> np.ndarray:
    """Seconds of (ours, by hand, by hand with plain norms) in turn; the first round warms up and is left out."""
    network = assemble(made.feed.modalities, made.feed.tasks, made.study.model, 0)
    plan = make_plan(made.study.train, network, made.feed, made.fold.train, 0, {"ill": 1.0})
    with threads_set(1):
        times = [(ours(made, plan), by_hand(made, plan, False), by_hand(made, plan, True)) for _ in range(pairs + 1)]
    return np.array(times[1:])


def run(data: Path | None) -> list[Result]:
    """Ratio of the times of a step, ours to by hand."""
    with tempfile.TemporaryDirectory() as folder:
        times = measure(prepared(Path(folder)))
    ratio, low, high = ratio_with_interval(times[:, :2])
    plain = np.median(times[:, 0]) / np.median(times[:, 2])
    mine, hand = np.median(times[:, :2], axis=0) / STEPS * 1000
    return [
        Result(
            id=ID,
            metric="time of a training step on images, ours / hand-written loop",
            value=ratio,
            low=low,
            high=high,
            higher_is_better=False,
            want=1.1,
            baseline=f"by hand {hand:.1f} ms, ours {mine:.1f} ms; with torch's own norms by hand {plain:.2f}",
            split=f"{PAIRS} alternating rounds of {STEPS} steps, {BATCH} pictures of {SIDE} × {SIDE}, one thread, ratio of medians",
        )
    ]
