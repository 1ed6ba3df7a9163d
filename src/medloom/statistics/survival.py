"""Figures of predicted risks where some rows are censored: followed without the event, and then no longer.

`time` is how long a row was followed, `event` 1 where it ended with the event and 0 where it is censored. A row that is
censored at a time outlives an event at the same time. Rows with a NaN time do not count. Weights are "resamples rows",
and each figure is one number a resample, NaN where a resample cannot estimate it. Weights by the inverse probability of
being censored (IPCW) are estimated in each resample anew, from the judged rows.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from medloom.statistics._rows import divide, grouped, known, take, tied
from medloom.statistics.clusters import NOTHING, Bounds, around, members, on_logit_scale, quantile, variance
from medloom.statistics.ranking import area_of_no_variance, auroc


def kaplan_meier(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> tuple[Float[np.ndarray, " times"], Float[np.ndarray, "resamples times"]]:
    """Distinct times in order, and the share without the event after each; 0 from a time that nobody outlives.

    Source: Kaplan & Meier, "Nonparametric estimation from incomplete observations", JASA 53, 1958.
    """
    times, ended, _, at_risk = _table(time, event, weight)
    return times, _product(ended, at_risk)


def censoring(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> tuple[Float[np.ndarray, " times"], Float[np.ndarray, "resamples times"]]:
    """Distinct times in order, and the share that is not censored yet after each.

    Those with an event at a time are no longer there to be censored at it.
    """
    times, ended, censored, at_risk = _table(time, event, weight)
    return times, _product(censored, at_risk - ended)


def harrell(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Harrell's concordance: of pairs of which it is known who had the event first, the share in which that one scores higher.

    Equal scores count half. Source: Harrell et al., "Evaluating the yield of medical tests", JAMA 247, 1982.
    """
    time, event, score, weight = take(known(time), time, event, score, weight)
    return _concordance(time, event, score, weight * (event == 1), weight)


def harrell_interval(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
) -> Bounds:
    """Harrell's concordance with an interval on the logit scale, from what each patient's pairs add to it.

    Student's quantile has one degree of freedom less than patients with the event, as for an AUROC. Source: Kang et
    al., "Comparing two correlated C indices with right-censored survival outcome", Statistics in Medicine 34, 2015.
    """
    rows = known(time)
    time, event, score, patient = time[rows], event[rows], score[rows], patient[rows]
    value = float(harrell(time, event, score, np.ones((1, len(time))))[0])
    if np.isnan(value):
        return NOTHING
    if (score == score[0]).all():
        # One score for all puts nobody before anybody, whoever is drawn: a half by definition, as of an AUROC.
        return (0.5, 0.5, 0.5)
    with_event, patients = members(event == 1, patient), members(np.ones(len(time), bool), patient)
    if with_event < 2:
        return (value, float("nan"), float("nan"))
    spread = float(np.sqrt(variance(_influence(time, event, score), patient)))
    if 1e-9 < value < 1 - 1e-9 and spread > 0:
        return on_logit_scale(value, spread, quantile(level, with_event - 1))
    return area_of_no_variance(value, with_event, max(1, patients - with_event), level)


def harrell_difference(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    other: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
) -> Bounds:
    """Harrell's concordance of a score minus that of another on the same rows. Source: as `harrell_interval`."""
    rows = known(time)
    time, event, score, other, patient = time[rows], event[rows], score[rows], other[rows], patient[rows]
    ones = np.ones((1, len(time)))
    value = float(harrell(time, event, score, ones)[0] - harrell(time, event, other, ones)[0])
    if np.isnan(value):
        return NOTHING
    with_event = members(event == 1, patient)
    if with_event < 2:
        return (value, float("nan"), float("nan"))
    influence = _influence(time, event, score) - _influence(time, event, other)
    return around(value, float(np.sqrt(variance(influence, patient))), quantile(level, with_event - 1))


def uno(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
    until: float,
) -> Float[np.ndarray, " resamples"]:
    """Uno's concordance: as Harrell's, of events before `until`, each weighted by IPCW squared.

    It does not depend on how rows are censored. Source: Uno et al., "On the C-statistics for evaluating overall
    adequacy of risk prediction procedures with censored survival data", Statistics in Medicine 30, 2011.
    """
    time, event, score, weight = take(known(time), time, event, score, weight)
    counted = (event == 1) & (time < until)
    inverse = _inverse_before(time, event, weight)
    return _concordance(time, event, score, np.where(counted, weight * inverse**2, 0.0), weight)


