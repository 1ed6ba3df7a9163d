from __future__ import annotations

import numpy as np
import pytest

from medloom.statistics import smooth, survival, survival_calibration


def rows(seed: int, count: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    risk = random.uniform(0.05, 0.9, count)
    time = np.round(-np.log(1 - random.random(count)) / -np.log(1 - risk) * 5, 1)
    censored = np.round(random.uniform(1, 15, count), 1)
    return np.minimum(time, censored), (time <= censored).astype(float), risk


def test_without_censoring_they_are_those_of_yes_and_no() -> None:
    time, _, risk = rows(0)
    ones, weight = np.ones(80), np.random.default_rng(1).integers(0, 3, (3, 80)).astype(float)
    happened = (time <= 5).astype(float)
    found = survival_calibration.observed_over_expected(time, ones, risk, 5.0, weight)
    np.testing.assert_allclose(found, (weight @ happened) / (weight @ risk))
    index = survival_calibration.index_at(time, ones, risk, 5.0, weight)
    np.testing.assert_allclose(index, smooth.integrated_calibration_index(happened, risk, weight))


def test_observed_is_kaplan_and_meiers() -> None:
    time, event, risk = rows(2)
    found = survival_calibration.observed_over_expected(time, event, risk, 4.0, np.ones((1, 80)))[0]
    assert found == pytest.approx(survival.observed_risk(time, event, np.array([4.0]))[0] / risk.mean())


def test_calibrated_risks_of_many_rows_are_found_calibrated_despite_censoring() -> None:
    time, event, risk = rows(3, 30_000)
    ones = np.ones((1, 30_000))
    assert survival_calibration.observed_over_expected(time, event, risk, 5.0, ones)[0] == pytest.approx(1, abs=0.03)
    assert survival_calibration.index_at(time, event, risk, 5.0, ones)[0] < 0.02
    assert survival_calibration.index_at(time, event, risk / 2, 5.0, ones)[0] == pytest.approx(
        (risk / 2).mean(), abs=0.02
    )


def test_beyond_the_follow_up_nothing_is_told() -> None:
    time, event, risk = np.array([1.0, 2, 3]), np.array([1.0, 0, 0]), np.array([0.2, 0.4, 0.6])
    ones = np.ones((1, 3))
    for of in (survival_calibration.observed_over_expected, survival_calibration.index_at):
        assert np.isnan(of(time, event, risk, 9.0, ones)).all()
        assert np.isnan(of(np.full(3, np.nan), event, risk, 1.0, ones)).all()
        assert np.isnan(of(time, event, np.array([0.2, np.nan, 0.1]), 1.0, ones)).all()


def test_harrells_influence_is_the_derivative_to_a_rows_weight() -> None:
    time, event, risk = rows(4, 50)
    time, score = np.round(time), np.round(risk, 1)
    step = 1e-6
    value = survival.harrell(time, event, score, np.ones((1, 50)))[0]
    found = (survival.harrell(time, event, score, np.ones((50, 50)) + step * np.eye(50)) - value) / step
    np.testing.assert_allclose(survival._influence(time, event, score), found, atol=1e-5)


def test_harrells_interval_is_that_of_resamples_and_pairs_are_narrower() -> None:
    time, event, risk = rows(5, 300)
    random = np.random.default_rng(6)
    weight = np.stack([np.bincount(random.integers(0, 300, 300), minlength=300) for _ in range(600)]).astype(float)
    patient = np.arange(300)
    value, low, high = survival.harrell_interval(time, event, risk, patient, 0.95)
    assert value == survival.harrell(time, event, risk, np.ones((1, 300)))[0]
    assert (high - low) / (2 * 1.96) == pytest.approx(survival.harrell(time, event, risk, weight).std(), rel=0.12)
    other = risk + random.normal(0, 0.1, 300)
    apart = survival.harrell_difference(time, event, risk, other, patient, 0.95)
    drawn = survival.harrell(time, event, risk, weight) - survival.harrell(time, event, other, weight)
    assert (apart[2] - apart[1]) / (2 * 1.96) == pytest.approx(drawn.std(), rel=0.15)
    assert np.isnan(survival.harrell_interval(time, np.zeros(300), risk, patient, 0.95)).all()
    alike = survival.harrell(time, event, np.full(300, 0.3), weight)
    assert survival.harrell_interval(time, event, np.full(300, 0.3), patient, 0.95) == (0.5, alike.min(), alike.max())
