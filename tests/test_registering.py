"""Images laid over each other from files to files: known moves, geometry, volumes, and bad input."""

from __future__ import annotations

import csv
import json

import nibabel
import numpy as np
import pytest

from medloom import BundleError, DataError
from medloom.registering import register
from medloom.run import fit
from medloom.study import make

AFFINE = np.array([[-1.5, 0, 0, 20], [0, 1, 0, -10], [0, 0, 2, 5], [0, 0, 0, 1.0]])


def _blobs(shift=(0.0, 0.0, 0.0), radius=5.0, shape=(24, 30, 18)):
    """A volume with texture and a ball, moved by `shift` voxels; and the mask of the ball."""
    at = np.stack(np.meshgrid(*[np.arange(size, dtype=float) for size in shape], indexing="ij"), -1) - shift
    random = np.random.default_rng(1)
    image = np.zeros(shape)
    for _ in range(60):
        away = np.linalg.norm(at - random.uniform(0, shape), axis=-1)
        image += random.normal() * 20 * np.exp(-((away / random.uniform(2, 5)) ** 2))
    away = np.linalg.norm(at - np.array(shape) / 2, axis=-1)
    image += 60 / (1 + np.exp(away - radius))
    return image.astype(np.float32), (away < radius).astype(np.uint8)


def _save(path, values, affine=AFFINE):
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def _points(path, shift):
    """Landmarks around the ball, in mm, on the moving and on the fixed file."""
    lines = ["image,point,x,y,z"]
    for number, off in enumerate(np.vstack([4 * np.eye(3), -4 * np.eye(3)])):
        for image, by in (("moving.nii.gz", 0.0), ("fixed.nii.gz", np.array(shift))):
            place = AFFINE[:3, :3] @ (np.array([12, 15, 9]) + off + by) + AFFINE[:3, 3]
            lines.append(f"{image},p{number},{','.join(map(str, place))}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def pair(tmp_path):
    one, mask = _blobs()
    other, there = _blobs((1.5, -1.0, 0.5))
    paths = {
        "moving": _save(tmp_path / "moving.nii.gz", one),
        "fixed": _save(tmp_path / "fixed.nii.gz", other),
        "mask": _save(tmp_path / "mask.nii.gz", mask),
    }
    return paths, there


def test_a_known_shift_is_found_in_millimetres(pair, tmp_path):
    paths, there = pair
    points = _points(tmp_path / "points.csv", (1.5, -1.0, 0.5))
    (told,) = register(paths["moving"], [paths["fixed"]], tmp_path / "out", mask=paths["mask"], points=points)
    moved_mm = np.linalg.norm(AFFINE[:3, :3] @ [1.5, -1.0, 0.5])
    assert told["landmarks"]["before"] == pytest.approx(moved_mm) and told["landmarks"]["unit"] == "mm"
    assert told["landmarks"]["low"] <= told["landmarks"]["after"] <= told["landmarks"]["high"] < 0.4 * moved_mm
    assert told["likeness"] > told["likeness_before"] and told["folded_share"] == 0
    field = nibabel.load(tmp_path / "out/displacement.nii.gz")
    assert field.shape == (24, 30, 18, 1, 3) and field.header.get_intent()[0] == "displacement vector"
    np.testing.assert_allclose(field.affine, AFFINE)
    # Fixed place + displacement = moving place: the content moved by +(1.5, −1, .5) voxels.
    expected = -AFFINE[:3, :3] @ [1.5, -1.0, 0.5]
    # Where the ball is, there is something to be seen that moved; flat surroundings say nothing.
    inside = np.asarray(field.dataobj)[:, :, :, 0][there > 0]
    assert np.linalg.norm(inside - expected, axis=-1).mean() < 0.4 < 0.5 * np.linalg.norm(expected)
    carried = np.asarray(nibabel.load(tmp_path / "out/mask.nii.gz").dataobj)
    assert 2 * (carried & there).sum() / (carried.sum() + there.sum()) > 0.93
    assert abs(told["volumes"][0]["change_percent"]) < 5
    assert told["volumes"][0]["before"] == pytest.approx(np.asarray(nibabel.load(paths["mask"]).dataobj).sum() * 3e-3)
    assert json.loads((tmp_path / "out/figures.json").read_text())["unit"] == "mm"


def test_the_displacement_takes_the_moving_image_to_the_moved_one(pair, tmp_path):
    """Another reader of the field, by scipy in millimetres, gets the same image: of a file that counts from the other side."""
    from scipy.ndimage import map_coordinates

    paths, _ = pair
    values, other = _blobs()[0][::-1].astype(float), AFFINE.copy()
    other[:3, 3] += 23 * AFFINE[:3, 0] + [1.0, -2.0, 0.5]
    other[:3, 0] *= -1
    moving = _save(tmp_path / "elsewhere.nii.gz", values.astype(np.float32), other)
    (told,) = register(moving, [paths["fixed"]], tmp_path / "out")
    assert told["folded_share"] == 0
    field = np.asarray(nibabel.load(tmp_path / "out/displacement.nii.gz").dataobj)[:, :, :, 0].astype(float)
    index = np.stack(np.meshgrid(*[np.arange(size) for size in field.shape[:3]], indexing="ij"), -1)
    world = index @ AFFINE[:3, :3].T + AFFINE[:3, 3] + field
    place = (world - other[:3, 3]) @ np.linalg.inv(other[:3, :3]).T
    expected = map_coordinates(values, np.moveaxis(place, -1, 0), order=1)
    warped = np.asarray(nibabel.load(tmp_path / "out/warped.nii.gz").dataobj)
    np.testing.assert_allclose(warped[4:-4, 4:-4, 4:-4], expected[4:-4, 4:-4, 4:-4], atol=0.05)


def test_visits_have_a_folder_each_and_a_table_of_volumes(pair, tmp_path):
    paths, _ = pair
    grown = _save(tmp_path / "grown.nii.gz", _blobs(radius=5.6)[0])
    told = register(paths["moving"], [paths["fixed"], grown], tmp_path / "out", mask=paths["mask"])
    assert [one["fixed"] for one in told] == ["fixed.nii.gz", "grown.nii.gz"]
    with open(tmp_path / "out/visits.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["visit"], row["unit"]) for row in rows] == [("1", "mL"), ("2", "mL")]
    assert all(len(row["after"]) < 10 for row in rows)
    assert float(rows[1]["change_percent"]) > float(rows[0]["change_percent"]) + 10
    assert (tmp_path / "out/002/mask.nii.gz").exists()


def test_a_bundle_registers_the_files_it_is_given(tmp_path):
    from tests.cases.images import image_register_2d

    study = image_register_2d(tmp_path)
    quick = {"evaluate": {"baselines": False, "explain": False}, "train": {"steps": 4, "batch": 4}}
    bundle = fit(make({**study.model_dump(), **quick}).within(tmp_path), tmp_path / "run").bundle
    (told,) = register(tmp_path / "moving0.png", [tmp_path / "fixed0.png"], tmp_path / "out", bundle=bundle)
    assert told["by"] == "bundle" and 0 <= told["likeness"] <= 1 and told["unit"] == "voxels"
    assert nibabel.load(tmp_path / "out/warped.nii.gz").shape == (16, 20, 1)
    with pytest.raises(BundleError, match="0 targets"):
        register(
            tmp_path / "moving0.png", [tmp_path / "fixed0.png"], tmp_path / "no", bundle=_without(bundle)
        )  # fmt: skip


def _without(bundle):
    from dataclasses import replace

    return replace(bundle, tasks={})


def _bad(tmp_path, what):
    image, mask = _blobs()
    far, flat = AFFINE.copy(), AFFINE.copy()
    far[:3, 3] += 500
    flat[:3, 2] = 0
    holed = image.copy()
    holed[3, 3, 3] = np.nan
    empty = np.zeros_like(mask)
    moving = {"nan": holed, "one value": np.ones_like(image)}.get(what, image)
    fixed = {"slice": image[:, :, 0]}.get(what, image)
    drawn = {"other grid": mask[:-1], "empty": empty}.get(what, mask)
    return (
        _save(tmp_path / "moving.nii", moving),
        _save(tmp_path / "fixed.nii", fixed, {"far": far}.get(what, AFFINE)),
        _save(tmp_path / "mask.nii", drawn),
    )


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("nan", "not finite"),
        ("far", "covers 0%.*--start centre"),
        ("one value", "one intensity everywhere"),
        ("other grid", "another shape"),
        ("empty", "mask is empty"),
    ],
)
def test_bad_input_is_refused(tmp_path, what, said):
    moving, fixed, mask = _bad(tmp_path, what)
    with pytest.raises(DataError, match=said):
        register(moving, [fixed], tmp_path / "out", mask=mask)


