"""Restoring what is hidden of an input: nobody has to label anything, and the encoder that learns it is a beginning for others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field as Key

from medloom.errors import DataError, StudyError
from medloom.modality import Hiding, Lifted, Marks
from medloom.parts import Name, TargetPart
from medloom.task import Baseline, Curve, Measured, Metric, Plot, Prediction, Task

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from medloom.batch import Field, Gives, Output
    from medloom.cohort.table import Cohort
    from medloom.parts import InputPart


class RestoreOptions(TargetPart):
    """Options of `task = "restore"`."""

    task: Literal["restore"] = "restore"
    input: Name = Key(description="name of the input of which parts are hidden: an image")
    hidden: float = Key(0.6, ge=0.05, le=0.95, description="share of it that is hidden")
    cells: int = Key(8, ge=2, le=64, description="cells along its longest axis: each is hidden or shown as a whole")


@dataclass(frozen=True, slots=True)
class RestorePrediction(Prediction):
    """Of each row the mean squared error of what was hidden, and its variance; NaN where the row has no such input."""

    error: np.ndarray
    spread: np.ndarray

    def __len__(self) -> int:
        return len(self.error)

    def columns(self) -> Mapping[str, Any]:
        """The error, in the unit of the scaled input, and the share of the variance that was restored."""
        share = np.divide(self.error, self.spread, out=np.full(len(self), np.nan), where=self.spread > 0)
        told = {"error": np.sqrt(self.error), "restored": 1 - share}
        return {name: [None if np.isnan(v) else float(v) for v in values] for name, values in told.items()}


@dataclass(frozen=True, slots=True)
class Restore(Task):
    """Nothing is fitted: `rows` were there to learn from.

    Source: Xie et al., "SimMIM: a simple framework for masked image modeling", CVPR 2022; that what is hidden is no
    valid position of a convolution, Tian et al., "Designing BERT for convolutional networks", ICLR 2023.
    """

    Options: ClassVar[type[RestoreOptions]] = RestoreOptions
    Summary: ClassVar[type[int]] = int
    needs: ClassVar[Literal["finer"]] = "finer"
    alone: ClassVar[bool] = True

    options: RestoreOptions
    rows: int

    @classmethod
    def columns(cls, options: RestoreOptions) -> tuple[str, ...]:  # type: ignore[override]
        return ()

    @classmethod
    def mistakes(cls, options: RestoreOptions, inputs: Mapping[str, InputPart]) -> list[tuple[str, str]]:  # type: ignore[override]
        """An input that nothing can be hidden of, and inputs beside it."""
        if options.input not in inputs:
            return []
        others = [name for name in inputs if name != options.input]
        if others:
            return [("input", f"restores {options.input!r} alone; take {', '.join(others)} out of this study")]
        part = inputs[options.input]
        if part.hides:
            return []
        if part.bagged:
            return [("input", f"input {options.input!r} has several images a row; give each image a row of its own")]
        return [("input", f"input {options.input!r} is of modality {part.modality!r}, of which nothing can be hidden")]

    @classmethod
    def read(cls, options: RestoreOptions, cohort: Cohort) -> Marks:  # type: ignore[override]
        """Every row has its answer in itself."""
        return Marks(np.zeros(len(cohort), np.int8), np.ones(len(cohort), bool))

    @classmethod
    def summarise(cls, options: RestoreOptions, marks: Marks, rows: np.ndarray) -> int:  # type: ignore[override]
        return len(rows)

    @classmethod
    def fit(cls, options: RestoreOptions, summaries: Sequence[int]) -> Self:  # type: ignore[override]
        if not sum(summaries):
            raise DataError("no training rows; expected rows with the input that is to be restored")
        return cls(options, int(sum(summaries)))

    def hiding(self) -> Hiding:
        """Cells of the input."""
        return Hiding(self.options.input, self.options.hidden, self.options.cells)

    def target(self, marks: Marks, rows: np.ndarray) -> Field:
        """That there is something to be restored: what it is stands beside the input, where it was hidden."""
        import torch

        from medloom.batch import Field

        return Field(torch.zeros(len(rows)), torch.from_numpy(np.asarray(marks.present)[rows]))

    def head(self, gives: Mapping[str, Gives], width: int) -> nn.Module:
        """From the pyramid back to every position. Raises StudyError where an input has no pyramid."""
        from medloom.tasks._restore_head import RestoreHead

        given = gives[self.options.input]
        if not given.levels or not given.channels:
            raise StudyError(f"restore: the encoder of {self.options.input!r} has no maps of several resolutions")
        return RestoreHead(self.options.input, given)

    def loss(self, output: Output, target: Field, inputs: Mapping[str, Field]) -> Float[Tensor, " batch"]:
        """Mean squared error of what is hidden; zero where there is no input."""
        return output["error"] * output["known"] * target.present.to(output["error"].dtype)

    def calibrate(self, outputs: Iterable[tuple[Output, Field]]) -> Self:
        """The task as it is: nothing here is a probability."""
        return self

    def decode(self, output: Output | Lifted) -> RestorePrediction:
        """How well each row was restored."""
        if isinstance(output, Lifted):
            raise TypeError("what is restored is judged on the grid of the network")
        error, spread, known = (output[key].detach().double().cpu().numpy() for key in ("error", "spread", "known"))
        absent = known <= 0
        return RestorePrediction(np.where(absent, np.nan, error), np.where(absent, np.nan, spread))

    def measure(self, prediction: Prediction, truth: Field | Lifted) -> Measured:
        """Error and variance of each row."""
        if not isinstance(prediction, RestorePrediction):
            raise TypeError("restore measures its own predictions")
        return {"error": prediction.error, "spread": prediction.spread}

    def metrics(self) -> Mapping[str, Metric]:
        """The share of the variance of hidden values that is restored, and the error."""
        note = "Of what was hidden, on the grid and in the scale that the network sees; rows count alike."
        label = "Share of the hidden variance restored"
        return {
            "restored": Metric("restored", _restored, True, label, note),
            "error": Metric("error", _error, False, "Root mean squared error of what was hidden", note),
        }

    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        """The mean of what is shown, and what lies around a place."""
        from medloom.tasks._restore_baselines import Around

        return {
            "shown_mean": Around("Mean of what is shown", self.options.input, ()),
            "neighbours": Around("What lies around, smoothed", self.options.input, (0.25, 0.5, 1.0)),
        }

    def plots(self, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
        """The share that is restored of every row, from the worst to the best."""
        curves = []
        for who, figures in measured.items():
            known = figures["spread"] > 0
            values = np.sort(1 - figures["error"][known] / figures["spread"][known])
            share = (np.arange(len(values)) + 0.5) / max(len(values), 1)
            curves.append(Curve(who, share.tolist(), values.clip(-1, 1).tolist()))
        text = (
            "Share of the hidden variance that is restored of each row, sorted from the worst row on the left to the best "
            "on the right: the further up a line lies, the better. Below −1 it is drawn at −1."
        )
        return (Plot("Restored of each row", "share of rows", "restored", tuple(curves), text, x_range=(0.0, 1.0)),)

    def question(self) -> str:
        return f"What is hidden of the {self.options.input}?"

    def describe(self) -> Mapping[str, str]:
        return {"hidden": f"{self.options.hidden:.0%} of cells", "training rows": str(self.rows)}


def _restored(measured: Measured, weight: Float[np.ndarray, "resamples rows"]) -> Float[np.ndarray, " resamples"]:
    known = ~np.isnan(measured["error"])
    total = weight[:, known] @ measured["spread"][known]
    missed = weight[:, known] @ measured["error"][known]
    return 1 - np.divide(missed, total, out=np.full(len(weight), np.nan), where=total > 0)


def _error(measured: Measured, weight: Float[np.ndarray, "resamples rows"]) -> Float[np.ndarray, " resamples"]:
    known = ~np.isnan(measured["error"])
    total = weight[:, known].sum(axis=1)
    missed = weight[:, known] @ measured["error"][known]
    return np.sqrt(np.divide(missed, total, out=np.full(len(weight), np.nan), where=total > 0))
