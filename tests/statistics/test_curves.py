from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from medloom import statistics


def rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return (random.random(80) < 0.4).astype(float), random.integers(0, 12, 80) / 11


def test_roc_agrees_with_scikit_learn() -> None:
    truth, score = rows(0)
    curve = statistics.roc_curve(truth, score)
    fpr, tpr, threshold = metrics.roc_curve(truth, score)
    np.testing.assert_allclose(curve.false_positive_rate, fpr)
    np.testing.assert_allclose(curve.true_positive_rate, tpr)
    np.testing.assert_allclose(curve.threshold, threshold)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30))
def test_area_under_the_curve_is_the_auroc(values: list[tuple[bool, int]]) -> None:
    truth, score = (np.array(part, float) for part in zip(*values, strict=True))
    curve = statistics.roc_curve(truth, score)
    expected = statistics.auroc(truth, score, np.ones((1, len(truth))))[0]
    if np.isnan(expected):
        assert len(curve.threshold) == 0
    else:
        assert np.trapezoid(curve.true_positive_rate, curve.false_positive_rate) == pytest.approx(expected)


def test_precision_recall_agrees_with_scikit_learn() -> None:
    truth, score = rows(1)
    curve = statistics.precision_recall_curve(truth, score)
    precision, recall, threshold = metrics.precision_recall_curve(truth, score)
    np.testing.assert_allclose(curve.precision, precision[:-1][::-1])
    np.testing.assert_allclose(curve.recall, recall[:-1][::-1])
    np.testing.assert_allclose(curve.threshold, threshold[::-1])


def test_wilson_against_published_interval() -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 1998, table I.
    low, high = statistics.wilson(np.array([81, 15, 0, 1]), np.array([263, 148, 20, 29]))
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0.0000, 0.0061], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=5e-5)
    assert np.isnan(statistics.wilson(np.array([0]), np.array([0]))[0])


def test_calibration_bins_hold_all_rows_about_equally() -> None:
    random = np.random.default_rng(2)
    probability = random.random(1000)
    truth = (random.random(1000) < probability).astype(float)
    curve = statistics.calibration_curve(truth, probability, bins=10)
    assert curve.rows.sum() == 1000
    assert set(curve.rows) <= {99, 100, 101}
    assert (np.diff(curve.predicted) > 0).all()
    assert (curve.predicted * curve.rows).sum() == pytest.approx(probability.sum())
    assert (curve.observed * curve.rows).sum() == pytest.approx(truth.sum())
    assert ((curve.low <= curve.predicted) & (curve.predicted <= curve.high)).mean() >= 0.8


def test_equal_probabilities_share_a_bin_and_unknown_truths_do_not_count() -> None:
    truth = np.array([1, 0, 1, 0, np.nan, 1.0])
    probability = np.array([0.2, 0.2, 0.2, 0.2, 0.9, 0.7])
    curve = statistics.calibration_curve(truth, probability, bins=5)
    np.testing.assert_allclose(curve.predicted, [0.2, 0.7])
    np.testing.assert_allclose(curve.observed, [0.5, 1])
    np.testing.assert_array_equal(curve.rows, [4, 1])


def test_empty_curves_where_nothing_is_known() -> None:
    unknown = np.full(3, np.nan)
    assert all(len(part) == 0 for part in statistics.roc_curve(unknown, np.arange(3.0)))
    assert all(len(part) == 0 for part in statistics.precision_recall_curve(np.zeros(3), np.arange(3.0)))
    assert all(len(part) == 0 for part in statistics.calibration_curve(unknown, np.arange(3.0)))
