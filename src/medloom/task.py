"""The contract of one kind of answer: from `Seen` to a typed `Prediction`, and how it is judged.

A task is one file in `tasks/` holding a class of the file's name, capitalised. The class is a frozen dataclass: its
fields are the fitted state. torch and scikit-learn are imported inside methods or in the private files of the folder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from medloom.errors import StudyError
from medloom.modality import Hiding, Lifted, Marks
from medloom.parts import InputPart, TargetPart

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped
    from torch import Tensor, nn

    from medloom.batch import Batch, Field, Gives, Output
    from medloom.cohort.table import Cohort
    from medloom.statistics.sample_size import Needed

Needs = Literal["pooled", "tokens", "finer", "ahead"]
Measured = Mapping[str, np.ndarray]
"""What a metric reads of each row, by name: arrays with `rows` first (truth, probability, a Dice figure)."""


class Prediction(ABC):
    """Answers for a block of rows."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def columns(self) -> Mapping[str, Any]:
        """Columns of the prediction table: suffix ("" for the answer itself, "probability") → values, one a row."""

    def dense(self) -> Mapping[str, Sequence[np.ndarray]]:
        """For dense answers: arrays at raw positions, one a row, written to files; the table holds their paths.

        By suffix, as `columns` are: several where one file cannot hold all, such as labels that overlap.
        """
        return {}

    def legend(self, suffix: str = "") -> Mapping[str, int]:
        """Names of the values that a dense answer of this suffix holds."""
        return {}

    def measurements(self) -> Sequence[Mapping[str, Any]]:
        """What is measured of each row's dense answer (volumes, diameters), for files beside it; units in the names."""
        return ()


