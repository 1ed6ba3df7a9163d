"""Devices, precision and parts of a batch. What a GPU would refuse is found without one, on torch's "meta" device."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from medloom.draw import Draw
from medloom.errors import StudyError
from medloom.model.assembly import Network, assemble
from medloom.parts import TrainPart
from medloom.prepare import Prepared, prepare, read
from medloom.training.distributed import ALONE, Ranks
from medloom.training.place import CPU, Place, choose
from medloom.training.plan import Plan, bytes_kept, make_plan
from medloom.training.step import Stepper
from tests.cases import CASES


class OneDevice(TorchDispatchMode):
    """Raises where tensors of two devices meet, as a GPU would; a number of the CPU may meet any tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [t for t in _pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        devices = {t.device.type for t in tensors if t.ndim or t.device.type != "cpu"}
        if len(devices) > 1 and func._overloadpacket not in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            raise AssertionError(f"{func} meets {sorted(devices)}")
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module", params=CASES, ids=str)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Network, Plan]:
    prepared = prepare(*read(CASES[request.param](tmp_path_factory.mktemp(request.param))))
    feed, study = prepared.feed, prepared.study
    network = assemble(feed.modalities, feed.tasks, study.model, 0)
    weights = {name: part.loss_weight for name, part in study.targets.items()}
    part = study.train.model_copy(update={"batch": 6, "epochs": None, "steps": 3})
    return prepared, network, make_plan(part, network, feed, prepared.fold.train, 0, weights)


def batch_of(prepared: Prepared, count: int = 6):
    return prepared.feed.batch(prepared.fold.train[:count], Draw(0, np.zeros(count, int)))


def test_no_tensor_of_the_cpu_meets_one_of_another_device(made):
    """The loss of training and of scoring, the gradient and the clipping, with all that they make on the way."""
    prepared, network, plan = made
    if any(getattr(part, "bagged", False) for part in prepared.study.inputs.values()):
        pytest.skip("which images of a bag are there is asked of the numbers themselves, and meta tensors have none")
    if any(getattr(part, "boundary", 0) for part in prepared.study.targets.values()):
        pytest.skip("distances from borders are measured on the processor, of numbers that meta tensors do not have")
    part = prepared.study.train
    meta = torch.device("meta")
    stepper = Stepper(copy.deepcopy(network).train(), prepared.feed.tasks, part, plan, Place(meta))
    batch = batch_of(prepared).to(meta)
    with OneDevice():
        assert stepper._backward(batch).device.type == "meta"
        stepper._clip()
        stepper.network.eval()
        with torch.inference_mode():
            assert stepper.loss(batch).device.type == "meta"
    assert {p.grad.device.type for p in stepper.network.parameters() if p.grad is not None} == {"meta"}


def test_what_meets_another_device_is_found():
    with OneDevice(), pytest.raises(AssertionError, match=r"cpu.*meta"):
        torch.cat([torch.ones(2), torch.ones(2, device="meta")])
    with OneDevice():
        assert (torch.ones(2, device="meta") * torch.tensor(2.0)).device.type == "meta"


def test_a_step_in_parts_is_the_step_of_the_batch(made):
    prepared, network, plan = made
    part = prepared.study.train.model_copy(update={"clip_norm": 0.5})
    gradients, losses = [], []
    for micro_batch in (None, 1, 4):
        cut = replace(plan, micro_batch=micro_batch)
        stepper = Stepper(copy.deepcopy(network).eval(), prepared.feed.tasks, part, cut)
        losses.append(float(stepper.step(batch_of(prepared), 0)))
        gradients.append([p.grad for p in stepper.network.parameters()])
        scored = stepper.score(prepared.feed, prepared.fold.valid)
        losses[-1] += scored
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    for other in gradients[1:]:
        for one, two in zip(gradients[0], other, strict=True):
            assert (one is None) == (two is None)
            if one is not None:
                torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_near_float32_and_leaves_weights_in_float32(made):
    prepared, network, plan = made
    part = prepared.study.train
    losses = []
    for place in (CPU, Place(CPU.device, bfloat16=True)):
        stepper = Stepper(copy.deepcopy(network).eval(), prepared.feed.tasks, part, plan, place)
        losses.append(stepper.loss(batch_of(prepared)).detach())
        stepper.step(batch_of(prepared), 0)
        assert {p.dtype for p in stepper.network.parameters()} == {torch.float32}
    assert losses[1].dtype == torch.float32 and not torch.equal(losses[0], losses[1])
    torch.testing.assert_close(losses[0], losses[1], rtol=0.05, atol=0.05)


def test_the_place_is_the_one_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose(TrainPart(), ALONE) == CPU
    assert choose(TrainPart(device="cpu", precision="bfloat16"), ALONE).bfloat16
    with pytest.raises(StudyError, match="finds no GPU"):
        choose(TrainPart(device="cuda"), ALONE)


def test_a_gpu_is_one_process_s_own(monkeypatch):
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    second = choose(TrainPart(), Ranks(1, 2, 1, 2))
    assert second == Place(torch.device("cuda", 1), bfloat16=True) and chosen == [second.device]
    assert not choose(TrainPart(precision="float32"), Ranks(1, 2, 1, 2)).bfloat16
    assert choose(TrainPart(device="cpu"), Ranks(1, 2, 1, 2)) == CPU
    with pytest.raises(StudyError, match="3 processes on a machine with 2 GPUs"):
        choose(TrainPart(), Ranks(0, 3, 0, 3))


@pytest.mark.parametrize(("given", "expected"), [("auto", None), (4, 4), (6, None), (100, None)])
def test_parts_of_a_batch_are_planned(made, given, expected):
    prepared, network, plan = made
    part = prepared.study.train.model_copy(update={"batch": 6, "micro_batch": given})
    assert make_plan(part, network, prepared.feed, prepared.fold.train, 0, plan.loss_weights).micro_batch == expected


def test_parts_are_smaller_where_memory_is_short(made, monkeypatch):
    prepared, network, plan = made
    if not network.on_grids:
        return
    part, rows = prepared.study.train.model_copy(update={"batch": 6, "steps": 1, "epochs": None}), prepared.fold.train
    there = np.sum([source.unit[rows] > 0 for source in prepared.feed.sources.values()], axis=0)
    each = bytes_kept(plan, network, prepared.feed, rows[[int(there.argmax())]], part, CPU, 1)
    images = batch_of(prepared, 1).inputs[next(iter(prepared.study.inputs))].value.numel()
    assert each > 4 * 4 * images, "maps of several channels at the image's own resolution, several times"
    monkeypatch.setattr("medloom.machine.memory_bytes", lambda: 5 * each)
    assert make_plan(part, network, prepared.feed, rows, 0, plan.loss_weights).micro_batch == 2
    monkeypatch.setattr("medloom.machine.memory_bytes", lambda: each)
    assert make_plan(part, network, prepared.feed, rows, 0, plan.loss_weights).micro_batch == 1
