"""Intervals of calibration slope and intercept: score intervals, whose variance is that of whole patients.

The score test of a slope b compares it with the data at b itself, which keeps its level with few events, where the
standard error at the estimate is too small. Its variance is that of the model times a design effect: how much more the
estimate varies over patients than the model says (at least 1), which holds rows of one patient and a curve that is not
straight. Source: Cox & Hinkley, "Theoretical Statistics", 1974, section 9.3 (score intervals); Liang & Zeger,
Biometrika 73, 1986 (variance over clusters). Measured beside others in docs/adr/0018.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.optimize import brentq
from scipy.special import expit

from medloom.statistics._rows import known
from medloom.statistics.calibration import SMALLEST_SPREAD, logits, maximum_likelihood
from medloom.statistics.clusters import NOTHING, Bounds, around, members, quantile, variance

FLAT = 1e-12
"""Below this much information every probability is 0 or 1, and no score can be told."""
FARTHEST = 60
"""Steps outward, each a quarter longer, in search of an end; none within them is an interval without that end."""


class Fit(NamedTuple):
    """A logistic regression on one number: intercept and slope, the variance of the slope by the model, and its influence."""

    intercept: float
    slope: float
    model_variance: float
    influence: np.ndarray


def regression(truth: Float[np.ndarray, " rows"], x: Float[np.ndarray, " rows"]) -> Fit | None:
    """The fit on all rows; None where the likelihood has no maximum (one class, one x, or classes that x separates)."""
    if not len(x) or x.std() < SMALLEST_SPREAD:
        return None
    middle, spread = float(x.mean()), float(x.std())
    design = np.stack([np.ones_like(x), (x - middle) / spread])
    found = maximum_likelihood(truth, design, np.zeros_like(x), np.ones((1, len(x))))[0]
    if not np.isfinite(found).all():
        return None
    fitted = expit(found @ design)
    information = (design * (fitted * (1 - fitted))) @ design.T
    inverse = np.linalg.inv(information)
    influence = (inverse[1] @ design) * (truth - fitted) / spread
    slope = float(found[1]) / spread
    return Fit(float(found[0]) - slope * middle, slope, float(inverse[1, 1]) / spread**2, influence)


def slope_interval(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
) -> Bounds:
    """The calibration slope with its score interval; NaN where it cannot be estimated."""
    prepared = _prepared(truth, probability, patient)
    if prepared is None:
        return NOTHING
    answer, logit, patient = prepared
    fit = regression(answer, logit)
    if fit is None:
        return NOTHING
    effect = _design_effect(fit.influence, patient, fit.model_variance)
    if np.isnan(effect):
        return (fit.slope, float("nan"), float("nan"))
    middle, start = float(logit.mean()), fit.intercept

    def distance(slope: float) -> float:
        """How far the estimate lies above this slope, in standard errors."""
        mean = _with_slope(answer, logit, slope, start + (fit.slope - slope) * middle)
        held = mean * (1 - mean)
        if held.sum() < FLAT:
            return float("nan")
        centred = logit - (held @ logit) / held.sum()
        spread = effect * (held @ centred**2)
        return float(centred @ (answer - mean) / np.sqrt(spread)) if spread > FLAT else float("nan")

    return _ends(fit.slope, np.sqrt(effect * fit.model_variance), distance, quantile(level))


def intercept_interval(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
) -> Bounds:
    """Calibration in the large with its score interval; NaN where the rows hold one class only."""
    prepared = _prepared(truth, probability, patient)
    if prepared is None:
        return NOTHING
    answer, logit, patient = prepared
    found = _intercept(answer, logit)
    if found is None:
        return NOTHING
    value, influence, model_variance = found
    effect = _design_effect(influence, patient, model_variance)
    if np.isnan(effect):
        return (value, float("nan"), float("nan"))

    def distance(intercept: float) -> float:
        mean = expit(logit + intercept)
        held = effect * (mean * (1 - mean)).sum()
        return float((answer - mean).sum() / np.sqrt(held)) if held > FLAT else float("nan")

    return _ends(value, np.sqrt(effect * model_variance), distance, quantile(level))


def slope_difference(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    other: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
) -> Bounds:
    """The slope of one minus that of another on the same rows, by the influence of each patient on both."""
    one, two = _prepared(truth, probability, patient), _prepared(truth, other, patient)
    if one is None or two is None:
        return NOTHING
    fits = [regression(answer, logit) for answer, logit, _ in (one, two)]
    if fits[0] is None or fits[1] is None:
        return NOTHING
    return _paired(fits[0].slope - fits[1].slope, fits[0].influence - fits[1].influence, one[0], one[2], level)


def intercept_difference(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    other: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
) -> Bounds:
    """The intercept of one minus that of another on the same rows, by the influence of each patient on both."""
    one, two = _prepared(truth, probability, patient), _prepared(truth, other, patient)
    if one is None or two is None:
        return NOTHING
    fits = [_intercept(answer, logit) for answer, logit, _ in (one, two)]
    if fits[0] is None or fits[1] is None:
        return NOTHING
    return _paired(fits[0][0] - fits[1][0], fits[0][1] - fits[1][1], one[0], one[2], level)


def _paired(value: float, influence: np.ndarray, answer: np.ndarray, patient: np.ndarray, level: float) -> Bounds:
    fewest = min(members(answer == 1, patient), members(answer == 0, patient))
    if fewest < 2:
        return (value, float("nan"), float("nan"))
    return around(value, float(np.sqrt(variance(influence, patient))), quantile(level, fewest - 1))


def _prepared(
    truth: np.ndarray, probability: np.ndarray, patient: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    rows = known(truth)
    answer = (truth[rows] == 1).astype(np.float64)
    if not answer.any() or answer.all() or np.isnan(np.asarray(probability, np.float64)[rows]).any():
        return None
    return answer, logits(probability[rows]), patient[rows]


def _intercept(answer: np.ndarray, logit: np.ndarray) -> tuple[float, np.ndarray, float] | None:
    """The intercept, its influence, and its variance by the model."""
    value = float(maximum_likelihood(answer, np.ones((1, len(logit))), logit, np.ones((1, len(logit))))[0, 0])
    if not np.isfinite(value):
        return None
    mean = expit(logit + value)
    information = float((mean * (1 - mean)).sum())
    return value, (answer - mean) / information, 1 / information


def _design_effect(influence: np.ndarray, patient: np.ndarray, model_variance: float) -> float:
    found = variance(influence, patient)
    return float("nan") if np.isnan(found) else max(1.0, found / model_variance)


def _with_slope(answer: np.ndarray, logit: np.ndarray, slope: float, start: float) -> np.ndarray:
    """Fitted probabilities with this slope and the likeliest intercept, by Newton's method inside a bracket."""
    total, tilted = answer.sum(), slope * logit
    low, high, intercept = -tilted.max() - 40.0, -tilted.min() + 40.0, start
    for _ in range(100):
        mean = expit(intercept + tilted)
        missing = total - mean.sum()
        low, high = (intercept, high) if missing > 0 else (low, intercept)
        curvature = (mean * (1 - mean)).sum()
        step = intercept + missing / curvature if curvature > 0 else low - 1
        following = step if low < step < high else (low + high) / 2
        if abs(following - intercept) < 1e-10 * max(1.0, abs(intercept)):
            break
        intercept = following
    return np.asarray(mean)


def _ends(value: float, spread: float, distance: Callable[[float], float], width: float) -> Bounds:
    """Where the distance reaches `width` on both sides, searched outward from the ends that a standard error gives."""
    ends = []
    for sign in (-1.0, 1.0):
        reach, end = spread * width, sign * np.inf
        for _ in range(FARTHEST):
            at = value + sign * reach
            found = distance(at)
            if not np.isfinite(found):
                break
            if -sign * found >= width:
                end = brentq(lambda x, sign=sign: -sign * distance(x) - width, value, at, xtol=1e-7)
                break
            reach *= 1.25
        ends.append(float(end))
    return (value, ends[0], ends[1])
