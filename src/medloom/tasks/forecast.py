"""Forecasts: the next values of a series as quantiles at several horizons, made as changes from the last known value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from medloom.errors import DataError, StudyError, counted
from medloom.modality import Lifted, Marks
from medloom.task import Baseline, Measured, Metric, Plot, Prediction, Replies, Scores, Task
from medloom.tasks._forecast_options import ForecastOptions as ForecastOptions

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from medloom.batch import Field, Gives, Output
    from medloom.cohort.table import Cohort

FEWEST_NAMED = 10
"""Clusters of rows that a series needs before its name may stand in a bundle."""
Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class ChangeSummary:
    """Of training rows: the known changes from the last value at each horizon, rising; and the last values themselves."""

    changes: Rows
    last: tuple[float, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForecastPrediction(Prediction):
    """Quantiles "rows horizons quantiles" in the unit of the value; NaN where a row has no last value."""

    quantile: np.ndarray
    levels: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.quantile)

    def columns(self) -> Mapping[str, Any]:
        """The median of the first horizon as the answer itself; then every quantile of every horizon."""
        middle = len(self.levels) // 2
        each = {
            f"h{h + 1}_q{level:g}": self.quantile[:, h, i]
            for h in range(self.quantile.shape[1])
            for i, level in enumerate(self.levels)
        }
        return {"": self.quantile[:, 0, middle], **each}


@dataclass(frozen=True, slots=True)
class Forecast(Task):
    """A fitted forecast: the spread of changes at each horizon, and the quantiles of past changes, from training rows.

    `scale` is the unit of changes at each horizon; `errors` are the quantiles of past changes in it, which is the
    forecast "as now"; `factor` is what calibration rows multiply the distances from the median by, `margin` what they add to
    both sides of each interval, widest first.
    """

    Options: ClassVar[type[ForecastOptions]] = ForecastOptions
    Summary: ClassVar[type[ChangeSummary]] = ChangeSummary
    needs: ClassVar[Literal["pooled"]] = "pooled"
    rehearses: ClassVar[bool] = True
    joins: ClassVar[tuple[str, ...]] = ("ridge", "gradient_boosting")

    options: ForecastOptions
    scale: tuple[float, ...]
    errors: Rows
    level: float
    rows: int
    names: tuple[str, ...] = ()
    margin: Rows = ()
    calibrated_on: int = 0
    factor: tuple[float, ...] = ()
    dates: int = 0

    @classmethod
    def columns(cls, options: ForecastOptions) -> tuple[str, ...]:  # type: ignore[override]
        return options.columns

    @classmethod
    def read(cls, options: ForecastOptions, cohort: Cohort) -> Marks:  # type: ignore[override]
        """Values at the horizons, NaN where not yet observed, with the last value and what simple models need.

        A row is known where any horizon is. Raises DataError for what is no number, and for negative values where the
        transform is for values of 0 and above.
        """
        from medloom.tasks._forecast_reading import read

        reading, names = read(options, cohort)
        return Marks(reading.packed(), ~np.isnan(reading.truth).all(axis=1), names)

    def base(self, cohort: Cohort) -> Float[np.ndarray, "rows 2"]:
        """The last value on the scale of the transform, and the population in 100,000."""
        from medloom.tasks._forecast_reading import base

        return base(self.options, cohort)

    @classmethod
    def outcomes(cls, options: ForecastOptions, marks: Marks) -> np.ndarray:  # type: ignore[override]
        return _changes(options, marks.values)

    @classmethod
    def tally(cls, options: ForecastOptions, marks: Marks, rows: np.ndarray) -> Mapping[str, int]:  # type: ignore[override]
        known = ~np.isnan(_changes(options, marks.values[rows]))
        ends = dict.fromkeys((1, options.horizons))
        return {f"known at horizon {h}": int(known[:, h - 1].sum()) for h in ends}

    @classmethod
    def summarise(cls, options: ForecastOptions, marks: Marks, rows: np.ndarray) -> ChangeSummary:  # type: ignore[override]
        from medloom.cohort.panel_values import unscaled
        from medloom.tasks._forecast_reading import Reading, series_code

        reading = Reading.unpacked(marks.values[rows])
        changes = reading.change(reading.truth, options.transform)
        last = unscaled(reading.base, options.transform) * reading.per
        names: tuple[str, ...] = ()
        if options.name_series:
            codes, counts = np.unique(reading.series[~np.isnan(reading.truth).all(axis=1)], return_counts=True)
            kept = set(codes[counts >= FEWEST_NAMED].tolist())
            names = tuple(name for name in marks.names if series_code(name) in kept)
        known = tuple(tuple(np.sort(column[~np.isnan(column)]).tolist()) for column in changes.T)
        return ChangeSummary(known, tuple(np.sort(last[~np.isnan(last)]).tolist()), names)

    @classmethod
    def fit(cls, options: ForecastOptions, summaries: Sequence[ChangeSummary]) -> Self:  # type: ignore[override]
        scale, errors = [], []
        for h in range(options.horizons):
            change = np.sort(np.concatenate([np.array(one.changes[h], np.float64) for one in summaries]))
            if len(change) < 2:
                raise DataError(
                    f"horizon {h + 1}: {len(change)} known values in the training rows; expected at least 2"
                )
            spread = float(np.sqrt((change**2).mean()))
            if spread == 0:
                raise DataError(
                    f"horizon {h + 1}: every value of the training rows equals the last one before it; there is nothing to "
                    "learn. Leave out series that are constant"
                )
            both = np.concatenate([change, -change]) / spread
            scale.append(spread)
            errors.append(tuple(np.quantile(both, options.quantiles).tolist()))
        last = np.sort(np.concatenate([np.array(one.last, np.float64) for one in summaries]))
        names = tuple(sorted({name for one in summaries for name in one.names}))
        level = float(((np.maximum(last, 0) + 1) ** options.emphasis).mean())
        return cls(options, tuple(scale), tuple(errors), level, len(last), names)

    def target(self, marks: Marks, rows: np.ndarray) -> Field:
        """The values float64 [batch, horizons], 0 and not valid where unknown; beside them what simple models need."""
        import torch

        from medloom.batch import Field
        from medloom.tasks._forecast_reading import Reading

        reading = Reading.unpacked(marks.values[rows])
        change = reading.change(reading.truth, self.options.transform) / np.array(self.scale)
        season = reading.change(reading.season, self.options.transform) / np.array(self.scale)
        beside = {
            "change": np.nan_to_num(change), "season": season, "base": reading.base, "per": reading.per,
            "day": reading.day, "series": reading.series, "time": reading.time,
        }  # fmt: skip
        valid = ~np.isnan(reading.truth)
        return Field(
            torch.from_numpy(np.nan_to_num(reading.truth)),
            torch.from_numpy(valid.any(axis=1)),
            torch.from_numpy(valid),
            {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in beside.items()},
        )

    def head(self, gives: Mapping[str, Gives], width: int) -> nn.Module:
        from medloom.tasks._forecast_head import QuantileHead

        return QuantileHead(width, self.options.horizons, self.options.quantiles)

    def loss(self, output: Output, target: Field, inputs: Mapping[str, Field]) -> Float[Tensor, " batch"]:
        """Twice the mean pinball loss of the changes, over quantiles and known horizons: their weighted interval score.

        Source: Koenker & Bassett, "Regression quantiles", Econometrica 46, 1978; Bracher et al., PLOS Computational
        Biology 17, 2021.
        """
        import torch

        made = output["quantiles"]
        level = torch.tensor(self.options.quantiles, dtype=made.dtype, device=made.device)
        error = target.extra["change"].to(made.dtype)[..., None] - made
        each = 2 * torch.maximum(level * error, (level - 1) * error).mean(dim=-1)
        assert target.valid is not None
        known = target.valid.to(made.dtype)
        loss = (each * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)
        return loss * target.present.to(made.dtype) * self._weight(target).to(made.dtype)

    def _weight(self, target: Field) -> Tensor:
        import torch

        from medloom.cohort.panel_values import unscaled

        if not self.options.emphasis:
            return torch.ones_like(target.extra["base"])
        last = unscaled(target.extra["base"].cpu().numpy(), self.options.transform) * target.extra["per"].cpu().numpy()
        weight = (np.maximum(np.nan_to_num(last), 0) + 1) ** self.options.emphasis / self.level
        return torch.from_numpy(weight).to(target.value.device)

    def calibrate(self, outputs: Iterable[tuple[Output, Field]]) -> Self:
        """The widths that calibration rows ask for: a factor for each horizon, or a margin for each interval.

        With `widths = "scaled"` every quantile moves away from the median, or towards it, by the factor that has the
        least weighted interval score. With "conformal" each interval gets a margin by conformalised quantile regression:
        new rows are then held as often as asked if they come like the calibration rows. Of forecasts, whose rows follow
        one another in time and rise together, that is only nearly so.
        """
        from medloom.tasks import _forecast_widths as widths

        if self.options.widths == "learnt":
            return self
        made, truth, time = [], [], []
        for output, target in outputs:
            assert target.valid is not None
            made.append(output["quantiles"].detach().double().numpy())
            truth.append(np.where(target.valid.numpy(), target.extra["change"].numpy(), np.nan))
            time.append(target.extra["time"].numpy())
        quantile, change = np.concatenate(made), np.concatenate(truth)
        if self.options.widths == "conformal":
            margin = widths.margins(change, quantile, self.options.quantiles)
            return replace(self, margin=margin, calibrated_on=len(change))
        level, when = np.array(self.options.quantiles), np.concatenate(time)
        factor = tuple(widths.factors(change, quantile, level, when).tolist())
        return replace(self, factor=factor, calibrated_on=len(change), dates=len(np.unique(when[~np.isnan(when)])))

    def decode(self, output: Output | Lifted) -> ForecastPrediction:
        """Quantiles in the unit of the value, rising; not below 0 where the transform is for values of 0 and above."""
        from medloom.batch import BASE
        from medloom.cohort.panel_values import unscaled

        if isinstance(output, Lifted):
            raise StudyError("forecast gives one answer a row and cannot be laid on an input")
        quantile = output["quantiles"].detach().double().numpy()
        if self.factor:
            middle = quantile[..., len(self.options.quantiles) // 2, None]
            quantile = middle + np.array(self.factor)[:, None] * (quantile - middle)
        if self.margin:
            margin = np.array(self.margin)
            wide = np.concatenate([-margin, np.zeros((len(margin), 1)), margin[:, ::-1]], axis=1)
            # Margins below 0 may make quantiles pass each other.
            quantile = np.sort(quantile + wide, axis=-1)
        base, per = output[BASE].double().numpy().T
        made = base[:, None, None] + quantile * np.array(self.scale)[:, None]
        return ForecastPrediction(unscaled(made, self.options.transform) * per[:, None, None], self.options.quantiles)

    def measure(self, prediction: Prediction, truth: Field | Lifted) -> Measured:
        """`truth`, `score`, `reference` (that of "as now, with past errors"), `error` of the median and whether intervals
        held it, all "rows horizons"; `quantile` "rows horizons quantiles"; `series` and `time` of each row.
        """
        from medloom.statistics.forecasts import inside, shown, weighted_interval_score

        assert isinstance(prediction, ForecastPrediction) and not isinstance(truth, Lifted)
        assert truth.valid is not None
        answer = np.where((truth.valid & truth.present[:, None]).numpy(), truth.value.double().numpy(), np.nan)
        level = np.array(self.options.quantiles)
        reference = self._as_now(truth)
        held = {
            f"inside_{round(100 * meant)}": inside(answer, prediction.quantile, low, high)
            for low, high, meant in shown(self.options.quantiles)
        }
        return {
            **held,
            "truth": answer,
            "error": np.abs(prediction.quantile[..., len(level) // 2] - answer),
            "quantile": prediction.quantile,
            "score": weighted_interval_score(answer, prediction.quantile, level),
            "reference": weighted_interval_score(answer, reference, level),
            "series": truth.extra["series"].numpy(),
            "time": truth.extra["time"].numpy(),
        }

    def _as_now(self, truth: Field) -> Float[np.ndarray, "rows horizons quantiles"]:
        """The last value with the quantiles of past changes about it."""
        from medloom.cohort.panel_values import unscaled

        spread = np.array(self.errors) * np.array(self.scale)[:, None]
        made = truth.extra["base"].double().numpy()[:, None, None] + spread
        return unscaled(made, self.options.transform) * truth.extra["per"].double().numpy()[:, None, None]

    def metrics(self) -> Mapping[str, Metric]:
        from medloom.tasks import _forecast_figures

        return _forecast_figures.metrics(self.options.quantiles, self.options.horizons)

    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        from medloom.tasks import _forecast_baselines as simple

        unit = simple.Unit(self.options.quantiles, self.errors)
        found: dict[str, Baseline] = {"persistence": simple.Persistence(unit)}
        if self.options.season is not None:
            found["seasonal"] = simple.Seasonal(unit)
        if self.options.day_of_year is not None:
            found["climatology"] = simple.Climatology(unit, np.array(self.scale), self.options.transform)
        return {**found, "ridge": simple.Ridge(unit), "gradient_boosting": simple.GradientBoosting(unit, seed)}

    def scores(self, output: Output) -> Scores:
        """The median change from the last value at each horizon, in its usual size."""
        made = output["quantiles"][..., len(self.options.quantiles) // 2]
        return Scores(made, self.options.columns, "usual changes from the last value")

    def replies(self, measured: Measured) -> Replies:
        """Medians, and their mean absolute error over the known horizons."""
        from medloom.cohort.panel_values import rows_mean

        median = measured["quantile"][..., len(self.options.quantiles) // 2]
        error = rows_mean(measured["error"])
        return Replies(median, self.options.columns, "median", error, "mean absolute error over the horizons")

    def plots(self, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
        from medloom.tasks import _forecast_plots

        return _forecast_plots.plots(self.options, self.names, measured)

    def question(self) -> str:
        of = "" if self.options.last == "last" else f" of {self.options.last}"
        count = "value" if self.options.horizons == 1 else f"{self.options.horizons} values"
        return f"What will the next {count}{of} be?"

    def describe(self) -> Mapping[str, str]:
        intervals = "as learnt: not adjusted"
        if self.factor:
            each = ", ".join(f"{one:.2f}" for one in self.factor)
            of = f"{self.dates} forecast dates" if self.dates else counted(self.calibrated_on, "row")
            intervals = (
                f"distances from the median times {each} at the horizons in turn, as {of} that taught nothing asked for"
            )
        elif self.calibrated_on:
            intervals = f"each horizon's adjusted on {self.calibrated_on} calibration rows"
        ends = f"{self.scale[0]:.3g} at the first and {self.scale[-1]:.3g} at the last horizon"
        return {
            "learnt": f"quantiles of the change from the last value ({self.options.transform})",
            "usual change": f"{ends}, from {self.rows} training rows",
            "intervals": intervals,
            "reference": "relative WIS is against the last value with the quantiles of past changes about it",
        }


def _changes(options: ForecastOptions, values: np.ndarray) -> Float[np.ndarray, "rows horizons"]:
    from medloom.tasks._forecast_reading import Reading

    reading = Reading.unpacked(values)
    return reading.change(reading.truth, options.transform)