def test_a_missing_file_and_a_picture_on_a_volume_are_refused(tmp_path):
    moving, fixed, _ = _bad(tmp_path, "")
    with pytest.raises(DataError, match="none.nii: no such file"):
        register(moving, [tmp_path / "none.nii"], tmp_path / "out")
    with pytest.raises(DataError, match="is a file; expected a folder"):
        register(moving, [fixed], fixed)
    from PIL import Image

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "flat.png")
    with pytest.raises(DataError, match="picture and a volume"):
        register(tmp_path / "flat.png", [fixed], tmp_path / "out")


def test_a_spacing_of_zero_is_refused(tmp_path):
    moving, fixed, _ = _bad(tmp_path, "")
    raw = bytearray(fixed.read_bytes())
    header = nibabel.Nifti1Header(bytes(raw[:348]))
    header["srow_z"] = 0
    fixed.write_bytes(header.binaryblock + raw[348:])
    with pytest.raises(DataError, match="spacing of zero"):
        register(moving, [fixed], tmp_path / "out")


def test_the_command_prints_figures_and_refuses_other_words(pair, tmp_path):
    from typer.testing import CliRunner

    from medloom.cli.app import app

    paths, _ = pair
    words = ["register", str(paths["moving"]), str(paths["fixed"]), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--mask", str(paths["mask"])])
    assert done.exit_code == 0 and "likeness" in done.output and "mL" in done.output
    wrong = CliRunner().invoke(app, [*words, "--similarity", "ssd"])
    assert wrong.exit_code == 2 and "expected lncc or mind" in wrong.output
