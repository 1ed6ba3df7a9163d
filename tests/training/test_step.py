"""Order, schedule and steps, against what torch does."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from medloom.draw import Draw
from medloom.model.assembly import Network, assemble
from medloom.parts import TrainPart
from medloom.prepare import prepare, read
from medloom.training.distributed import ALONE, Ranks
from medloom.training.order import Order
from medloom.training.plan import Plan, make_plan
from medloom.training.step import Stepper, groups, rate_share
from tests.cases.events import events_sequences
from tests.cases.images import image_segment_3d
from tests.cases.tables import table_binary


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(*read(table_binary(tmp_path_factory.mktemp("data"))))


def _plan(**more) -> Plan:
    fields = {
        "seed": 0,
        "steps": 10,
        "batch": 16,
        "learning_rate": 0.01,
        "evaluate_every": 5,
        "threads": 1,
        "gather": 2,
    }
    return Plan(**{**fields, **more}, loss_weights={"death": 1.0})


def _torch_optimizer(name, parameters, part):
    matrices = [p for p in parameters if p.ndim >= 2]
    vectors = [p for p in parameters if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": part.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=0.01, foreach=False)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True, foreach=False)
    return torch.optim.RMSprop(groups, lr=0.01, alpha=0.9, eps=1e-7, foreach=False)


@pytest.mark.parametrize("name", ["adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_a_step_is_the_step_that_torch_takes(prepared, name, clip):
    """Weight decay is decoupled for all optimisers, so it is compared where torch decouples it too: AdamW."""
    part = TrainPart(optimizer=name, clip_norm=clip, schedule="constant", weight_decay=0.1 if name == "adamw" else 0.0)
    feed = prepared.feed
    ours = assemble(feed.modalities, feed.tasks, prepared.study.model, 0).eval()
    theirs = copy.deepcopy(ours)
    stepper = Stepper(ours, feed.tasks, part, _plan())
    optimizer = _torch_optimizer(name, list(theirs.parameters()), part)
    for step in range(5):
        batch = feed.batch(prepared.fold.train[step * 16 : step * 16 + 16], Draw(0, np.zeros(16, int)))
        stepper.step(batch, step)
        optimizer.zero_grad()
        output = theirs(batch.inputs)["death"]["logits"]
        torch.nn.functional.binary_cross_entropy_with_logits(output, batch.targets["death"].value).backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        optimizer.step()
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7)


def test_every_epoch_shows_every_row_once():
    order = Order(np.arange(100, 150), 16, seed=1)
    rows, epoch = order.at(0, 25)
    for one in range(8):
        assert sorted(rows[epoch == one]) == list(range(100, 150))
    assert not np.array_equal(rows[:50], rows[50:100])


def test_any_stretch_of_the_stream_is_the_same_stretch():
    order = Order(np.arange(37), 8, seed=2)
    rows, epoch = order.at(0, 40)
    part, part_epoch = Order(np.arange(37), 8, seed=2).at(11, 3)
    assert np.array_equal(part, rows[88:112]) and np.array_equal(part_epoch, epoch[88:112])


def test_one_cycle_rises_and_falls():
    shares = [rate_share("one-cycle", step, 100) for step in range(100)]
    assert np.argmax(shares) == 30 and max(shares) == pytest.approx(1.0)
    assert shares[0] == pytest.approx(0.04) and shares[-1] < 0.01
    assert all(a < b for a, b in pairwise(shares[:31]))
    assert {rate_share("constant", step, 100) for step in range(100)} == {1.0}


def test_dropout_is_a_function_of_the_step(prepared):
    feed = prepared.feed
    losses = []
    for step in (3, 3, 4):
        network = assemble(feed.modalities, feed.tasks, prepared.study.model, 0).train()
        batch = feed.batch(prepared.fold.train[:16], Draw(0, np.zeros(16, int)))
        torch.rand(7)
        losses.append(float(Stepper(network, feed.tasks, TrainPart(), _plan()).step(batch, step)))
    assert losses[0] == losses[1] != losses[2]


def test_a_budget_in_epochs_steps_or_none(prepared):
    feed = prepared.feed
    network = assemble(feed.modalities, feed.tasks, prepared.study.model, 0)
    rows = prepared.fold.train

    def steps(**part):
        return make_plan(TrainPart(**part), network, feed, rows, 0, {"death": 1.0})

    assert steps(steps=7).steps == 7
    assert steps(epochs=2, batch=10).steps == int(np.ceil(2 * len(rows) / 10))
    assert steps(batch=32).steps == int(np.ceil(40 * len(rows) / 32))
    assert steps(batch=10_000).batch == len(rows)


@pytest.mark.parametrize(("named", "alone", "of_two"), [("3", 3, 6), (None, 5, 5)])
def test_threads_of_grids_are_those_that_the_environment_allows_each_process(
    prepared, monkeypatch, named, alone, of_two
):
    network = assemble(prepared.feed.modalities, prepared.feed.tasks, prepared.study.model, 0)
    rows, weights = prepared.fold.train, {"death": 1.0}
    monkeypatch.setattr("medloom.training.plan.cores", lambda: 5)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if named:
        monkeypatch.setenv("OMP_NUM_THREADS", named)

    def threads(ranks=ALONE, threads="auto"):
        return make_plan(TrainPart(steps=1, threads=threads), network, prepared.feed, rows, 0, weights, ranks).threads

    assert threads() == 1
    monkeypatch.setattr(Network, "on_grids", True)
    assert (threads(), threads(ranks=Ranks(0, 2, 0, 2))) == (alone, of_two)
    assert threads(threads=2) == 2


def test_rows_of_a_step_where_none_are_named(prepared, tmp_path, monkeypatch):
    """Tables at least 32; grids at least 8; where each position is asked, as many as hold a number of voxels, but two."""
    images = prepare(*read(image_segment_3d(tmp_path)))

    def batch(one):
        feed, study = one.feed, one.study
        network = assemble(feed.modalities, feed.tasks, study.model, 0)
        weights = {name: part.loss_weight for name, part in study.targets.items()}
        return make_plan(TrainPart(steps=1), network, feed, one.fold.train, 0, weights).batch

    assert len(prepared.fold.train) > 32 and batch(prepared) == 32
    assert len(images.fold.train) > 8 and batch(images) == 8
    field = next(iter(images.feed.batch(images.fold.train[:1], Draw(0, np.zeros(1, int))).inputs.values()))
    monkeypatch.setattr("medloom.training.plan.DENSE_ELEMENTS", 5 * field.value.numel())
    assert batch(images) == 4
    monkeypatch.setattr("medloom.training.plan.DENSE_ELEMENTS", 1)
    assert batch(images) == 2


def test_a_budget_of_positions_changes_memory_alone(tmp_path):
    """A step in parts has the loss and the gradient of the whole batch, and no part is longer than the budget."""
    prepared = prepare(*read(events_sequences(tmp_path)))
    feed, rows = prepared.feed, prepared.fold.train
    network = assemble(feed.modalities, feed.tasks, prepared.study.model, 0).eval()
    plan = make_plan(TrainPart(batch=16, steps=2), network, feed, rows, 0, {"death": 1.0, "age": 1.0})
    assert plan.positions == 200 and plan.gather == 1
    batch = feed.batch(rows[:16], Draw(0, np.zeros(16, int)))
    found = []
    for positions in (None, plan.positions):
        stepper = Stepper(copy.deepcopy(network), feed.tasks, TrainPart(), replace(plan, positions=positions))
        loss = stepper._backward(batch)
        sizes = [len(part) for part in stepper._parts(batch)]
        assert max(sizes) * batch.positions <= (positions or 10_000)
        found.append((loss, [p.grad for p in stepper.network.parameters()]))
    (one, first), (other, second) = found
    torch.testing.assert_close(one, other)
    for mine, theirs in zip(first, second, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


def test_a_large_budget_asks_for_nothing(prepared, tmp_path):
    network = assemble(prepared.feed.modalities, prepared.feed.tasks, prepared.study.model, 0)
    plan = make_plan(TrainPart(steps=1), network, prepared.feed, prepared.fold.train, 0, {"death": 1.0})
    assert plan.positions is None and prepared.feed.lengths(prepared.fold.train) is None


def _encoder_moves(prepared, part, begun, steps=1):
    """How far each tensor of a fresh network goes in these steps."""
    feed = prepared.feed
    network = assemble(feed.modalities, feed.tasks, prepared.study.model, 0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    stepper = Stepper(network, feed.tasks, part, _plan(begun=begun))
    for step in range(steps):
        stepper.step(feed.batch(prepared.fold.train[:16], Draw(0, np.zeros(16, int))), step)
    return {name: tensor - before[name] for name, tensor in network.state_dict().items()}


def test_encoders_from_elsewhere_learn_at_their_share_of_the_rate(prepared):
    plain = TrainPart(optimizer="sgd", clip_norm=0.0, schedule="constant", weight_decay=0.1)
    whole = _encoder_moves(prepared, plain, ("labs",))
    slow = _encoder_moves(prepared, plain.model_copy(update={"encoder_rate": 0.25}), ("labs",))
    own = _encoder_moves(prepared, plain.model_copy(update={"encoder_rate": 0.25}), ())
    for name, moved in whole.items():
        share = 0.25 if name.startswith("encoders.") else 1.0
        torch.testing.assert_close(slow[name], share * moved, rtol=1e-4, atol=1e-7)
        assert torch.equal(own[name], moved)


@pytest.mark.parametrize("name", ["adamw", "sgd", "rmsprop"])
def test_frozen_encoders_stay_until_their_share_of_the_steps_is_over(prepared, name):
    part = TrainPart(optimizer=name, schedule="constant", freeze=0.3)
    still = _encoder_moves(prepared, part, ("labs",), 3)
    after = _encoder_moves(prepared, part, ("labs",), 4)
    encoders = [name for name in still if name.startswith("encoders.")]
    assert all(still[name].abs().max() == 0 for name in encoders)
    assert any(after[name].abs().max() > 0 for name in encoders)
    assert any(moved.abs().max() > 0 for name, moved in still.items() if name not in encoders)


def test_levels_of_an_encoder_learn_less_towards_its_stem():
    class Trunk(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = torch.nn.Linear(2, 2)
            self.blocks = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(2))
            self.project = torch.nn.Linear(2, 2)

    network = torch.nn.Module()
    network.encoders = torch.nn.ModuleDict({"input_scan": Trunk()})
    network.heads = torch.nn.Linear(2, 1)
    found = groups(network, ("scan",), TrainPart(encoder_rate=0.5, level_decay=0.1))
    assert [(len(group.parameters), group.begun) for group in found] == [(2, True)] * 4 + [(2, False)]
    np.testing.assert_allclose([group.share for group in found], [0.5e-3, 0.5e-2, 0.5e-1, 0.5, 1.0])
    assert len(groups(network, ("scan",), TrainPart())) == 1
