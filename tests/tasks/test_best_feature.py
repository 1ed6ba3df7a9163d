from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from medloom.tasks._baselines import BestFeature
from medloom.tasks._best_feature import best, curve
from medloom.tasks._regress_baselines import BestFeature as BestNumber
from medloom.tasks._regress_baselines import Unit
from medloom.tasks._survive_baselines import BestFeature as BestTime
from tests.tasks.test_baselines import block


def data(rows: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 5))
    features[random.random((rows, 5)) < 0.1] = np.nan
    return features, random.random(rows)


@pytest.mark.parametrize("with_valid", [True, False])
def test_the_feature_that_tells_classes_apart_is_found_whichever_way_it_points(with_valid: bool) -> None:
    features, chance = data()
    value = (chance < expit(-3 * np.nan_to_num(features[:, 3])))[:, None].astype(np.float32)
    model = BestFeature("binary", 2, 0)
    model.fit([block(features[:200], value[:200])], [block(features[200:300], value[200:300])] if with_valid else [])
    assert int(next(array for name, array in model.arrays().items() if name.endswith("feature"))) == 3
    logits = model.answer(features[300:])["logits"].numpy()[:, 0]
    known = ~np.isnan(features[300:, 3])
    own = roc_auc_score(value[300:, 0][known], -features[300:, 3][known])
    assert roc_auc_score(value[300:, 0][known], logits[known]) > own - 0.03


def test_a_curve_bends_where_no_line_could() -> None:
    features, _ = data(2000)
    truth = np.nan_to_num(features[:, 1]) ** 2
    unit = Unit("squared", 0.0, 1.0, ())
    model = BestNumber(unit, 0)
    model.fit([block(features, truth)], [])
    made = model.answer(features)["logits"].numpy()[:, 0]
    assert np.mean((made - truth) ** 2) < 0.4 * truth.var()


def test_bins_are_mixed_with_the_mean_of_all() -> None:
    """By hand: two bins of 30 rows with 30 and 0 events, and no missing value."""
    held = np.arange(60.0)
    values = (held < 30)[:, None].astype(float)
    found = curve(0, held, values, np.asarray)
    assert found.knots.tolist() == [14.5, 44.5]
    assert found.value[:, 0] == pytest.approx([(30 + 2.5) / 35, 2.5 / 35])
    assert found.missing == pytest.approx([0.5])
    assert found.score(np.array([[np.nan], [29.5], [-5.0]]))[:, 0] == pytest.approx([0.5, 0.5, 32.5 / 35])


def squared(made: np.ndarray, true: np.ndarray) -> float:
    return float(((made - true) ** 2).mean())


def test_validation_rows_choose_where_there_are_any() -> None:
    features, _ = data(600)
    first, third = np.nan_to_num(features[:, 0]), np.nan_to_num(features[:, 2])
    truth = (2 * first + third)[:, None]
    valid, nobody = (features[:300], third[:300, None]), (features[:0], truth[:0])
    assert int(best(features, truth, nobody, np.arange(5), np.asarray, squared).feature) == 0
    assert int(best(features, truth, valid, np.arange(5), np.asarray, squared).feature) == 2


def test_times_and_what_is_kept_answers_alike() -> None:
    features, chance = data(500)
    time = -np.log(chance) / np.exp(1.5 * np.nan_to_num(features[:, 4]))
    followed = np.stack([np.minimum(time, 2.0), (time < 2.0).astype(float)], axis=1)
    edges = np.array([0.2, 0.5, 1.0, 2.0])
    model = BestTime(edges, 0)
    model.fit([block(features[:300], followed[:300])], [block(features[300:], followed[300:])])
    again = BestTime(edges, 0)
    again.restore(model.arrays())
    np.testing.assert_array_equal(model.answer(features)["logits"], again.answer(features)["logits"])
    risk = model.answer(features)["logits"].numpy()[:, 0]
    known = ~np.isnan(features[:, 4])
    # The curve of one feature bends with it, and never turns back.
    assert spearmanr(risk[known], features[known, 4]).statistic > 0.999
