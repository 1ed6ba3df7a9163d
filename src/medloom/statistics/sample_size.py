"""How many participants a prediction model needs at least, by Riley's criteria.

The criteria are for regression models; a network or a forest has more freedom, so it needs more and never less.

Source: Riley et al., "Calculating the sample size required for developing a clinical prediction model", BMJ 368:m441,
2020; Riley et al., "Minimum sample size for developing a multivariable prediction model", Statistics in Medicine 38,
2019, part I (continuous outcomes) and part II (binary and time-to-event outcomes).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from medloom.errors import counted

SHRINKAGE = 0.9
"""Predictor effects may need to be shrunk by a tenth at most."""
OPTIMISM = 0.05
"""How much better R² may look than it is, as a share of the largest R² there can be."""
MARGIN = 0.05
"""Half the width of the interval of the overall risk."""
FACTOR = 1.1
"""A mean or a standard deviation may be wrong by this factor."""
Z = 1.96


@dataclass(frozen=True, slots=True)
class Criterion:
    """What must be known well enough, and the participants that takes."""

    about: str
    rows: int


@dataclass(frozen=True, slots=True)
class Needed:
    """The criteria of one outcome, for so many candidate predictor parameters.

    `share` is the share of participants with the event; None where the outcome is a number. `assumed` says in words what
    was assumed of outcome and model.
    """

    criteria: tuple[Criterion, ...]
    parameters: int
    assumed: str
    share: float | None = None

    @property
    def rows(self) -> int:
        """Participants that meet every criterion."""
        return max(criterion.rows for criterion in self.criteria)

    @property
    def events(self) -> int | None:
        """Events among them."""
        return None if self.share is None else math.ceil(self.rows * self.share - 1e-9)


def largest_r_squared(prevalence: float) -> float:
    """The largest Cox-Snell R² that a model of two classes can have. Source: Riley 2019, part II, equation 23."""
    null = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    return 1 - math.exp(2 * null)


def largest_r_squared_survival(events: float) -> float:
    """The same for times to an event, from the events per participant. Source: Riley 2019, part II, section 5."""
    return 1 - math.exp(2 * (events * math.log(events) - events))


def binary(parameters: int, prevalence: float, explained: float) -> Needed:
    """Participants for two classes. `explained` is the Cox-Snell R² that is expected. Raises ValueError.

    >>> [one.rows for one in binary(24, 0.174, 0.288).criteria]
    [221, 623, 662]
    """
    _possible(0 < prevalence < 1, f"prevalence {prevalence}")
    largest = largest_r_squared(prevalence)
    precise = math.ceil((Z / MARGIN) ** 2 * prevalence * (1 - prevalence))
    criteria = (Criterion("overall risk within 0.05", precise), *_overfitting(parameters, explained, largest))
    assumed = f"{prevalence:.1%} with the outcome; Nagelkerke R² {explained / largest:.2f}"
    return Needed(criteria, parameters, assumed, prevalence)


def survival(parameters: int, rate: float, mean_follow_up: float, time: float, explained: float) -> Needed:
    """Participants for times to an event: `rate` events a unit of time, risk told at `time`. Raises ValueError.

    `explained` is the Cox-Snell R² that is expected. The overall risk is that of a constant rate.

    >>> [one.rows for one in survival(25, 0.065, 2.07, 2.0, 0.051).criteria][1:]
    [4286, 866]
    """
    _possible(rate > 0 and mean_follow_up > 0 and time > 0, "rate, follow-up and time must be above 0")
    events = rate * mean_follow_up
    largest = largest_r_squared_survival(min(events, 1.0))
    # Of the two sides of the interval the lower one is further away: log(1 + x) < -log(1 - x).
    reach = math.log1p(MARGIN * math.exp(rate * time)) / time
    precise = math.ceil(rate * (Z / reach) ** 2 / mean_follow_up)
    criteria = (Criterion("overall risk within 0.05", precise), *_overfitting(parameters, explained, largest))
    assumed = (
        f"{rate:.3g} events a unit of time over a mean follow-up of {mean_follow_up:.3g}, risk at {time:.3g}; "
        f"Nagelkerke R² {explained / largest:.2f}"
    )
    return Needed(criteria, parameters, assumed, min(events, 1.0))


def continuous(parameters: int, mean: float, deviation: float, explained: float) -> Needed:
    """Participants for a number. `explained` is the R² that is expected.

    The mean must be known within a tenth of itself, which has no meaning where it is not above 0: that criterion is
    then left out. Raises ValueError.

    >>> [one.rows for one in continuous(25, 1.9, 0.6, 0.2).criteria]
    [918, 401, 259, 918]
    """
    _possible(0 < explained < 1 and deviation > 0 and parameters > 0, "R² in (0, 1), deviation above 0")
    least = parameters + 2
    shrunk = _first(least, lambda rows: _shrinkage(parameters, rows, explained) >= SHRINKAGE)
    optimism = math.ceil(1 + parameters * (1 - explained) / OPTIMISM - 1e-9)
    spread = _first(least, lambda rows: _spread(rows - parameters - 1) <= FACTOR)
    criteria = [
        Criterion("shrinkage of at most a tenth", shrunk),
        Criterion("R² at most 0.05 too high", optimism),
        Criterion("residual deviation within a tenth", spread),
    ]
    if mean > 0:
        before = max(criterion.rows for criterion in criteria)
        error = deviation * math.sqrt(1 - explained)
        criteria.append(
            Criterion(
                "mean within a tenth",
                _first(before, lambda rows: _t(rows - parameters - 1) * error / math.sqrt(rows) <= (FACTOR - 1) * mean),
            )
        )
    return Needed(tuple(criteria), parameters, f"R² {explained:.2f}")


def of_share(parameters: int, share: float, nagelkerke: float) -> Needed:
    """`binary` for a share with the outcome and an expected Nagelkerke R²."""
    return binary(parameters, share, nagelkerke * largest_r_squared(share))


def of_rate(parameters: int, events: float, mean_follow_up: float, time: float, nagelkerke: float) -> Needed:
    """`survival` for the events per participant and an expected Nagelkerke R²."""
    return survival(
        parameters, events / mean_follow_up, mean_follow_up, time, nagelkerke * largest_r_squared_survival(events)
    )


def _overfitting(parameters: int, explained: float, largest: float) -> tuple[Criterion, Criterion]:
    """Little shrinkage, and little optimism in R². Source: Riley 2019, part II, equations 11 and 22."""
    _possible(parameters > 0, counted(parameters, "parameter"))
    _possible(0 < explained < min(largest, SHRINKAGE), f"R² {explained:.3g}, of at most {largest:.3g}")
    second = explained / (explained + OPTIMISM * largest)
    rows = [math.ceil(parameters / ((s - 1) * math.log(1 - explained / s))) for s in (SHRINKAGE, second)]
    return Criterion("shrinkage of at most a tenth", rows[0]), Criterion("R² at most 0.05 too high", rows[1])


def _shrinkage(parameters: int, rows: int, explained: float) -> float:
    """The shrinkage to expect of a linear model. Source: Riley 2019, part I, equation 7 with the adjusted R²."""
    apparent = (explained * (rows - parameters - 1) + parameters) / (rows - 1)
    return 1 + (parameters - 2) / (rows * math.log(1 - apparent))


def _spread(freedom: int) -> float:
    """By what factor a residual deviation may be wrong. Source: Riley 2019, part I, equation 13."""
    from scipy.stats import chi2

    return math.sqrt(max(freedom / chi2.ppf(0.025, freedom), chi2.ppf(0.975, freedom) / freedom))


def _t(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


def _first(least: int, enough: Callable[[int], bool]) -> int:
    """The smallest count from `least` on that is enough; more is always enough too."""
    high = least
    while not enough(high):
        high *= 2
    low = max(least, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def _possible(condition: bool, found: str) -> None:
    if not condition:
        raise ValueError(f"no sample size: {found}")
