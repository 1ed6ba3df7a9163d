"""Figures with competing events: against hand-worked numbers, lifelines, scikit-learn and loops over rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medloom.statistics import competing, survival

DATA = Path(__file__).parents[1] / "data" / "survival"
ONE = np.ones((1, 5))


def made(rows: int, seed: int = 0, censored: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times with ties, causes and scores that know something."""
    random = np.random.default_rng(seed)
    line = random.normal(size=rows)
    first, second = random.exponential(10 * np.exp(-line)), random.exponential(15, rows)
    leaves = random.exponential(20, rows) if censored else np.full(rows, np.inf)
    time = np.ceil(np.minimum(np.minimum(first, second), leaves))
    cause = np.where(leaves < np.minimum(first, second), 0, np.where(first <= second, 1, 2))
    return time, cause, line + random.normal(size=rows)


def test_aalen_and_johansen_by_hand() -> None:
    time, cause = np.array([1.0, 2, 3, 4, 5]), np.array([1, 2, 0, 1, 2])
    times, share = competing.aalen_johansen(time, cause, ONE)
    # Free of any event: .8, .6, .6, .3, 0.
    np.testing.assert_allclose(share[0], [0.2, 0.2, 0.2, 0.5, 0.5])
    assert times.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(competing.observed_risk(time, cause, np.array([0.5, 3, 9])), [0, 0.2, 0.5])
    assert np.isnan(competing.observed_risk(time, np.array([1, 2, 0, 1, 0]), np.array([9.0])))[0]
    assert np.isnan(competing.observed_risk(np.full(2, np.nan), np.full(2, np.nan), np.array([1.0])))[0]


def test_aalen_and_johansen_as_lifelines_finds_them() -> None:
    known = json.loads((DATA / "aalen_johansen.json").read_text(encoding="utf-8"))
    time, cause = np.array(known["time"]), np.array(known["cause"])
    times, share = competing.aalen_johansen(time, cause, np.ones((1, len(time))))
    at = np.searchsorted(times, known["at"], side="right") - 1
    np.testing.assert_allclose(share[0][at], known["cumulative_incidence"], rtol=1e-9)


def test_without_competing_events_all_is_as_in_survival() -> None:
    time, cause, score = made(150)
    event = np.where(cause == 2, 0, cause)
    weight = np.random.default_rng(1).integers(0, 3, (4, 150)).astype(float)
    risk, at = 1 / (1 + np.exp(-score[:, None] - np.arange(3))), np.array([2.0, 5, 9])
    times, share = survival.kaplan_meier(time, event, weight)
    mine = competing.aalen_johansen(time, event, weight)
    np.testing.assert_allclose(mine[1], 1 - share, atol=1e-12)
    np.testing.assert_array_equal(mine[0], times)
    for ours, theirs in (
        (competing.brier_at(time, event, risk, at, weight), survival.brier_at(time, event, risk, at, weight)),
        (competing.integrated_brier(time, event, risk, at, weight), survival.integrated_brier(time, event, risk, at, weight)),
        (competing.auroc_at(time, event, score, 5, weight), survival.auroc_at(time, event, score, 5, weight)),
        (competing.concordance(time, event, score, weight), survival.harrell(time, event, score, weight)),
        (competing.observed_risk(time, event, at), survival.observed_risk(time, event, at)),
    ):  # fmt: skip
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_a_competing_event_counts_as_none_where_nobody_is_censored() -> None:
    time, cause, score = made(200, 2, censored=False)
    weight = np.ones((1, 200))
    truth = (time <= 5) & (cause == 1)
    risk = 1 / (1 + np.exp(-score))
    assert competing.auroc_at(time, cause, risk, 5, weight)[0] == pytest.approx(roc_auc_score(truth, risk))
    brier = competing.brier_at(time, cause, risk[:, None], np.array([5.0]), weight)[0, 0]
    assert brier == pytest.approx(np.mean((truth - risk) ** 2))


def test_weights_for_censoring_by_a_loop() -> None:
    time, cause, score = made(80, 3)
    risk, horizon = 1 / (1 + np.exp(-score)), 6.0

    def uncensored(at: float, before: bool) -> float:
        share = 1.0
        for t in np.unique(time):
            if (t < at) if before else (t <= at):
                # Those with any event at a time are no longer there to be censored at it.
                there = (time > t).sum() + ((time == t) & (cause == 0)).sum()
                share *= 1 - ((time == t) & (cause == 0)).sum() / there if there else 1.0
        return share

    total = 0.0
    for t, c, r in zip(time, cause, risk, strict=True):
        if t > horizon:
            total += r**2 / uncensored(horizon, before=False)
        elif c > 0:
            total += ((c == 1) - r) ** 2 / uncensored(t, before=True)
    found = competing.brier_at(time, cause, risk[:, None], np.array([horizon]), np.ones((1, 80)))[0, 0]
    assert found == pytest.approx(total / 80)


def test_concordance_by_a_loop_over_pairs() -> None:
    time, cause, score = made(60, 4)
    score = np.round(score, 1)
    held = pairs = 0.0
    for i in range(60):
        for j in range(60):
            if cause[i] == 1 and (cause[j] == 2 or time[j] > time[i] or (time[j] == time[i] and cause[j] == 0)):
                pairs += 1
                held += (score[i] > score[j]) + 0.5 * (score[i] == score[j])
    assert competing.concordance(time, cause, score, np.ones((1, 60)))[0] == pytest.approx(held / pairs)
    assert np.isnan(competing.concordance(np.full(3, np.nan), np.zeros(3), np.zeros(3), np.ones((1, 3))))[0]


def test_weights_are_repeated_rows_and_unknown_rows_do_not_count() -> None:
    time, cause, score = made(60, 5)
    number = np.random.default_rng(0).integers(0, 3, 60)
    risk = 1 / (1 + np.exp(-score))
    again = np.repeat(np.arange(60), number)
    gap_time = np.append(time, np.nan)
    for of in (
        lambda t, c, r, w: competing.concordance(t, c, r, w),
        lambda t, c, r, w: competing.auroc_at(t, c, r, 5.0, w),
        lambda t, c, r, w: competing.integrated_brier(t, c, r[:, None] * [0.5, 1], np.array([3.0, 6]), w),
    ):
        whole = of(time[again], cause[again], risk[again], np.ones((1, len(again))))[0]
        weighed = of(gap_time, np.append(cause, 0), np.append(risk, 0.5), np.append(number, 7)[None].astype(float))[0]
        assert weighed == pytest.approx(whole)
