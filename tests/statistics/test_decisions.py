from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics

from medloom import statistics

REFERENCES = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "sensitivity": metrics.recall_score,
    "specificity": lambda t, d, sample_weight: metrics.recall_score(t, d, pos_label=0, sample_weight=sample_weight),
    "ppv": metrics.precision_score,
    "npv": lambda t, d, sample_weight: metrics.precision_score(t, d, pos_label=0, sample_weight=sample_weight),
    "f1": metrics.f1_score,
}


@pytest.mark.parametrize("name", sorted(REFERENCES))
@pytest.mark.parametrize("kind", [bool, int, float])
def test_agrees_with_scikit_learn(name: str, kind: type) -> None:
    random = np.random.default_rng(4)
    truth, weight = random.random(50) < 0.4, random.integers(0, 3, (6, 50)).astype(float)
    decision = truth ^ (random.random(50) < 0.3)
    expected = [REFERENCES[name](truth, decision, sample_weight=w) for w in weight]
    found = getattr(statistics, name)(truth.astype(kind), decision.astype(kind), weight)
    np.testing.assert_allclose(found, expected)


def test_multiclass_accuracies_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(5)
    truth, decision = random.integers(0, 4, 60), random.integers(0, 4, 60)
    weight = random.integers(0, 2, (8, 60)).astype(float)
    weight[0, truth == 3] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class that is called and never true
        expected = [metrics.balanced_accuracy_score(truth[w > 0], decision[w > 0]) for w in weight]
    np.testing.assert_allclose(statistics.balanced_accuracy(truth, decision, weight), expected)
    expected = [metrics.accuracy_score(truth, decision, sample_weight=w) for w in weight]
    np.testing.assert_allclose(statistics.accuracy(truth, decision, weight), expected)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_unknown_truths_do_not_count(name: str) -> None:
    truth = np.array([np.nan, 1, 0, 1, 0, np.nan])
    decision = np.array([1.0, 1, 1, 0, 0, 0])
    estimator = getattr(statistics, name)
    found = estimator(truth, decision, np.ones((1, 6)))
    np.testing.assert_array_equal(found, estimator(truth[1:5], decision[1:5], np.ones((1, 4))))
    assert found[0] == 0.5


@pytest.mark.parametrize(
    ("name", "truth", "decision"),
    [
        ("sensitivity", [0, 0], [0, 1]),
        ("specificity", [1, 1], [0, 1]),
        ("ppv", [0, 1], [0, 0]),
        ("npv", [0, 1], [1, 1]),
        ("f1", [0, 0], [0, 0]),
        ("balanced_accuracy", [1, 1], [0, 1]),
    ],
)
def test_nan_where_there_is_nothing_to_share(name: str, truth: list[int], decision: list[int]) -> None:
    assert np.isnan(getattr(statistics, name)(np.array(truth), np.array(decision), np.ones((1, 2)))[0])
