from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medloom.audit.evidence import Outcome
from medloom.audit.measure import alone, auroc, beyond_chance, bins_of, by_bins, response, surprise, together
from tests.audit.tables import evidence, honest


def test_auroc_is_that_of_scikit_learn_with_ties() -> None:
    random = np.random.default_rng(0)
    truth, score = (random.random(300) < 0.3).astype(float), random.integers(0, 12, 300).astype(float)
    assert auroc(truth, score) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    assert auroc(np.ones(5), np.arange(5.0)) == 0.5


def test_the_martingale_residual_is_that_of_the_definition() -> None:
    time, event = np.array([1.0, 2.0, 2.0, 4.0, np.nan]), np.array([1.0, 1.0, 0.0, 1.0, np.nan])
    found = response(Outcome("t", "", "survival", time, event))
    first, second, third = 1 / 4, 1 / 4 + 1 / 3, 1 / 4 + 1 / 3 + 1
    assert found[:4] == pytest.approx([1 - first, 1 - second, 0 - second, 1 - third])
    assert np.isnan(found[4])


def test_a_mean_by_bins_never_holds_the_row_itself() -> None:
    answer = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    with_it = by_bins(np.zeros(5, np.int64), answer, np.arange(5))
    prior = answer.mean()
    assert with_it[0] == pytest.approx(2 * prior / 6)


def test_bins_keep_equal_numbers_together() -> None:
    number = np.array([0.0] * 50 + [1.0, 2.0, 3.0] * 5)
    bins = bins_of(number, 8)
    assert len(set(bins[:50])) == 1 and bins[50] != bins[0]


def test_a_column_of_noise_scores_nothing() -> None:
    held = evidence(honest())
    outcome = held.outcomes[0]
    noise = next(c for c in held.columns if c.name == "x3")
    found, rows = alone(noise, outcome, held, response(outcome))
    assert found < 0.6
    assert not beyond_chance(surprise(outcome, found, rows), 10)


def test_together_is_out_of_sample() -> None:
    held = evidence(honest())
    noise = [c for c in held.columns if c.name in ("x2", "x3")]
    signal = [c for c in held.columns if c.name in ("x0", "x1")]
    assert together(noise, held, held.outcomes[0]) < 0.6
    assert 0.72 < together(signal, held, held.outcomes[0]) < 0.9
