from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from medloom.batch import Batch, Field
from medloom.task import Block
from medloom.tasks import _baselines
from medloom.tasks._baselines import DRAWS, GradientBoosting, Logistic, Majority, _boosting
from medloom.tasks._models import Forest

LEARNERS = [Logistic, GradientBoosting]


def block(
    features: np.ndarray, value: np.ndarray, present: np.ndarray | None = None, valid: np.ndarray | None = None
) -> Block:
    known = np.ones(len(features), bool) if present is None else present
    field = Field(torch.from_numpy(value), torch.from_numpy(known), None if valid is None else torch.from_numpy(valid))
    batch = Batch({}, {"y": field}, torch.arange(len(features)), torch.ones(len(features)))
    return Block(features, batch, field)


def binary(seed: int, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 4))
    truth = random.random(rows) < expit(2 * features[:, 0] - features[:, 1])
    features[random.random((rows, 4)) < 0.1] = np.nan
    features[:, 3] = np.nan
    return features, truth[:, None].astype(np.float32)


def logits(model: Any, features: np.ndarray, value: np.ndarray) -> np.ndarray:
    return model.output(block(features, value))["logits"].numpy()


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("with_valid", [True, False])
def test_two_classes_with_missing_values(learner: type, with_valid: bool) -> None:
    model = learner("binary", 2, 0)
    model.fit([block(*binary(0))], [block(*binary(1))] if with_valid else [])
    features, value = binary(2)
    found = logits(model, features, value)
    assert found.shape == (300, 1)
    assert found.dtype == np.float32
    assert roc_auc_score(value[:, 0], found[:, 0]) > 0.8
    assert np.log1p(np.exp(-np.where(value > 0, found, -found))).mean() < np.log(2) * 0.85


@pytest.mark.parametrize("learner", [Majority, *LEARNERS])
def test_several_classes_give_log_probabilities(learner: type) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 3))
    codes = np.digitize(features[:, 0] + 0.3 * random.normal(size=400), [-0.6, 0.6])
    model = learner("multiclass", 4, 0)
    model.fit([block(features[:200], codes[:200])], [block(features[200:300], codes[200:300])])
    found = logits(model, features[300:], codes[300:])
    assert found.shape == (100, 4)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-5)
    assert (found[:, 3] < np.log(0.01)).all()  # no training row has the fourth class
    if learner is not Majority:
        assert (found.argmax(axis=1) == codes[300:]).mean() > 0.75


@pytest.mark.parametrize("learner", LEARNERS)
def test_labels_are_learnt_from_the_rows_on_which_they_are_known(learner: type) -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(500, 3))
    value = (features[:, :2] > 0).astype(np.float32)
    valid = random.random((500, 2)) < 0.7
    wrong = np.where(valid, value, 1 - value)  # what is masked would mislead
    model = learner("multilabel", 2, 0)
    model.fit(
        [block(features[:300], wrong[:300], valid=valid[:300])],
        [block(features[300:400], wrong[300:400], valid=valid[300:400])],
    )
    found = logits(model, features[400:], value[400:])
    assert found.shape == (100, 2)
    assert ((found > 0) == value[400:]).mean() > 0.93


@pytest.mark.parametrize("learner", [Majority, *LEARNERS])
def test_rows_without_an_answer_teach_nothing(learner: type) -> None:
    features, value = binary(3)
    present = np.arange(300) % 3 > 0
    masked, kept = learner("binary", 2, 0), learner("binary", 2, 0)
    masked.fit([block(features, np.where(present[:, None], value, 1 - value), present)], [])
    kept.fit([block(features[present], value[present])], [])
    np.testing.assert_array_equal(logits(masked, features, value), logits(kept, features, value))


def test_majority_is_the_prevalence() -> None:
    features, value = np.zeros((99, 2)), (np.arange(99) < 24).astype(np.float32)[:, None]
    model = Majority("binary", 2, 0)
    model.fit([block(features, value)], [])
    np.testing.assert_allclose(logits(model, features, value), logit(24.5 / 100), atol=1e-6)


@pytest.mark.parametrize("learner", LEARNERS)
def test_one_class_or_no_features_leave_the_prevalence(learner: type) -> None:
    features, value = binary(4, rows=40)
    for plain, truth in ((features, np.ones_like(value)), (np.zeros((40, 0)), value)):
        model, prior = learner("binary", 2, 0), Majority("binary", 2, 0)
        for one in (model, prior):
            one.fit([block(plain, truth)], [])
        np.testing.assert_array_equal(logits(model, plain, truth), logits(prior, plain, truth))


@pytest.mark.parametrize("learner", LEARNERS)
def test_blocks_and_rows_do_not_matter(learner: type) -> None:
    features, value = binary(5)
    whole, parts = learner("binary", 2, 0), learner("binary", 2, 0)
    whole.fit([block(features, value)], [])
    parts.fit([block(features[:100], value[:100]), block(features[100:], value[100:])], [])
    np.testing.assert_array_equal(logits(whole, features, value), logits(parts, features, value))
    np.testing.assert_allclose(logits(whole, features[7:8], value[7:8]), logits(whole, features, value)[7:8], atol=1e-5)


@pytest.mark.parametrize("learner", LEARNERS)
def test_ten_thousand_columns(learner: type) -> None:
    random = np.random.default_rng(6)
    features = random.normal(size=(240, 10_000))
    value = (features[:, 9_000] + features[:, 17] > 0).astype(np.float32)[:, None]
    model = learner("binary", 2, 0)
    start = time.monotonic()
    model.fit([block(features[:160], value[:160])], [block(features[160:200], value[160:200])])
    assert time.monotonic() - start < 60
    assert roc_auc_score(value[200:, 0], logits(model, features[200:], value[200:])[:, 0]) > 0.55


def test_a_validation_class_that_no_training_row_has() -> None:
    features, value = binary(7)
    codes = value[:, 0].astype(np.int64)
    for learner in LEARNERS:
        model = learner("multiclass", 3, 0)
        model.fit([block(features, codes)], [block(features[:50], np.where(np.arange(50) < 5, 2, codes[:50]))])
        assert np.isfinite(logits(model, features, codes)).all()


def test_the_mean_of_forests_is_the_mean_of_what_they_score() -> None:
    random = np.random.default_rng(0)
    features, codes = random.normal(size=(200, 5)), random.integers(0, 3, 200)
    features[random.random(features.shape) < 0.1] = np.nan
    fits = [_boosting(0.2, leaves, 4, features.shape, 0, 0).fit(features, codes) for leaves in (4, 9)]
    together = Forest.mean([Forest.of(one, np.arange(5)) for one in fits])
    expected = np.mean([one.decision_function(features) for one in fits], axis=0)
    np.testing.assert_allclose(together.score(features), expected, rtol=1e-12)


def test_a_wide_table_with_few_validation_rows_is_boosted_several_times(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def boosting(*asked: Any) -> Any:
        made.append(asked[-1])
        return _boosting(*asked)

    monkeypatch.setattr(_baselines, "_boosting", boosting)
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 90))
    value = (features[:, :8].sum(axis=1) + random.normal(size=400) > 0)[:, None].astype(np.float32)
    parts = [block(features[rows], value[rows]) for rows in (slice(200), slice(200, 250), slice(250, 400))]
    model = GradientBoosting("binary", 2, 0)
    model.fit(parts[:1], parts[1:2])
    found = model.output(parts[2])["logits"].numpy()
    assert roc_auc_score(value[250:, 0], found[:, 0]) > 0.7
    assert len(made) == DRAWS and len(set(made)) == DRAWS
