"""Figures of predicted cumulative incidences, where another event may come first and end the chance of this one.

`cause` is 1 where a row's follow-up ended with the event, 2 or more where it ended with a competing one, 0 where it is
censored. All else is as in `survival`: a row that is censored at a time outlives an event at the same time, rows with a
NaN time do not count, weights are "resamples rows", and those by the inverse probability of being censored (IPCW) are
estimated in each resample anew, from the judged rows.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from medloom.statistics._rows import grouped, known, take, tied
from medloom.statistics.ranking import auroc
from medloom.statistics.survival import _after, _inverse_before, censoring, harrell


def aalen_johansen(
    time: Shaped[np.ndarray, " rows"],
    cause: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> tuple[Float[np.ndarray, " times"], Float[np.ndarray, "resamples times"]]:
    """Distinct times in order, and the share in which the event has come, and come first, by each.

    Source: Aalen & Johansen, "An empirical transition matrix for non-homogeneous Markov chains based on censored
    observations", Scandinavian Journal of Statistics 5, 1978.
    """
    time, cause, weight = take(known(time), time, cause, weight)
    if not len(time):
        return np.zeros(0), np.zeros((len(weight), 0))
    order, starts = tied(time)
    ordered = weight[:, order]
    every = grouped(ordered, starts)
    at_risk = np.cumsum(every[:, ::-1], axis=1)[:, ::-1]
    left, mine = (grouped(ordered * of, starts) for of in (cause[order] > 0, cause[order] == 1))
    all_hazard, hazard = (np.divide(d, at_risk, out=np.zeros_like(d), where=at_risk > 0) for d in (left, mine))
    free = np.cumprod(1 - np.minimum(all_hazard, 1.0), axis=1)
    before = np.concatenate([np.ones((len(free), 1)), free[:, :-1]], axis=1)
    return np.asarray(time, np.float64)[order][starts], np.cumsum(before * hazard, axis=1)


def concordance(
    time: Shaped[np.ndarray, " rows"],
    cause: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Harrell's concordance for the event; a row with a competing event outlives every event, as it never has it.

    Source: Wolbers et al., "Prognostic models with competing risks", Epidemiology 20, 2009.
    """
    time, cause, score, weight = take(known(time), time, cause, score, weight)
    if not len(time):
        return np.full(len(weight), np.nan)
    never = np.where(cause > 1, time.max() + 1.0, time)
    return harrell(never, cause == 1, score, weight)


def brier_at(
    time: Shaped[np.ndarray, " rows"],
    cause: Shaped[np.ndarray, " rows"],
    risk: Float[np.ndarray, "rows horizons"],
    horizon: Float[np.ndarray, " horizons"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, "resamples horizons"]:
    """Mean squared difference between the predicted cumulative incidence and whether the event came by then, by IPCW.

    Rows with a competing event by the horizon are rows without the event. NaN at a horizon that every row of a resample
    is censored before. Source: Schoop et al., "Quantifying the predictive accuracy of time-to-event models in the
    presence of competing risks", Biometrical Journal 53, 2011.
    """
    time, cause, risk, weight = take(known(time), time, cause, risk, weight)
    left = cause > 0
    ended = weight * np.where(left, _inverse_before(time, left, weight), 0.0)
    uncensored = _after(*censoring(time, left, weight), horizon)
    by_then = (time[:, None] <= horizon) & left[:, None]
    happened = (cause == 1)[:, None]
    among_ended = ended @ (by_then * (happened - risk) ** 2)
    among_later = weight @ ((time[:, None] > horizon) * risk**2)
    outlived = np.divide(among_later, uncensored, out=np.full_like(among_later, np.nan), where=uncensored > 0)
    total = weight.sum(axis=1, keepdims=True)
    return np.divide(among_ended + outlived, total, out=np.full_like(outlived, np.nan), where=total > 0)


def integrated_brier(
    time: Shaped[np.ndarray, " rows"],
    cause: Shaped[np.ndarray, " rows"],
    risk: Float[np.ndarray, "rows times"],
    at: Float[np.ndarray, " times"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """The Brier score averaged over time from 0 to the last of `at`, by trapezoids; it is 0 at time 0. Source: as `brier_at`."""
    score = brier_at(time, cause, risk, at, weight)
    both = np.concatenate([np.zeros((len(score), 1)), score], axis=1)
    return np.asarray(np.trapezoid(both, np.concatenate([[0.0], at]), axis=1) / at[-1])


def auroc_at(
    time: Shaped[np.ndarray, " rows"],
    cause: Shaped[np.ndarray, " rows"],
    risk: Shaped[np.ndarray, " rows"],
    horizon: float,
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Area under the ROC curve of those with the event by the horizon against all others then, by IPCW.

    Rows with a competing event by the horizon are among the others. Source: Blanche et al., "Estimating and comparing
    time-dependent areas under receiver operating characteristic curves for censored event times with competing risks",
    Statistics in Medicine 32, 2013, definition (ii).
    """
    time, cause, risk, weight = take(known(time), time, cause, risk, weight)
    left = cause > 0
    by_then, later = left & (time <= horizon), time > horizon
    uncensored = _after(*censoring(time, left, weight), np.array([float(horizon)]))
    inverse_later = np.divide(1.0, uncensored, out=np.zeros_like(uncensored), where=uncensored > 0)
    inverse = np.where(by_then, _inverse_before(time, left, weight), inverse_later)
    truth = np.where(by_then & (cause == 1), 1.0, np.where(by_then | later, 0.0, np.nan))
    return auroc(truth, risk, weight * inverse)


def observed_risk(
    time: Shaped[np.ndarray, " rows"], cause: Shaped[np.ndarray, " rows"], horizon: Float[np.ndarray, " horizons"]
) -> Float[np.ndarray, " horizons"]:
    """The cumulative incidence that Aalen and Johansen find at each horizon; NaN past the last time, if censored."""
    rows = known(time)
    time, cause = np.asarray(time)[rows], np.asarray(cause)[rows]
    if not len(time):
        return np.full(len(horizon), np.nan)
    times, share = aalen_johansen(time, cause, np.ones((1, len(time))))
    risk = np.concatenate([[0.0], share[0]])[np.searchsorted(times, horizon, side="right")]
    open_ended = bool((cause[time == time.max()] == 0).any())
    return np.where((horizon > time.max()) & open_ended, np.nan, risk)
