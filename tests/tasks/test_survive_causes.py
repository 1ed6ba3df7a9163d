"""Proportional hazards and competing events: the link, the likelihood, what members say together, simple models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from medloom import fitted
from medloom.batch import Batch, Encoded, Field, Seen
from medloom.cohort.table import Cohort, make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError
from medloom.statistics import competing, survival
from medloom.task import Block
from medloom.tasks import _competing_baselines, _cox, _hazards
from medloom.tasks._survive_options import SurviveOptions
from medloom.tasks.survive import Survive

CODES = {"event_values": [1], "censored_values": [0], "competing_values": [2, "other"]}


def options(**more: object) -> SurviveOptions:
    return SurviveOptions.model_validate({"time": "days", "event": "dead", **more})


def cohort_of(days: object, dead: object) -> Cohort:
    frame = pl.DataFrame({"days": days, "dead": dead})
    return make_cohort(CohortPart(independent_rows=True), frame, Path(), {})


def fit(days: object, dead: object, **more: object) -> Survive:
    marks = Survive.read(options(**more), cohort_of(days, dead))
    return Survive.fit(options(**more), [Survive.summarise(options(**more), marks, np.arange(len(marks.values)))])


def followed(time: np.ndarray, event: np.ndarray) -> Field:
    both = np.stack([time, event], axis=1)
    return Field(torch.from_numpy(np.nan_to_num(both)), torch.from_numpy(~np.isnan(time)))


def block(features: np.ndarray, field: Field) -> Block:
    return Block(features, Batch({}, {"y": field}, torch.arange(len(features)), torch.ones(len(features))), field)


def seen(fused: torch.Tensor) -> Seen:
    return Seen(fused, {"t": Encoded(fused)}, {})


def two_causes(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first feature brings the event, the second the competing one, the third is missing throughout."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 3))
    mine, other = (random.exponential(12 * np.exp(-1.2 * features[:, i])) for i in (0, 1))
    leaves = random.exponential(30, rows)
    time = np.minimum(np.minimum(mine, other), leaves)
    cause = np.where(leaves == time, 0, np.where(mine <= other, 1, 2)).astype(float)
    features[:, 2] = np.nan
    return features, np.ceil(time), cause


def test_codes_of_competing_events_are_read_as_they_are_named() -> None:
    marks = Survive.read(options(**CODES), cohort_of([1, 2, 3, 4, None], ["1", "0", "2", "Other", None]))
    assert marks.values[:4, 1].tolist() == [1, 0, 2, 2] and np.isnan(marks.values[4, 1])
    assert Survive.tally(options(**CODES), marks, np.arange(5)) == {"event": 1, "competing": 2, "censored": 1}
    assert Survive.strata(options(**CODES), marks).tolist() == [1, 0, 2, 2, -1]
    # A default word that is named as a competing event is no longer taken for the event.
    other = options(competing_values=["yes"])
    assert Survive.read(other, cohort_of([1, 2, 3], ["1", "no", "yes"])).values[:, 1].tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("days", "dead", "says"),
    [
        ([1, 2, 3], [1, 0, 7], "'dead': 1 row holds codes that mean neither.*\\('7'\\); name them in event_values, competing_values"),
        ([1, 2, 3], [0, 2, 2], "all 3 training rows are censored, or ended with a competing event"),
        ([1, -2, 3], [1, 2, 0], "1 value is negative"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_is_refused(days: list[object], dead: list[object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        fit(days, dead, **CODES)


def test_codes_that_contradict_are_refused() -> None:
    for more in ({"event_values": [2], "competing_values": ["2"]}, {"censored_values": ["x"], "competing_values": ["X"]}):  # fmt: skip
        with pytest.raises(ValueError, match="must differ"):
            options(**more)


def test_everyone_ended_at_the_same_time() -> None:
    for more in ({}, {"hazards": "proportional"}, CODES):
        task = fit([5] * 8, [1, 1, 0, 0, 1, 0, 1, 1], **more)
        assert task.edges == (5.0,) and task.horizons == (5.0,)
        causes = 2 if more is CODES else 1
        answer = task.decode({"logits": torch.tensor(task._base.reshape(1, causes, 1))})
        np.testing.assert_allclose(answer.risk, [[5 / 8]], atol=1e-6)


def test_rates_and_odds_are_inverse_and_of_one_cause_the_complementary_log_log() -> None:
    rates = np.random.default_rng(0).normal(-2, 1.5, (6, 2, 4))
    np.testing.assert_allclose(_hazards.log_rates(_hazards.odds_of_rates(rates)), rates, atol=1e-9)
    one = np.array([[[0.1, 0.5, 0.9]]])
    np.testing.assert_allclose(_hazards.log_rates(_hazards.log_odds(one)), np.log(-np.log1p(-one)), atol=1e-9)
    odds = _hazards.odds_of_rates(rates)
    chance = np.exp(odds) / (1 + np.exp(odds).sum(axis=1, keepdims=True))
    added = np.exp(rates)
    together = added.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(chance, added / together * -np.expm1(-together), atol=1e-9)


def test_the_likelihood_of_causes_by_hand() -> None:
    task = fit([2, 4, 8, 8, 3], [1, 1, 1, 0, 2], bins=3, **CODES)
    logits = torch.tensor(np.random.default_rng(0).normal(size=(5, 2, len(task.edges))))
    chance = torch.softmax(torch.cat([torch.zeros(5, 1, len(task.edges)), logits], dim=1), dim=1).numpy()
    time, event = np.array([3.0, 4, 9, np.nan, 2]), np.array([0.0, 2, 0, np.nan, 1])
    found = task.loss({"logits": logits}, followed(time, event), {}).numpy()
    assert task.edges == (2.0, 4.0, 8.0)
    by_hand = [
        -np.log(chance[0, 0, 0]) - 0.5 * np.log(chance[0, 0, 1]),
        -np.log(chance[1, 0, 0]) - np.log(chance[1, 2, 1]),
        -np.log(chance[2, 0]).sum(),
        0,
        -np.log(chance[4, 1, 0]),
    ]
    np.testing.assert_allclose(found, by_hand, rtol=1e-6)
    answer = task.decode({"logits": logits})
    free = np.cumprod(np.concatenate([np.ones((5, 1)), chance[:, 0]], axis=1), axis=1)[:, :-1]
    np.testing.assert_allclose(answer.risk, np.cumsum(free * chance[:, 1], axis=1), rtol=1e-6)
    np.testing.assert_allclose(answer.competing, np.cumsum(free * chance[:, 2], axis=1), rtol=1e-6)
    assert set(answer.columns()) == {f"{kind}_{h:g}" for kind in ("risk", "competing") for h in task.horizons} | {"score"}  # fmt: skip


def test_everyone_alike_is_aalen_and_johansen_where_every_time_is_an_edge() -> None:
    random = np.random.default_rng(0)
    time, cause = random.integers(1, 9, 300), random.integers(0, 3, 300)
    task = fit(time, cause, horizons=list(range(1, 9)), **CODES)
    model = _competing_baselines.AalenJohansen(np.array(task.edges))
    field = followed(time.astype(float), cause.astype(float))
    model.fit([block(np.zeros((300, 1)), field)], [])
    risk = task.decode(model.output(block(np.zeros((1, 1)), field))).risk[0]
    np.testing.assert_allclose(risk, competing.aalen_johansen(time, cause, np.ones((1, 300)))[1][0], atol=1e-5)


@pytest.mark.parametrize("more", [{}, CODES])
def test_a_proportional_head_multiplies_the_hazard_by_the_same_at_all_times(more: dict[str, object]) -> None:
    task = fit(np.arange(1.0, 61), np.tile([1, 0, 1], 20) if not more else np.tile([1, 0, 2], 20), bins=6, hazards="proportional", **more)  # fmt: skip
    head = task.head({}, 3)
    causes = 2 if more else 1
    start = head(seen(torch.zeros(1, 3)))["logits"].detach().double().numpy().reshape(1, causes, -1)
    np.testing.assert_allclose(start[0], task._base, atol=1e-5)
    torch.manual_seed(0)
    moved = head(seen(torch.randn(4, 3)))["logits"].detach().double().numpy().reshape(4, causes, -1)
    ratio = _hazards.log_rates(moved) - _hazards.log_rates(start)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :, :1], ratio.shape), atol=1e-4)
    assert np.ptp(ratio[:, 0, 0]) > 0.1
    # A temperature keeps them proportional.
    cooled = _hazards.log_rates(task._stretched(moved, 2.0)) - _hazards.log_rates(start)
    np.testing.assert_allclose(cooled, ratio / 2, atol=1e-4)


def test_a_proportional_head_learns_the_coefficients_of_cox() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(800, 2))
    days, leaves = random.exponential(10 * np.exp(-features @ [0.8, -0.5])), random.exponential(25, 800)
    time, event = np.minimum(days, leaves), (days <= leaves).astype(float)
    task = fit(time, event.astype(int), bins=40, hazards="proportional")
    head, field, fused = task.head({}, 2), followed(time, event), seen(torch.from_numpy(features).float())
    best = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        best.zero_grad()
        loss = task.loss(head(fused), field, {}).mean()
        loss.backward()
        return loss

    best.step(closure)
    cox = _cox.fit(features, time, event)
    np.testing.assert_allclose(head.line.weight.detach().numpy()[0], cox.coefficient, atol=0.02)


def test_members_together_say_the_mean_of_their_risks() -> None:
    generator = torch.Generator().manual_seed(0)
    for more, shape in (({}, (5, 3)), (CODES, (5, 2, 3))):
        task = fit([2, 4, 8, 8, 3], [1, 1, 1, 0, 2 if more else 0], bins=3, calibration="none", **more)
        outputs = [{"logits": torch.randn(shape, generator=generator)} for _ in range(3)]
        alone = np.stack([task.decode(output).risk for output in outputs])
        np.testing.assert_allclose(task.decode(task.combine(outputs)).risk, alone.mean(axis=0), atol=1e-6)
        shares = torch.tensor([0.5, 0.2, 0.3])
        together = task.combine(outputs, shares)
        assert together["logits"].shape == shape
        np.testing.assert_allclose(task.decode(together).risk, np.tensordot([0.5, 0.2, 0.3], alone, 1), atol=1e-6)


@pytest.mark.parametrize("name", ["cox", "gradient_boosting"])
def test_simple_models_of_each_cause_beat_the_curve_for_everyone(name: str) -> None:
    features, time, cause = two_causes(600, 0)
    task = fit(time, cause.astype(int), bins=10, **CODES)
    field = followed(time, cause)
    fresh = task.baselines(0)
    assert set(task.joins) <= set(fresh)
    model, curve = fresh[name], fresh["aalen_johansen"]
    for one in (model, curve):
        one.fit([block(features, field)], [])
    new, *truth = two_causes(500, 1)
    judged = followed(*truth)
    ours, theirs = (task.measure(task.decode(one.output(block(new, judged))), judged) for one in (model, curve))
    weight = np.ones((1, 500))
    figures = task.metrics()
    assert figures["cause_concordance"].of(ours, weight)[0] > 0.68
    assert figures["cause_concordance"].of(theirs, weight)[0] == 0.5
    for figure in figures.values():
        if "brier" in figure.name:
            assert figure.of(ours, weight)[0] < figure.of(theirs, weight)[0], figure.name
    again = task.baselines(0)[name]
    again.restore(model.arrays())
    torch.testing.assert_close(again.output(block(new, judged)), model.output(block(new, judged)), rtol=0, atol=0)
    plots = task.plots({"model": ours})
    assert [plot.title for plot in plots] == ["Calibration", "Thirds of the score"]
    assert plots[1].curves[2].y[-1] > plots[1].curves[0].y[-1]
    # Taking competing events for censoring says more than happens.
    naive = 1 - survival.kaplan_meier(time, cause == 1, np.ones((1, 600)))[1][0, -1]
    assert naive > competing.aalen_johansen(time, cause, np.ones((1, 600)))[1][0, -1] + 0.1


def test_a_temperature_of_causes_undoes_overconfidence() -> None:
    features, time, cause = two_causes(1500, 2)
    for hazards in ("free", "proportional"):
        task = fit(time, cause.astype(int), bins=6, hazards=hazards, **CODES)
        line = np.stack([features[:, 0], features[:, 1]], axis=1)[:, :, None]
        start = _hazards.log_rates(task._base)
        field = followed(time, cause)
        right, over = (
            task.calibrate([({"logits": torch.from_numpy(_hazards.odds_of_rates(start + k * line))}, field)])
            for k in (1, 2.5)
        )
        assert over.calibrated and over.temperature > 1.6 * right.temperature
        assert fitted.same(fitted.load(Survive, json.loads(json.dumps(fitted.dump(over)))), over)
        assert "with a competing one" in over.describe()["training rows"]
        assert "before any competing event" in over.question()
        years = replace(over, options=over.options.model_copy(update={"unit": "years"}))
        assert "how likely by" in years.question() and " years, and before" in years.question()
        assert all(" at " not in m.label or m.label.endswith(" years") for m in years.metrics().values())
        assert list(years.metrics()) == list(over.metrics())
        named = replace(
            over, options=over.options.model_copy(update={"time": "relapse_time", "event": "relapse_event"})
        )
        assert (
            named.question().startswith("relapse: how likely by")
            and "(in the unit of relapse_time)" in named.question()
        )
