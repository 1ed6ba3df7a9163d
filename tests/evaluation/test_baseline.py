from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from medloom.batch import Batch, Field
from medloom.evaluation.baseline import Blocks, answered, fit_baselines, judge_baselines
from medloom.feed import Feed
from medloom.modality import Lifted, Lifting, Marks, Modality, View
from medloom.packed import Packed, Source
from medloom.parts import InputPart
from medloom.task import Baseline, Block, Task

ROWS = 40


def run(feed: Feed, train, valid, calibrate, test):
    """All baselines trained, then judged."""
    return judge_baselines(feed, fit_baselines(feed, train, valid, 0), calibrate, test)


class Numbers(Modality):
    """Two windows a row where `windows`; plain numbers are the row's number and its square."""

    def __init__(self, windows: bool) -> None:
        self.windows = windows  # type: ignore[misc]
        self.options = InputPart(modality="numbers")
        self.gathered = 0

    def view(self, source: Source, rows: np.ndarray, draw: Any, focus: Any = ()) -> View:
        repeat = 2 if self.windows else 1
        return View(np.repeat(rows, repeat), {"half": np.tile(np.arange(repeat), len(rows))})

    def batch(self, source: Source, view: View) -> Field:
        self.gathered += len(view.rows)
        value = source.packed.arrays["value"][source.unit[view.rows]]
        half = view.at["half"][:, None] * 2 + np.arange(2) if self.windows else slice(None)
        value = np.take_along_axis(value, half, axis=1) if self.windows else value
        return Field(torch.from_numpy(value), torch.from_numpy(source.unit[view.rows] > 0))

    def plain(self, source: Source, rows: np.ndarray) -> np.ndarray:
        return np.stack([rows, rows**2], axis=1).astype(float)

    def lifting(self, source: Source, settle: Any = None) -> Lifting:
        return Halves()

    def truth(self, laid: Source, rows: np.ndarray) -> Lifted:
        return Lifted(rows, list(laid.packed.arrays["value"][laid.unit[rows]][:, None]))


class Halves(Lifting):
    """Two views a row, side by side."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.values: list[np.ndarray] = []

    def add(self, view: View, output: Any) -> None:
        self.rows += view.rows[::2].tolist()
        self.values += list(output["logits"].numpy().reshape(-1, 1, 4))

    def finish(self) -> Lifted:
        return Lifted(np.array(self.rows), self.values)


class Echo(Baseline):
    """Answers the mean of the targets it was taught, plus `shift`; remembers what it saw."""

    label = "echo"

    def __init__(self, shift: float) -> None:
        self.shift = shift
        self.seen: dict[str, list[Block]] = {}

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        self.seen = {"train": list(train), "valid": list(valid)}
        again = list(train)
        assert len(again) == len(self.seen["train"])
        self.mean = float(torch.cat([block.target.value.flatten().double() for block in again]).mean())

    def output(self, block: Block) -> dict[str, torch.Tensor]:
        return {"logits": torch.full(block.target.value.shape, self.mean + self.shift)}


class Answer(Task):
    """Predicts a number; calibration adds the mean residual of the calibration rows."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self.made: dict[str, Echo] = {}

    def target(self, marks: Marks, rows: np.ndarray) -> Field:
        return Field(torch.from_numpy(marks.values[rows]), torch.from_numpy(marks.present[rows]))

    def baselines(self, seed: int) -> dict[str, Baseline]:
        self.made.update(near=Echo(0.0), far=Echo(100.0))
        return dict(self.made)

    def calibrate(self, outputs: Iterable[Any]) -> Answer:
        gaps = [
            (np.stack(truth.values) - np.stack(said.values)).astype(np.float64).mean()
            if isinstance(said, Lifted)
            else (truth.value - said["logits"]).double().mean()
            for said, truth in outputs
        ]
        return Answer(float(np.mean(gaps)))

    def decode(self, output: Any) -> Any:
        if isinstance(output, Lifted):
            return [value + self.offset for value in output.values]
        return output["logits"].numpy() + self.offset

    def measure(self, prediction: Any, truth: Any) -> dict[str, np.ndarray]:
        if isinstance(truth, Lifted):
            gaps = [np.abs(p - t).mean() for p, t in zip(prediction, truth.values, strict=True)]
            return {"row": np.asarray(truth.rows), "gap": np.array(gaps)}
        return {"truth": truth.value.numpy(), "answer": np.asarray(prediction)}


