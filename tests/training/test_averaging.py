"""Averaged weights: their closed form, and that a run which stopped goes on with the same ones."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from medloom.run import fit
from medloom.training.averaging import WARM, Averaged
from medloom.training.loop import Event, Interrupted
from tests.cases.tables import table_binary


def test_the_average_by_hand_and_the_network_as_it_was() -> None:
    network = nn.Linear(2, 1)
    averaged, expected = Averaged(network, 0.8), network.weight.detach().clone()
    for step in range(60):
        with torch.no_grad():
            network.weight.add_(0.1 * (step % 3))
        averaged.add(step)
        share = min(0.8, (1 + step) / (WARM + step))
        expected = share * expected + (1 - share) * network.weight.detach()
    torch.testing.assert_close(averaged.weights["weight"], expected)
    last = network.weight.detach().clone()
    with averaged.shown():
        torch.testing.assert_close(network.weight.detach(), expected)
    assert torch.equal(network.weight, last)
    averaged.take()
    torch.testing.assert_close(network.weight.detach(), expected)


def test_a_stopped_run_goes_on_to_the_same_average(tmp_path: Path) -> None:
    study = table_binary(tmp_path)
    changed = {"epochs": None, "steps": 60, "average": 0.9, "evaluations": 4, "patience": 0, "keep": "last"}
    judged = study.evaluate.model_copy(update={"baselines": False, "explain": False})
    study = study.model_copy(update={"train": study.train.model_copy(update=changed), "evaluate": judged}).within(
        tmp_path
    )

    def interrupt(event: Event) -> None:
        if event.kind == "step" and event.step >= 32:
            signal.raise_signal(signal.SIGINT)

    whole = fit(study, tmp_path / "whole").bundle.network.state_dict()
    with pytest.raises(Interrupted):
        fit(study, tmp_path / "stopped", watch=interrupt)
    again = fit(study, tmp_path / "stopped").bundle.network.state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
