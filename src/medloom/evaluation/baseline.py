"""Simple models on the same rows: trained, calibrated, decoded and measured exactly as ours is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from threadpoolctl import threadpool_limits

from medloom.batch import Batch
from medloom.feed import Feed
from medloom.modality import Lifted
from medloom.task import Baseline, Block, Measured, Task


def answered(feed: Feed, target: str, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " some"]:
    """Those of the rows whose answer is known, in the same order: the ones that figures are about."""
    if target in feed.laid:
        return rows[feed.laid[target][1].unit[rows] > 0]
    return rows[np.asarray(feed.marks[target].present)[rows]]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Rows of one target as baselines see them; may be gone through many times.

    A dense target comes in blocks with the images and masks themselves. For any other target all rows are one block
    of plain numbers, without a copy, and `batch.inputs` is empty: nothing heavy is read for a table of numbers.
    """

    feed: Feed
    target: str
    rows: Int[np.ndarray, " rows"]
    held: tuple[Block, ...] = ()

    @classmethod
    def of(cls, feed: Feed, target: str, rows: Int[np.ndarray, " rows"]) -> Blocks:
        """The blocks of those rows whose answer is known."""
        rows = answered(feed, target, rows)
        if target in feed.laid or not len(rows):
            return cls(feed, target, rows)
        field = feed.tasks[target].target(feed.marks[target], rows)
        batch = Batch({}, {target: field}, torch.from_numpy(rows), torch.ones(len(rows)))
        return cls(feed, target, rows, (Block(feed.plain(rows), batch, field),))

    def __iter__(self) -> Iterator[Block]:
        if self.target not in self.feed.laid:
            yield from self.held
            return
        for _, _, batch in self.feed.cover(self.rows):
            yield Block(self.feed.plain(batch.rows.numpy()), batch, batch.targets[self.target])


def run_baselines(
    feed: Feed,
    tasks: Mapping[str, Task],
    train: Int[np.ndarray, " train"],
    valid: Int[np.ndarray, " valid"],
    calibrate: Int[np.ndarray, " calibrate"],
    test: Int[np.ndarray, " test"],
    seed: int,
    threads: int = 1,
) -> dict[str, dict[str, Measured]]:
    """What every baseline of every task measures on the test rows: target → baseline → arrays, one entry a row.

    `tasks` are fitted and not yet calibrated: each baseline is calibrated by itself, on the same rows as the model.
    The entries are those of `answered(feed, target, test)`, in that order. Targets without a known answer among the
    training or the test rows are left out.
    """
    results: dict[str, dict[str, Measured]] = {}
    for target, task in tasks.items():
        parts = {
            name: Blocks.of(feed, target, rows)
            for name, rows in (("train", train), ("valid", valid), ("calibrate", calibrate))
        }
        judged = Blocks.of(feed, target, test)
        if not len(parts["train"].rows) or not len(judged.rows):
            continue
        results[target] = {}
        for name, baseline in task.baselines(seed).items():
            with threadpool_limits(limits=threads):
                baseline.fit(parts["train"], parts["valid"])
                own = _calibrated(task, baseline, parts["calibrate"])
                results[target][name] = _measured(own, baseline, judged)
    return results


def _calibrated(task: Task, baseline: Baseline, blocks: Blocks) -> Task:
    if not len(blocks.rows):
        return task
    return task.calibrate((baseline.output(block), block.target) for block in blocks)


def _measured(task: Task, baseline: Baseline, blocks: Blocks) -> Measured:
    feed, target = blocks.feed, blocks.target
    if target not in feed.laid:
        return _joined([task.measure(task.decode(baseline.output(block)), block.target) for block in blocks])
    ground, laid = feed.laid[target]
    modality, source = feed.modalities[ground], feed.sources[ground]
    measured = []
    for rows, views, batch in feed.cover(blocks.rows):
        output = baseline.output(Block(feed.plain(batch.rows.numpy()), batch, batch.targets[target]))
        lifted: Lifted = modality.lift(source, views[ground], output)
        measured.append(task.measure(task.decode(lifted), modality.truth(laid, rows)))
    return _joined(measured)


def _joined(measured: list[Measured]) -> Measured:
    if len(measured) == 1:
        return measured[0]
    return {name: np.concatenate([part[name] for part in measured]) for name in measured[0]}
