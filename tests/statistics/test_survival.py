"""Survival figures against all pairs, against the definitions written row by row, and against lifelines' numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.statistics import survival

DATA = Path(__file__).parents[1] / "data" / "survival"
Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def rows(seed: int, size: int = 50, levels: int = 12) -> Rows:
    """Times and scores with many ties, events, and four resamples of counts with zeros among them."""
    random = np.random.default_rng(seed)
    time = random.integers(0, levels, size).astype(float)
    event = (random.random(size) < 0.6).astype(float)
    score = random.integers(0, levels, size) / 4 - time / 8
    return time, event, score, random.integers(0, 4, (4, size)).astype(float)


def uncensored_share(time: np.ndarray, event: np.ndarray, weight: np.ndarray, at: float, before: bool) -> float:
    """Share not censored yet after `at`, or just before it, a factor a time."""
    share = 1.0
    for moment in np.unique(time):
        if moment > at or (before and moment == at):
            break
        there = weight[time >= moment].sum() - weight[(time == moment) & (event == 1)].sum()
        leaving = weight[(time == moment) & (event == 0)].sum()
        share *= 1 - leaving / there if there else 1
    return share


def all_pairs(time: np.ndarray, event: np.ndarray, score: np.ndarray, weight: np.ndarray, of: np.ndarray) -> float:
    held = pairs = 0.0
    for i in range(len(time)):
        for j in range(len(time)):
            if event[i] == 1 and (time[i] < time[j] or (time[i] == time[j] and event[j] == 0)):
                both = weight[i] * of[i] * weight[j]
                pairs += both
                held += both * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
    return held / pairs if pairs else np.nan


@pytest.mark.parametrize("seed", range(4))
def test_harrell_and_uno_equal_all_pairs(seed: int) -> None:
    time, event, score, weight = rows(seed)
    expected = [all_pairs(time, event, score, w, np.ones(50)) for w in weight]
    np.testing.assert_allclose(survival.harrell(time, event, score, weight), expected, rtol=1e-12)
    until = 8.0
    uno = []
    for w in weight:
        share = np.array([uncensored_share(time, event, w, t, True) for t in time])
        inverse = np.where((time < until) & (share > 0), 1 / np.maximum(share, 1e-300), 0) ** 2
        uno.append(all_pairs(time, event, score, w, inverse))
    np.testing.assert_allclose(survival.uno(time, event, score, weight, until), uno, rtol=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.booleans(), st.integers(-2, 2), st.integers(0, 3)), min_size=1, max_size=30
    )
)
def test_harrell_equals_all_pairs_and_mirrors(values: list[tuple[int, bool, int, int]]) -> None:
    time, event, score, weight = (np.array(part, float) for part in zip(*values, strict=True))
    found = survival.harrell(time, event, score, weight[None])[0]
    expected = all_pairs(time, event, score, weight, np.ones(len(time)))
    if np.isnan(expected):
        assert np.isnan(found)
        return
    assert found == pytest.approx(expected, abs=1e-12)
    assert survival.harrell(time, event, -score, weight[None])[0] == pytest.approx(1 - found, abs=1e-12)


def test_harrell_by_hand() -> None:
    # Pairs: (2, event) with 3 and 5; (3, event) with the censored 3 and with 5. The third of the four is out of order.
    time, event = np.array([2.0, 3, 3, 5]), np.array([1.0, 1, 0, 0])
    score = np.array([4.0, 2, 3, 2])
    assert survival.harrell(time, event, score, np.ones((1, 4)))[0] == pytest.approx((3 + 0 + 0.5) / 5)
    # Without censoring and ties it is the share of ordered pairs.
    assert survival.harrell(np.arange(4.0), np.ones(4), np.array([3.0, 1, 2, 0]), np.ones((1, 4)))[0] == 5 / 6


def test_kaplan_meier_and_censoring_by_hand() -> None:
    time, event = np.array([1.0, 2, 2, 3, 4]), np.array([1.0, 1, 0, 0, 1])
    times, share = survival.kaplan_meier(time, event, np.ones((1, 5)))
    assert times.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(share[0], [4 / 5, 4 / 5 * 3 / 4, 3 / 5, 0])
    # At 2 one of four has the event first, so that three can be censored.
    np.testing.assert_allclose(survival.censoring(time, event, np.ones((1, 5)))[1][0], [1, 2 / 3, 1 / 3, 1 / 3])


@pytest.mark.parametrize("seed", range(3))
def test_brier_equals_its_definition_row_by_row(seed: int) -> None:
    time, event, _, weight = rows(seed)
    horizon = np.array([3.0, 7.0])
    risk = np.random.default_rng(seed).random((50, 2))
    found = survival.brier_at(time, event, risk, horizon, weight)
    for r, w in enumerate(weight):
        for h, at in enumerate(horizon):
            total = 0.0
            for i in range(50):
                if time[i] <= at and event[i] == 1:
                    total += w[i] * (1 - risk[i, h]) ** 2 / max(uncensored_share(time, event, w, time[i], True), 1e-9)
                elif time[i] > at:
                    total += w[i] * risk[i, h] ** 2 / uncensored_share(time, event, w, at, False)
            assert found[r, h] == pytest.approx(total / w.sum(), rel=1e-10)


def test_brier_without_censoring_is_the_mean_square_and_its_integral_the_trapezoids() -> None:
    time, risk = np.array([1.0, 2, 3, 4]), np.array([[0.9, 1.0], [0.4, 0.8], [0.2, 0.5], [0.1, 0.3]])
    at = np.array([1.5, 3.5])
    truth = time[:, None] <= at
    expected = ((truth - risk) ** 2).mean(axis=0)
    ones = np.ones((1, 4))
    np.testing.assert_allclose(survival.brier_at(time, np.ones(4), risk, at, ones)[0], expected)
    area = 1.5 * expected[0] / 2 + 2 * expected.mean()
    assert survival.integrated_brier(time, np.ones(4), risk, at, ones)[0] == pytest.approx(area / 3.5)


@pytest.mark.parametrize("seed", range(3))
def test_auroc_at_a_horizon_equals_all_pairs(seed: int) -> None:
    time, event, score, weight = rows(seed)
    found = survival.auroc_at(time, event, score, 6.0, weight)
    for r, w in enumerate(weight):
        held = pairs = 0.0
        for i in np.flatnonzero((time <= 6) & (event == 1)):
            for j in np.flatnonzero(time > 6):
                both = w[i] * w[j] / max(uncensored_share(time, event, w, time[i], True), 1e-9)
                pairs += both
                held += both * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
        assert found[r] == pytest.approx(held / pairs, rel=1e-10)


def test_weights_equal_repeated_rows() -> None:
    time, event, score, weight = rows(5)
    risk = np.random.default_rng(0).random((50, 2))
    at = np.array([4.0, 8.0])
    for number, counts in enumerate(weight):
        again = np.repeat(np.arange(50), counts.astype(int))
        ones = np.ones((1, len(again)))
        whole = (time[again], event[again])
        pairs = [
            (survival.harrell(time, event, score, weight), survival.harrell(*whole, score[again], ones)),
            (survival.uno(time, event, score, weight, 8.0), survival.uno(*whole, score[again], ones, 8.0)),
            (survival.auroc_at(time, event, score, 5.0, weight), survival.auroc_at(*whole, score[again], 5.0, ones)),
            (
                survival.integrated_brier(time, event, risk, at, weight),
                survival.integrated_brier(*whole, risk[again], at, ones),
            ),
        ]
        for together, alone in pairs:
            assert together[number] == pytest.approx(alone[0], rel=1e-10)


def test_unknown_times_do_not_count_and_nothing_to_judge_is_nan() -> None:
    time, event, score, weight = rows(6)
    holes = time.copy()
    holes[::4] = np.nan
    kept = ~np.isnan(holes)
    alone = survival.harrell(time[kept], event[kept], score[kept], weight[:, kept])
    np.testing.assert_array_equal(survival.harrell(holes, event, score, weight), alone)
    assert np.isnan(survival.harrell(time, np.zeros(50), score, weight)).all()
    assert np.isnan(survival.harrell(np.full(50, np.nan), event, score, weight)).all()
    assert np.isnan(survival.harrell(time, event, np.where(score > 0, np.nan, score), weight)).all()
    # Everyone is censored before the horizon.
    late = survival.brier_at(np.ones(3), np.zeros(3), np.full((3, 1), 0.5), np.array([2.0]), np.ones((1, 3)))
    assert np.isnan(late).all()
    assert np.isnan(survival.observed_risk(np.array([1.0, 2]), np.array([1.0, 0]), np.array([3.0])))[0]


def test_agrees_with_lifelines() -> None:
    frame = pl.read_csv(DATA / "rows.csv")
    known = json.loads((DATA / "lifelines.json").read_text(encoding="utf-8"))
    time, event, score = (frame[name].to_numpy().astype(float) for name in ("time", "event", "score"))
    ones = np.ones((1, len(frame)))
    assert survival.harrell(time, event, score, ones)[0] == pytest.approx(known["concordance"], rel=1e-9)
    found = 1 - survival.observed_risk(time, event, np.array(known["times"]))
    np.testing.assert_allclose(found, known["kaplan_meier"], rtol=1e-9)
