"""Figures of ordered classes against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from medloom.statistics import ordinal


@pytest.mark.parametrize("seed", range(3))
def test_kappa_and_distance_agree_with_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, 200).astype(float)
    decision = np.clip(truth + random.integers(-1, 3, 200), 0, 3).astype(int)
    weight = random.integers(0, 3, (5, 200)).astype(float)
    kappa, distance = (of(truth, decision, weight) for of in (ordinal.quadratic_kappa, ordinal.mean_distance))
    for place, weights in enumerate(weight):
        known = cohen_kappa_score(truth.astype(int), decision, weights="quadratic", sample_weight=weights)
        assert kappa[place] == pytest.approx(known)
        assert distance[place] == pytest.approx(mean_absolute_error(truth, decision, sample_weight=weights))


def test_unknown_rows_do_not_count_and_one_class_has_no_kappa() -> None:
    truth, decision = np.array([0, 1, 2, np.nan]), np.array([0, 2, 2, 0])
    weight = np.array([[1.0, 1, 1, 5], [0, 0, 1, 9]])
    known = cohen_kappa_score([0, 1, 2], [0, 2, 2], weights="quadratic")
    found = ordinal.quadratic_kappa(truth, decision, weight)
    assert found[0] == pytest.approx(known) and np.isnan(found[1])
    np.testing.assert_allclose(ordinal.mean_distance(truth, decision, weight), [1 / 3, 0])
