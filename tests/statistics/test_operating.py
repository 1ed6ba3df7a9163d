from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_curve

from medloom.statistics import operating


@pytest.mark.parametrize("seed", range(4))
def test_the_best_point_of_the_roc_curve_within_what_is_allowed(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = (random.random(80) < 0.4).astype(float)
    score = np.round(truth + random.normal(size=80), seed)
    weight = np.concatenate([np.ones((1, 80)), random.integers(0, 3, (3, 80))]).astype(float)
    for w, high, low in zip(
        weight,
        operating.sensitivity_at(truth, score, weight, 0.9),
        operating.specificity_at(truth, score, weight, 0.8),
        strict=True,
    ):
        false, true, _ = roc_curve(truth, score, sample_weight=w, drop_intermediate=False)
        assert high == pytest.approx(true[false <= 0.1 + 1e-9].max())
        assert low == pytest.approx(1 - false[true >= 0.8 - 1e-9].min())


def test_point_and_interval_agree_and_no_class_is_nan() -> None:
    random = np.random.default_rng(0)
    truth = np.append((random.random(300) < 0.3).astype(float), np.nan)
    score, patient = np.nan_to_num(truth) + random.normal(size=301), np.arange(301)
    ones = np.ones((1, 301))
    for of, own in (
        (operating.sensitivity_at, operating.sensitivity_at_interval),
        (operating.specificity_at, operating.specificity_at_interval),
    ):
        value, low, high = own(truth, score, patient, 0.95, 0.9)
        assert value == pytest.approx(of(truth, score, ones, 0.9)[0])
        assert low < value < high
        assert np.isnan(own(np.ones(301), score, patient, 0.95, 0.9)).all()
        assert np.isnan(of(np.ones(301), score, ones, 0.9)).all()


def test_the_variance_is_linnets_in_a_large_sample() -> None:
    # Two normal distributions: the density ratio and both variances are known.
    random = np.random.default_rng(1)
    m, n = 8000, 24000
    truth = np.repeat([1.0, 0.0], [m, n])
    score = random.normal(size=m + n) + truth
    cut = norm.ppf(0.9)
    true = norm.sf(cut - 1)
    ratio = norm.pdf(cut - 1) / norm.pdf(cut)
    expected = np.sqrt(true * (1 - true) / m + ratio**2 * 0.09 / n)
    value, low, high = operating.sensitivity_at_interval(truth, score, np.arange(m + n), 0.95, 0.9)
    assert value == pytest.approx(true, abs=4 * expected)
    assert (high - low) / (2 * 1.96) == pytest.approx(expected, rel=0.05)


def test_the_difference_of_a_score_from_itself_is_nothing() -> None:
    random = np.random.default_rng(2)
    truth = (random.random(200) < 0.3).astype(float)
    score = truth + random.normal(size=200)
    patient = np.arange(200)
    assert operating.sensitivity_at_difference(truth, score, 2 * score, patient, 0.95, 0.9) == pytest.approx(
        (0, 0, 0), abs=1e-6
    )
    far = operating.specificity_at_difference(truth, score, random.normal(size=200), patient, 0.95, 0.9)
    assert far[0] > 0 and far[1] < far[0] < far[2]