Bounds = tuple[float, float, float]
"""Value, low and high. NaN where there is none; an infinite end where the data do not bound the figure on that side."""
MetricGroup = Literal[
    "overall", "discrimination", "calibration", "decisions", "usefulness", "error", "intervals", "each"
]
"""What a figure is about, for the layout of a report. "each": one figure a class, a label or a horizon."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure. `of(measured, weight)` takes weights "resamples rows" and gives one value a resample.

    A resample in which the figure cannot be estimated (no positive row) gives NaN. Rows with a NaN truth do not count.

    `interval(measured, patient, level)` and `difference(measured, other, patient, level)` are the figure's own
    intervals, where a closed form covers better than resamples or costs less; without them patients are resampled.
    """

    name: str
    of: Callable[[Measured, Float[np.ndarray, "resamples rows"]], Float[np.ndarray, " resamples"]]
    higher_is_better: bool
    label: str
    note: str = ""
    group: MetricGroup = "overall"
    interval: Callable[[Measured, Int[np.ndarray, " rows"], float], Bounds] | None = None
    difference: Callable[[Measured, Measured, Int[np.ndarray, " rows"], float], Bounds] | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot, with an optional band."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure as data; the report draws it. `text` says in words what it shows (the figure's alternative text)."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    text: str
    diagonal: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    since: str | None = None
    """Where x counts days of the calendar: the day that is 0, as YYYY-MM-DD."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Answers as numbers that add up: one column for each of `names`, in `unit` (log-odds, the column's own unit)."""

    value: Float[Tensor, "rows answers"]
    names: tuple[str, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Replies:
    """Answers as a reader takes them, one column for each of `names`, called `what`; and how wrong each row's is.

    `error` is in the unit that `error_name` says, NaN where that is not known.
    """

    value: Float[np.ndarray, "rows answers"]
    names: tuple[str, ...]
    what: str
    error: Float[np.ndarray, " rows"]
    error_name: str


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows as a baseline sees them: plain numbers of all inputs side by side, the batch itself, and its target.

    The batch of a dense target holds the inputs too; that of any other has none, as plain numbers are all it needs.
    """

    plain: Float[np.ndarray, "rows features"]
    batch: Batch
    target: Field


class Baseline(ABC):
    """A simple model on the same rows. It gives the head's kind of output, so it is calibrated and decoded alike."""

    label: str
    asked_only: ClassVar[bool] = False
    """Whether it is trained only where a study names it among its members."""

    @abstractmethod
    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Learns from training rows; validation rows may choose settings."""

    @abstractmethod
    def output(self, block: Block) -> Output:
        """What a head would have returned for these rows."""


class Member(Baseline):
    """A baseline that may join the networks in an ensemble, and be kept in a bundle: all it learnt are arrays.

    It needs plain numbers alone, so that it answers for rows whose target is not known.
    """

    @abstractmethod
    def answer(self, plain: Float[np.ndarray, "rows features"]) -> Output:
        """What a head would have returned for rows of these plain numbers."""

    def output(self, block: Block) -> Output:
        return self.answer(block.plain)

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """All that was learnt."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what `arrays` of a fitted one gave, in place of learning."""


class Task(ABC):
    """One kind of answer. Abstract or final, as modalities are."""

    Options: ClassVar[type[TargetPart]]
    Summary: ClassVar[type]
    needs: ClassVar[Needs]
    rowwise: ClassVar[bool] = True
    """Whether the loss of a row depends on that row alone."""
    dense: ClassVar[bool] = False
    """Whether the target is laid on an input (`options.input`) and answers are lifted back by it."""
    sees_inputs: ClassVar[bool] = False
    """Whether answers are as large as the inputs, which baselines need too: rows are then answered one at a time."""
    alone: ClassVar[bool] = False
    """Whether it changes what other targets would see, and so has a study of its own."""
    rehearses: ClassVar[bool] = False
    """Whether outputs mean the same whichever rows it was fitted on, so that rehearsals of several fits calibrate it."""
    joins: ClassVar[tuple[str, ...]] = ()
    """Names of those of its baselines that are a `Member`."""

    @classmethod
    @abstractmethod
    def columns(cls, options: TargetPart) -> tuple[str, ...]:
        """Columns that hold answers: kept out of every input."""

    @classmethod
    def mistakes(cls, options: TargetPart, inputs: Mapping[str, InputPart]) -> Sequence[tuple[str, str]]:
        """What of a study's inputs does not fit this target: (key of the target, what is wrong with it)."""
        return []

    @classmethod
    @abstractmethod
    def read(cls, options: TargetPart, cohort: Cohort) -> Marks:
        """The answers of all rows: the only reader of target columns."""

    @classmethod
    def beneath(cls, options: TargetPart, marks: Marks) -> Mapping[str, Marks]:
        """Masks that are laid on several inputs, by input: each becomes `extra[input]` of the target, class ids.

        `extra["<input>.present"]` says which rows have one. Answers are not lifted back, as those of a dense target are.
        """
        return {}

    @classmethod
    def pins(cls, options: TargetPart, marks: Marks) -> Mapping[str, Marks]:
        """Places that somebody marked on several inputs, by input: `[points, axes]` of each row, in the unit of its file.

        Each becomes `extra["<input>.place"]` and `extra["<input>.step"]` of the target (see `modality.Pinned`).
        """
        return {}

    @classmethod
    def strata(cls, options: TargetPart, marks: Marks) -> Shaped[np.ndarray, " rows"] | None:
        """A small integer a row to stratify the split by (−1: unknown), or None where that has no meaning."""
        return None

    @classmethod
    def tally(cls, options: TargetPart, marks: Marks, rows: Int[np.ndarray, " rows"]) -> Mapping[str, int]:
        """Counts of known answers among these rows, by what they are (events by class), for the split's table."""
        return {"known": int(np.asarray(marks.present)[rows].sum())}

    @classmethod
    def told(cls, options: TargetPart, names: Sequence[str]) -> tuple[str, ...]:
        """What the answers that `tally` counts are called for people."""
        return tuple(names)

    @classmethod
    def outcomes(cls, options: TargetPart, marks: Marks) -> Float[np.ndarray, "rows outcomes"] | None:
        """The answers as numbers, NaN where unknown, for inputs that learn from them; None where no number says it."""
        return None

    @classmethod
    @abstractmethod
    def summarise(cls, options: TargetPart, marks: Marks, rows: Int[np.ndarray, " rows"]) -> Any:
        """What `fit` needs of the training rows; additive over sites."""

    @classmethod
    @abstractmethod
    def fit(cls, options: TargetPart, summaries: Sequence[Any]) -> Self:
        """The fitted task (class names, scale). Raises DataError where nothing can be learnt."""

    def with_ground(self, truth: Lifted) -> Self:
        """The fitted task once it is known what its training rows are drawn on: called of tasks that are `dense`."""
        return self

    def hiding(self) -> Hiding | None:
        """What is to be hidden of an input before it is encoded; None for all tasks that ask about what can be seen."""
        return None

    @abstractmethod
    def target(self, marks: Marks, rows: Int[np.ndarray, " rows"]) -> Field:
        """Row-wise targets as tensors. Dense tasks get the laid field from the modality instead."""

    @abstractmethod
    def head(self, gives: Mapping[str, Gives], width: int) -> nn.Module:
        """A module `forward(Seen) -> Output`; `gives` by input name, `width` of the fused vector."""

    @abstractmethod
    def loss(self, output: Output, target: Field, inputs: Mapping[str, Field]) -> Float[Tensor, " batch"]:
        """One number a row, never reduced; zero where the target is absent."""

    def combine(self, outputs: Sequence[Output], shares: Float[Tensor, " members"] | None = None) -> Output:
        """One output for each row of what the members of an ensemble say; `shares` sum to 1, equal when left out.

        The weighted mean of every tensor, unless a task knows better: classification takes that of probabilities.
        Differentiable in the shares.
        """
        import torch

        if shares is None:
            return {name: torch.stack([output[name] for output in outputs]).mean(dim=0) for name in outputs[0]}
        return {
            name: torch.tensordot(shares.to(outputs[0][name].dtype), torch.stack([o[name] for o in outputs]), dims=1)
            for name in outputs[0]
        }

    @abstractmethod
    def calibrate(self, outputs: Iterable[tuple[Output, Field]]) -> Self:
        """The task with temperature, thresholds, … set on calibration rows. Streams."""

    def group_column(self) -> str | None:
        """The column whose groups have limits of their own: each output then has its rows' `batch.GROUP` beside it."""
        return None

    def base(self, cohort: Cohort) -> Float[np.ndarray, "rows numbers"] | None:
        """Numbers of each row that its answers are told relative to: each output has them beside it as `batch.BASE`.

        Read from columns that are known at the index time, never from an answer. None where a task needs none.
        """
        return None

    def recalibrate(self, outputs: Sequence[tuple[Output, Field]]) -> Self:
        """The task set to local rows of another place, on top of its own calibration; the network stays as it is.

        Raises DataError where the rows are too few, and says how many are needed.
        """
        raise RecalibrationUnsupported(type(self).__name__)

    def settle(self, scores: Float[np.ndarray, "channels ..."]) -> Shaped[np.ndarray, "kept ..."]:
        """For dense answers: what is kept of each position's scores, as whole numbers, by itself.

        Lifted outputs are settled part by part, so that the scores of a large image are never held together.
        """
        return scores

    @abstractmethod
    def decode(self, output: Output | Lifted) -> Prediction:
        """The answers of a block of rows: calibrated, thresholded, named."""

    @abstractmethod
    def measure(self, prediction: Prediction, truth: Field | Lifted) -> Measured:
        """What the metrics read, for each row of a block."""

    @abstractmethod
    def metrics(self) -> Mapping[str, Metric]:
        """All figures of this task; the first is the headline."""

    @abstractmethod
    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        """Simple models to stand beside ours, by name; the first is the one that learns nothing."""

    def scores(self, output: Output) -> Scores | None:
        """What contributions of inputs add up to, differentiable in the output; None where there is no such number."""
        return None

    def replies(self, measured: Measured) -> Replies | None:
        """What was measured, as answers and errors of rows; None where a row's answer is not a few numbers."""
        return None

    def drawn_on(self) -> str | None:
        """The input on whose pictures answers can be drawn as outlines, which `outlines` gives; None where there is none."""
        return None

    def outlines(
        self, prediction: Prediction, truth: Field | Lifted
    ) -> tuple[Mapping[str, Bool[np.ndarray, "*spatial"]], Mapping[str, Bool[np.ndarray, "*spatial"]]]:
        """Of one row, the voxels under each name: those marked, and those answered, on the grid of the picture or a coarser one."""
        return {}, {}

    def plots(self, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
        """Figures for the report; `measured` of "model" and of each baseline on the same rows."""
        return ()

    def sample_size(
        self, marks: Marks, rows: Int[np.ndarray, " rows"], parameters: int, explained: float
    ) -> Mapping[str, tuple[Needed, int | None]]:
        """Participants that a model of so many parameters needs, and the events of these rows, by outcome.

        `explained` is the R² to expect (Nagelkerke's where there are events). Nothing where no criterion is known.
        """
        return {}

    def question(self) -> str:
        """What is asked, as a sentence for a clinician."""
        return f"What is {', '.join(self.columns(self.options))}?"  # type: ignore[attr-defined]

    def describe(self) -> Mapping[str, str]:
        """Fitted facts a reader wants to see (classes, threshold, temperature), as text."""
        return {}


class RecalibrationUnsupported(StudyError):
    """A bundle with a task that has nothing to set on local rows."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name.lower()} has nothing that local rows could set; train it anew on them")
