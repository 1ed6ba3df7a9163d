from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from medloom.statistics import usefulness


def cohort(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = (random.random(rows) < 0.3).astype(float)
    return truth, np.clip(0.3 * truth + random.random(rows) * 0.7, 0, 1)


def test_net_benefit_is_true_positives_less_false_ones_at_the_odds() -> None:
    truth, probability = cohort()
    weight = np.concatenate([np.ones((1, 200)), np.random.default_rng(1).integers(0, 3, (3, 200))]).astype(float)
    for w, found in zip(weight, usefulness.net_benefit(truth, probability, weight, 0.4), strict=True):
        called = probability >= 0.4
        true, false = w[called & (truth == 1)].sum(), w[called & (truth == 0)].sum()
        assert found == pytest.approx((true - false * 0.4 / 0.6) / w.sum())


def test_its_interval_is_that_of_a_mean_in_a_large_sample() -> None:
    truth, probability = cohort(40_000)
    each = (probability >= 0.4) * np.where(truth == 1, 1.0, -2 / 3)
    value, low, high = usefulness.net_benefit_interval(truth, probability, np.arange(40_000), 0.95, 0.4)
    half = norm.ppf(0.975) * each.std() / 200
    np.testing.assert_allclose((value, low, high), (each.mean(), each.mean() - half, each.mean() + half), atol=2e-4)


def test_repeated_rows_do_not_narrow() -> None:
    truth, probability = cohort()
    patient = np.arange(200)
    once = usefulness.net_benefit_interval(truth, probability, patient, 0.95, 0.2)
    rows = np.repeat(patient, 4)
    again = usefulness.net_benefit_interval(truth[rows], probability[rows], rows, 0.95, 0.2)
    np.testing.assert_allclose(again, once, atol=1e-12)


def test_the_curve_beside_treating_all() -> None:
    truth, probability = cohort()
    threshold = np.array([0.01, 0.1, 0.3, 0.6])
    curve = usefulness.decision_curve(truth, probability, np.arange(200), threshold)
    ones = np.ones((1, 200))
    for i, at in enumerate(threshold):
        assert curve.model[i] == pytest.approx(usefulness.net_benefit(truth, probability, ones, at)[0])
        assert curve.treat_all[i] == pytest.approx(usefulness.net_benefit(truth, np.ones(200), ones, at)[0])
    assert ((curve.low <= curve.model) & (curve.model <= curve.high)).all()


def test_nobody_called_is_worth_nothing_and_nan_is_nan() -> None:
    truth, probability = cohort()
    value, low, high = usefulness.net_benefit_interval(truth, np.zeros(200), np.arange(200), 0.95, 0.2)
    assert value == 0 and low < 0 < high < 0.02
    broken = np.where(truth == 1, np.nan, probability)
    assert np.isnan(usefulness.net_benefit_interval(truth, broken, np.arange(200), 0.95, 0.2)).all()
    assert all(len(part) == 0 for part in usefulness.decision_curve(truth, broken, np.arange(200), np.array([0.1])))
