"""Simple models on the same rows: trained, calibrated, decoded and measured exactly as ours is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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


Fitted = Mapping[str, Mapping[str, Baseline]]
"""Baselines by target and name, trained."""


def fit_baselines(
    feed: Feed,
    train: Int[np.ndarray, " train"],
    valid: Int[np.ndarray, " valid"],
    seed: int,
    wanted: Callable[[str, str], bool] = lambda target, name: True,
    threads: int = 1,
) -> dict[str, dict[str, Baseline]]:
    """Every baseline of every task that is `wanted`, trained. Targets without a known answer in `train` are left out."""
    fitted: dict[str, dict[str, Baseline]] = {}
    for target, task in feed.tasks.items():
        asked = {name: one for name, one in task.baselines(seed).items() if wanted(target, name)}
        known = answered(feed, target, train)
        if not len(known) or not asked:
            continue
        teach, choose = Blocks.of(feed, target, known), Blocks.of(feed, target, valid)
        with threadpool_limits(limits=threads):
            for baseline in asked.values():
                baseline.fit(teach, choose)
        fitted[target] = asked
    return fitted


def judge_baselines(
    feed: Feed,
    fitted: Fitted,
    calibrate: Int[np.ndarray, " calibrate"],
    test: Int[np.ndarray, " test"],
    threads: int = 1,
) -> dict[str, dict[str, Measured]]:
    """What every baseline measures on the test rows: target → baseline → arrays, one entry a row.

    The feed's tasks are fitted and not yet calibrated: each baseline is calibrated by itself, on the same rows as the
    model. The entries are those of `answered(feed, target, test)`, in that order. Targets without a known answer among
    the test rows are left out.
    """
    results: dict[str, dict[str, Measured]] = {}
    for target, baselines in fitted.items():
        judged, held = Blocks.of(feed, target, test), Blocks.of(feed, target, calibrate)
        if not len(judged.rows):
            continue
        with threadpool_limits(limits=threads):
            results[target] = {
                name: _measured(_calibrated(feed.tasks[target], one, held), one, judged)
                for name, one in baselines.items()
            }
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
