"""Registration as a task: what it refuses, what its figures are, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloom import DataError, StudyError
from medloom.batch import Field
from medloom.modality import Marks
from medloom.prepare import prepare, read
from medloom.study import make
from medloom.tasks.register import Register
from medloom.warping.transform import Transform, same

SCAN = {
    "modality": "image", "dims": 2, "patch": [8, 8], "size": [8, 8], "levels": 2, "width": 4, "known_before_index": True,
}  # fmt: skip
TARGET = {"task": "register", "moving": "one", "fixed": "other"}
MASKS = {"moving_mask": "m", "fixed_mask": "f", "labels": {"blob": 1, "rim": 2}}


def _made(one=(), other=(), target=()):
    inputs = {"one": {**SCAN, "column": "a", **dict(one)}, "other": {**SCAN, "column": "b", **dict(other)}}
    return make(
        {
            "name": "pairs",
            "cohort": {"table": "t.csv", "independent_rows": True},
            "inputs": inputs,
            "targets": {"map": {**TARGET, **dict(target)}},
        }
    )


@pytest.mark.parametrize(
    ("one", "other", "target", "said"),
    [
        ({}, {}, {"fixed": "third"}, "no input 'third'"),
        ({}, {}, {"fixed": "one"}, "moving and fixed name one input"),
        ({"size": None}, {}, {}, "not seen whole"),
        ({"flip": [0]}, {}, {}, "take flip out"),
        ({}, {"patch": [8, 4], "size": [8, 4]}, {}, "expected the same of both"),
        ({}, {}, {"window": 4}, "window must be odd"),
        ({}, {}, {"moving_mask": "m"}, "go together"),
        ({}, {}, {"supervise": 1.0}, "supervise needs masks"),
        ({}, {}, {**MASKS, "labels": {"a": 1, "b": 1}}, "one value to two names"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(one, other, target, said):
    with pytest.raises(StudyError, match=said):
        _made(one, other, target)


def test_two_images_may_stand_beside_each_other_only_where_they_are_seen_whole():
    assert _made().inputs["one"].seen_whole
    with pytest.raises(StudyError, match="no other may be seen in windows"):
        _made({"size": None}, {"size": None})


def _fitted(**more):
    options = _made(target={**MASKS, **more}).targets["map"]
    return Register(options, 4, 4)


def _output(rows=2):
    forward = Transform(same(rows, 2)).forward((8, 8))
    whole = torch.ones(rows)
    return {"forward": forward, "likeness": 0.5 * whole, "roughness": 0.2 * whole, "inverse_error": 0 * whole, "known": whole}  # fmt: skip


def _truth(moving, fixed, present=(True, True)):
    there = torch.tensor(present)
    extra = {"one": moving, "other": fixed, "one.present": there, "other.present": torch.tensor([True, True])}
    return Field(torch.zeros(2), torch.tensor([True, True]), extra=extra)


def test_dice_is_of_carried_masks_and_missing_ones_do_not_count():
    moving = torch.zeros(2, 8, 8, dtype=torch.int64)
    moving[:, 2:4], moving[:, 6:] = 1, 2
    fixed = moving.clone()
    fixed[:, 2] = 0  # half of the first label
    task = _fitted()
    measured = task.measure(task.decode(_output()), _truth(moving, fixed, (True, False)))
    assert measured["dice_blob"][0] == pytest.approx(2 / 3) and measured["dice_rim"][0] == 1
    assert measured["dice"][0] == pytest.approx(5 / 6)
    assert np.isnan(measured["dice"][1]) and measured["folded"][1] == 0


def test_masks_judge_and_do_not_train_unless_asked():
    moving = torch.zeros(2, 8, 8, dtype=torch.int64)
    moving[:, 2:4] = 1
    truth = _truth(moving, torch.flip(moving, [1]))
    plain = _fitted().loss(_output(), truth, {})
    assert plain.tolist() == pytest.approx([0.5 + 0.05 * 0.2] * 2)
    asked = _fitted(supervise=1.0).loss(_output(), truth, {})
    assert (asked > plain + 0.4).all()


def test_supervision_without_masks_is_refused():
    options = _made(target={**MASKS, "supervise": 1.0}).targets["map"]
    marks = Marks(np.full((3, 2), None, object), np.ones(3, bool), (0, 1, 2))
    with pytest.raises(DataError, match="no training row has both masks"):
        Register.fit(options, [Register.summarise(options, marks, np.arange(3))])


def test_a_row_that_lacks_an_image_is_not_moved_and_has_no_figures():
    output = _output()
    output["known"] = torch.tensor([1.0, 0.0])
    prediction = _fitted().decode(output)
    assert prediction.columns()["likeness"] == [0.5, None]
    assert prediction.columns()["folded_share"][1] is None
    assert _fitted().loss(output, _truth(*[torch.zeros(2, 8, 8, dtype=torch.int64)] * 2), {})[1] == 0


def test_a_pair_can_be_refined_where_answers_are_given(tmp_path):
    """More like each other after a few steps of descent, and never while the network learns."""
    from medloom.model.assembly import assemble
    from tests.cases.images import image_register_2d

    study = image_register_2d(tmp_path)
    found = []
    for refine in (0, 15):
        part = study.targets["map"].model_copy(update={"refine": refine})
        prepared = prepare(*read(study.model_copy(update={"targets": {"map": part}}).within(tmp_path)))
        network = assemble(prepared.feed.modalities, prepared.feed.tasks, study.model, 0).eval()
        ((_, _, batch),) = prepared.feed.cover(np.array([0]))
        with torch.inference_mode():
            found.append(float(network(batch.inputs)["map"]["likeness"][0]))
        assert float(network(batch.inputs)["map"]["likeness"][0].detach()) == pytest.approx(found[0], abs=1e-5)
    assert found[1] > found[0] + 0.1
