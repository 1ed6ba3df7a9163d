from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from medloom import statistics


def rows(seed: int, size: int = 60, levels: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truths, scores with many ties, and five resamples of counts with zeros among them."""
    random = np.random.default_rng(seed)
    truth = (random.random(size) < 0.4).astype(float)
    score = random.integers(0, levels, size) / levels + 0.1 * truth.round()
    return truth, score, random.integers(0, 4, (5, size)).astype(float)


@pytest.mark.parametrize(
    ("ours", "reference"), [("auroc", roc_auc_score), ("average_precision", average_precision_score)]
)
def test_agrees_with_scikit_learn_under_weights_and_ties(ours: str, reference: object) -> None:
    for seed in range(5):
        truth, score, weight = rows(seed)
        expected = [reference(truth, score, sample_weight=w) for w in weight]
        np.testing.assert_allclose(getattr(statistics, ours)(truth, score, weight), expected, atol=1e-12)


@pytest.mark.parametrize("ours", ["auroc", "average_precision"])
def test_counts_equal_repeated_rows(ours: str) -> None:
    truth, score, weight = rows(1)
    estimator = getattr(statistics, ours)
    for counts, value in zip(weight, estimator(truth, score, weight), strict=True):
        again = np.repeat(np.arange(len(truth)), counts.astype(int))
        alone = estimator(truth[again], score[again], np.ones((1, len(again))))
        np.testing.assert_allclose(alone, [value], atol=1e-12)


def test_auroc_by_hand() -> None:
    truth, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.5, 0.5, 0.9])
    assert statistics.auroc(truth, score, np.ones((1, 4)))[0] == 3.5 / 4


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_auroc_equals_all_pairs_and_mirrors(values: list[tuple[bool, int, int]]) -> None:
    truth, score, weight = (np.array(part, float) for part in zip(*values, strict=True))
    result = statistics.auroc(truth, score, weight[None])[0]
    pair = weight[:, None] * weight[None] * (truth[:, None] == 1) * (truth[None] == 0)
    if pair.sum() == 0:
        assert np.isnan(result)
        return
    wins = (score[:, None] > score[None]) + 0.5 * (score[:, None] == score[None])
    assert result == pytest.approx((pair * wins).sum() / pair.sum(), abs=1e-12)
    assert statistics.auroc(truth, -score, weight[None])[0] == pytest.approx(1 - result, abs=1e-12)
    assert statistics.auroc(1 - truth, score, weight[None])[0] == pytest.approx(1 - result, abs=1e-12)


@pytest.mark.parametrize("ours", ["auroc", "average_precision"])
def test_unknown_truths_do_not_count(ours: str) -> None:
    truth, score, weight = rows(2)
    holes = truth.copy()
    holes[::5] = np.nan
    kept = ~np.isnan(holes)
    estimator = getattr(statistics, ours)
    np.testing.assert_array_equal(estimator(holes, score, weight), estimator(truth[kept], score[kept], weight[:, kept]))


def test_nan_where_a_class_is_missing() -> None:
    truth, score = np.array([0.0, 0.0, 1.0]), np.array([0.2, 0.3, 0.9])
    weight = np.array([[1.0, 1, 0], [0, 0, 1], [1, 0, 1]])
    np.testing.assert_array_equal(statistics.auroc(truth, score, weight), [np.nan, np.nan, 1])
    np.testing.assert_array_equal(statistics.average_precision(truth, score, weight), [np.nan, 1, 1])
    assert np.isnan(statistics.auroc(np.full(3, np.nan), score, weight)).all()
    assert np.isnan(statistics.auroc(truth, np.array([0.1, np.nan, 0.3]), weight)).all()


def test_macro_auroc_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 90)
    probability = random.dirichlet(np.ones(3), 90).round(1)
    probability /= probability.sum(axis=1, keepdims=True)
    weight = random.integers(0, 3, (4, 90)).astype(float)
    # scikit-learn weighs the mean over classes by their prevalence only when asked to; macro does not.
    expected = [
        np.mean([roc_auc_score(truth == code, probability[:, code], sample_weight=w) for code in range(3)])
        for w in weight
    ]
    np.testing.assert_allclose(statistics.macro_auroc(truth, probability, weight), expected, atol=1e-12)


def test_macro_auroc_runs_over_the_classes_that_are_there() -> None:
    truth = np.array([0.0, 1, 0, 1, np.nan])
    probability = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3], [0.2, 0.3, 0.5], [1, 0, 0]])
    expected = np.mean([roc_auc_score(truth[:4] == code, probability[:4, code]) for code in range(2)])
    found = statistics.macro_auroc(truth, probability, np.array([[1.0, 1, 1, 1, 1], [1, 0, 1, 0, 1]]))
    np.testing.assert_allclose(found, [expected, np.nan])


def test_macro_over_labels_leaves_out_masked_truths() -> None:
    random = np.random.default_rng(3)
    truth = (random.random((80, 3)) < 0.5).astype(float)
    truth[random.random((80, 3)) < 0.2] = np.nan
    score, weight = random.random((80, 3)), random.integers(0, 3, (4, 80)).astype(float)
    known = ~np.isnan(truth)
    expected = [
        np.mean([roc_auc_score(truth[k, i], score[k, i], sample_weight=w[k]) for i, k in enumerate(known.T)])
        for w in weight
    ]
    np.testing.assert_allclose(statistics.macro(statistics.auroc, truth, score, weight), expected, atol=1e-12)
    truth[:, 2] = np.nan
    two = statistics.macro(statistics.auroc, truth[:, :2], score[:, :2], weight)
    np.testing.assert_array_equal(statistics.macro(statistics.auroc, truth, score, weight), two)
    assert np.isnan(statistics.macro(statistics.auroc, np.full((80, 2), np.nan), score[:, :2], weight)).all()
