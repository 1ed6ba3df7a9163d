"""Regression: a number or a count, with an interval that holds it as often as was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field as Key
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from medloom.errors import DataError, StudyError
from medloom.modality import Lifted, Marks
from medloom.parts import TargetPart
from medloom.task import Baseline, Measured, Metric, Plot, Prediction, Replies, Scores, Task
from medloom.tasks._conformal import Limits, group_of
from medloom.tasks._conformal import conformal_margin as conformal_margin
from medloom.tasks._curves import Line

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from medloom.batch import Field, Gives, Output
    from medloom.cohort.table import Cohort
    from medloom.statistics.sample_size import Needed

Loss = Literal["squared", "absolute", "huber", "poisson"]
STRATA = 4
LARGEST_LOG = 30.0
"""Largest logarithm of a predicted rate over the mean rate: beyond it the exponential would leave float32."""


class RegressOptions(TargetPart):
    """Options of `task = "regress"`."""

    task: Literal["regress"] = "regress"
    column: str = Key(description="column with the number of each row; empty where unknown")
    missing: tuple[str | float, ...] = Key((), description="values that mean unknown")
    loss: Loss = Key(
        "squared",
        description="squared: the mean is learnt; absolute: the median; huber: between the two, for outliers; poisson: the mean of a count, through its logarithm",
    )
    scale: Literal["standard", "robust"] = Key(
        "standard",
        description="unit of the loss, from training rows: mean and standard deviation, or median and interquartile range",
    )
    quantiles: tuple[Annotated[float, Key(gt=0, lt=1)], ...] = Key(
        (),
        description="quantiles to learn beside the number, rising, such as [0.05, 0.5, 0.95]; intervals are then as wide as each row needs",
    )
    coverage: float = Key(0.9, gt=0, lt=1, description="share of new rows that intervals shall hold")
    conformal_by: str | None = Key(
        None, description="column of the table whose groups shall each be held as often (sex, site)"
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.quantiles) == 1 or list(self.quantiles) != sorted(set(self.quantiles)):
            raise PydanticCustomError(
                "part", "quantiles needs at least two, rising and all different, such as [0.05, 0.95]"
            )
        return self


@dataclass(frozen=True, slots=True)
class NumberSummary:
    """Distinct values, rising, with how many rows have each: sums and quantiles of several sites are exact."""

    values: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NumberPrediction(Prediction):
    """A number a row, its interval (NaN where too few rows calibrate), and quantiles "rows quantiles"."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    quantile: np.ndarray
    levels: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.value)

    def columns(self) -> Mapping[str, Any]:
        each = {f"quantile_{level:g}": self.quantile[:, i] for i, level in enumerate(self.levels)}
        return {"": self.value, "low": self.low, "high": self.high, **each}


