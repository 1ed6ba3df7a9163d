"""Calibration of classes: against scikit-learn, closed forms and what is known of simulated rows; where rows are few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit
from sklearn.linear_model import LogisticRegression

from medloom import fitted
from medloom.batch import Field
from medloom.cohort.table import make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError
from medloom.tasks._class_calibration import SPREAD, class_steps, isotonic, line, stepped
from medloom.tasks._class_options import ClassifyOptions
from medloom.tasks._curves import Line
from medloom.tasks.classify import Classify


def fit(names: list[str], **more: object) -> Classify:
    options = ClassifyOptions.model_validate({"column": "y", **more})
    cohort = make_cohort(CohortPart(independent_rows=True), pl.DataFrame({"y": names}), Path(), {})
    marks = Classify.read(options, cohort)
    return Classify.fit(options, [Classify.summarise(options, marks, np.arange(len(names)))])


def rows(count: int, stretched: float = 1.0, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `stretched` and shifted beyond what the answers follow."""
    random = np.random.default_rng(seed)
    true = random.normal(size=count) * 1.5
    return true * stretched + shift, (random.random(count) < expit(true)).astype(np.float32)


def said(logits: np.ndarray, answer: np.ndarray) -> list[tuple[dict[str, torch.Tensor], Field]]:
    value = torch.from_numpy(answer[:, None] if logits.shape[1] == 1 else answer)
    return [({"logits": torch.from_numpy(logits)}, Field(value, torch.ones(len(answer), dtype=torch.bool)))]


def test_the_line_without_a_prior_is_logistic_regression() -> None:
    score, answer = rows(3000, 2.0, 0.7)
    found = line(score, answer, 0.0, shifts=True, spread=None)
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(score[:, None], answer)
    assert found.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-3)
    assert found.intercept[0] == pytest.approx(theirs.intercept_[0], abs=2e-3)


@pytest.mark.parametrize("count", [12, 57, 1000])
def test_the_temperature_is_where_likelihood_and_prior_meet(count: int) -> None:
    score, answer = rows(count, 3.0, seed=count)

    def loss(log: float) -> float:
        moved = score * np.exp(log)
        return float((np.logaddexp(0, moved) - answer * moved).sum() + log**2 / (2 * SPREAD**2))

    expected = np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}).x)
    assert line(score, answer, 0.0, shifts=False).slope == pytest.approx(expected, rel=1e-3)


def test_few_rows_hardly_move_the_temperature_and_many_do() -> None:
    few = [fit(["0", "1"]).calibrate(said(*_column(rows(15, 3.0, seed=s)))).temperature[0] for s in range(20)]
    many = fit(["0", "1"]).calibrate(said(*_column(rows(5000, 3.0)))).temperature[0]
    assert many == pytest.approx(3.0, abs=0.25)
    assert 0.6 < min(few) and max(few) < 2.6 and 1.1 < np.median(few) < 2.2


