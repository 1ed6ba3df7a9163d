"""Members of an ensemble: each its own head and loss, one prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medloom.draw import Draw
from medloom.errors import StudyError
from medloom.model.assembly import assemble
from medloom.parts import ModelPart, TrainPart
from medloom.prepare import prepare, read
from medloom.training.plan import make_plan
from medloom.training.step import Stepper
from tests.cases.tables import table_ensemble


def test_losses_are_of_members_and_predictions_the_mean_of_probabilities(tmp_path: Path) -> None:
    study = table_ensemble(tmp_path)
    prepared = prepare(*read(study))
    feed = prepared.feed
    network = assemble(feed.modalities, feed.tasks, ModelPart(), 0).eval()
    rows = prepared.fold.train[:8]
    batch = feed.batch(rows, Draw(0, np.zeros(len(rows), int)))
    with torch.no_grad():
        apart, whole = network.apart(batch.inputs), network(batch.inputs)
    assert {name: len(parts) for name, parts in apart.items()} == {"death": 3, "severity": 3}
    death = torch.stack([part["logits"].sigmoid() for part in apart["death"]])
    assert death.std(dim=0).min() > 0
    torch.testing.assert_close(whole["death"]["logits"].sigmoid(), death.mean(dim=0))
    severity = torch.stack([part["logits"].softmax(dim=1) for part in apart["severity"]])
    torch.testing.assert_close(whole["severity"]["logits"].softmax(dim=1), severity.mean(dim=0))
    torch.testing.assert_close(
        whole["severity"]["logits"].exp().sum(dim=1), torch.ones(8), msg="logits are log probabilities"
    )
    plan = make_plan(
        TrainPart(steps=1, batch=8), network, feed, prepared.fold.train, 0, {"death": 1.0, "severity": 1.0}
    )
    stepper = Stepper(network, feed.tasks, TrainPart(), plan)
    together = sum(task.loss(whole[n], batch.targets[n], batch.inputs) for n, task in feed.tasks.items())
    torch.testing.assert_close(stepper.loss(batch), together)
    for layer in network.train().modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.eval()
    each = sum(
        torch.stack([task.loss(part, batch.targets[n], batch.inputs) for part in apart[n]]).mean(dim=0)
        for n, task in feed.tasks.items()
    )
    torch.testing.assert_close(stepper.loss(batch), each)
    assert (each >= together - 1e-6).all(), "by Jensen's inequality"


def test_two_ensembles_of_other_sizes_are_refused(tmp_path: Path) -> None:
    feed = prepare(*read(table_ensemble(tmp_path))).feed
    labs = feed.modalities["labs"]
    from dataclasses import replace

    other = replace(labs, options=labs.options.model_copy(update={"members": 4}))
    with pytest.raises(StudyError, match="inputs.labs 3 and inputs.more 4 members; expected as many"):
        assemble({"labs": labs, "more": other}, feed.tasks, ModelPart(), 0)
