from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats import t as student

from medloom.statistics import ranking


def cohort(seed: int, rows: int = 60, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = (np.arange(rows) < rows // 4).astype(float)
    score = truth + random.normal(size=rows)
    return truth, np.round(score) if ties else score, random.integers(0, rows // 2, rows)


def placements(truth: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """DeLong's, pair by pair."""
    positive, negative = score[truth == 1], score[truth == 0]
    won = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    return won.mean(), won.mean(axis=1), won.mean(axis=0)


@pytest.mark.parametrize("ties", [False, True])
def test_single_rows_have_delongs_variance(ties: bool) -> None:
    truth, score, _ = cohort(0, ties=ties)
    area, of_positive, of_negative = placements(truth, score)
    spread = np.sqrt(of_positive.var(ddof=1) / 15 + of_negative.var(ddof=1) / 45)
    half = student.ppf(0.975, 14) * spread / (area * (1 - area))
    found = ranking.auroc_interval(truth, score, np.arange(60), 0.95)
    np.testing.assert_allclose(found, (area, expit(logit(area) - half), expit(logit(area) + half)))


def test_rows_of_patients_have_obuchowskis_variance() -> None:
    truth, score, patient = cohort(1)
    area, of_positive, of_negative = placements(truth, score)
    placed = np.where(truth == 1, 0.0, 0.0)
    placed[truth == 1], placed[truth == 0] = of_positive - area, of_negative - area
    m, n = int(truth.sum()), int((1 - truth).sum())
    each = [
        (placed[(patient == p) & (truth == 1)].sum(), placed[(patient == p) & (truth == 0)].sum())
        for p in np.unique(patient)
    ]
    with_positive = len(np.unique(patient[truth == 1]))
    with_negative = len(np.unique(patient[truth == 0]))
    s10 = sum(a * a for a, _ in each) * with_positive / ((with_positive - 1) * m)
    s01 = sum(b * b for _, b in each) * with_negative / ((with_negative - 1) * n)
    s11 = sum(a * b for a, b in each)
    spread = np.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n))
    half = student.ppf(0.975, min(with_positive, with_negative) - 1) * spread / (area * (1 - area))
    found = ranking.auroc_interval(truth, score, patient, 0.95)
    np.testing.assert_allclose(found, (area, expit(logit(area) - half), expit(logit(area) + half)))


def test_the_influence_is_the_derivative_to_a_rows_weight() -> None:
    truth, score, _ = cohort(2, ties=True)
    step = 1e-6
    weight = np.ones((60, 60)) + step * np.eye(60)
    value = ranking.auroc(truth, score, np.ones((1, 60)))[0]
    found = (ranking.auroc(truth, score, weight) - value) / step
    np.testing.assert_allclose(ranking.auroc_influence(truth == 1, score), found, atol=1e-6)


def test_a_paired_difference_has_delongs_covariance() -> None:
    truth, score, _ = cohort(3)
    other = score + np.random.default_rng(4).normal(size=60)
    one, two = placements(truth, score), placements(truth, other)
    spread = np.sqrt(sum((a - b).var(ddof=1) / len(a) for a, b in zip(one[1:], two[1:], strict=True)))
    value, low, high = ranking.auroc_difference(truth, score, other, np.arange(60), 0.95)
    half = student.ppf(0.975, 14) * spread
    np.testing.assert_allclose((value, low, high), (one[0] - two[0], one[0] - two[0] - half, one[0] - two[0] + half))
    assert ranking.auroc_difference(truth, score, score, np.arange(60), 0.95) == (0, 0, 0)


def test_a_perfect_score_keeps_an_interval() -> None:
    truth = np.repeat([0.0, 1.0], [30, 8])
    area, low, high = ranking.auroc_interval(truth, truth, np.arange(38), 0.95)
    assert (area, high) == (1, 1)
    # Newcombe's method 5: the lower end is as many of its own standard errors away as the level says.
    middle = (8 + 30) / 2
    variance = low * (1 - low) * (1 + (middle - 1) * ((1 - low) / (2 - low) + low / (1 + low))) / (8 * 30)
    assert (1 - low) / np.sqrt(variance) == pytest.approx(norm.ppf(0.975))
    turned = ranking.auroc_interval(truth, -truth, np.arange(38), 0.95)
    np.testing.assert_allclose(turned, (0, 0, 1 - low), atol=1e-9)


def test_what_cannot_be_told() -> None:
    truth, score, patient = np.array([0.0, 1, 1]), np.arange(3.0), np.arange(3)
    assert np.isnan(ranking.auroc_interval(np.ones(3), score, patient, 0.95)).all()
    assert np.isnan(ranking.auroc_interval(truth, np.array([0, np.nan, 1]), patient, 0.95)).all()
    value, low, high = ranking.auroc_interval(truth, score, patient, 0.95)
    assert value == 1 and np.isnan(low) and np.isnan(high)


def test_a_constant_score_has_a_half_by_definition_and_no_width() -> None:
    truth = np.array([0, 1] * 20)
    found = ranking.auroc_interval(truth, np.full(40, 0.3), np.arange(40), 0.95)
    assert found == (0.5, 0.5, 0.5)
