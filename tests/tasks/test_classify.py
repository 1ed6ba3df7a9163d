"""Classes with an order, focal loss, label noise and weights: against their definitions; and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit, log_softmax
from torch.nn import functional as F

from medloom.batch import Encoded, Field, Seen
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError
from medloom.tasks import _class_losses
from medloom.tasks._class_options import ClassifyOptions
from medloom.tasks.classify import Classify

ORDER = ["mild", "moderate", "severe"]


def options(**more: object) -> ClassifyOptions:
    return ClassifyOptions.model_validate({"column": "y", **more})


def cohort_of(values: object) -> Cohort:
    return make_cohort(CohortPart(independent_rows=True), pl.DataFrame({"y": values}), Path(), {})


def fit(values: object, **more: object) -> Classify:
    marks = Classify.read(options(**more), cohort_of(values))
    return Classify.fit(options(**more), [Classify.summarise(options(**more), marks, np.arange(len(marks.values)))])


def codes_of(values: np.ndarray, present: np.ndarray | None = None) -> Field:
    known = np.ones(len(values), bool) if present is None else present
    return Field(torch.from_numpy(values), torch.from_numpy(known))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"order": ["a", "b"]}, "at least three classes"),
        ({"order": ["a", "b", "a"]}, "at least three classes, all different"),
        ({"order": ORDER, "positive": "mild"}, "positive goes with two classes"),
        ({"column": None, "columns": ["y", "z"], "order": ORDER}, "positive and order go with column"),
        ({"focal_gamma": 1.0}, "focal_gamma goes with loss"),
        ({"loss": "focal", "calibration": "none"}, "need calibration"),
        ({"label_noise": 0.5}, "less than 0.5"),
        ({"label_noise": -0.1}, "greater than or equal to 0"),
    ],
)
def test_options_that_contradict_are_refused(more: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        options(**more)


def test_classes_stand_in_the_given_order() -> None:
    values = ["severe", "mild", "moderate", "mild", None]
    assert fit(values).classes == ("mild", "moderate", "severe")  # by chance of the alphabet
    task = fit(values, order=["severe", "moderate", "mild"])
    assert task.classes == ("severe", "moderate", "mild") and task.counts == (1, 1, 2)
    assert task.describe()["order"] == "severe < moderate < mild" and next(iter(task.metrics())) == "quadratic_kappa"
    assert fit([1, 2, 3, 10], order=[1, 2, 3, 10]).classes == ("1", "2", "3", "10")
    with pytest.raises(DataError, match="'y': 'fatal' is not in order"):
        fit(["mild", "moderate", "severe", "fatal"], order=ORDER)
    with pytest.raises(DataError, match="order: no training row has the class 'severe'; take it out"):
        fit(["mild", "moderate"], order=ORDER)


def test_an_ordered_head_is_proportional_odds_and_begins_at_the_shares() -> None:
    task = fit(np.repeat(ORDER, [50, 30, 20]).tolist(), order=ORDER)
    head = task.head({}, 4)
    assert isinstance(head, _class_losses.OrderedHead)
    start = head(Seen(torch.zeros(1, 4), {"t": Encoded(torch.zeros(1, 4))}, {}))["logits"]
    np.testing.assert_allclose(start.exp().detach().numpy(), [[0.5, 0.3, 0.2]], rtol=1e-5)
    torch.manual_seed(0)
    with torch.no_grad():
        head.moved.weight.normal_()
        head.line.weight.normal_()
    fused = torch.randn(200, 4) * 3
    log = head(Seen(fused, {"t": Encoded(fused)}, {}))["logits"].detach().double()
    np.testing.assert_allclose(log.exp().sum(dim=1), 1, atol=1e-6)
    at_least = 1 - log.exp().cumsum(dim=1)[:, :-1].numpy()
    assert (np.diff(at_least, axis=1) < 0).all()
    odds = np.log(at_least) - np.log1p(-at_least)
    inside = (np.abs(odds) < 8).all(axis=1)
    gap = np.diff(odds[inside], axis=1)
    np.testing.assert_allclose(gap, gap[:1].repeat(len(gap), 0), atol=1e-2)
    torch.testing.assert_close(task.loss({"logits": log.float()}, codes_of(np.zeros(200, np.int64)), {}), -log[:, 0].float())  # fmt: skip


def test_far_from_every_threshold_nothing_overflows() -> None:
    task = fit(np.repeat(ORDER, [50, 30, 20]).tolist(), order=ORDER)
    head = task.head({}, 1)
    fused = torch.tensor([[-1e4], [1e4]], requires_grad=True)
    logits = head(Seen(fused, {"t": Encoded(fused)}, {}))["logits"]
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    assert torch.isfinite(fused.grad).all()


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_by_its_formula(gamma: float) -> None:
    task = fit(["0", "1", "1"], loss="focal", focal_gamma=gamma)
    logits = np.array([-2.0, 0.5, 3.0])
    chance = expit(np.array([1, -1, 1]) * logits)
    found = task.loss({"logits": torch.from_numpy(logits[:, None])}, codes_of(np.array([[1.0], [0], [1]])), {})
    np.testing.assert_allclose(found.numpy(), -((1 - chance) ** gamma) * np.log(chance), rtol=1e-6)
    several = fit(["a", "b", "c"], loss="focal", focal_gamma=gamma)
    rows = np.random.default_rng(0).normal(size=(5, 3))
    codes = np.array([0, 1, 2, 1, 0])
    log = log_softmax(rows, axis=1)[np.arange(5), codes]
    found = several.loss({"logits": torch.from_numpy(rows)}, codes_of(codes, np.arange(5) > 0), {})
    np.testing.assert_allclose(found.numpy(), -((1 - np.exp(log)) ** gamma) * log * (np.arange(5) > 0), rtol=1e-6)
    certain = torch.tensor([[60.0]], requires_grad=True)
    task.loss({"logits": certain}, codes_of(np.array([[1.0]])), {}).sum().backward()
    assert torch.isfinite(certain.grad).all()


def test_without_focus_and_noise_the_corrected_loss_is_cross_entropy() -> None:
    random = torch.Generator().manual_seed(0)
    for values, balanced in ((["0", "1", "1"], False), (["0", "1", "1"], True), (["a", "b", "c", "c"], False), (["a", "b", "c", "c"], True)):  # fmt: skip
        task = fit(values, class_weights="balanced" if balanced else "none")
        several = task.kind == "multiclass"
        logits = torch.randn(6, 3 if several else 1, generator=random)
        codes = np.array([0, 1, 2, 0, 1, 2]) if several else np.array([[0.0], [1], [1], [0], [1], [0]], np.float32)
        target = codes_of(codes, np.arange(6) < 5)
        weights = task.weights if balanced else ()
        corrected = _class_losses.corrected_loss(task.kind, logits, target, weights, 0.0, 0.0)
        torch.testing.assert_close(corrected, task.loss({"logits": logits}, target, {}))


def test_what_is_recorded_under_noise() -> None:
    chance = torch.tensor([[0.7, 0.2, 0.1]])
    found = _class_losses.recorded(chance.log(), 0.3).exp()
    # A true class stays with 0.7 and becomes each of the two others with 0.15.
    moved = np.array([[0.7, 0.15, 0.15], [0.15, 0.7, 0.15], [0.15, 0.15, 0.7]])
    np.testing.assert_allclose(found, chance.numpy() @ moved, rtol=1e-6)


def test_noise_that_is_known_is_taken_out_of_the_probabilities() -> None:
    random = np.random.default_rng(0)
    line = random.normal(size=4000) * 3
    truth = random.random(4000) < expit(line)
    seen = np.where(random.random(4000) < 0.2, ~truth, truth).astype(np.float32)
    slopes = {}
    for noise in (0.0, 0.2):
        task = fit(["0", "1"], label_noise=noise)
        slope = torch.tensor(0.5, requires_grad=True)
        best = torch.optim.LBFGS([slope], max_iter=50, line_search_fn="strong_wolfe")

        def closure(task=task, slope=slope, best=best) -> torch.Tensor:
            best.zero_grad()
            logits = slope * torch.from_numpy(line).float()[:, None]
            loss = task.loss({"logits": logits}, codes_of(seen[:, None]), {}).mean()
            loss.backward()
            return loss

        best.step(closure)
        slopes[noise] = float(slope.detach())
    assert slopes[0.2] == pytest.approx(1.0, abs=0.1) and slopes[0.0] < 0.6
    # Calibration rows are recorded with the same noise, and must not undo it.
    for noise, expected in ((0.2, 1.0), (0.0, 1 / slopes[0.0])):
        task = fit(["0", "1"], label_noise=noise)
        after = task.calibrate([({"logits": torch.from_numpy(line)[:, None]}, codes_of(seen[:, None]))])
        assert after.temperature[0] == pytest.approx(expected, rel=0.12)


def test_the_focal_loss_is_put_right_by_calibration() -> None:
    random = np.random.default_rng(1)
    line = random.normal(size=4000) * 2
    truth = (random.random(4000) < expit(line)).astype(np.float32)
    task = fit(["0", "1"], loss="focal", focal_gamma=3.0)
    slope = torch.tensor(1.0, requires_grad=True)
    best = torch.optim.LBFGS([slope], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        best.zero_grad()
        logits = slope * torch.from_numpy(line).float()[:, None]
        loss = task.loss({"logits": logits}, codes_of(truth[:, None]), {}).mean()
        loss.backward()
        return loss

    best.step(closure)
    assert float(slope.detach()) < 0.8  # too near one half
    logits = slope.detach() * torch.from_numpy(line).float()[:, None]
    after = task.calibrate([({"logits": logits}, codes_of(truth[:, None]))])
    assert float(slope.detach()) / after.temperature[0] == pytest.approx(1.0, abs=0.1)


def test_a_class_that_no_calibration_row_has_leaves_the_others_calibrated() -> None:
    three = fit(["a", "b", "c"])
    random = np.random.default_rng(0)
    logits, codes = random.normal(size=(60, 3)) * 4, random.integers(0, 2, 60)
    after = three.calibrate([({"logits": torch.from_numpy(logits)}, codes_of(codes))])
    assert after.temperature[0] > 1.5
    assert np.isfinite(after.decode({"logits": torch.from_numpy(logits)}).probability).all()
    two = fit(["0", "1"])
    alone = two.calibrate([({"logits": torch.from_numpy(logits[:, :1])}, codes_of(np.ones((60, 1), np.float32)))])
    assert alone.temperature == (1.0,) and alone.threshold == (0.5,)


def test_ordered_members_say_the_mean_of_their_probabilities() -> None:
    task = fit(np.repeat(ORDER, 5).tolist(), order=ORDER)
    logs = [F.log_softmax(torch.randn(4, 3, generator=torch.Generator().manual_seed(s)), dim=1) for s in (0, 1)]
    together = task.combine([{"logits": log} for log in logs])["logits"]
    torch.testing.assert_close(together.exp(), (logs[0].exp() + logs[1].exp()) / 2)
