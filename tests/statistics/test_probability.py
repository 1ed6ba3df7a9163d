from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from medloom import statistics


@pytest.fixture
def binary() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    probability = random.random(70)
    probability[:2] = [0, 1]
    truth = (random.random(70) < probability).astype(float)
    truth[0] = 1
    return truth, probability, random.integers(0, 3, (6, 70)).astype(float)


@pytest.fixture
def multiclass() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.integers(0, 4, 70), random.dirichlet(np.ones(4), 70), random.integers(0, 3, (6, 70)).astype(float)


def test_binary_scores_agree_with_scikit_learn(binary: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, probability, weight = binary
    brier = [metrics.brier_score_loss(truth, probability, sample_weight=w) for w in weight]
    loss = [metrics.log_loss(truth, probability, sample_weight=w) for w in weight]
    np.testing.assert_allclose(statistics.brier(truth, probability, weight), brier)
    np.testing.assert_allclose(statistics.log_loss(truth, probability, weight), loss)


def test_multiclass_scores_agree_with_scikit_learn(multiclass: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, probability, weight = multiclass
    loss = [metrics.log_loss(truth, probability, sample_weight=w, labels=range(4)) for w in weight]
    brier = [metrics.brier_score_loss(truth, probability, sample_weight=w, labels=range(4)) for w in weight]
    np.testing.assert_allclose(statistics.multiclass_log_loss(truth, probability, weight), loss)
    np.testing.assert_allclose(statistics.multiclass_brier(truth, probability, weight), brier)


def test_two_classes_are_the_binary_case(binary: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, probability, weight = binary
    both = np.stack([1 - probability, probability], axis=1)
    np.testing.assert_allclose(
        statistics.multiclass_log_loss(truth, both, weight), statistics.log_loss(truth, probability, weight)
    )
    np.testing.assert_allclose(
        statistics.multiclass_brier(truth, both, weight), 2 * statistics.brier(truth, probability, weight)
    )


@pytest.mark.parametrize("name", ["brier", "log_loss"])
def test_unknown_truths_and_empty_resamples(name: str, binary: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, probability, weight = binary
    holes = truth.copy()
    holes[:7] = np.nan
    estimator = getattr(statistics, name)
    np.testing.assert_allclose(
        estimator(holes, probability, weight), estimator(truth[7:], probability[7:], weight[:, 7:])
    )
    assert np.isnan(estimator(truth, probability, np.zeros((1, 70)))).all()
    assert np.isnan(estimator(np.full(70, np.nan), probability, weight)).all()


@pytest.mark.parametrize("name", ["multiclass_brier", "multiclass_log_loss"])
def test_unknown_classes_do_not_count(name: str, multiclass: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, probability, weight = multiclass
    holes = truth.astype(float)
    holes[:7] = np.nan
    estimator = getattr(statistics, name)
    np.testing.assert_allclose(
        estimator(holes, probability, weight), estimator(truth[7:], probability[7:], weight[:, 7:])
    )
