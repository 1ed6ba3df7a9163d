from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from medloom.explain import bounds
from medloom.explain.examine import GRADIENTS, PERMUTATION, explain
from medloom.explain.probe import Piece, Probe
from medloom.explain.windows import windows_of
from medloom.model.assembly import assemble
from medloom.model.outputs import outputs
from medloom.model.team import Team
from medloom.prepare import prepare, read
from medloom.report.sections.explanation import section
from tests.cases.images import image_bag_2d, image_segment_2d
from tests.cases.signals import signal_and_table, signals_and_image
from tests.explain.studies import rows, trained


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    found, feed = trained(tmp_path_factory.mktemp("asked"))
    test = found.prepared.fold.test
    return explain(found.team, feed, test, found.prepared.cohort.patient[test], 0.95, 0)


def test_what_makes_the_answer_comes_first_and_noise_is_not_told_from_nothing(explained):
    one = explained.targets["death"]
    drops = {line.pieces[0].part: line.drop for line in one.importances}
    assert one.importances[0].pieces[0].part in {"strong", "copy", "ward"}
    assert drops["ward"].low > 0 and drops["strong"].low > 0
    assert drops["noise"].low < 0.02 and drops["other"].low < 0.02
    together = {frozenset(piece.part for piece in line.pieces): line.drop for line in one.together}
    assert together[frozenset({"strong", "copy"})].value > max(drops["strong"].value, drops["copy"].value)
    gradients = {piece.part: value for piece, value in one.gradients.items()}
    assert gradients["ward"] > gradients["noise"] and one.unit == "log-odds"


def test_a_true_ranking_holds_and_a_random_one_does_not(explained):
    deletions = explained.targets["death"].deletions
    assert set(deletions) == {PERMUTATION, GRADIENTS}
    for found in deletions.values():
        assert found.trusted and found.taken == (0, 1, 2, 3, 4)
        assert found.curves["most"][1] < found.curves["least"][1]


def test_effects_follow_the_data(explained):
    effects = {effect.piece.part: effect for effect in explained.targets["death"].effects}
    strong, ward = effects["strong"], effects["ward"]
    assert list(strong.at) == sorted(strong.at) and strong.value[-1, 0] > strong.value[0, 0]
    assert ward.words == ("a", "b", "c") and ward.value[1, 0] > max(ward.value[0, 0], ward.value[2, 0]) + 0.1


def test_answers_that_rest_on_nothing_are_not_trusted(tmp_path):
    """The truth is shuffled, so no ranking of columns can beat a random one on other patients."""
    frame = rows(500, 1)
    died = np.random.default_rng(2).permutation(frame["died"].to_numpy())
    frame = frame.with_columns(pl.Series("died", died))
    found, feed = trained(tmp_path, frame=frame, train={"epochs": 2})
    test = found.prepared.fold.test
    made = explain(found.team, feed, test, found.prepared.cohort.patient[test], 0.95, 0)
    assert not made.targets["death"].deletions[PERMUTATION].trusted


def test_what_costs_too_much_is_left_out_and_said(tmp_path, monkeypatch):
    found, feed = trained(tmp_path, train={"epochs": 1})
    test = found.prepared.fold.test
    patient = found.prepared.cohort.patient[test]
    monkeypatch.setattr(bounds, "MOST_ROWS", 200)
    monkeypatch.setattr(bounds, "MOST_PIECES", 3)
    made = explain(found.team, feed, test, patient, 0.95, 0)
    assert made.rows <= 200 and len(made.targets["death"].importances) == 3
    assert len(made.left_out) == 2 and "3 of 5 columns" in made.left_out[1]
    monkeypatch.setattr(bounds, "OPERATIONS", 1e4)
    nothing = explain(found.team, feed, test, patient, 0.95, 0)
    assert not nothing.targets and "too long" in nothing.left_out[0]


@pytest.mark.parametrize(("made", "says"), [(image_segment_2d, "seen in windows"), (image_bag_2d, "seen whole")])
def test_why_images_are_not_exchanged(tmp_path, made, says):
    asked = prepare(*read(made(tmp_path)))
    found = explain(Team(()), asked.feed, asked.fold.test, asked.cohort.patient[asked.fold.test], 0.95, 0)
    assert len(found.left_out) == 1 and f"input scan is {says}" in found.left_out[0]
    # A report has no chapter on columns then.
    assert section(SimpleNamespace(evidence=SimpleNamespace(explanation=found))) is None


def asked_beside_windows(made, tmp_path):
    asked = prepare(*read(made(tmp_path)))
    network = assemble(asked.feed.modalities, asked.feed.tasks, asked.study.model, 3)
    return asked, Team((network, assemble(asked.feed.modalities, asked.feed.tasks, asked.study.model, 4)))


@pytest.mark.parametrize("made", [signal_and_table, signals_and_image])
def test_windows_that_were_looked_at_once_answer_as_in_prediction(tmp_path, made):
    asked, team = asked_beside_windows(made, tmp_path)
    feed, rows = asked.feed, np.sort(np.random.default_rng(0).permutation(len(asked.cohort))[:20])
    probe = Probe(team, feed, rows, windows_of(team, feed, rows))
    (name, task), truth = next(iter(feed.tasks.items())), feed.targets(rows)
    said = [one[name] for _, one, _ in outputs(team, feed, rows)]
    output = {key: torch.cat([one[key] for one in said]) for key in said[0]}
    direct = task.measure(task.decode(output), truth[name])["probability"]
    whole = probe.measured()[name]["probability"]
    np.testing.assert_allclose(whole, direct, atol=1e-5)
    # Whoever gets everything of another row gets its answer; with one input alone, another one than before.
    donor = np.roll(np.arange(20), 1)
    every = probe.measured(probe.pieces(), donor)[name]["probability"]
    windowed = [piece for piece in probe.pieces() if feed.modalities[piece.input].windows]
    assert windowed and all(not piece.part for piece in windowed)
    one = probe.measured(windowed[:1], donor)[name]["probability"]
    np.testing.assert_allclose(every, whole[donor], atol=1e-5)
    assert np.abs(one - whole).max() > 1e-4


def test_columns_beside_a_record_are_asked_about_and_what_is_left_out_is_said(tmp_path):
    asked, team = asked_beside_windows(signal_and_table, tmp_path)
    rows = np.arange(len(asked.cohort))
    found = explain(team, asked.feed, rows, asked.cohort.patient, 0.95, 0)
    pieces = {line.pieces[0] for line in found.targets["fast"].importances}
    assert Piece("ecg") in pieces and len([piece for piece in pieces if piece.input == "labs"]) >= 2
    assert set(found.words) == {"column", "input"} and found.rows == len(rows)
    assert any("input ecg was exchanged whole, as it is seen in windows" in said for said in found.left_out)
    # Gradients reach the columns and not the record, which therefore has no place in a ranking of theirs.
    assert {piece.input for piece in found.targets["fast"].gradients} == {"labs"}
    assert set(found.targets["fast"].deletions) <= {PERMUTATION}
