"""Survival: the risk of an event by given times, where some rows are followed without it and then no longer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field as Key
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from medloom.errors import DataError, StudyError, some
from medloom.modality import Lifted, Marks
from medloom.parts import TargetPart
from medloom.task import Baseline, Measured, Metric, Plot, Prediction, Task

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from medloom.batch import Field, Gives, Output
    from medloom.cohort.table import Cohort
    from medloom.statistics.sample_size import Needed

HAPPENED = ("1", "true", "yes")
CENSORED = ("0", "false", "no")
FEWEST_EVENTS = 10
"""Events among the calibration rows from which on a temperature is set."""


class SurviveOptions(TargetPart):
    """Options of `task = "survive"`."""

    task: Literal["survive"] = "survive"
    time: str = Key(description="column with how long each row was followed, from its index time; empty where unknown")
    event: str = Key(description="column that says whether that time ended with the event (1) or is censored (0)")
    event_values: tuple[str | float, ...] = Key(
        (), description="values of event that mean it happened; left out: 1, true and yes"
    )
    censored_values: tuple[str | float, ...] = Key(
        (),
        description="values of event that mean censored; left out: 0, false and no. Naming a competing event here takes those rows as if they could still have the event",
    )
    missing: tuple[str | float, ...] = Key((), description="values of either column that mean unknown")
    horizons: tuple[Annotated[float, Key(gt=0)], ...] = Key(
        (),
        description="times, rising, by which the risk is told, in the unit of time; left out: the quartiles of the event times of the training rows",
    )
    bins: int = Key(
        30, ge=2, le=500, description="intervals of time, at most; each has about as many events of training rows"
    )
    calibration: Literal["temperature", "none"] = Key(
        "temperature", description="temperature scaling of the hazards on calibration rows"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.horizons) != sorted(set(self.horizons)):
            raise PydanticCustomError("part", "horizons needs rising times, all different")
        both = {_word(v) for v in self.event_values} & {_word(v) for v in self.censored_values}
        if both or self.time == self.event:
            raise PydanticCustomError("part", "time and event, event_values and censored_values must differ")
        return self


@dataclass(frozen=True, slots=True)
class FollowedSummary:
    """Distinct (time, event) in order, with how many rows have each."""

    times: tuple[float, ...]
    events: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RiskPrediction(Prediction):
    """`risk` [rows, edges] by each edge of the intervals, and `score`: the risk averaged over time up to the last edge."""

    risk: np.ndarray
    score: np.ndarray
    horizons: Mapping[str, int]
    """Names of the horizons → which edge each is."""

    def __len__(self) -> int:
        return len(self.score)

    def columns(self) -> Mapping[str, Any]:
        return {**{f"risk_{name}": self.risk[:, at] for name, at in self.horizons.items()}, "score": self.score}


@dataclass(frozen=True, slots=True)
class Survive(Task):
    """Fitted hazards: the edges of the intervals, and the hazards of all training rows together.

    Times of exactly 0 are kept: an event at 0 belongs to the first interval, a row censored at 0 teaches nothing.
    """

    Options: ClassVar[type[SurviveOptions]] = SurviveOptions
    Summary: ClassVar[type[FollowedSummary]] = FollowedSummary
    needs: ClassVar[Literal["pooled"]] = "pooled"
    joins: ClassVar[tuple[str, ...]] = ("cox", "gradient_boosting")

    options: SurviveOptions
    edges: tuple[float, ...]
    horizons: tuple[float, ...]
    hazards: tuple[float, ...]
    events: int
    censored: int
    at_zero: int
    temperature: float = 1.0
    calibrated: bool = False

    @classmethod
    def columns(cls, options: SurviveOptions) -> tuple[str, ...]:  # type: ignore[override]
        return (options.time, options.event)

    @classmethod
    def read(cls, options: SurviveOptions, cohort: Cohort) -> Marks:  # type: ignore[override]
        """Time and event, 0 or 1, "rows 2"; NaN where unknown. Raises DataError for what cannot be."""
        from medloom.tasks._numbers import numbers, refuse

        time = numbers(cohort, options.time, options.missing)
        refuse(cohort, options.time, time < 0, "are negative", "expected times from the index time on")
        event = _events(options, cohort)
        half = np.isnan(time) != np.isnan(event)
        found = f"stand without {options.event!r}, or are missing where it is known"
        refuse(cohort, options.time, half, found, "expected both or neither; leave both empty where one is unknown")
        return Marks(np.stack([time, event], axis=1), ~np.isnan(time))

    @classmethod
    def strata(cls, options: SurviveOptions, marks: Marks) -> np.ndarray:  # type: ignore[override]
        """Whether the event happened."""
        return np.where(marks.present, np.nan_to_num(marks.values[:, 1]), -1).astype(np.int64)

    @classmethod
    def tally(cls, options: SurviveOptions, marks: Marks, rows: np.ndarray) -> Mapping[str, int]:  # type: ignore[override]
        event = marks.values[rows, 1]
        return {"event": int((event == 1).sum()), "censored": int((event == 0).sum())}

    @classmethod
    def summarise(cls, options: SurviveOptions, marks: Marks, rows: np.ndarray) -> FollowedSummary:  # type: ignore[override]
        values = marks.values[rows]
        distinct, counts = np.unique(values[~np.isnan(values[:, 0])], axis=0, return_counts=True)
        events = distinct[:, 1].astype(np.int64)
        return FollowedSummary(tuple(distinct[:, 0].tolist()), tuple(events.tolist()), tuple(counts.tolist()))

    @classmethod
    def fit(cls, options: SurviveOptions, summaries: Sequence[FollowedSummary]) -> Self:  # type: ignore[override]
        from medloom.tasks._hazards import marginal

        counts = np.concatenate([np.array(s.counts, np.int64) for s in summaries])
        time = np.repeat(np.concatenate([np.array(s.times, np.float64) for s in summaries]), counts)
        event = np.repeat(np.concatenate([np.array(s.events, np.float64) for s in summaries]), counts)
        order = np.lexsort((event, time))
        time, event = time[order], event[order]
        ended = time[event == 1]
        if not len(time):
            raise DataError(f"columns {options.time!r}, {options.event!r}: no known value in the training rows")
        if not len(ended) or ended[-1] == 0:
            found = f"all {len(time)} training rows are censored" if not len(ended) else "every event is at time 0"
            raise DataError(f"column {options.event!r}: {found}; expected events after time 0")
        horizons = _horizons(options, ended, float(time[-1]))
        share = np.arange(1, options.bins + 1) / options.bins
        quantiles = np.quantile(ended, share, method="inverted_cdf")
        edges = np.unique(np.concatenate([quantiles[quantiles > 0], horizons]))
        hazards = tuple(marginal(time, event, edges).tolist())
        at_zero = int((time == 0).sum())
        return cls(options, tuple(edges.tolist()), horizons, hazards, len(ended), len(time) - len(ended), at_zero)

    def target(self, marks: Marks, rows: np.ndarray) -> Field:
        """Time and event: float64 [batch, 2], 0 where unknown."""
        import torch

        from medloom.batch import Field

        values = marks.values[rows]
        return Field(torch.from_numpy(np.nan_to_num(values)), torch.from_numpy(~np.isnan(values[:, 0])))

    def head(self, gives: Mapping[str, Gives], width: int) -> nn.Module:
        from medloom.tasks._hazards import HazardHead

        return HazardHead(width, np.array(self.hazards))

    def loss(self, output: Output, target: Field, inputs: Mapping[str, Field]) -> Float[Tensor, " batch"]:
        """Negative log-likelihood of each row's follow-up, in nats."""
        import torch

        from medloom.tasks._hazards import hazard_loss

        logits = output["logits"]
        ended, outlived = (torch.from_numpy(part).to(logits.dtype) for part in self._periods(target))
        return hazard_loss(logits, ended, outlived) * target.present.to(logits.dtype)

    def _periods(self, target: Field) -> tuple[np.ndarray, np.ndarray]:
        from medloom.tasks._hazards import periods

        followed = target.value.double().numpy()
        return periods(followed[:, 0], followed[:, 1], np.array(self.edges))

    def calibrate(self, outputs: Iterable[tuple[Output, Field]]) -> Self:
        """A temperature of the distance of each hazard's log-odds from that of all training rows, by likelihood.

        It is left at 1 where fewer than ten calibration rows have the event.
        """
        from medloom.tasks._calibration import temperature
        from medloom.tasks._hazards import logit, negative_log_likelihood

        parts = []
        for output, target in outputs:
            known = target.present.numpy()
            each = (output["logits"].detach().double().numpy(), *self._periods(target))
            parts.append([part[known] for part in each])
        if self.options.calibration == "none" or not parts:
            return self
        logits, ended, outlived = (np.concatenate(each) for each in zip(*parts, strict=True))
        if ended.sum() < FEWEST_EVENTS:
            return self
        base = logit(np.array(self.hazards))
        found = temperature(lambda t: negative_log_likelihood(base + (logits - base) / t, ended, outlived))
        return replace(self, temperature=found, calibrated=True)

    def decode(self, output: Output | Lifted) -> RiskPrediction:
        """Risks by every edge, from calibrated hazards."""
        from medloom.tasks._hazards import logit

        if isinstance(output, Lifted):
            raise StudyError("survive gives one answer a row and cannot be laid on an input")
        base = logit(np.array(self.hazards))
        logits = base + (output["logits"].detach().double().numpy() - base) / self.temperature
        risk = -np.expm1(-np.cumsum(np.logaddexp(0, logits), axis=1))
        edges = np.concatenate([[0.0], self.edges])
        score = np.trapezoid(np.pad(risk, ((0, 0), (1, 0))), edges, axis=1) / edges[-1]
        return RiskPrediction(risk, score, {_name(h): self.edges.index(h) for h in self.horizons})

    def measure(self, prediction: Prediction, truth: Field | Lifted) -> Measured:
        """`time` and `event` with NaN where unknown, `score`, and `risk` "rows edges"."""
        assert isinstance(prediction, RiskPrediction) and not isinstance(truth, Lifted)
        followed = np.where(truth.present.numpy()[:, None], truth.value.double().numpy(), np.nan)
        return {
            "time": followed[:, 0],
            "event": followed[:, 1],
            "score": prediction.score,
            "risk": prediction.risk,
        }

    def metrics(self) -> Mapping[str, Metric]:
        from medloom.tasks import _survival_figures

        return _survival_figures.metrics(self.edges, {_name(h): h for h in self.horizons})

    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        from medloom.tasks._survive_baselines import CoxPH, GradientBoosting, KaplanMeier

        edges = np.array(self.edges)
        return {
            "kaplan_meier": KaplanMeier(edges, seed),
            "cox": CoxPH(edges, seed),
            "gradient_boosting": GradientBoosting(edges, seed),
        }

    def plots(self, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
        from medloom.tasks import _survival_figures

        return _survival_figures.plots(self.options.time, self.edges, {_name(h): h for h in self.horizons}, measured)

    def sample_size(
        self, marks: Marks, rows: np.ndarray, parameters: int, explained: float
    ) -> Mapping[str, tuple[Needed, int | None]]:
        """At the first horizon, with the mean follow-up of the rows."""
        from medloom.statistics.sample_size import of_rate

        time, happened = marks.values[rows, 0], marks.values[rows, 1] == 1
        followed, events = float(time.mean()) if len(time) else 0.0, int(happened.sum())
        if not followed or not events or events == len(time):
            return {}
        return {"event": (of_rate(parameters, events / len(time), followed, self.horizons[0], explained), events)}

    def question(self) -> str:
        names = ", ".join(map(_name, self.horizons))
        return f"{self.options.event}: how likely by {names} {self.options.time}?"

    def describe(self) -> Mapping[str, str]:
        zero = f", {self.at_zero} of them followed for no time" if self.at_zero else ""
        return {
            "training rows": f"{self.events} with the event, {self.censored} censored{zero}",
            "intervals of time": f"{len(self.edges)}, up to {_name(self.edges[-1])}",
            "horizons": ", ".join(map(_name, self.horizons)),
            "temperature": f"{self.temperature:.3f}" if self.calibrated else "not calibrated",
        }


def _word(value: str | float) -> str:
    return (f"{value:g}" if isinstance(value, float) else str(value)).lower()


def _name(horizon: float) -> str:
    return f"{horizon:.12g}"


def _events(options: SurviveOptions, cohort: Cohort) -> np.ndarray:
    """1 where the event happened, 0 where the row is censored, NaN where neither is known."""
    from medloom.tasks._numbers import known

    text = known(cohort, options.event, options.missing).str.to_lowercase()
    happened = [_word(value) for value in options.event_values] or list(HAPPENED)
    censored = [_word(value) for value in options.censored_values] or [w for w in CENSORED if w not in happened]
    happened = [word for word in happened if word not in censored]
    other = text.filter(~text.is_in([*happened, *censored]) & text.is_not_null())
    if len(other):
        codes = other.unique().sort().to_list()
        raise DataError(
            f"column {options.event!r}: {len(other)} rows hold codes that mean neither the event nor censored "
            f"({some(codes)}); name them in event_values or censored_values, or leave time and event empty there"
        )
    result = np.full(len(cohort), np.nan)
    result[text.is_in(happened).fill_null(False).to_numpy()] = 1.0
    result[text.is_in(censored).fill_null(False).to_numpy()] = 0.0
    return result


def _horizons(options: SurviveOptions, ended: np.ndarray, followed: float) -> tuple[float, ...]:
    """The asked horizons, or quartiles of the rising event times; each at most the longest follow-up."""
    if options.horizons:
        late = [horizon for horizon in options.horizons if horizon > followed]
        if late:
            raise DataError(
                f"horizons: {', '.join(map(_name, late))} lies beyond the longest follow-up of the training rows; "
                f"expected at most {_name(followed)} in column {options.time!r}"
            )
        return options.horizons
    quartiles = np.unique(np.quantile(ended, [0.25, 0.5, 0.75], method="inverted_cdf"))
    quartiles = quartiles[quartiles > 0]
    return tuple((quartiles if len(quartiles) else ended[-1:]).tolist())
