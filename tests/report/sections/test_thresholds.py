import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from medloom.report.sections import thresholds as module
from medloom.report.sections.thresholds import (
    BENEFIT,
    FLAGGED,
    GRID,
    MISSED,
    NPV,
    PPV,
    SENSITIVITY,
    SPECIFICITY,
    thresholds,
)
from medloom.statistics.usefulness import decision_curve


def drawn(rows: int = 400, seed: int = 0):
    random = np.random.default_rng(seed)
    truth = (random.random(rows) < 0.3).astype(float)
    score = np.clip(0.3 + 0.25 * truth + random.normal(0, 0.2, rows), 0, 1).round(2)
    return truth, score


def test_every_threshold_is_the_confusion_of_deciding_there():
    truth, score = drawn()
    found = thresholds(truth, score, np.arange(len(truth)), 0.305, "c", "died", 0.95)
    assert found.grid[found.own] == 0.305 and set(GRID) < set(found.grid)
    for place, at in enumerate(found.grid):
        called = score >= at
        tn, fp, fn, tp = confusion_matrix(truth, called, labels=[0, 1]).ravel()
        assert found.counts[place] == (tp, fp, fn, tn)
        value = {name: of[place][0] for name, of in found.figures.items()}
        assert value[SENSITIVITY] == pytest.approx(recall_score(truth, called), rel=1e-4, abs=1e-9)
        assert value[SPECIFICITY] == pytest.approx(tn / (tn + fp), rel=1e-4, abs=1e-9)
        assert value[FLAGGED] == pytest.approx(100 * called.mean(), rel=1e-4)
        assert value[MISSED] == pytest.approx(100 * fn / len(truth), rel=1e-4, abs=1e-9)
        assert value[BENEFIT] == pytest.approx((tp - fp * at / (1 - at)) / len(truth), rel=1e-4, abs=1e-9)
        if called.any():
            assert value[PPV] == pytest.approx(precision_score(truth, called), rel=1e-4, abs=1e-9)
        else:
            assert value[PPV] is None
        if not called.all():
            assert value[NPV] == pytest.approx(tn / (tn + fn), rel=1e-4, abs=1e-9)


def test_a_threshold_that_reads_as_the_studys_own_stands_once():
    truth, score = drawn()
    found = thresholds(truth, score, np.arange(len(truth)), 0.4999, "c", "died", 0.95)
    said = [f"{found.grid[place]:.3f}" for place in found.shown]
    assert said.count("0.500") == 1 and found.own in found.shown


def test_intervals_from_counts_are_those_of_rows_of_as_many_patients():
    truth, score = drawn()
    patient, every = np.arange(len(truth)), 1e-9
    found = thresholds(truth, score, patient, 0.3, "c", "died", 0.95)
    curve = decision_curve(truth, score, patient, np.array(found.grid))
    for place, at in enumerate(found.grid):
        slow = module._clustered(truth == 1, score, patient, at, 0.95)
        for name, bounds in slow.items():
            fast = [np.nan if v is None else v for v in found.figures[name][place]]
            np.testing.assert_allclose(fast, bounds, rtol=1e-4, atol=every, equal_nan=True)
        benefit = found.figures[BENEFIT][place]
        np.testing.assert_allclose(
            benefit, (curve.model[place], curve.low[place], curve.high[place]), rtol=1e-4, atol=every
        )


def test_rows_of_few_patients_have_wider_intervals():
    truth, score = np.tile(drawn(100), 4)
    alone = thresholds(truth, score, np.arange(400), 0.3, "c", "died", 0.95)
    together = thresholds(truth, score, np.tile(np.arange(100), 4), 0.3, "c", "died", 0.95)
    width = lambda of: of.figures[SENSITIVITY][of.own][2] - of.figures[SENSITIVITY][of.own][1]  # noqa: E731
    assert alone.counts == together.counts
    assert width(together) > 1.6 * width(alone)


def test_large_clustered_cohorts_have_intervals_at_every_fifth_threshold(monkeypatch):
    monkeypatch.setattr(module, "MANY_ROWS", 100)
    truth, score = drawn()
    found = thresholds(truth, score, np.arange(400) // 2, 0.3, "c", "died", 0.95)
    held = [of[1] is not None for of in found.figures[SENSITIVITY]]
    assert sum(held) < len(held) / 3
    assert all(held[place] for place in found.shown)
    assert all(of[0] is not None for of in found.figures[SENSITIVITY])


def test_one_answer_alone_has_no_thresholds():
    assert thresholds(np.ones(5), np.full(5, 0.5), np.arange(5), 0.5, "c", "died", 0.95) is None
    unknown = thresholds(np.array([1.0, 0.0, np.nan]), np.array([0.9, 0.1, 0.5]), np.arange(3), 1.0, "c", "d", 0.95)
    assert unknown is not None and sum(unknown.counts[0]) == 2
