from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn import metrics

from medloom.statistics import regression

REFERENCES = {
    "mae": metrics.mean_absolute_error,
    "rmse": metrics.root_mean_squared_error,
    "r2": metrics.r2_score,
    "poisson_deviance": metrics.mean_poisson_deviance,
}


def rows(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.poisson(3, 60).astype(float)
    return truth, truth * 0.7 + random.gamma(2, 0.5, 60), random.integers(0, 4, (5, 60)).astype(float)


@pytest.mark.parametrize("name", sorted(REFERENCES))
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(name: str, seed: int) -> None:
    truth, value, weight = rows(seed)
    expected = [REFERENCES[name](truth, value, sample_weight=w) for w in weight]
    np.testing.assert_allclose(getattr(regression, name)(truth, value, weight), expected, rtol=1e-10)


def test_pinball_agrees_with_scikit_learn() -> None:
    truth, value, weight = rows(1)
    level = np.array([0.1, 0.8])
    quantile = np.stack([value - 1, value + 2], axis=1)
    expected = [
        np.mean([metrics.mean_pinball_loss(truth, quantile[:, i], sample_weight=w, alpha=level[i]) for i in range(2)])
        for w in weight
    ]
    np.testing.assert_allclose(regression.pinball(truth, quantile, level, weight), expected, rtol=1e-12)


def test_by_hand() -> None:
    truth, value = np.array([1.0, 2, 4, np.nan]), np.array([2.0, 2, 3, 9])
    low, high = np.array([1.0, 2.5, 0, 0]), np.array([3.0, 3.5, 4, 99])
    weight = np.array([[1.0, 1, 1, 1], [3, 0, 1, 5], [0, 0, 0, 1]])
    np.testing.assert_allclose(regression.bias(truth, value, weight), [0, 0.5, np.nan])
    np.testing.assert_allclose(regression.mae(truth, value, weight), [2 / 3, 1, np.nan])
    np.testing.assert_allclose(regression.coverage(truth, low, high, weight), [2 / 3, 1, np.nan])
    np.testing.assert_allclose(regression.interval_width(truth, low, high, weight), [7 / 3, 2.5, np.nan])
    assert np.isnan(regression.coverage(truth, np.full(4, np.nan), high, weight)).all()


def test_r2_of_large_numbers_keeps_its_digits_and_is_nan_without_variance() -> None:
    truth = 1e8 + np.arange(50.0)
    weight = np.random.default_rng(0).integers(1, 3, (3, 50)).astype(float)
    expected = [metrics.r2_score(truth, truth + 1, sample_weight=w) for w in weight]
    np.testing.assert_allclose(regression.r2(truth, truth + 1, weight), expected, rtol=1e-7)
    assert np.isnan(regression.r2(np.full(5, 2.0), np.arange(5.0), np.ones((1, 5))))[0]
    alone = np.zeros((1, 50))
    alone[0, 3] = 2
    assert np.isnan(regression.r2(truth, truth + 1, alone))[0]


def test_binned_means_are_those_of_the_rows_between_the_edges() -> None:
    random = np.random.default_rng(2)
    x = random.integers(0, 40, 200).astype(float)
    y = 2 * x + random.normal(size=200)
    y[:5] = np.nan
    curve = regression.binned(x, y, bins=5)
    kept_x, kept_y = x[5:], y[5:]
    place = np.searchsorted(np.quantile(kept_x, [0.2, 0.4, 0.6, 0.8]), kept_x)
    for number in range(5):
        assert curve.x[number] == pytest.approx(kept_x[place == number].mean())
        assert curve.y[number] == pytest.approx(kept_y[place == number].mean())
        assert curve.spread[number] == pytest.approx(kept_y[place == number].std())
    assert curve.rows.sum() == 195
    one = regression.binned(np.ones(4), np.arange(4.0))
    assert one.x.tolist() == [1] and one.y.tolist() == [1.5]
    assert len(regression.binned(np.zeros(0), np.zeros(0)).x) == 0


def test_the_interval_of_a_bin_is_students_and_knows_whose_rows_these_are() -> None:
    random = np.random.default_rng(3)
    x, y = np.ones(30), random.normal(size=30)
    low, high = student.interval(0.95, 29, y.mean(), y.std(ddof=1) / np.sqrt(30))
    alone = regression.binned(x, y)
    np.testing.assert_allclose((alone.low[0], alone.high[0]), (low, high), rtol=1e-12)
    # The same patients thrice tell no more than once.
    thrice = regression.binned(np.tile(x, 3), np.tile(y, 3), np.tile(np.arange(30), 3))
    np.testing.assert_allclose((thrice.low[0], thrice.high[0]), (low, high), rtol=1e-12)
    assert np.isnan(regression.binned(x, y, np.zeros(30, int)).low).all()