def _column(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return pair[0][:, None], pair[1]


def test_separated_rows_do_not_make_the_answers_certain() -> None:
    """Without a prior the likelihood of perfectly separated rows grows without end."""
    score = np.concatenate([np.full(28, -2.0), np.full(29, 2.0)])
    task = fit(["0", "1"]).calibrate(said(score[:, None], (score > 0).astype(np.float32)))
    assert 0.3 < task.temperature[0] < 1.0


def test_platt_finds_the_shift_and_temperature_cannot() -> None:
    logits, answer = _column(rows(6000, 1.0, 2.0))
    platt = fit(["0", "1"], calibration="platt").calibrate(said(logits, answer))
    plain = fit(["0", "1"]).calibrate(said(logits, answer))
    assert platt.intercept[0] == pytest.approx(-2.0, abs=0.15)
    mean = [t.decode({"logits": torch.from_numpy(logits)}).probability.mean() for t in (platt, plain)]
    assert mean[0] == pytest.approx(answer.mean(), abs=0.01) and abs(mean[1] - answer.mean()) > 0.1


def test_isotonic_follows_a_curve_that_no_line_does() -> None:
    random = np.random.default_rng(1)
    score = random.normal(size=20_000) * 2
    share = np.where(score > 0, 0.8, 0.1)
    answer = (random.random(20_000) < share).astype(np.float32)
    task = fit(["0", "1"], calibration="isotonic").calibrate(said(score[:, None], answer))
    probability = task.decode({"logits": torch.tensor([[-1.5], [1.5]], dtype=torch.float64)}).probability
    np.testing.assert_allclose(probability, [0.1, 0.8], atol=0.03)
    ranked = task.decode({"logits": torch.linspace(-9, 9, 50, dtype=torch.float64)[:, None]}).probability
    assert (np.diff(ranked) >= 0).all() and 0 < ranked[0] and ranked[-1] < 1


def test_isotonic_steps_never_say_never() -> None:
    steps = isotonic(np.array([-1.0, 0.0, 1.0, 2.0]), np.array([0, 0, 1, 1]))
    assert expit(min(steps.log_odds)) == pytest.approx(1 / 6) and expit(max(steps.log_odds)) == pytest.approx(5 / 6)


def test_isotonic_of_several_classes_sums_to_one_and_mends_the_shares() -> None:
    random = np.random.default_rng(2)
    logits = random.normal(size=(6000, 3))
    true = np.exp(log_softmax(2 * logits, axis=1))
    answer = (true.cumsum(axis=1) > random.random(6000)[:, None]).argmax(axis=1)
    mended = np.exp(stepped(logits, class_steps(logits, answer)))
    np.testing.assert_allclose(mended.sum(axis=1), 1)
    before = np.abs(np.exp(log_softmax(logits, axis=1)) - true).mean()
    assert np.abs(mended - true).mean() < before / 2


@pytest.mark.parametrize("way", ["temperature", "platt", "isotonic"])
def test_one_class_among_the_calibration_rows_changes_nothing(way: str) -> None:
    task = fit(["0", "1"], calibration=way).calibrate(said(np.ones((40, 1)), np.ones(40, np.float32)))
    assert task.decode({"logits": torch.zeros(1, 1)}).probability[0] == 0.5
    assert not task.calibrated and "not calibrated" in str(task.describe())


@pytest.mark.parametrize("way", ["temperature", "platt", "isotonic"])
def test_what_was_set_is_kept_in_a_bundle(way: str) -> None:
    task = fit(["a", "b", "c"], calibration=way, conformal=0.9, abstain=0.1)
    random = np.random.default_rng(0)
    logits, answer = random.normal(size=(200, 3)) * 3, random.integers(0, 3, 200)
    done = task.calibrate(said(logits, answer))
    again = fitted.load(Classify, fitted.dump(done))
    assert again == done
    np.testing.assert_array_equal(
        again.decode({"logits": torch.from_numpy(logits)}).probability,
        done.decode({"logits": torch.from_numpy(logits)}).probability,
    )


# Recalibration ----------------------------------------------------------------------------------------------------


def test_recalibration_is_logistic_and_keeps_who_is_called_positive() -> None:
    logits, answer = _column(rows(3000, 2.0, 1.0))
    task = fit(["0", "1"]).calibrate(said(*_column(rows(400, seed=5))))
    local = task.recalibrate(said(logits, answer))
    before, after = (one.decode({"logits": torch.from_numpy(logits)}) for one in (task, local))
    np.testing.assert_array_equal(before.decision, after.decision)
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(before.probability)[:, None], answer)
    assert local.local[0].slope == pytest.approx(theirs.coef_[0, 0], rel=1e-3)
    assert after.probability.mean() == pytest.approx(answer.mean(), abs=1e-3)
    twice = local.recalibrate(said(logits, answer))
    np.testing.assert_allclose(
        twice.decode({"logits": torch.from_numpy(logits)}).probability, after.probability, atol=1e-3
    )


def test_recalibration_of_several_classes_meets_their_shares() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=(3000, 3))
    true = np.exp(log_softmax(logits + np.array([0.0, 1.5, -1.0]), axis=1))
    answer = (true.cumsum(axis=1) > random.random(3000)[:, None]).argmax(axis=1)
    local = fit(["a", "b", "c"]).recalibrate(said(logits, answer))
    probability = local.decode({"logits": torch.from_numpy(logits)}).probability
    np.testing.assert_allclose(probability.mean(axis=0), np.bincount(answer) / 3000, atol=2e-3)


def test_too_few_local_rows_are_counted() -> None:
    logits, answer = np.linspace(-1, 1, 60)[:, None], np.zeros(60, np.float32)
    answer[:7] = 1
    with pytest.raises(DataError, match=r"y: found 7 of 1 among the local rows; expected at least 20"):
        fit(["0", "1"]).recalibrate(said(logits, answer))
    with pytest.raises(DataError, match="found 0 of 0, 0 of 1"):
        fit(["0", "1"]).recalibrate([])


def test_answers_that_fall_where_the_bundle_rises_are_refused() -> None:
    logits, answer = _column(rows(500))
    with pytest.raises(DataError, match="do not rise with what the bundle predicts"):
        fit(["0", "1"]).recalibrate(said(logits, 1 - answer))


def test_lines_one_after_the_other() -> None:
    both = Line(2.0, (1.0,)).after(Line(3.0, (-1.0,)))
    np.testing.assert_allclose(both(np.array([0.5])), 2 * (3 * 0.5 - 1) + 1)
