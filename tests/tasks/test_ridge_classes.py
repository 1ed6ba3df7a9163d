"""Ridge regression of classes, against scikit-learn's and against models fitted without each row in turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from medloom.evaluation.baseline import fit_baselines
from medloom.tasks._baselines import Logistic
from medloom.tasks._ridge_classes import PENALTIES, RidgeClasses, _ridges
from tests.explain.studies import trained
from tests.tasks.test_baselines import binary, block, logits


def hot_of(codes: np.ndarray) -> np.ndarray:
    return (codes[:, None] == np.unique(codes)).astype(float)


@pytest.mark.parametrize("shape", [(30, 8), (20, 60)])
def test_weights_are_those_of_scikit_learn_and_scores_those_without_the_row(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    columns = random.normal(size=shape)
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    hot = hot_of(random.integers(0, 3, len(columns)))
    singular = np.linalg.svd(columns, compute_uv=False) ** 2
    typical = singular[singular > 1e-8].mean()
    for (weight, left_out), penalty in zip(_ridges(columns, hot), PENALTIES, strict=True):
        model = Ridge(penalty * typical).fit(columns, hot)
        np.testing.assert_allclose(weight, model.coef_.T, atol=1e-8)
        for row in (0, 7):
            rest = np.arange(len(columns)) != row
            alone = Ridge(penalty * typical).fit(columns[rest], hot[rest]).predict(columns[[row]])[0]
            np.testing.assert_allclose(left_out[row], alone, atol=1e-6)


@pytest.mark.parametrize("with_valid", [True, False])
def test_thousands_of_noisy_numbers_of_few_rows(with_valid: bool) -> None:
    random = np.random.default_rng(1)
    codes = random.integers(0, 3, 300)
    features = random.normal(size=(300, 3000)) + 0.35 * random.normal(size=(3, 3000))[codes]
    model = RidgeClasses("multiclass", 4, 0)
    valid = [block(features[100:150], codes[100:150])] if with_valid else []
    model.fit([block(features[:100], codes[:100])], valid)
    found = logits(model, features[150:], codes[150:])
    assert found.shape == (150, 4)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-5)
    assert (found[:, :3].argmax(axis=1) == codes[150:]).mean() > 0.95
    other = Logistic("multiclass", 4, 0)
    other.fit([block(features[:100], codes[:100])], valid)
    loss = [-one[np.arange(150), codes[150:]].mean() for one in (found, logits(other, features[150:], codes[150:]))]
    assert loss[0] < loss[1] + 0.02


def test_missing_values_and_a_restored_model() -> None:
    model = RidgeClasses("binary", 2, 0)
    model.fit([block(*binary(0))], [])
    features, value = binary(2)
    found = logits(model, features, value)
    assert np.isfinite(found).all() and (((found > 0) == value).mean()) > 0.75
    again = RidgeClasses("binary", 2, 0)
    again.restore(model.arrays())
    np.testing.assert_array_equal(logits(again, features, value), found)


def test_noise_gives_the_shares_of_the_classes() -> None:
    random = np.random.default_rng(3)
    value = (random.random((400, 1)) < 0.2).astype(np.float32)
    model = RidgeClasses("binary", 2, 0)
    model.fit([block(random.normal(size=(400, 500)), value)], [])
    found = logits(model, random.normal(size=(400, 500)), value)
    risk = 1 / (1 + np.exp(-found))
    assert abs(risk.mean() - 0.2) < 0.05 and risk.std() < 0.06


def test_it_is_trained_only_where_it_is_named(tmp_path: Path) -> None:
    _, feed = trained(tmp_path, model={"members": ["logistic"]})
    rows = np.arange(60)
    target = next(iter(feed.tasks))
    assert "ridge" not in fit_baselines(feed, rows, rows[:0], 0)[target]
    assert set(fit_baselines(feed, rows, rows[:0], 0, lambda _, name: name == "ridge", named=["ridge"])[target]) == {
        "ridge"
    }
