"""What the made-up images of the examples say of themselves is true: masks, volumes, growth, places, and the shortcut."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest

from tests.test_examples import loaded


@pytest.fixture(scope="module")
def images() -> Any:
    return loaded("make_images")


@pytest.fixture(scope="module")
def scans() -> Any:
    return loaded("make_dicom")


def test_opacities_are_brighter_than_the_lungs_around_them(images: Any) -> None:
    random, brighter = np.random.default_rng(0), []
    for _ in range(20):
        state = random.bit_generator.state
        picture, mask = images.chest(True, random)
        random.bit_generator.state = state
        well, none = images.chest(False, random)
        assert mask.any() and not none.any()
        brighter.append((picture - well)[mask].mean())
    assert min(brighter) > 10


@pytest.mark.parametrize("shortcut", [False, True])
def test_the_hospital_tells_the_answer_only_on_request(images: Any, tmp_path: Path, shortcut: bool) -> None:
    table = images.chests(120, tmp_path / "chests", np.random.default_rng(1), shortcut)
    ill = {name: (rows["pneumonia"] == "yes").mean() for (name,), rows in table.group_by("hospital")}
    # Of 60 pictures each: 0.8 against 0.2, or a difference within three standard errors of none.
    apart = ill["north"] - ill["south"]
    assert apart > 0.4 if shortcut else abs(apart) < 3 * np.sqrt(2 * 0.25 / 60)
    of = table.group_by("patient").agg()
    assert len(of) == 80 and table.group_by("patient").n_unique()["hospital"].max() == 1


def test_lesions_are_seen_on_flair_and_hardly_on_t1(images: Any) -> None:
    first, second, mask = images.brain(5, np.random.default_rng(2))
    assert mask.any() and not images.brain(0, np.random.default_rng(2))[2].any()
    inner = (np.linalg.norm(images.grid(mask.shape), axis=-1) < 0.55) & ~mask
    white = inner & (first > np.median(first[inner]))  # Ventricles are dark on T1.
    assert second[mask].mean() > 1.5 * second[white].mean()
    assert 0.6 * first[white].mean() < first[mask].mean() < first[white].mean()


@pytest.mark.parametrize("growth", [0.8, 1.5])
def test_lesions_grow_by_what_the_table_says(images: Any, growth: float) -> None:
    still, random = np.zeros(3), np.random.default_rng(3)
    _, first = images.visit(4, 1.0, still, random)
    image, later = images.visit(4, growth, still, random)
    assert later.sum() / first.sum() == pytest.approx(growth, rel=0.06)
    assert image[later > 0].mean() > image[(later == 0) & (image > 50)].mean() + 30


def test_files_of_two_scanners_lie_in_one_space(images: Any, tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    straight, turned = (nibabel.load(tmp_path.parent / images.save_volume(tmp_path / f"{turn}.nii", values, 2.0, turn)) for turn in (False, True))  # fmt: skip
    assert nibabel.aff2axcodes(turned.affine)[0] == "L"
    np.testing.assert_array_equal(nibabel.as_closest_canonical(turned).dataobj, straight.dataobj)
    np.testing.assert_allclose(nibabel.as_closest_canonical(turned).affine, straight.affine)


def test_masks_of_nodules_lie_on_the_slices(scans: Any, tmp_path: Path) -> None:
    """Voxels of a mask are taken by their place in the patient to pixels of the export, which hold tissue, not air."""
    scans.main(tmp_path, 0.0)
    series: dict[str, dict[float, Any]] = {}
    kinds: Counter[str] = Counter()
    for path in (tmp_path / "ct-export").rglob("*"):
        if path.is_dir() or path.name in ("Thumbs.db", "README.TXT"):
            continue
        data = pydicom.dcmread(path)
        kinds["report" if data.get("Modality") == "SR" else str(data.ImageType[-1])] += 1
        if "RescaleSlope" in data:
            series.setdefault(str(data.SeriesInstanceUID), {})[float(data.ImagePositionPatient[2])] = data
    assert kinds["LOCALIZER"] == 16 and kinds["MIP"] and kinds["report"] and kinds["AXIAL"] >= 16 * 21
    lines = (tmp_path / "nodules.csv").read_text().splitlines()[1:]
    assert len(lines) == 16 and len(series) > 16
    for line in [one for one in lines if one.endswith(",yes")][:3]:
        name, _, below, _ = line.split(",")
        mask = nibabel.load(tmp_path / below)
        at = np.argwhere(np.asarray(mask.dataobj)) @ mask.affine[:3, :3].T + mask.affine[:3, 3]
        found = []
        for right, front, up in at:
            data = series[name][min(series[name], key=lambda z, up=up: abs(z - up))]
            x, y, _ = map(float, data.ImagePositionPatient)
            column, row = round((-right - x) / scans.SPACING_MM), round((-front - y) / scans.SPACING_MM)
            found.append(data.pixel_array[row, column] * float(data.RescaleSlope) + float(data.RescaleIntercept))
        assert len(found) > 5 and np.mean(found) > -100