def brier_at(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    risk: Float[np.ndarray, "rows horizons"],
    horizon: Float[np.ndarray, " horizons"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, "resamples horizons"]:
    """Mean squared difference between the predicted risk at each horizon and what happened by it, by IPCW.

    NaN at a horizon that every row of a resample is censored before. Source: Graf et al., "Assessment and comparison of
    prognostic classification schemes for survival data", Statistics in Medicine 18, 1999.
    """
    time, event, risk, weight = take(known(time), time, event, risk, weight)
    ended = weight * np.where(event == 1, _inverse_before(time, event, weight), 0.0)
    uncensored = _after(*censoring(time, event, weight), horizon)
    happened = (time[:, None] <= horizon) & (event == 1)[:, None]
    later = time[:, None] > horizon
    among_ended = ended @ (happened * (1 - risk) ** 2)
    among_later = weight @ (later * risk**2)
    outlived = np.divide(among_later, uncensored, out=np.full_like(among_later, np.nan), where=uncensored > 0)
    total = weight.sum(axis=1, keepdims=True)
    return np.divide(among_ended + outlived, total, out=np.full_like(outlived, np.nan), where=total > 0)


def integrated_brier(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    risk: Float[np.ndarray, "rows times"],
    at: Float[np.ndarray, " times"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """The Brier score averaged over time from 0 to the last of `at`, by trapezoids; it is 0 at time 0. Source: as `brier_at`."""
    score = brier_at(time, event, risk, at, weight)
    both = np.concatenate([np.zeros((len(score), 1)), score], axis=1)
    return np.asarray(np.trapezoid(both, np.concatenate([[0.0], at]), axis=1) / at[-1])


def auroc_at(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    risk: Shaped[np.ndarray, " rows"],
    horizon: float,
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Area under the ROC curve of those with the event by the horizon against those without it then, by IPCW.

    Cumulative and dynamic. Source: Uno et al., "Evaluating prediction rules for t-year survivors with censored
    regression models", JASA 102, 2007.
    """
    time, event, risk, weight = take(known(time), time, event, risk, weight)
    happened = (event == 1) & (time <= horizon)
    weighted = weight * np.where(happened, _inverse_before(time, event, weight), 1.0)
    return auroc(np.where(happened, 1.0, np.where(time > horizon, 0.0, np.nan)), risk, weighted)


def observed_risk(
    time: Shaped[np.ndarray, " rows"], event: Shaped[np.ndarray, " rows"], horizon: Float[np.ndarray, " horizons"]
) -> Float[np.ndarray, " horizons"]:
    """The risk that Kaplan and Meier find at each horizon; NaN past the last time of a row without an event."""
    rows = known(time)
    time, event = np.asarray(time)[rows], np.asarray(event)[rows]
    if not len(time):
        return np.full(len(horizon), np.nan)
    risk = 1 - _after(*kaplan_meier(time, event, np.ones((1, len(time)))), horizon)[0]
    return np.where((horizon > time.max()) & (risk < 1), np.nan, risk)


def _table(
    time: Shaped[np.ndarray, " rows"], event: Shaped[np.ndarray, " rows"], weight: Float[np.ndarray, "resamples rows"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct times, and at each the weight that ends with the event, that is censored, and that is still followed."""
    time, event, weight = take(known(time), time, event, weight)
    if not len(time):
        none = np.zeros((len(weight), 0))
        return np.zeros(0), none, none, none
    order, starts = tied(time)
    ordered = weight[:, order]
    every = grouped(ordered, starts)
    ended = grouped(ordered * (event[order] == 1), starts)
    at_risk = np.cumsum(every[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(time, np.float64)[order][starts], ended, every - ended, at_risk


def _product(leaving: np.ndarray, at_risk: np.ndarray) -> np.ndarray:
    share = np.divide(leaving, at_risk, out=np.zeros_like(leaving), where=at_risk > 0)
    return np.cumprod(1 - np.minimum(share, 1.0), axis=1)


def _after(
    times: Float[np.ndarray, " times"], share: Float[np.ndarray, "resamples times"], at: Float[np.ndarray, " at"]
) -> Float[np.ndarray, "resamples at"]:
    """A step function just after each of `at`."""
    return np.concatenate([np.ones((len(share), 1)), share], axis=1)[:, np.searchsorted(times, at, side="right")]


def _inverse_before(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
    at: Shaped[np.ndarray, " rows"] | None = None,
) -> Float[np.ndarray, "resamples rows"]:
    """One over the share that is not censored just before each row's time; 0 where no such row can have weight.

    A row that is asked about `at` another time than its own is asked about just after it.
    """
    at = time if at is None else at
    times, share = censoring(time, event, weight)
    step = np.concatenate([np.ones((len(share), 1)), share], axis=1)
    place = np.where(at == time, np.searchsorted(times, at, side="left"), np.searchsorted(times, at, side="right"))
    before = step[:, place]
    return np.divide(1.0, before, out=np.zeros_like(before), where=before > 0)


def _concordance(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    score: Shaped[np.ndarray, " rows"],
    first: Float[np.ndarray, "resamples rows"],
    other: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Weighted share of pairs in order; `first` weighs the row with the earlier event, `other` the one it is held against.

    Rows get a key that rises with time, events before censored rows of the same time, equal for events of the same
    time: a pair counts where the keys differ. Two different keys part at exactly one binary digit, the highest in which
    they differ, so all pairs are met once by going through the digits: for each, rows whose digit is 0 are held against
    rows whose digit is 1 and whose higher digits are the same, as for an AUROC. That takes resamples × rows × log(rows)
    in whole arrays, and no pair is ever stored.
    """
    if not len(time) or np.isnan(np.asarray(score, np.float64)).any():
        return np.full(len(first), np.nan)
    key = _keys(time, event)
    rank = np.unique(score, return_inverse=True)[1]
    held, pairs = np.zeros(len(first)), np.zeros(len(first))
    for digit in range(int(key.max()).bit_length()):
        won, met = _level(key, rank, digit, first, other)
        held += won
        pairs += met
    return divide(held, pairs)


def _keys(time: Shaped[np.ndarray, " rows"], event: Shaped[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    censored = (event != 1).astype(np.int64)
    distinct = np.unique(time, return_inverse=True)[1]
    return np.unique(2 * distinct + censored, return_inverse=True)[1]


def _level(
    key: Int[np.ndarray, " rows"],
    rank: Int[np.ndarray, " rows"],
    digit: int,
    first: Float[np.ndarray, "resamples rows"],
    other: Float[np.ndarray, "resamples rows"],
) -> tuple[Float[np.ndarray, " resamples"], Float[np.ndarray, " resamples"]]:
    """Weight of pairs in order, and of all pairs, among rows that part at this digit of the key."""
    block = key >> (digit + 1)
    later: Bool[np.ndarray, " rows"] = (key >> digit) & 1 == 1
    order = np.lexsort((rank, block))
    block_of, rank_of = block[order], rank[order]
    new_block = np.concatenate(([True], block_of[1:] != block_of[:-1]))
    starts = np.flatnonzero(new_block | np.concatenate(([True], rank_of[1:] != rank_of[:-1])))
    earlier_weight = grouped(first[:, order] * ~later[order], starts)
    later_weight = grouped(other[:, order] * later[order], starts)
    reached = np.cumsum(later_weight, axis=1)
    group_block = np.cumsum(new_block[starts]) - 1
    opening = np.flatnonzero(new_block[starts])
    before = np.concatenate([np.zeros((len(first), 1)), reached[:, opening[1:] - 1]], axis=1)
    closing = np.append(opening[1:], len(starts)) - 1
    total = reached[:, closing] - before
    below = reached - later_weight / 2 - before[:, group_block]
    pairs = np.einsum("rg,rg->r", earlier_weight, total[:, group_block])
    return np.einsum("rg,rg->r", earlier_weight, below), pairs


def _influence(
    time: Shaped[np.ndarray, " rows"], event: Shaped[np.ndarray, " rows"], score: Shaped[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """What each row adds to Harrell's concordance through the pairs that it is in, whichever of the two it is."""
    key, rank = _keys(time, event), np.unique(score, return_inverse=True)[1]
    held, pairs = np.zeros(len(time)), np.zeros(len(time))
    for digit in range(int(key.max()).bit_length()):
        _pairs_of_rows(key, rank, digit, event == 1, held, pairs)
    concordance = held.sum() / pairs.sum()
    # Every pair is counted with both of its rows.
    return (held - concordance * pairs) / (pairs.sum() / 2)


def _pairs_of_rows(
    key: Int[np.ndarray, " rows"],
    rank: Int[np.ndarray, " rows"],
    digit: int,
    ended: Bool[np.ndarray, " rows"],
    held: Float[np.ndarray, " rows"],
    pairs: Float[np.ndarray, " rows"],
) -> None:
    """Adds, for each row, its pairs that part at this digit of the key, and how many of them are in order."""
    block = key >> (digit + 1)
    order = np.lexsort((rank, block))
    later = ((key >> digit) & 1 == 1)[order]
    parts = {"first": (ended[order] & ~later).astype(np.float64), "other": later.astype(np.float64)}
    new_block = np.concatenate(([True], block[order][1:] != block[order][:-1]))
    new_group = new_block | np.concatenate(([True], rank[order][1:] != rank[order][:-1]))
    of_block, of_group = np.cumsum(new_block) - 1, np.cumsum(new_group) - 1
    opening = np.flatnonzero(new_block)
    below, total = {}, {}
    for name, part in parts.items():
        before = np.concatenate(([0.0], np.cumsum(part)))
        tied_weight = np.bincount(of_group, weights=part)
        total[name] = np.bincount(of_block, weights=part)[of_block]
        lower = before[np.flatnonzero(new_group)][of_group] - before[opening][of_block]
        below[name] = lower + tied_weight[of_group] / 2
    held[order] += parts["first"] * below["other"] + parts["other"] * (total["first"] - below["first"])
    pairs[order] += parts["first"] * total["other"] + parts["other"] * total["first"]
