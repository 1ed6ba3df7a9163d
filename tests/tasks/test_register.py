"""Registration as a task: what it refuses, what its figures are, and that it learns."""

from __future__ import annotations

import nibabel
import numpy as np
import polars as pl
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
        ({}, {}, {"fixed_points": "f"}, "moving_points and fixed_points go together"),
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
    # Carried are two lines of which one is drawn, and two of two.
    assert measured["size_blob"][0] == pytest.approx(100) and measured["size_rim"][0] == pytest.approx(0)
    assert np.isnan(measured["size_blob"][1]) and {"size_blob", "size_rim"} < set(task.metrics())
    assert np.isnan(measured["dice"][1]) and measured["folded"][1] == 0


def test_outlines_are_drawn_as_they_lie_and_as_they_are_carried():
    moving = torch.zeros(2, 8, 8, dtype=torch.int64)
    moving[:, 2:4] = 1
    fixed = torch.roll(moving, 1, dims=1)
    moved = _output()
    moved["forward"] = moved["forward"].clone()
    moved["forward"][:, 0] = -2 / 8  # one voxel up
    task = _fitted()
    assert task.drawn_on() == "other"
    drawn, answered = task.outlines(task.decode(moved), _truth(moving, fixed))
    assert list(drawn) == ["blob, not moved", "blob, carried", "rim, not moved", "rim, carried"]
    np.testing.assert_array_equal(drawn["blob, carried"], fixed[0].numpy() == 1)
    np.testing.assert_array_equal(answered["blob, not moved"], moving[0].numpy() == 1)
    np.testing.assert_array_equal(answered["blob, carried"], fixed[0].numpy() == 1)
    assert task.outlines(task.decode(moved), _truth(moving, fixed, (False, True))) == ({}, {})


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
    marks = Marks(np.full((3, 4), None, object), np.ones(3, bool), (0, 1, 2))
    with pytest.raises(DataError, match="no training row has both masks"):
        Register.fit(options, [Register.summarise(options, marks, np.arange(3))])


def test_a_row_that_lacks_an_image_is_not_moved_and_has_no_figures():
    output = _output()
    output["known"] = torch.tensor([1.0, 0.0])
    prediction = _fitted().decode(output)
    assert prediction.columns()["likeness"] == [0.5, None]
    assert prediction.columns()["folded_share"][1] is None
    assert _fitted().loss(output, _truth(*[torch.zeros(2, 8, 8, dtype=torch.int64)] * 2), {})[1] == 0


POINTS = {"moving_points": "p", "fixed_points": "q"}
VOLUME = {"dims": 3, "patch": [4, 4, 4], "size": [4, 4, 4]}
AFFINES = {
    "a": np.array([[2.0, 0, 0, -9], [0, 2, 0, 4], [0, 0, 3, 1], [0, 0, 0, 1]]),
    "b": np.array([[0, -1.5, 0, 12], [2.5, 0, 0, 0], [0, 0, 3, -2], [0, 0, 0, 1]]),
}
"""Two volumes of 9 × 10 × 8 voxels that count their axes another way."""


def _pairs(folder, files, placed=True, rows=4):
    """A study of pairs of volumes, each with the text of its two files of landmarks; None where there is none."""
    random = np.random.default_rng(0)
    for name, affine in AFFINES.items():
        values = random.integers(0, 99, (9, 10, 8)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, affine), folder / f"{name}.nii")
        np.save(folder / f"{name}.npy", values)
    for name, text in files.items():
        if text is not None:
            (folder / f"{name}.csv").write_text(text)
    ending = "nii" if placed else "npy"
    table = {"a": [f"a.{ending}"] * rows, "b": [f"b.{ending}"] * rows}
    table |= {name: [None if text is None or row == 0 else f"{name}.csv" for row in range(rows)] for name, text in files.items()}  # fmt: skip
    pl.DataFrame({"row": [f"r{row}" for row in range(rows)], "patient": range(rows), **table}).write_csv(
        folder / "t.csv"
    )
    made = _made(VOLUME, VOLUME, POINTS).model_dump()
    cohort = {"table": "t.csv", "row": "row", "patient": "patient"}
    split = {"test": 0.25, "valid": 0.25, "calibrate": 0.25, "stratify": False}
    return make(
        {"name": "pairs", "cohort": cohort, "inputs": made["inputs"], "targets": made["targets"], "split": split}
    ).within(folder)


def _line(name, place):
    return ",".join([name, *map(str, place)])


