"""Means of attention: conserved, grouped by class, and told of no single patient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from medloom.batch import Field
from medloom.explain.attention import EVERYBODY, Looked, _half, _parts, looked
from medloom.explain.evidence import Evidence
from medloom.judging import train_one
from medloom.modalities.signal.encoders import build
from medloom.modalities.signal.encoders.options import EncoderOptions
from medloom.model.team import Team
from medloom.prepare import prepare, read
from medloom.report.sections.attention import section
from medloom.rundir import RunFolder
from tests.cases import signal_and_table


def test_parts_hold_all_of_the_weight_and_halves_are_the_least() -> None:
    weight = np.random.default_rng(0).dirichlet(np.full(97, 0.1), 5)
    parts = _parts(weight)
    assert parts.shape == (5, 40)
    np.testing.assert_allclose(parts.sum(axis=1), 1)
    np.testing.assert_allclose(_parts(np.full((1, 97), 1 / 97)), 1 / 40)
    peak = np.zeros((1, 100))
    peak[0, 30] = 1
    assert _half(peak)[0] == 0.01 and _parts(peak)[0].argmax() == 12
    assert _half(np.full((1, 100), 0.01))[0] == pytest.approx(0.5, abs=0.011)


def test_very_few_positions_are_parts_themselves() -> None:
    weight = np.array([[0.2, 0.8, 0.0]])
    np.testing.assert_allclose(_parts(weight), weight)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("attention")
    asked = signal_and_table(folder)
    asked = asked.model_copy(update={"evaluate": asked.evaluate.model_copy(update={"baselines": False})})
    run = RunFolder(folder / "run")
    run.path.mkdir(exist_ok=True)
    found = train_one(prepare(*read(asked)), asked.train, run.training(), lambda event: None)
    return found, replace(found.prepared.feed, tasks=found.tasks)


def test_inputs_that_weigh_positions_are_told_of_by_class(trained: Any) -> None:
    found, feed = trained
    rows = np.arange(64)
    (one,) = looked(found.team, feed, rows, rows, 0)
    assert one.input == "ecg" and one.unit == "s" and one.length == pytest.approx(4.0)
    assert set(one.share) == {EVERYBODY, "fast: 0", "fast: 1"}
    for share in one.share.values():
        assert share.sum() == pytest.approx(1.0, abs=1e-5)
    # Rows without a record are not counted: one in seven.
    assert one.rows == 54 and 0 < one.half <= 0.51


def test_few_patients_are_not_told_of(trained: Any) -> None:
    found, feed = trained
    rows = np.arange(64)
    assert looked(found.team, feed, rows, rows // 8, 0) == ()
    (one,) = looked(found.team, feed, rows, np.where(rows % 2, rows % 8, rows), 0)
    assert set(one.share) == {EVERYBODY, "fast: 0"}


def test_nothing_where_no_network_or_no_row_looks(trained: Any) -> None:
    found, feed = trained
    rows = np.arange(64)
    assert looked(Team((), found.team.simple), feed, rows, rows, 0) == ()
    assert looked(found.team, feed, rows[:0], rows[:0], 0) == ()


def test_attention_finds_the_burst_that_tells_the_classes() -> None:
    """Trained on rows whose class is a burst in the last quarter, it looks there, in rows that have one."""
    random = np.random.default_rng(0)
    value = random.normal(0, 0.3, (128, 1, 256)).astype(np.float32)
    label = torch.arange(128) % 2
    value[1::2, 0, 200:240] += 2 * np.sin(np.arange(40))
    torch.manual_seed(0)
    model: Any = build(EncoderOptions(channels=8, levels=2, width=8), 1, 256, 100.0)
    head = torch.nn.Linear(8, 1)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], 5e-3)
    whole = Field(torch.from_numpy(value), torch.ones(128, dtype=torch.bool))
    for step in range(40):
        part = whole.rows(step % 4 * 32, step % 4 * 32 + 32)
        said = head(model.train()(part).pooled)[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(said, label[:32].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        weight = model.eval().attention(whole)[1::2]
    assert weight[:, 190:250].sum(1).mean() > 1.5 * 60 / 256


def test_the_section_says_where() -> None:
    share = np.full(40, 0.02)
    share[10] = 1 - 39 * 0.02
    one = Looked("eeg", 10.0, "s", {EVERYBODY: share}, 0.1, 50)
    told = section(_story(Evidence(looked=(one,))))
    assert told is not None and told.chapter == "explanation"
    assert "10% of a window of 10 s" in told.pieces[0].text
    plot = told.pieces[1]
    assert "2.62 s" in plot.text and "8.80 times" in plot.text
    assert np.mean(plot.curves[0].y) == pytest.approx(1.0)
    assert Evidence(looked=(one,)).plain()["attention"]["eeg"]["half_within"] == 0.1
    assert section(_story(Evidence())) is None


def _story(found: Evidence) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(evidence=found)
