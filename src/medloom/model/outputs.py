"""What a trained network says of rows: outputs of all views of a row brought together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Int

from medloom.batch import Batch, Field, Output
from medloom.feed import Feed
from medloom.modality import Lifted
from medloom.model.assembly import Network

VIEWS_AT_ONCE = 16
"""Windows of grids computed together, which bounds memory."""


def outputs(
    network: Network, feed: Feed, rows: Int[np.ndarray, " rows"]
) -> Iterator[tuple[np.ndarray, dict[str, Output | Lifted], dict[str, Field | Lifted]]]:
    """Blocks of (rows, answers by target, truths by target).

    Dense answers are lifted to raw positions; other outputs of several views of a row are averaged.
    """
    network.eval()
    threads = torch.get_num_threads() if network.on_grids else 1
    for part, views, batch in feed.cover(rows):
        with torch.inference_mode(), threads_set(threads):
            raw = _forward(network, feed, batch)
        answers: dict[str, Output | Lifted] = {}
        truths: dict[str, Field | Lifted] = dict(feed.targets(part))
        for name in feed.tasks:
            ground = _ground(feed, name)
            if ground is not None:
                answers[name] = feed.modalities[ground].lift(feed.sources[ground], views[ground], raw[name])
                if name in feed.laid:
                    truths[name] = feed.modalities[ground].truth(feed.laid[name][1], part)
            else:
                answers[name] = raw[name] if len(batch) == len(part) else _average(raw[name], batch.rows.numpy(), part)
        yield part, answers, truths


def _ground(feed: Feed, target: str) -> str | None:
    """The input a dense target is laid on."""
    task = feed.tasks[target]
    return task.options.input if task.dense else None  # type: ignore[attr-defined]


def _forward(network: Network, feed: Feed, batch: Batch) -> dict[str, Output]:
    """Computed where the network is; answers come back to the CPU, where they are lifted, calibrated and decoded."""
    device = next(network.parameters()).device
    size = len(batch) if feed.windowed is None else min(len(batch), VIEWS_AT_ONCE)
    parts = []
    for start in range(0, len(batch), size):
        answers = network(batch.slice(start, start + size).to(device).inputs)
        parts.append({name: {key: t.cpu() for key, t in output.items()} for name, output in answers.items()})
    if len(parts) == 1:
        return parts[0]
    return {name: {key: torch.cat([p[name][key] for p in parts]) for key in parts[0][name]} for name in parts[0]}


def _average(output: Output, view_rows: Int[np.ndarray, " views"], rows: Int[np.ndarray, " rows"]) -> Output:
    """Mean over the views of each row; the views of a row stand side by side, in the order of `rows`."""
    counts = np.diff(np.append(np.flatnonzero(np.diff(view_rows, prepend=view_rows[0] - 1)), len(view_rows)))
    assert len(counts) == len(rows)
    place = torch.from_numpy(np.repeat(np.arange(len(rows)), counts))
    divide = torch.from_numpy(counts.astype(np.float32))
    return {
        name: torch.zeros(len(rows), *value.shape[1:]).index_add_(0, place, value)
        / divide.view(-1, *[1] * (value.ndim - 1))
        for name, value in output.items()
    }


@contextmanager
def threads_set(threads: int) -> Iterator[None]:
    """Computes with this many threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