for kind in (Numbers, Answer):
    kind.__abstractmethods__ = frozenset()  # only what evaluation calls is there


def rowwise() -> tuple[Feed, Numbers]:
    modality = Numbers(windows=True)
    source = Source(Packed({"value": np.zeros((ROWS + 1, 4), np.float32)}, {}), np.arange(1, ROWS + 1), np.arange(ROWS))
    marks = Marks(np.arange(ROWS, dtype=np.float64), np.arange(ROWS) % 4 > 0)
    return Feed({"x": modality}, {"x": source}, {"y": Answer()}, {"y": marks}), modality


def dense() -> Feed:
    value = np.arange((ROWS + 1) * 4, dtype=np.float32).reshape(-1, 4)
    source = Source(Packed({"value": value}, {}), np.arange(1, ROWS + 1), np.arange(ROWS))
    laid = Source(source.packed, np.where(np.arange(ROWS) % 4 > 0, np.arange(1, ROWS + 1), 0), np.arange(ROWS))
    return Feed({"x": Numbers(windows=True)}, {"x": source}, {"y": Answer()}, {}, {"y": ("x", laid)})


PARTS = (np.arange(20), np.arange(20, 25), np.arange(25, 30), np.array([38, 30, 32, 31, 39]))


def test_rows_without_an_answer_are_left_out_in_order() -> None:
    for feed in (rowwise()[0], dense()):
        np.testing.assert_array_equal(answered(feed, "y", PARTS[3]), [38, 30, 31, 39])


def test_baselines_of_a_rowwise_target() -> None:
    feed, modality = rowwise()
    task = feed.tasks["y"]
    assert isinstance(task, Answer)
    result = run(feed, *PARTS)["y"]
    assert list(result) == ["near", "far"]
    np.testing.assert_array_equal(result["near"]["truth"], [38, 30, 31, 39])
    # Calibrated on rows 25, 26, 27 and 29 whatever their own level, and the task itself stays as it was.
    for name in result:
        np.testing.assert_allclose(result[name]["answer"], (25 + 26 + 27 + 29) / 4, atol=1e-4)
    assert task.offset == 0
    train = task.made["near"].seen["train"]
    rows = np.concatenate([block.batch.rows.numpy() for block in train])
    np.testing.assert_array_equal(rows, [row for row in range(20) if row % 4])
    np.testing.assert_array_equal(train[0].plain[:, 1], rows**2)
    np.testing.assert_array_equal(train[0].target.value.numpy(), rows)
    assert modality.gathered == 0  # a table of numbers needs no image


def test_no_calibration_rows_and_no_validation_rows() -> None:
    feed, _ = rowwise()
    none = np.zeros(0, np.int64)
    result = run(feed, PARTS[0], none, none, PARTS[3])["y"]
    mean = np.mean([row for row in range(20) if row % 4])
    np.testing.assert_allclose(result["near"]["answer"], mean, rtol=1e-5)
    np.testing.assert_allclose(result["far"]["answer"], mean + 100, rtol=1e-5)


def test_a_target_that_no_test_row_answers_is_left_out() -> None:
    feed, _ = rowwise()
    assert run(feed, *PARTS[:3], np.array([32, 36])) == {}


def test_a_dense_target_is_lifted_by_its_input() -> None:
    feed = dense()
    task = feed.tasks["y"]
    assert isinstance(task, Answer)
    result = run(feed, *PARTS)["y"]
    np.testing.assert_array_equal(result["near"]["row"], [38, 30, 31, 39])
    calibrated = np.mean([4 * (row + 1) + 1.5 for row in (25, 26, 27, 29)])
    expected = [np.abs(4 * (row + 1) + np.arange(4) - calibrated).mean() for row in (38, 30, 31, 39)]
    np.testing.assert_allclose(result["near"]["gap"], expected, rtol=1e-5)
    block = task.made["near"].seen["train"][0]
    assert isinstance(block.batch, Batch)
    assert len(block.plain) == len(block.batch.rows) == len(block.target.value)
    assert "x" in block.batch.inputs


def test_blocks_may_be_gone_through_again() -> None:
    for feed in (rowwise()[0], dense()):
        blocks = Blocks.of(feed, "y", np.arange(10))
        assert [len(b.plain) for b in blocks] == [len(b.plain) for b in blocks]