@dataclass(frozen=True, slots=True)
class Regress(Task):
    """A fitted regression: centre and scale of the training rows, and what calibration rows add to each side.

    `margin` is None before calibration, and where too few rows calibrate for the coverage that is asked. `groups` has
    that of each group, where the study asks for it; `local` is what rows of another place set.
    """

    Options: ClassVar[type[RegressOptions]] = RegressOptions
    Summary: ClassVar[type[NumberSummary]] = NumberSummary
    needs: ClassVar[Literal["pooled"]] = "pooled"
    joins: ClassVar[tuple[str, ...]] = ("best_feature", "ridge", "gradient_boosting")

    options: RegressOptions
    centre: float
    scale: float
    rows: int
    margin: float | None = None
    calibrated_on: int = 0
    groups: Limits | None = None
    local: Line | None = None

    @classmethod
    def columns(cls, options: RegressOptions) -> tuple[str, ...]:  # type: ignore[override]
        return (options.column,)

    @classmethod
    def read(cls, options: RegressOptions, cohort: Cohort) -> Marks:  # type: ignore[override]
        """The numbers, NaN where unknown. Raises DataError for what is no number, and for counts that cannot be."""
        from medloom.tasks._numbers import numbers, refuse

        values = numbers(cohort, options.column, options.missing)
        if options.loss == "poisson":
            found = "are negative or not whole, and poisson is for counts"
            wrong = (values < 0) | (np.isfinite(values) & (values != np.round(values)))
            refuse(cohort, options.column, wrong, found, 'mend them, or give loss = "squared"')
        return Marks(values, ~np.isnan(values))

    @classmethod
    def outcomes(cls, options: RegressOptions, marks: Marks) -> np.ndarray:  # type: ignore[override]
        return np.asarray(marks.values, np.float64)[:, None]

    @classmethod
    def strata(cls, options: RegressOptions, marks: Marks) -> np.ndarray | None:  # type: ignore[override]
        """The quarter of the known values that a row lies in."""
        values = marks.values[marks.present]
        if not len(values):
            return None
        edges = np.unique(np.quantile(values, np.arange(1, STRATA) / STRATA))
        return np.where(marks.present, np.searchsorted(edges, np.nan_to_num(marks.values), side="right"), -1)

    @classmethod
    def summarise(cls, options: RegressOptions, marks: Marks, rows: np.ndarray) -> NumberSummary:  # type: ignore[override]
        values = marks.values[rows]
        distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        return NumberSummary(tuple(distinct.tolist()), tuple(counts.tolist()))

    @classmethod
    def fit(cls, options: RegressOptions, summaries: Sequence[NumberSummary]) -> Self:  # type: ignore[override]
        values = np.repeat(
            np.concatenate([np.array(s.values, np.float64) for s in summaries]),
            np.concatenate([np.array(s.counts, np.int64) for s in summaries]),
        )
        values.sort()
        if not len(values) or values[0] == values[-1]:
            found = "no known value" if not len(values) else "only one value"
            raise DataError(f"column {options.column!r}: {found} in the training rows; expected numbers that differ")
        centre, scale = _centre_and_scale(values, options)
        return cls(options, centre, scale, len(values))

    def target(self, marks: Marks, rows: np.ndarray) -> Field:
        """The numbers as they were read: float64 [batch], 0 where unknown."""
        import torch

        from medloom.batch import Field

        values = marks.values[rows]
        return Field(torch.from_numpy(np.nan_to_num(values)), torch.from_numpy(~np.isnan(values)))

    def head(self, gives: Mapping[str, Gives], width: int) -> nn.Module:
        from medloom.tasks._heads import PooledHead

        return PooledHead(width, 1 + len(self.options.quantiles))

    def loss(self, output: Output, target: Field, inputs: Mapping[str, Field]) -> Float[Tensor, " batch"]:
        """The loss of the number, plus the mean pinball loss of the quantiles, in units of `scale`.

        For counts the head gives the logarithm of the rate over the mean rate of the training rows, and the negative
        log-likelihood is divided by that rate, so that its size does not depend on the unit of the count.
        Source: Koenker & Bassett, "Regression quantiles", Econometrica 46, 1978 (pinball loss).
        """
        import torch
        from torch.nn import functional as F

        made = output["logits"]
        scaled = ((target.value - self.centre) / self.scale).to(made.dtype)
        if self.options.loss == "poisson":
            log_rate = made[:, 0].clamp(max=LARGEST_LOG)
            loss = log_rate.exp() - (target.value / self.centre).to(made.dtype) * log_rate
        elif self.options.loss == "squared":
            loss = (made[:, 0] - scaled) ** 2
        elif self.options.loss == "absolute":
            loss = (made[:, 0] - scaled).abs()
        else:
            loss = F.huber_loss(made[:, 0], scaled, reduction="none")
        if self.options.quantiles:
            level = torch.tensor(self.options.quantiles, dtype=made.dtype, device=made.device)
            error = scaled[:, None] - made[:, 1:]
            loss = loss + torch.maximum(level * error, (level - 1) * error).mean(dim=1)
        return loss * target.present.to(made.dtype)

    def calibrate(self, outputs: Iterable[tuple[Output, Field]]) -> Self:
        """The margin of split conformal intervals, from the calibration rows with a known answer.

        Without quantiles it is a quantile of the absolute errors; with them, of how far the truth lies outside the
        lowest and the highest one (conformalised quantile regression). New rows are held by their interval with at
        least the asked chance as long as they come like the calibration rows; with several rows a patient that is only
        nearly so. Source: Romano, Patterson & Candès, "Conformalized quantile regression", NeurIPS 2019, theorem 1.
        """
        from medloom.tasks._conformal import limits

        distance, group = [np.zeros(0)], [np.zeros(0, np.int64)]
        for output, target in outputs:
            known = target.present.numpy()
            value, quantile = self._numbers(output)
            low, high = (quantile[:, 0], quantile[:, -1]) if self.options.quantiles else (value, value)
            truth = target.value.double().numpy()
            distance.append(np.maximum(low - truth, truth - high)[known])
            group.append(group_of(output, len(known))[known])
        by = self.options.conformal_by is not None
        found = limits(np.concatenate(distance), np.concatenate(group) if by else None, self.options.coverage)
        return replace(self, margin=found.every, calibrated_on=found.rows, groups=found if by else None)

    def group_column(self) -> str | None:
        return self.options.conformal_by

    def recalibrate(self, outputs: Sequence[tuple[Output, Field]]) -> Self:
        """Shift and scale of the numbers (of counts, of the rate alone) by least squares, then the margin anew.

        Raises DataError below twenty rows with a known answer.
        """
        from medloom.tasks._local_numbers import local_line

        value = np.concatenate([self._numbers(output)[0][target.present.numpy()] for output, target in outputs])
        truth = np.concatenate([target.value.double().numpy()[target.present.numpy()] for _, target in outputs])
        line = local_line(value, truth, self.options.column, self.options.loss == "poisson")
        return replace(self, local=line.after(self.local) if self.local else line).calibrate(outputs)

    def decode(self, output: Output | Lifted) -> NumberPrediction:
        """Numbers in the unit of the column; intervals of counts do not go below 0."""
        if isinstance(output, Lifted):
            raise StudyError("regress gives one answer a row and cannot be laid on an input")
        value, quantile = self._numbers(output)
        margin = self._margins(output, len(value))
        low, high = (quantile[:, 0], quantile[:, -1]) if self.options.quantiles else (value, value)
        low, high = low - margin, high + margin
        # A negative margin may make the ends pass each other: the interval is then the point between them.
        middle = (low + high) / 2
        low, high = np.minimum(low, middle), np.maximum(high, middle)
        if self.options.loss == "poisson":
            low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
        return NumberPrediction(value, low, high, quantile, self.options.quantiles)

    def _margins(self, output: Output, rows: int) -> np.ndarray:
        """The margin of each row: that of its group where it has one, else that of all rows; NaN where there is none."""
        if self.groups is None:
            return np.full(rows, np.nan if self.margin is None else self.margin)
        found = self.groups.of(group_of(output, rows))[0]
        return np.where(np.isfinite(found), found, np.nan)

    def _numbers(self, output: Output) -> tuple[np.ndarray, np.ndarray]:
        """The number of each row, and its quantiles in rising order, in the unit of the column.

        Source: Chernozhukov et al., "Quantile and probability curves without crossing", Econometrica 78, 2010.
        """
        made = output["logits"].detach().double().numpy()
        counts = self.options.loss == "poisson"
        value = np.exp(np.minimum(made[:, 0], LARGEST_LOG)) if counts else made[:, 0]
        value = self.centre * value if counts else self.centre + self.scale * value
        quantile = np.sort(self.centre + self.scale * made[:, 1:], axis=1)
        if self.local is not None:
            value, quantile = self.local(value), self.local(quantile.ravel()).reshape(quantile.shape)
        return value, np.maximum(quantile, 0.0) if counts else quantile

    def measure(self, prediction: Prediction, truth: Field | Lifted) -> Measured:
        """`truth` with NaN where unknown, `value`, `low`, `high`, and `quantile` "rows quantiles"."""
        assert isinstance(prediction, NumberPrediction) and not isinstance(truth, Lifted)
        answer = np.where(truth.present.numpy(), truth.value.double().numpy(), np.nan)
        return {
            "truth": answer,
            "value": prediction.value,
            "low": prediction.low,
            "high": prediction.high,
            "quantile": prediction.quantile,
        }

    def metrics(self) -> Mapping[str, Metric]:
        from medloom.tasks import _number_figures

        return _number_figures.metrics(self.options.loss, self.options.quantiles, self.options.coverage)

    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        from medloom.tasks._regress_baselines import BestFeature, GradientBoosting, Mean, Ridge, Unit

        unit = Unit(self.options.loss, self.centre, self.scale, self.options.quantiles)
        return {
            "constant": Mean(unit, seed),
            "best_feature": BestFeature(unit, seed),
            "ridge": Ridge(unit, seed),
            "gradient_boosting": GradientBoosting(unit, seed),
        }

    def scores(self, output: Output) -> Scores:
        """The number in the unit of the column; of counts the logarithm of the rate."""
        made = output["logits"][:, :1]
        if self.options.loss == "poisson":
            return Scores(made + float(np.log(self.centre)), (self.options.column,), "log rate")
        return Scores(self.centre + self.scale * made, (self.options.column,), f"units of {self.options.column}")

    def replies(self, measured: Measured) -> Replies:
        """Numbers, and their absolute errors."""
        value, error = measured["value"], np.abs(measured["value"] - measured["truth"])
        return Replies(value[:, None], (self.options.column,), "value", error, "absolute error")

    def plots(self, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
        from medloom.tasks import _number_figures

        return _number_figures.plots(self.options.column, measured)

    def sample_size(
        self, marks: Marks, rows: np.ndarray, parameters: int, explained: float
    ) -> Mapping[str, tuple[Needed, int | None]]:
        from medloom.statistics.sample_size import continuous

        values = marks.values[rows]
        deviation = float(values.std()) if len(values) else 0.0
        if not deviation:
            return {}
        return {self.options.column: (continuous(parameters, float(values.mean()), deviation, explained), None)}

    def question(self) -> str:
        return f"What is the {'number' if self.options.loss == 'poisson' else 'value'} of {self.options.column}?"

    def describe(self) -> Mapping[str, str]:
        poisson = self.options.loss == "poisson"
        asked = f"{100 * self.options.coverage:g} %"
        learnt = {"squared": "the mean", "absolute": "the median", "huber": "between mean and median"}
        margin = f"too few calibration rows for {asked}" if self.calibrated_on else "not calibrated"
        if self.margin is not None:
            margin = f"{asked}, {self.margin:+.4g} on each side from {self.calibrated_on} calibration rows"
        if self.groups is not None and self.margin is not None:
            from medloom.tasks._conformal import said

            margin = said(self.groups, self.options.coverage, self.options.conformal_by)
        local = {}
        if self.local is not None:
            local = {"recalibrated to local rows": f"times {self.local.slope:.4g}, plus {self.local.intercept[0]:.4g}"}
        return {
            "learnt": "the mean count" if poisson else learnt[self.options.loss],
            "training rows": f"{self.rows}, centre {self.centre:.4g}, scale {self.scale:.4g}",
            "intervals": margin,
            **local,
        }


def _centre_and_scale(values: np.ndarray, options: RegressOptions) -> tuple[float, float]:
    """Centre and scale of rising values that differ. Where half of them are equal, a robust scale is the standard one.

    Counts are centred on their mean whatever the scale, as their rate is told relative to it.
    """
    mean, spread = float(values.mean()), float(values.std())
    if options.scale == "robust":
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        centre = mean if options.loss == "poisson" else float(middle)
        return centre, float((high - low) / 1.349) if high > low else spread
    return mean, spread
