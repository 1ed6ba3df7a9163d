"""Loaders of published sets of pictures. Each takes the folder of the unpacked data set, and a folder for files that it
has to make; it returns a row for each picture. What is not on disk is left out, so that a part of a download works.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

CHEXPERT_FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The five that the CheXpert competition asked for."""


def read(path: Path) -> pl.DataFrame:
    """A CSV as text, so that identifiers keep their zeros."""
    return pl.read_csv(path, infer_schema=False)


def present(table: pl.DataFrame) -> pl.DataFrame:
    """The rows whose picture is on disk."""
    return table.filter(pl.Series([Path(path).is_file() for path in table["image"]], dtype=pl.Boolean))


def isic(root: Path, out: Path) -> pl.DataFrame:
    """ISIC 2020: `train.csv` (image_name, patient_id, sex, age_approx, …, target) beside `train/ISIC_….jpg`, or `jpeg/train/`."""
    folder = next((root / name for name in ("train", "jpeg/train") if (root / name).is_dir()), root / "train")
    names = ("sex", "age_approx", "anatom_site_general_challenge")
    return present(
        read(root / "train.csv").select(
            pl.col("image_name").alias("picture"),
            pl.col("patient_id").alias("patient"),
            (str(folder) + "/" + pl.col("image_name") + ".jpg").alias("image"),
            *names,
            pl.col("target").replace({"0": "no", "1": "yes"}).alias("melanoma"),
        )
    )


def aptos(root: Path, out: Path) -> pl.DataFrame:
    """APTOS 2019: `train.csv` (id_code, diagnosis 0 to 4) beside `train_images/….png`. It tells no patients."""
    return present(
        read(root / "train.csv").select(
            pl.col("id_code").alias("picture"),
            (str(root / "train_images") + "/" + pl.col("id_code") + ".png").alias("image"),
            pl.col("diagnosis").alias("retinopathy"),
        )
    )


def refuge(root: Path, out: Path) -> pl.DataFrame:
    """REFUGE: `Training400/Glaucoma/g….jpg` and `Training400/Non-Glaucoma/n….jpg`, and their masks of disc and cup.

    `Annotation-Training400/Disc_Cup_Masks/<class>/….bmp` are copied as PNG: 1 rim (128 in the file), 2 cup (0). It tells
    no patients.
    """
    rows = []
    out.mkdir(parents=True, exist_ok=True)
    for answer, folder in (("yes", "Glaucoma"), ("no", "Non-Glaucoma")):
        for path in sorted((root / "Training400" / folder).glob("*.jpg")):
            mask = root / "Annotation-Training400" / "Disc_Cup_Masks" / folder / f"{path.stem}.bmp"
            kept = None
            if mask.is_file():
                drawn = np.asarray(Image.open(mask).convert("L"))
                kept = out / f"{path.stem}.png"
                Image.fromarray(np.where(drawn < 64, 2, drawn < 192).astype(np.uint8)).save(kept)
            rows.append({"picture": path.stem, "image": str(path), "mask": kept and str(kept), "glaucoma": answer})
    return pl.DataFrame(rows)


def chexpert(root: Path, out: Path) -> pl.DataFrame:
    """CheXpert: `train.csv` and `valid.csv`, whose `Path` is `CheXpert-v1.0[-small]/train/patient00001/study1/view1_frontal.jpg`.

    1 is yes; 0, and a finding that the report does not mention, is no; uncertain (−1) is left open. Frontal views only.
    """
    tables = [read(root / name) for name in ("train.csv", "valid.csv") if (root / name).is_file()]
    if not tables:
        raise FileNotFoundError(2, "no table", str(root / "train.csv"))
    found = [
        pl.col(name).fill_null("0.0").cast(pl.Float64).replace_strict({1.0: "yes", 0.0: "no"}, default=None)
        .alias(name.lower().replace(" ", "_"))
        for name in CHEXPERT_FINDINGS
    ]  # fmt: skip
    return present(
        pl.concat(tables, how="diagonal")
        .filter(pl.col("Frontal/Lateral") == "Frontal")
        .select(
            pl.col("Path").alias("picture"),
            pl.col("Path").str.extract(r"(patient\d+)").alias("patient"),
            (str(root) + "/" + pl.col("Path").str.replace(r"^CheXpert-v1\.0[^/]*/", "")).alias("image"),
            pl.col("Sex").alias("sex"),
            pl.col("Age").alias("age"),
            pl.col("AP/PA").alias("projection"),
            *found,
        )
    )


def grazpedwri(root: Path, out: Path) -> pl.DataFrame:
    """GRAZPEDWRI-DX, wrists of children: `dataset.csv` (filestem, patient_id, …, fracture_visible: 1 or empty).

    Pictures lie in `images/`, or in the `images_part1/` … of the download.
    """
    where = {path.stem: str(path) for path in sorted(root.glob("images*/*.png"))}
    image = pl.col("filestem").replace_strict(where, default=None, return_dtype=pl.String)
    fracture = pl.when(pl.col("fracture_visible").cast(pl.Float64) == 1).then(pl.lit("yes")).otherwise(pl.lit("no"))
    return (
        read(root / "dataset.csv")
        .select(
            pl.col("filestem").alias("picture"),
            pl.col("patient_id").alias("patient"),
            image.alias("image"),
            pl.col("age", "gender", "projection"),
            fracture.alias("fracture"),
        )
        .drop_nulls("image")
    )


def medmnist(root: Path, out: Path) -> pl.DataFrame:
    """MedMNIST: the `.npz` in the folder (train_images, train_labels, val_…, test_…), written out as PNG with its split.

    One file, or the first by name. It tells no patients; its parts are those of the publishers.
    """
    files = sorted(root.glob("*.npz"))
    if not files:
        raise FileNotFoundError(2, "no file", str(root / "*.npz"))
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    with np.load(files[0]) as arrays:
        for part, kept in (("train", "train"), ("val", "valid"), ("test", "test")):
            for number, (pixels, label) in enumerate(
                zip(arrays[f"{part}_images"], arrays[f"{part}_labels"], strict=True)
            ):
                path = out / f"{part}{number:06d}.png"
                Image.fromarray(pixels).save(path)
                answer = str(np.ravel(label)[0])
                rows.append({"picture": path.stem, "image": str(path), "part": kept, "label": answer})
    return pl.DataFrame(rows)


def arcade(root: Path, out: Path) -> pl.DataFrame:
    """ARCADE, coronary angiograms: `syntax/{train,val,test}/images/….png` with `annotations/<part>.json` as COCO has it.

    Polygons of all segments become one mask of the vessels, as PNG. It tells no patients; its parts are the publishers'.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for part, kept in (("train", "train"), ("val", "valid"), ("test", "test")):
        folder = root / "syntax" / part
        told = json.loads((folder / "annotations" / f"{part}.json").read_text(encoding="utf-8"))
        polygons: dict[int, list[list[float]]] = {}
        for one in told["annotations"]:
            polygons.setdefault(one["image_id"], []).extend(one["segmentation"])
        for image in told["images"]:
            name = re.sub(r"[^\w.]", "_", Path(image["file_name"]).name)
            path = folder / "images" / name
            if not path.is_file():
                continue
            mask = Image.new("L", (image["width"], image["height"]))
            for polygon in polygons.get(image["id"], []):
                ImageDraw.Draw(mask).polygon(polygon, fill=1)
            mask.save(out / f"{part}-{path.stem}.png")
            drawn = str(out / f"{part}-{path.stem}.png")
            rows.append({"picture": f"{part}-{path.stem}", "image": str(path), "mask": drawn, "part": kept})
    return pl.DataFrame(rows)
