"""Each template's loader on a small tree of the published layout; the study file of its name reads what it made."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import polars as pl
import pytest
from PIL import Image

from medloom.prepare import prepare
from medloom.prepare import read as read_data
from medloom.study import read
from tests.modalities.dicom_files import image as dicom
from tests.modalities.dicom_files import save as save_dicom

TEMPLATES = Path(__file__).resolve().parents[1] / "examples" / "templates"
PEOPLE = 12


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TEMPLATES))
    return importlib.import_module("load")


def picture(path: Path, channels: int = 3, size: tuple[int, int] = (20, 24)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if channels == 1 else (*size, channels)
    random = np.random.default_rng(abs(hash(path.name)) % 2**32)
    Image.fromarray(random.integers(0, 255, shape, dtype=np.uint8)).save(path)


def table(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(lines).write_csv(path)


def isic(root: Path) -> None:
    lines = []
    for number in range(2 * PEOPLE):
        name = f"ISIC_{number:07d}"
        if number:  # The first was not downloaded.
            picture(root / "train" / f"{name}.jpg")
        lines.append({"image_name": name, "patient_id": f"IP_{number // 2:07d}", "sex": ("male", "female")[number % 2],
                      "age_approx": 40.0 + number, "anatom_site_general_challenge": "torso", "diagnosis": "unknown",
                      "benign_malignant": ("benign", "malignant")[number % 2], "target": number % 2})  # fmt: skip
    table(root / "train.csv", lines)


def aptos(root: Path) -> None:
    lines = [{"id_code": f"{number:012x}", "diagnosis": number % 5} for number in range(40)]
    for line in lines:
        picture(root / "train_images" / f"{line['id_code']}.png")
    table(root / "train.csv", lines)


def refuge(root: Path) -> None:
    drawn = np.full((20, 24), 255, np.uint8)
    drawn[4:14, 4:14], drawn[7:11, 7:11] = 128, 0
    for folder, letter in (("Glaucoma", "g"), ("Non-Glaucoma", "n")):
        for number in range(1, PEOPLE + 1):
            picture(root / "Training400" / folder / f"{letter}{number:04d}.jpg")
            mask = root / "Annotation-Training400" / "Disc_Cup_Masks" / folder / f"{letter}{number:04d}.bmp"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn).save(mask)


def chexpert(root: Path) -> None:
    findings = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
    for name, first in (("train", 0), ("valid", 2 * PEOPLE)):
        lines = []
        for number in range(first, first + 2 * PEOPLE):
            view = ("frontal", "lateral")[number % 4 == 3]
            below = f"{name}/patient{number // 2:05d}/study{number % 2 + 1}/view1_{view}.jpg"
            picture(root / below, channels=1)
            found = {one: (1.0, 0.0, None, -1.0)[(number // 2 + place) % 4] for place, one in enumerate(findings)}
            lines.append({"Path": f"CheXpert-v1.0-small/{below}", "Sex": ("Male", "Female")[number % 2], "Age": 50,
                          "Frontal/Lateral": view.title(), "AP/PA": "AP" if view == "frontal" else None, **found})  # fmt: skip
        table(root / f"{name}.csv", lines)


def grazpedwri(root: Path) -> None:
    lines = []
    for number in range(2 * PEOPLE):
        stem = f"{number // 2:04d}_0{number:09d}_01_WRI-L{number % 2 + 1}_M010"
        path = root / f"images_part{number % 2 + 1}" / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 60_000, (30, 20), dtype=np.uint16)).save(path)
        lines.append({"filestem": stem, "patient_id": f"{number // 2:04d}", "age": 9.5, "gender": "M",
                      "projection": number % 2 + 1, "fracture_visible": 1.0 if number // 2 % 2 else None})  # fmt: skip
    table(root / "dataset.csv", lines)


def medmnist(root: Path) -> None:
    random, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 40), ("val", 10), ("test", 12)):
        arrays[f"{part}_images"] = random.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    root.mkdir(parents=True)
    np.savez(root / "pneumoniamnist.npz", **arrays)


def arcade(root: Path) -> None:
    for part, count in (("train", 12), ("val", 4), ("test", 4)):
        folder = root / "syntax" / part
        images = [{"id": n, "file_name": f"{n}.png", "width": 24, "height": 20} for n in range(1, count + 1)]
        for one in images:
            picture(folder / "images" / one["file_name"], channels=1)
        square = [[2.0, 3.0, 9.0, 3.0, 9.0, 12.0, 2.0, 12.0]]
        drawn = [{"id": n, "image_id": n, "category_id": 1, "segmentation": square} for n in range(1, count + 1)]
        (folder / "annotations").mkdir()
        (folder / "annotations" / f"{part}.json").write_text(json.dumps({"images": images, "annotations": drawn}))


def cbis_ddsm(root: Path) -> None:
    for part, word, first in (("train", "Training", 0), ("test", "Test", PEOPLE)):
        lines = []
        for number in range(first, first + PEOPLE):
            for view in ("CC", "MLO"):
                case = f"Mass-{word}_P_{number:05d}_LEFT_{view}"
                values = np.random.default_rng(number).integers(0, 60_000, (30, 20), dtype=np.uint16)
                save_dicom(dicom(values, series=case, PatientID=case, Modality="MG"),
                           root / "CBIS-DDSM" / case / "1.2.3" / "4.5.6" / "1-1.dcm")  # fmt: skip
                line = {"patient_id": f"P_{number:05d}", "left or right breast": "LEFT", "image view": view,
                        "pathology": "BENIGN", "image file path": f"{case}/1.2.3/4.5.6/000000.dcm"}  # fmt: skip
                lines += [line, {**line, "pathology": "MALIGNANT"}] if number % 2 else [line]
        table(root / f"mass_case_description_{part}_set.csv", lines)


def adni(root: Path) -> None:
    lines = []
    for number in range(2 * PEOPLE):
        subject, code = f"{number // 2:03d}_S_{number // 2:04d}", f"I{1000 + number}"
        where = root / "ADNI" / subject / "MPR" / f"2006-04-{number % 28 + 1:02d}_08_20_30.0" / code
        where.mkdir(parents=True)
        values = np.random.default_rng(number).normal(100, 9, (9, 10, 8)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), where / f"ADNI_{subject}_{code}.nii")
        group = "MCI" if number == 5 else ("CN", "AD")[number // 2 % 2]
        lines.append({"Image Data ID": code, "Subject": subject, "Group": group, "Sex": "F", "Age": 70 + number})
    table(root / "collection.csv", lines)


def lidc(root: Path) -> None:
    for number in range(1, PEOPLE + 1):
        folder = root / f"LIDC-IDRI-{number:04d}" / "01-01-2000-1" / "3000566.000000-2"
        values = np.random.default_rng(number).integers(-1000, 200, (6, 20, 22)).astype(np.int16)
        uids = []
        for place in range(6):
            where = {"ImagePositionPatient": [-5, -7, -100 + 2.5 * place], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                     "PixelSpacing": [0.7, 0.7], "PatientID": f"LIDC-IDRI-{number:04d}"}  # fmt: skip
            data = dicom(values[place], f"lidc{number}", place, Modality="CT", **where)
            uids.append(str(data.SOPInstanceUID))
            save_dicom(data, folder / f"1-{6 - place}.dcm")
        edges = "".join(
            f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>"
            for x, y in ((5, 4), (12, 4), (12, 9), (5, 9))
        )
        outlines = "".join(
            f"<roi><imageSOP_UID>{uid}</imageSOP_UID><inclusion>TRUE</inclusion>{edges}</roi>" for uid in uids[2:4]
        )
        reading = f"<readingSession><unblindedReadNodule><noduleID>1</noduleID>{outlines}</unblindedReadNodule></readingSession>"
        alone = reading.replace(uids[2], uids[5])
        (folder / "069.xml").write_text(
            f'<LidcReadMessage xmlns="http://www.nih.gov">{reading}{alone}</LidcReadMessage>'
        )


TREES = {
    "isic": (isic, 2 * PEOPLE - 1), "aptos": (aptos, 40), "refuge": (refuge, 2 * PEOPLE), "chexpert": (chexpert, 3 * PEOPLE),
    "grazpedwri": (grazpedwri, 2 * PEOPLE), "medmnist": (medmnist, 62), "arcade": (arcade, 20),
    "cbis-ddsm": (cbis_ddsm, 4 * PEOPLE), "adni": (adni, 2 * PEOPLE - 1), "lidc": (lidc, PEOPLE),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_template_reads_the_published_layout(name: str, loader: Any, tmp_path: Path) -> None:
    tree, rows = TREES[name]
    tree(tmp_path / "data")
    made = loader.load(name, tmp_path / "data", tmp_path / "study")
    assert pl.read_csv(made, infer_schema=False).height == rows
    shutil.copy(TEMPLATES / f"{name}.toml", tmp_path / "study")
    smaller = ["inputs.t1.size=[16,16,16]", "inputs.t1.patch=[16,16,16]"] if name == "adni" else []
    study = read(tmp_path / "study" / f"{name}.toml", smaller)
    assert study.name == name
    prepared = prepare(*read_data(study))
    assert all((source.unit > 0).all() for source in prepared.feed.sources.values())


def test_every_loader_has_a_study_and_a_tree(loader: Any) -> None:
    assert set(loader.LOADERS) == set(TREES) == {path.stem for path in TEMPLATES.glob("*.toml")}


def test_what_templates_hold_against_their_source(loader: Any, tmp_path: Path) -> None:
    """Masks lie where they were drawn, and answers are those of the tables."""
    for name in ("refuge", "lidc", "chexpert", "arcade"):
        TREES[name][0](tmp_path / name)
        loader.load(name, tmp_path / name, tmp_path)
    disc = np.asarray(Image.open(tmp_path / "refuge" / "g0001.png"))
    assert (disc == 2).sum() == 16 and (disc == 1).sum() == 100 - 16 and disc[8, 8] == 2
    first = pl.read_csv(tmp_path / "lidc.csv", infer_schema=False).row(0, named=True)
    mask = nibabel.load(first["mask"])
    voxels = np.asarray(mask.dataobj)
    # Both readers drew slice 3; slices 2 and 5 were drawn by one of them each.
    assert np.flatnonzero(voxels.any((0, 1))).tolist() == [3] and voxels[8, 6, 3] and not voxels[6, 12, 3]
    np.testing.assert_allclose(mask.affine @ [8, 6, 3, 1], [-(-5 + 8 * 0.7), -(-7 + 6 * 0.7), -100 + 7.5, 1], atol=1e-5)
    answers = pl.read_csv(tmp_path / "chexpert.csv", infer_schema=False)["atelectasis"].to_list()
    assert answers[:3] == ["yes", "yes", "no"] and None in answers
    vessel = np.asarray(Image.open(tmp_path / "arcade" / "train-1.png"))
    assert vessel[5, 5] == 1 and vessel[15, 15] == 0


def test_another_layout_is_named(loader: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in loader.LOADERS:
        with pytest.raises(SystemExit, match="another layout|holds no images"):
            loader.load(name, tmp_path / "elsewhere", tmp_path / "study")
    with pytest.raises(SystemExit, match="is no folder"):
        loader.load("isic", tmp_path / "nowhere", tmp_path)
