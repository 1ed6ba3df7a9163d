"""Simple models on the same rows: trained, calibrated, decoded and measured exactly as ours is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from threadpoolctl import threadpool_limits

from medloom.batch import Batch, Field, Output
from medloom.draw import generator
from medloom.feed import Feed
from medloom.modality import Lifted
from medloom.model.outputs import averaged, joined
from medloom.task import Baseline, Block, Measured, Task

MOST_ROWS, LEAST_ROWS = 100_000, 5_000
"""Rows that a baseline learns from: at most, and however many features there are."""
CELLS = 50_000_000
"""Plain numbers (rows × features) that a baseline learns from, at most; but always those of `LEAST_ROWS`."""
BLOCK_CELLS = 10_000_000
"""Plain numbers that are judged at a time."""


def answered(feed: Feed, target: str, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " some"]:
    """Those of the rows whose answer is known, in the same order: the ones that figures are about."""
    if target in feed.laid:
        return rows[feed.laid[target][1].unit[rows] > 0]
    return rows[np.asarray(feed.marks[target].present)[rows]]


def _seen(feed: Feed, target: str) -> bool:
    """Whether its baselines look at the inputs themselves."""
    task = feed.tasks[target]
    return target in feed.laid or task.sees_inputs or task.hiding() is not None


def taught(feed: Feed, target: str, rows: Int[np.ndarray, " rows"], seed: int) -> Int[np.ndarray, " some"]:
    """Those of the rows that baselines learn from: all whose answer is known, or a seeded sample of very many.

    A dense target is gone through in blocks and has all of them.
    """
    rows = answered(feed, target, rows)
    if _seen(feed, target) or len(rows) <= LEAST_ROWS:
        return rows
    most = min(MOST_ROWS, max(LEAST_ROWS, CELLS // feed.plain(rows[:1]).shape[1]))
    if len(rows) <= most:
        return rows
    return np.sort(generator(seed, "rows of baselines", target).choice(rows, most, replace=False))


@dataclass(frozen=True, slots=True)
class Blocks:
    """Rows of one target as baselines see them; may be gone through many times.

    A dense target comes in blocks with the images and masks themselves. For any other target a few million plain
    numbers are one block, without a copy, and `batch.inputs` is empty: nothing heavy is read for a table of numbers.
    Rows that are held are read once; others, which are gone through once by each baseline, are not kept.
    """

    feed: Feed
    target: str
    rows: Int[np.ndarray, " rows"]
    held: tuple[Block, ...] = ()

    @classmethod
    def of(cls, feed: Feed, target: str, rows: Int[np.ndarray, " rows"]) -> Blocks:
        """The blocks of those rows whose answer is known; held where they are few."""
        found = cls(feed, target, answered(feed, target, rows))
        if _seen(feed, target) or not len(found.rows) or len(found.rows) > found._step():
            return found
        return cls.learnt(feed, target, found.rows)

    @classmethod
    def learnt(cls, feed: Feed, target: str, rows: Int[np.ndarray, " rows"]) -> Blocks:
        """The rows that `taught` gives, as one block that is held."""
        found = cls(feed, target, rows)
        return found if _seen(feed, target) or not len(rows) else cls(feed, target, rows, (found._block(rows),))

    def __iter__(self) -> Iterator[Block]:
        if self.held:
            yield from self.held
        elif _seen(self.feed, self.target):
            for _, _, batch in self.feed.cover(self.rows):
                yield Block(self.feed.plain(batch.rows.numpy()), batch, batch.targets[self.target])
        elif len(self.rows):
            step = self._step()
            for start in range(0, len(self.rows), step):
                yield self._block(self.rows[start : start + step])

    def _step(self) -> int:
        return max(1, BLOCK_CELLS // self.feed.plain(self.rows[:1]).shape[1])

    def _block(self, rows: Int[np.ndarray, " some"]) -> Block:
        field = self.feed.tasks[self.target].target(self.feed.marks[self.target], rows)
        batch = Batch({}, {self.target: field}, torch.from_numpy(rows), torch.ones(len(rows)))
        return Block(self.feed.plain(rows), batch, field)


Fitted = Mapping[str, Mapping[str, Baseline]]
"""Baselines by target and name, trained."""


def fit_baselines(
    feed: Feed,
    train: Int[np.ndarray, " train"],
    valid: Int[np.ndarray, " valid"],
    seed: int,
    wanted: Callable[[str, str], bool] = lambda target, name: True,
    threads: int = 1,
    named: Collection[str] = (),
) -> dict[str, dict[str, Baseline]]:
    """Every baseline of every task that is `wanted`, trained. Targets without a known answer in `train` are left out.

    Those that are trained only where a study asks for them have to be `named`.
    Of very many training or validation rows a sample is learnt from (`taught`).
    """
    fitted: dict[str, dict[str, Baseline]] = {}
    for target, task in feed.tasks.items():
        asked = {
            name: one
            for name, one in task.baselines(seed).items()
            if wanted(target, name) and (name in named or not one.asked_only)
        }
        teach, choose = (Blocks.learnt(feed, target, taught(feed, target, rows, seed)) for rows in (train, valid))
        if not len(teach.rows) or not asked:
            continue
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
    rehearsed: Mapping[str, Mapping[str, Task]] | None = None,
) -> dict[str, dict[str, Measured]]:
    """What every baseline measures on the test rows: target → baseline → arrays, one entry a row.

    The feed's tasks are fitted and not yet calibrated: each baseline is calibrated by itself, on the same rows as the
    model, unless `rehearsed` holds a task that has been calibrated to it. The entries are those of `answered(feed, target, test)`, in that order. Targets without a known answer among
    the test rows are left out.
    """
    results: dict[str, dict[str, Measured]] = {}
    for target, baselines in fitted.items():
        judged, held = Blocks.of(feed, target, test), Blocks.of(feed, target, calibrate)
        if not len(judged.rows):
            continue
        with threadpool_limits(limits=threads):
            tasks = (rehearsed or {}).get(target, {})
            results[target] = {
                name: measured(tasks.get(name) or calibrated(feed.tasks[target], one, held), one, judged)
                for name, one in baselines.items()
            }
    return results


def calibrated(task: Task, baseline: Baseline, blocks: Blocks) -> Task:
    """The task calibrated to what a baseline says of these rows; as it was where there are none."""
    if not len(blocks.rows):
        return task
    if blocks.target in blocks.feed.laid:
        return task.calibrate(_lifted(task, baseline, blocks))  # type: ignore[arg-type]
    return task.calibrate(answers_of(baseline, blocks))


def answers_of(baseline: Baseline, blocks: Blocks) -> Iterator[tuple[Output, Field]]:
    """What a baseline says of these rows, a block at a time, with what is true."""
    return ((_said(baseline, block, blocks), block.target) for block in blocks)


def measured(task: Task, baseline: Baseline, blocks: Blocks) -> Measured:
    """What a baseline measures on these rows, by a task calibrated to it."""
    feed, target = blocks.feed, blocks.target
    if feed.tasks[target].hiding() is not None:
        return _of_rows(task, baseline, blocks)
    if target not in feed.laid:
        return _joined([task.measure(task.decode(_said(baseline, block, blocks)), block.target) for block in blocks])
    return _joined([task.measure(task.decode(lifted), truth) for lifted, truth in _lifted(task, baseline, blocks)])


def _lifted(task: Task, baseline: Baseline, blocks: Blocks) -> Iterator[tuple[Lifted, Lifted]]:
    """What a baseline says of each row at raw positions, settled by the task, and what is true."""
    feed, target = blocks.feed, blocks.target
    ground, laid = feed.laid[target]
    modality, source = feed.modalities[ground], feed.sources[ground]
    for rows, pieces in feed.covering(blocks.rows):
        lifting = modality.lifting(source, task.settle)
        for views, batch in pieces:
            output = baseline.output(Block(feed.plain(batch.rows.numpy()), batch, batch.targets[target]))
            lifting.add(views[ground], output)
        yield lifting.finish(), modality.truth(laid, rows)


def _of_rows(task: Task, baseline: Baseline, blocks: Blocks) -> Measured:
    """What is measured of rows that were seen in several views, whose outputs are averaged as a model's are."""
    outputs, rows = [], []
    for block in blocks:
        outputs.append(baseline.output(block))
        rows.append(block.batch.rows.numpy())
    output = averaged(joined(outputs), np.concatenate(rows), blocks.rows)
    return task.measure(task.decode(output), task.target(blocks.feed.marks[blocks.target], blocks.rows))


def _said(baseline: Baseline, block: Block, blocks: Blocks) -> Output:
    return {**baseline.output(block), **blocks.feed.beside(blocks.target, block.batch.rows.numpy())}


def _joined(measured: list[Measured]) -> Measured:
    if len(measured) == 1:
        return measured[0]
    return {name: np.concatenate([part[name] for part in measured]) for name in measured[0]}