def test_landmarks_are_missed_by_what_their_files_say(tmp_path):
    """In mm, through the grids of both files: against voxel numbers and affine matrices, without normalised positions."""
    fixed, moved = np.array([[3.0, 9, 4], [-1.0, 12, 16]]), np.array([[1.0, 8, 5], [2.0, 7, 10]])
    header = "point,x,y,z"
    texts = {
        "p": "\n".join([header, _line("apex", moved[0]), _line("base", moved[1])]),
        "q": "\n".join([header, _line("base", fixed[1]), _line("apex", fixed[0])]),
    }
    prepared = prepare(*read(_pairs(tmp_path, texts)))
    task = prepared.feed.tasks["map"]
    ((part, _, batch),) = prepared.feed.cover(np.arange(4), block=4)
    affine = torch.eye(3, 4).expand(4, 3, 4).clone()
    affine[:, 0, 3] = 0.2  # a tenth of the moving image along its first axis, .9 of a voxel
    output = {"forward": Transform(affine).forward((4, 4, 4)), "likeness": torch.ones(4), "inverse_error": torch.zeros(4), "known": torch.ones(4)}  # fmt: skip
    output["known"][2] = 0
    found = task.measure(task.decode(output), batch.targets["map"])["landmarks"]
    voxel = (np.linalg.inv(AFFINES["b"]) @ np.c_[fixed, np.ones(2)].T)[:3].T
    voxel[:, 0] += 0.9
    there = (AFFINES["a"] @ np.c_[voxel, np.ones(2)].T)[:3].T
    expected = np.linalg.norm(there - moved, axis=1).mean()
    assert part.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found, [np.nan, expected, np.nan, expected], rtol=1e-6)
    assert next(iter(task.metrics().values())).label == "Landmarks are missed by (mm)"


@pytest.mark.parametrize(
    ("moving", "fixed", "said"),
    [
        ("point,x,y,z\na,1,9,4\nb,1,9,5\n", "point,x,y,z\na,1,9,4\n", r"moving image has 2 landmarks and the fixed one 1; .* \(rows 'r1', 'r2', 'r3'\)"),
        ("point,x,y,z\na,1,9,4\n", "point,x,y,z\nc,1,9,4\n", "1 of 1 landmarks have other names"),
        ("point,x,y,z\na,1,9,4\n", None, "the fixed image has no file of landmarks"),
        ("point,x,y,z\na,1,9,far\n", "point,x,y,z\na,1,9,4\n", "landmarks on the moving image line 2: a place is no number"),
        ("point,row,column\na,1,2\n", "point,row,column\na,1,2\n", "have the columns row, column where the image has x, y, z"),
        ("point,x,y,z\na,1,9,4\n", "point,x,y,z\na,1,900,4\n", r"have 1 of 1 point beyond the image \(rows 'r1', 'r2', 'r3'\)"),
        ("point,x,y,z\n", "point,x,y,z\n", "has no points"),
        ("name,x,y,z\na,1,2,3\n", "point,x,y,z\n", "has the columns 'name', 'x', 'y', 'z'; expected point, x, y, z or point, row, column"),
    ],
)  # fmt: skip
def test_landmarks_that_cannot_judge_are_refused(tmp_path, moving, fixed, said):
    with pytest.raises(DataError, match=f"targets.map: (?s:.*){said}"):
        prepare(*read(_pairs(tmp_path, {"p": moving, "q": fixed})))


def test_landmarks_need_volumes_that_tell_where_they_lie(tmp_path):
    text = "point,x,y,z\na,1,9,4\n"
    with pytest.raises(DataError, match="does not tell where it lies in space"):
        prepare(*read(_pairs(tmp_path, {"p": text, "q": text}, placed=False)))


def test_a_pair_can_be_refined_where_answers_are_given(tmp_path):
    """More like each other after a few steps of descent, and never while the network learns."""
    from medloom.model.assembly import assemble
    from medloom.parts import TrainPart
    from medloom.training.plan import Plan
    from medloom.training.step import Stepper
    from tests.cases.images import image_register_2d

    study = image_register_2d(tmp_path)
    found, scored = [], []
    for refine in (0, 15):
        part = study.targets["map"].model_copy(update={"refine": refine})
        prepared = prepare(*read(study.model_copy(update={"targets": {"map": part}}).within(tmp_path)))
        network = assemble(prepared.feed.modalities, prepared.feed.tasks, study.model, 0).eval()
        ((_, _, batch),) = prepared.feed.cover(np.array([0]))
        with torch.inference_mode():
            found.append(float(network(batch.inputs)["map"]["likeness"][0]))
        assert float(network(batch.inputs)["map"]["likeness"][0].detach()) == pytest.approx(found[0], abs=1e-5)
        plan = Plan(0, 1, 1, 1e-3, 1, 1, 1, {"map": 1.0})
        scored.append(Stepper(network, prepared.feed.tasks, TrainPart(), plan).score(prepared.feed, np.array([0])))
    assert scored[0] == pytest.approx(scored[1], abs=1e-6)
    assert found[1] > found[0] + 0.1
