"""Survival: the risk of an event by given times, where some rows are followed without it and then no longer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from medloom.errors import DataError, StudyError, counted
from medloom.modality import Lifted, Marks
from medloom.task import Baseline, Measured, Metric, Plot, Prediction, Replies, Scores, Task
from medloom.tasks._survive_options import SurviveOptions, chosen_horizons, events, horizon_name

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from medloom.batch import Field, Gives, Output
    from medloom.cohort.table import Cohort
    from medloom.statistics.sample_size import Needed

FEWEST_EVENTS = 10
"""Events among the calibration rows from which on a temperature is set."""
FEWEST_LOCAL = 20
"""Events among local rows from which on a bundle is recalibrated to them."""


@dataclass(frozen=True, slots=True)
class FollowedSummary:
    """Distinct (time, event) in order, with how many rows have each."""

    times: tuple[float, ...]
    events: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RiskPrediction(Prediction):
    """`risk` [rows, edges] by each edge of the intervals, and `score`: its mean over the edges.

    Edges lie where the events of the training rows do, so early risks count as much as there are early events: where
    hazards cross, a mean over time would rank rows by what few of them live to see.

    With competing events the risk is the cumulative incidence of the event, and `competing` that of the others.
    """

    risk: np.ndarray
    score: np.ndarray
    horizons: Mapping[str, int]
    """Names of the horizons → which edge each is."""
    competing: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.score)

    def columns(self) -> Mapping[str, Any]:
        answers = {f"risk_{name}": self.risk[:, at] for name, at in self.horizons.items()}
        if self.competing is not None:
            answers |= {f"competing_{name}": self.competing[:, at] for name, at in self.horizons.items()}
        return {**answers, "score": self.score}


@dataclass(frozen=True, slots=True)
class Survive(Task):
    """Fitted hazards: the edges of the intervals, and the hazards of all training rows together.

    Times of exactly 0 are kept: an event at 0 belongs to the first interval, a row censored at 0 teaches nothing.
    Competing events, where the study names any, are one more cause that may end an interval. `shift` is what rows of
    another place add to the log-odds of each cause's hazards, interval by interval.
    """

    Options: ClassVar[type[SurviveOptions]] = SurviveOptions
    Summary: ClassVar[type[FollowedSummary]] = FollowedSummary
    needs: ClassVar[Literal["pooled"]] = "pooled"
    joins: ClassVar[tuple[str, ...]] = ("best_feature", "cox", "gradient_boosting")

    options: SurviveOptions
    edges: tuple[float, ...]
    horizons: tuple[float, ...]
    hazards: tuple[float, ...]
    events: int
    censored: int
    at_zero: int
    temperature: float = 1.0
    calibrated: bool = False
    competing: int = 0
    competing_hazards: tuple[float, ...] = ()
    shift: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def columns(cls, options: SurviveOptions) -> tuple[str, ...]:  # type: ignore[override]
        return (options.time, options.event)

    @classmethod
    def read(cls, options: SurviveOptions, cohort: Cohort) -> Marks:  # type: ignore[override]
        """Time and event (0 censored, 1 the event, 2 a competing one), "rows 2"; NaN where unknown.

        Raises DataError for what cannot be.
        """
        from medloom.tasks._numbers import numbers, refuse

        time = numbers(cohort, options.time, options.missing)
        refuse(cohort, options.time, time < 0, "are negative", "expected times from the index time on")
        event = events(options, cohort)
        half = np.isnan(time) != np.isnan(event)
        found = f"stand without {options.event!r}, or are missing where it is known"
        refuse(cohort, options.time, half, found, "expected both or neither; leave both empty where one is unknown")
        return Marks(np.stack([time, event], axis=1), ~np.isnan(time))

    @classmethod
    def outcomes(cls, options: SurviveOptions, marks: Marks) -> np.ndarray:  # type: ignore[override]
        """Whether the event happened, whenever that was."""
        return np.asarray(marks.values[:, 1:], np.float64)

    @classmethod
    def strata(cls, options: SurviveOptions, marks: Marks) -> np.ndarray:  # type: ignore[override]
        """What ended the follow-up."""
        return np.where(marks.present, np.nan_to_num(marks.values[:, 1]), -1).astype(np.int64)

    @classmethod
    def tally(cls, options: SurviveOptions, marks: Marks, rows: np.ndarray) -> Mapping[str, int]:  # type: ignore[override]
        event = marks.values[rows, 1]
        competing = {"competing": int((event == 2).sum())} if options.competing_values else {}
        return {"event": int((event == 1).sum()), **competing, "censored": int((event == 0).sum())}

    @classmethod
    def summarise(cls, options: SurviveOptions, marks: Marks, rows: np.ndarray) -> FollowedSummary:  # type: ignore[override]
        values = marks.values[rows]
        distinct, counts = np.unique(values[~np.isnan(values[:, 0])], axis=0, return_counts=True)
        events = distinct[:, 1].astype(np.int64)
        return FollowedSummary(tuple(distinct[:, 0].tolist()), tuple(events.tolist()), tuple(counts.tolist()))

    @classmethod
    def fit(cls, options: SurviveOptions, summaries: Sequence[FollowedSummary]) -> Self:  # type: ignore[override]
        from medloom.tasks._hazards import marginal_causes

        time, event = _together(summaries)
        ended = time[event == 1]
        if not len(time):
            raise DataError(f"columns {options.time!r}, {options.event!r}: no known value in the training rows")
        if not len(ended) or ended[-1] == 0:
            competing = ", or ended with a competing event" if (event == 2).any() else ""
            found = "every event is at time 0" if len(ended) else f"all {len(time)} training rows are censored{competing}"  # fmt: skip
            raise DataError(f"column {options.event!r}: {found}; expected events after time 0")
        horizons = chosen_horizons(options, ended, float(time[-1]))
        share = np.arange(1, options.bins + 1) / options.bins
        quantiles = np.quantile(ended, share, method="inverted_cdf")
        edges = np.unique(np.concatenate([quantiles[quantiles > 0], horizons]))
        hazards = marginal_causes(time, event, edges, 2 if options.competing_values else 1)
        return cls(
            options,
            tuple(edges.tolist()),
            horizons,
            tuple(hazards[0].tolist()),
            events=len(ended),
            censored=int((event == 0).sum()),
            at_zero=int((time == 0).sum()),
            competing=int((event == 2).sum()),
            competing_hazards=tuple(hazards[1].tolist()) if options.competing_values else (),
        )

    def target(self, marks: Marks, rows: np.ndarray) -> Field:
        """Time and event: float64 [batch, 2], 0 where unknown."""
        import torch

        from medloom.batch import Field

        values = marks.values[rows]
        return Field(torch.from_numpy(np.nan_to_num(values)), torch.from_numpy(~np.isnan(values[:, 0])))

    @property
    def _base(self) -> np.ndarray:
        """Log-odds [causes, bins] of all training rows together."""
        from medloom.tasks._hazards import log_odds

        causes = (self.hazards, self.competing_hazards) if self.competing_hazards else (self.hazards,)
        return log_odds(np.array(causes))

    def head(self, gives: Mapping[str, Gives], width: int) -> nn.Module:
        from medloom.tasks._hazards import HazardHead, ProportionalHead

        kind = ProportionalHead if self.options.hazards == "proportional" else HazardHead
        return kind(width, self._base)

    def loss(self, output: Output, target: Field, inputs: Mapping[str, Field]) -> Float[Tensor, " batch"]:
        """Negative log-likelihood of each row's follow-up, in nats."""
        import torch

        from medloom.tasks._hazards import by_cause, cause_periods_on, hazard_loss

        logits = by_cause(output["logits"])
        edges = torch.tensor(self.edges, dtype=torch.float64, device=logits.device)
        time, event = target.value.double().T
        found = cause_periods_on(time, event, edges, 1 + bool(self.competing_hazards))
        ended, outlived = (part.to(logits.dtype) for part in found)
        return hazard_loss(logits, ended, outlived) * target.present.to(logits.dtype)

    def _periods(self, target: Field) -> tuple[np.ndarray, np.ndarray]:
        from medloom.tasks._hazards import cause_periods

        followed = target.value.double().numpy()
        return cause_periods(followed[:, 0], followed[:, 1], np.array(self.edges), 1 + bool(self.competing_hazards))

    def combine(self, outputs: Sequence[Output], shares: Float[Tensor, " members"] | None = None) -> Output:
        """Log-odds whose risks are the mean of the members' risks."""
        import torch

        from medloom.tasks._hazards import by_cause, mean_incidence

        logits = torch.stack([by_cause(output["logits"]) for output in outputs])
        if shares is None:
            shares = torch.full((len(outputs),), 1 / len(outputs))
        return {"logits": mean_incidence(logits, shares.to(logits)).view(outputs[0]["logits"].shape)}

    def calibrate(self, outputs: Iterable[tuple[Output, Field]]) -> Self:
        """A temperature of the distance of each hazard from that of all training rows, by likelihood.

        It is left at 1 where fewer than ten calibration rows have the event.
        """
        from medloom.tasks._calibration import temperature
        from medloom.tasks._hazards import by_cause, causes_loss

        parts = []
        for output, target in outputs:
            known = target.present.numpy()
            each = (by_cause(output["logits"]).detach().double().numpy(), *self._periods(target))
            parts.append([part[known] for part in each])
        if self.options.calibration == "none" or not parts:
            return self
        logits, ended, outlived = (np.concatenate(each) for each in zip(*parts, strict=True))
        if ended[:, 0].sum() < FEWEST_EVENTS:
            return self
        found = temperature(lambda t: causes_loss(self._stretched(logits, t), ended, outlived))
        return replace(self, temperature=found, calibrated=True)

    def recalibrate(self, outputs: Sequence[tuple[Output, Field]]) -> Self:
        """The baseline hazard of another place: a shift of the log-odds of each cause's hazards, by likelihood.

        Each stretch of time between two horizons has a shift of its own where twenty events lie in it, and is joined to the
        next one otherwise. Raises DataError where fewer than twenty local rows have the event; a competing cause with
        fewer keeps its hazards. Source: van Houwelingen, "Validation, calibration, revision and combination
        of prognostic survival models", Statistics in Medicine 19, 2000.
        """
        from scipy.optimize import minimize_scalar

        from medloom.tasks._hazards import by_cause, causes_loss

        known = [target.present.numpy() for _, target in outputs]
        rows = [by_cause(o["logits"]).detach().double().numpy()[k] for (o, _), k in zip(outputs, known, strict=True)]
        periods = [[part[k] for part in self._periods(t)] for (_, t), k in zip(outputs, known, strict=True)]
        logits = self._moved(self._stretched(np.concatenate(rows), self.temperature), self.shift)
        ended, outlived = (np.concatenate(each) for each in zip(*periods, strict=True))
        times = ended.sum(axis=(0, 2))
        if times[0] < FEWEST_LOCAL:
            raise DataError(
                f"{self.options.event}: found {counted(int(times[0]), 'event')} among the local rows; expected at least "
                f"{FEWEST_LOCAL}. Gather more rows, or use the bundle as it is"
            )
        shift = np.zeros(logits.shape[1:])
        cuts = [self.edges.index(horizon) + 1 for horizon in self.horizons]
        for start, stop in stretches(ended[:, 0].sum(axis=0), cuts, FEWEST_LOCAL):
            here = slice(start, stop)
            for cause in [*np.flatnonzero(times >= FEWEST_LOCAL)] * (3 if len(times) > 1 else 1):
                own = np.arange(len(times)) == cause

                def loss(value: float, here: slice = here, own: np.ndarray = own) -> float:
                    by = np.where(own[:, None], value, shift[:, here])
                    return float(causes_loss(self._moved(logits[:, :, here], by), ended[:, :, here], outlived[:, here]))

                found = minimize_scalar(loss, bounds=(-8, 8), method="bounded", options={"xatol": 1e-6})
                shift[cause, here] = found.x
        before = np.array(self.shift) if self.shift else np.zeros(shift.shape)
        return replace(self, shift=tuple(tuple(map(float, row)) for row in before + shift))

    def _moved(self, logits: np.ndarray, shift: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
        """Log-odds with a shift for each cause and interval; of proportional hazards it is that of the log hazards."""
        from medloom.tasks._hazards import log_rates, odds_of_rates

        if not len(shift):
            return logits
        by = np.array(shift)
        return logits + by if self.options.hazards == "free" else np.asarray(odds_of_rates(log_rates(logits) + by))

    def _stretched(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """Log-odds with their distance from those of all training rows divided by a temperature.

        Of proportional hazards it is the distance of the log hazards, so that they stay proportional.
        """
        from medloom.tasks._hazards import log_rates, odds_of_rates

        base = self._base
        if self.options.hazards == "free":
            return np.asarray(base + (logits - base) / temperature)
        start = log_rates(base)
        return odds_of_rates(start + (log_rates(logits) - start) / temperature)

    def decode(self, output: Output | Lifted) -> RiskPrediction:
        """Risks by every edge, from calibrated hazards."""
        from medloom.tasks._hazards import by_cause, incidence

        if isinstance(output, Lifted):
            raise StudyError("survive gives one answer a row and cannot be laid on an input")
        logits = by_cause(output["logits"]).detach().double().numpy()
        reached = incidence(self._moved(self._stretched(logits, self.temperature), self.shift))
        risk = reached[:, 0]
        horizons = {name: self.edges.index(horizon) for name, horizon in self._named.items()}
        return RiskPrediction(risk, risk.mean(axis=1), horizons, reached[:, 1] if self.competing_hazards else None)

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

    @property
    def _named(self) -> Mapping[str, float]:
        return {horizon_name(horizon): horizon for horizon in self.horizons}

    @property
    def _unit(self) -> str:
        """What stands after a time in the words of a report."""
        return f" {self.options.unit}" if self.options.unit else ""

    def metrics(self) -> Mapping[str, Metric]:
        from medloom.tasks import _competing_figures, _survival_figures

        figures = _competing_figures if self.competing_hazards else _survival_figures
        return figures.metrics(self.edges, self._named, self._unit)

    def baselines(self, seed: int) -> Mapping[str, Baseline]:
        from medloom.tasks import _competing_baselines
        from medloom.tasks._survive_baselines import BestFeature, CoxPH, GradientBoosting, KaplanMeier

        if self.competing_hazards:
            return _competing_baselines.baselines(self.edges, seed)
        edges = np.array(self.edges)
        return {
            "kaplan_meier": KaplanMeier(edges, seed),
            "best_feature": BestFeature(edges, seed),
            "cox": CoxPH(edges, seed),
            "gradient_boosting": GradientBoosting(edges, seed),
        }

    def scores(self, output: Output) -> Scores:
        """The logarithm of the cumulative hazard of the event by the last interval, before calibration.

        Calibration stretches it and keeps its order. Of proportional hazards a difference is a log hazard ratio.
        """
        import torch

        from medloom.tasks._hazards import by_cause

        hazard = by_cause(output["logits"])[:, 0]
        cumulative = torch.nn.functional.softplus(hazard).sum(dim=1, keepdim=True)
        return Scores(cumulative.log(), (self.options.event,), "log cumulative hazard")

    def replies(self, measured: Measured) -> Replies:
        """Risks by each horizon. Errors of censored rows are not known, so no row has one."""
        names = self._named
        value = np.stack([measured["risk"][:, self.edges.index(horizon)] for horizon in names.values()], axis=1)
        return Replies(
            value, tuple(f"by {name}{self._unit}" for name in names), "risk", np.full(len(value), np.nan), ""
        )

    def plots(self, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
        from medloom.tasks import _competing_figures, _survival_figures

        figures = _competing_figures if self.competing_hazards else _survival_figures
        named = {f"{name}{self._unit}": horizon for name, horizon in self._named.items()}
        return figures.plots(self.options.unit or self.options.time, self.edges, named, measured)

    def _told_shift(self) -> str:
        values = [value for place, value in enumerate(self.shift[0]) if not place or value != self.shift[0][place - 1]]
        return f"log-odds of the event's hazard {', '.join(f'{value:+.3f}' for value in values)} over time"

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
        names = ", ".join(map(horizon_name, self.horizons))
        first = ", and before any competing event" if self.competing_hazards else ""
        time = self.options.time
        # A column such as `days` is named like its unit; `<outcome>_time`, as outcomes of events are called, is not.
        unnamed = f"{names} (in the unit of {time})" if time.endswith("_time") else f"{names} {time}"
        by = f"{names}{self._unit}" if self.options.unit else unnamed
        return f"{self.options.event.removesuffix('_event')}: how likely by {by}{first}?"

    def describe(self) -> Mapping[str, str]:
        zero = f", {self.at_zero} of them followed for no time" if self.at_zero else ""
        several = bool(self.competing_hazards)
        competing = f"{self.competing} with a competing one, " if several else ""
        cause = ", one for each cause; risks are cumulative incidences" if several else ""
        return {
            "training rows": f"{self.events} with the event, {competing}{self.censored} censored{zero}",
            "hazards": f"{self.options.hazards}{cause}",
            "intervals of time": f"{len(self.edges)}, up to {horizon_name(self.edges[-1])}{self._unit}",
            "horizons": f"{', '.join(map(horizon_name, self.horizons))}{self._unit}",
            "temperature": f"{self.temperature:.3f}" if self.calibrated else "not calibrated",
            **({"recalibrated to local rows": self._told_shift()} if self.shift else {}),
        }


def stretches(events: np.ndarray, cuts: Sequence[int], fewest: int) -> list[tuple[int, int]]:
    """Intervals (first, beyond the last) between the cuts, joined until each holds `fewest` events; the last takes what

    is left over.
    """
    found, start = [], 0
    for stop in sorted({*cuts, len(events)}):
        if events[start:stop].sum() >= fewest:
            found.append((start, stop))
            start = stop
    if start < len(events) and found:
        found[-1] = (found[-1][0], len(events))
    return found or [(0, len(events))]


def _together(summaries: Sequence[FollowedSummary]) -> tuple[np.ndarray, np.ndarray]:
    """Times and events of all rows, by rising time."""
    counts = np.concatenate([np.array(s.counts, np.int64) for s in summaries])
    time = np.repeat(np.concatenate([np.array(s.times, np.float64) for s in summaries]), counts)
    event = np.repeat(np.concatenate([np.array(s.events, np.float64) for s in summaries]), counts)
    order = np.lexsort((event, time))
    return time[order], event[order]
