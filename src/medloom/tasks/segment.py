"""Segmentation: which voxels of an image belong to which label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field as Key
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from medloom.errors import DataError, StudyError
from medloom.modality import Lifted, Marks
from medloom.parts import Name, TargetPart
from medloom.task import Baseline, Curve, Measured, Metric, Plot, Prediction, Task

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from medloom.batch import Field, Gives, Output
    from medloom.cohort.table import Cohort

Label = Annotated[int, Key(ge=1, le=32_767)]


class SegmentOptions(TargetPart):
    """Options of `task = "segment"`."""

    task: Literal["segment"] = "segment"
    column: str = Key(
        description="column with the path of each row's mask file, on the grid of its image; empty where there is none"
    )
    input: Name = Key(description="name of the input that the masks are drawn on")
    labels: dict[Name, Label] = Key(
        min_length=1,
        description="name of each label and its value in the mask files; 0 is background and is not listed",
    )

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.labels.values())) < len(self.labels):
            raise PydanticCustomError(
                "part", "labels gives one value to two names; expected a different value for each"
            )
        return self

    def text_columns(self) -> tuple[str, ...]:
        """Columns that a CSV reader must leave as text."""
        return (self.column,)


@dataclass(frozen=True, slots=True)
class MaskPrediction(Prediction):
    """A mask of label values, `[*shape]`, for each row; without voxels where the row has no image."""

    masks: tuple[np.ndarray, ...]
    labels: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.masks)

    def columns(self) -> Mapping[str, Any]:
        """Voxels of each label: a number, or None where the row has no image."""
        return {
            f"{name}_voxels": [int((mask == value).sum()) if mask.size else None for mask in self.masks]
            for name, value in self.labels.items()
        }

    def dense(self) -> Sequence[np.ndarray]:
        return self.masks


@dataclass(frozen=True, slots=True)
class Segment(Task):
    """A fitted segmentation. Class ids are 0 for background, then the labels in the order of the study file."""

    Options: ClassVar[type[SegmentOptions]] = SegmentOptions
    Summary: ClassVar[type[int]] = int
    needs: ClassVar[Literal["finer"]] = "finer"
    dense: ClassVar[bool] = True
    outlined: ClassVar[bool] = True

    options: SegmentOptions
    masks: int

    @property
    def values(self) -> tuple[int, ...]:
        """Label values in mask files, by class id."""
        return (0, *self.options.labels.values())

    @classmethod
    def columns(cls, options: SegmentOptions) -> tuple[str, ...]:  # type: ignore[override]
        return (options.column,)

    @classmethod
    def read(cls, options: SegmentOptions, cohort: Cohort) -> Marks:  # type: ignore[override]
        """Paths of mask files, relative to the cohort's folder; the modality reads them when it lays them."""
        from medloom.cohort.table import canonical

        paths = canonical(cohort.column(options.column, "target"))
        return Marks(
            np.array(paths.to_list(), dtype=object),
            paths.is_not_null().to_numpy(),
            (0, *options.labels.values()),
            cohort.files,
        )

    @classmethod
    def summarise(cls, options: SegmentOptions, marks: Marks, rows: np.ndarray) -> int:  # type: ignore[override]
        """How many of the rows have a mask."""
        return int(marks.present[rows].sum())

    @classmethod
    def fit(cls, options: SegmentOptions, summaries: Sequence[int]) -> Self:  # type: ignore[override]
        if not sum(summaries):
            raise DataError(
                f"column {options.column!r}: no training row has a mask; expected paths of mask files, relative to the table's folder"
            )
        return cls(options, sum(summaries))

    def target(self, marks: Marks, rows: np.ndarray) -> Field:
        """Never asked for: the image that masks are laid on gives their voxels, cut as it is cut itself."""
        raise TypeError("masks have no target of a row alone: lay them on their image, and take the batch of that")

    def head(self, gives: Mapping[str, Gives], width: int) -> nn.Module:
        """A U-Net decoder. Raises StudyError where the input has no pyramid of maps."""
        from medloom.tasks._decoder import Decoder

        ground = gives.get(self.options.input)
        if ground is None or not ground.levels:
            raise StudyError(
                f"segment needs an input with maps of several resolutions, and {self.options.input!r} has none; give an image as input"
            )
        return Decoder(self.options.input, ground, len(self.values))

    def loss(self, output: Output, target: Field, inputs: Mapping[str, Field]) -> Float[Tensor, " batch"]:
        """Cross-entropy plus soft Dice of each row over its valid voxels; zero where the row has no mask."""
        from medloom.tasks._decoder import entropy_and_dice

        return entropy_and_dice(output["logits"], target)

    def calibrate(self, outputs: Iterable[tuple[Output, Field]]) -> Self:
        """The task as it is: an answer is the likeliest class of each voxel, which no temperature would change."""
        return self

    def decode(self, output: Output | Lifted) -> MaskPrediction:
        """The likeliest class of each voxel, as label values."""
        lifted = output.values if isinstance(output, Lifted) else output["logits"].detach().float().cpu().numpy()
        values = np.array(self.values, np.uint8 if max(self.values) < 256 else np.int16)
        return MaskPrediction(tuple(values[np.argmax(scores, axis=0)] for scores in lifted), dict(self.options.labels))

    def measure(self, prediction: Prediction, truth: Field | Lifted) -> Measured:
        """Dice of each label, NaN where neither the truth nor the answer has a voxel of it; and their mean over the others.

        All are NaN for a row without a mask. Source: Dice, "Measures of the amount of ecologic association between
        species", Ecology 26, 1945.
        """
        if not isinstance(prediction, MaskPrediction) or not isinstance(truth, Lifted):
            raise TypeError("segment measures masks against masks at raw positions")
        figures = np.full((len(prediction), len(self.options.labels)), np.nan)
        for row, (mask, marked) in enumerate(zip(prediction.masks, truth.values, strict=True)):
            if marked.size:
                figures[row] = [
                    _dice(mask == value, marked[0] == place)
                    for place, value in enumerate(self.options.labels.values(), 1)
                ]
        known = ~np.isnan(figures)
        total = np.where(known, figures, 0.0).sum(axis=1)
        mean = np.divide(total, known.sum(axis=1), out=np.full(len(total), np.nan), where=known.any(axis=1))
        return {"dice": mean, **{f"dice_{name}": figures[:, place] for place, name in enumerate(self.options.labels)}}

    def metrics(self) -> Mapping[str, Metric]:
        """The mean over rows of each figure of `measure`; rows where a figure is NaN do not count for it."""
        note = "Mean over cases. A label that neither mask nor answer has in a case is left out of that case."
        figures = {
            "dice": "Dice, mean over labels",
            **{f"dice_{name}": f"Dice of {name}" for name in self.options.labels},
        }
        return {name: Metric(name, partial(_mean, name), True, label, note) for name, label in figures.items()}

    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        """The most frequent class everywhere; and each voxel's class from its own intensity alone."""
        from medloom.tasks._voxels import Intensity, Prior

        return {
            "prior": Prior(self.options.input, len(self.values)),
            "intensity": Intensity(self.options.input, len(self.values)),
        }

    def question(self) -> str:
        return f"Where in the {self.options.input} is the {' and the '.join(self.options.labels)}?"

    def plots(self, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
        """Dice of every case, from the worst to the best."""
        curves = []
        for name, figures in measured.items():
            dice = np.sort(figures["dice"][~np.isnan(figures["dice"])])
            share = (np.arange(len(dice)) + 0.5) / max(len(dice), 1)
            curves.append(Curve(name, share.tolist(), dice.tolist()))
        text = "Dice of each case, sorted from the worst case on the left to the best on the right: the further up a line lies, the better."
        return (
            Plot(
                "Dice of each case",
                "share of cases",
                "Dice",
                tuple(curves),
                text,
                x_range=(0.0, 1.0),
                y_range=(0.0, 1.0),
            ),
        )

    def outlines(
        self, prediction: Prediction, truth: Lifted
    ) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
        assert isinstance(prediction, MaskPrediction)
        (mask,), ((marked,), *_) = prediction.masks, truth.values
        labels = self.options.labels
        drawn = {name: marked == place for place, name in enumerate(labels, 1)}
        return drawn, {name: mask == value for name, value in labels.items()}

    def describe(self) -> Mapping[str, str]:
        labels = ", ".join(f"{name} = {value}" for name, value in self.options.labels.items())
        return {
            "labels": labels,
            "training rows with a mask": str(self.masks),
            "calibrated": "no: the likeliest class of each voxel is the answer",
        }


def _dice(answer: np.ndarray, truth: np.ndarray) -> float:
    voxels = int(answer.sum()) + int(truth.sum())
    return 2.0 * int((answer & truth).sum()) / voxels if voxels else float("nan")


def _mean(
    name: str, measured: Measured, weight: Float[np.ndarray, "resamples rows"]
) -> Float[np.ndarray, " resamples"]:
    known = ~np.isnan(measured[name])
    total = weight[:, known].sum(axis=1)
    return np.divide(weight[:, known] @ measured[name][known], total, out=np.full(len(weight), np.nan), where=total > 0)
