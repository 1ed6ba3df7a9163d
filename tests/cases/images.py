"""Studies on images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medloom.study import Study
from tests.cases.made import SMALL, _study


def _pictures(folder: Path, rows: int, shape: tuple[int, ...]) -> pl.DataFrame:
    """Images with a bright blob or not, and masks of the blob; PNG in two axes, NIfTI in three."""
    random = np.random.default_rng(4)
    names, masks, blob = [], [], []
    for row in range(rows):
        image = random.normal(80, 10, shape)
        mask = np.zeros(shape, np.uint8)
        corner = [int(random.integers(1, side - 6)) for side in shape]
        ill = bool(row % 2)
        where = tuple(slice(c, c + 5) for c in corner)
        if ill:
            image[where] += 90
            mask[where] = 1
        pixels = image.clip(0, 255).astype(np.uint8)
        names.append(_save(folder / f"image{row}", pixels))
        masks.append(_save(folder / f"mask{row}", mask))
        blob.append(int(ill))
    ids = {"stay": [f"s{i:04d}" for i in range(rows)], "patient": [f"p{i // 2:04d}" for i in range(rows)]}
    return pl.DataFrame({**ids, "image": names, "mask": masks, "blob": blob})


def _save(stem: Path, values: np.ndarray) -> str:
    if values.ndim == 2:
        from PIL import Image

        Image.fromarray(values).save(stem.with_suffix(".png"))
        return stem.with_suffix(".png").name
    import nibabel

    nibabel.save(
        nibabel.Nifti1Image(values.astype(np.int16), np.diag([1.0, 1.0, 2.0, 1.0])), stem.with_suffix(".nii.gz")
    )
    return stem.with_suffix(".nii.gz").name


def _image(dims: int) -> dict[str, Any]:
    patch = [16] * dims if dims == 2 else [8] * dims
    return {
        "modality": "image", "column": "image", "dims": dims, "patch": patch, "flip": [0], "width": 4, "levels": 2,
        "pooled_width": 8, "known_before_index": True,
    }  # fmt: skip


def image_segment_2d(folder: Path) -> Study:
    """Outlines on PNG, and a class of the whole picture, from one encoder; pictures mixed with one another in training."""
    _pictures(folder, 40, (20, 24)).write_csv(folder / "cohort.csv")
    targets = {
        "outline": {"task": "segment", "column": "mask", "input": "scan", "labels": {"blob": 1}},
        "ill": {"task": "classify", "column": "blob"},
    }
    shown = {"resamples": 100, "maps": {"pictures": 1, "masks": {"scan": {"column": "mask"}}}}
    return _study(folder, {"scan": _image(2)}, targets, train={**SMALL, "batch": 8, "mixup": 0.4}, evaluate=shown)


def image_segment_3d(folder: Path) -> Study:
    """Two outlines that overlap on NIfTI, looked at lesion by lesion; windows mirrored and skipped; averaged weights."""
    import nibabel

    frame = _pictures(folder, 24, (10, 12, 9))
    cores = []
    for row, name in enumerate(frame["mask"].to_list()):
        mask = np.asarray(nibabel.load(folder / name).dataobj).astype(np.uint8)
        mask[:, :6] = 0
        cores.append(_save(folder / f"core{row}", mask))
    frame.with_columns(pl.Series("core", cores)).write_csv(folder / "cohort.csv")
    target = {
        "task": "segment", "columns": {"blob": "mask", "core": "core"}, "input": "scan", "lesions": ["blob"],
        "lesion_mm": [5], "boundary": 0.1,
    }  # fmt: skip
    scan = {**_image(3), "predict_flip": [2], "skip_empty": True}
    return _study(folder, {"scan": scan}, {"outline": target}, train={**SMALL, "batch": 4, "average": 0.9})


def image_networks(folder: Path) -> Study:
    """Two networks that each see a picture whole, pooled by peaks or by attention; outlines on the maps of a transformer."""
    _pictures(folder, 24, (16, 16)).write_csv(folder / "cohort.csv")
    whole = {**_image(2), "patch": [8, 8], "size": [8, 8], "flip": [], "blocks": 1, "pool": "attention"}
    inputs = {
        "one": {**whole, "encoder": "dense", "pool": "peak"},
        "other": {**whole, "encoder": "transformer", "halvings": [1, 0]},
    }
    targets = {
        "outline": {"task": "segment", "column": "mask", "input": "other", "labels": {"blob": 1}},
        "ill": {"task": "classify", "column": "blob"},
    }
    return _study(folder, inputs, targets, train={**SMALL, "batch": 8})


def image_dicom_resampled(folder: Path) -> Study:
    """Series of DICOM in folders, seen at another spacing and within a window, altered in training; outlines on the files' own grids."""
    import nibabel

    from tests.modalities.dicom_files import series

    frame = _pictures(folder, 20, (12, 10, 9))
    names = []
    for row, name in enumerate(frame["image"].to_list()):
        image = nibabel.load(folder / name)
        voxels = np.asarray(image.dataobj).astype(np.int16).transpose(2, 1, 0)
        series(
            folder / f"series{row}", voxels, name=str(row), origin=(0, 0, 0), orientation=(-1, 0, 0, 0, -1, 0),
            spacing=(1.0, 1.0), step=(0, 0, 2.0),
        )  # fmt: skip
        names.append(f"series{row}")
    frame.with_columns(pl.Series("image", names)).write_csv(folder / "cohort.csv")
    augment = {"rotate_degrees": 10, "scale": 0.1, "elastic": 0.1, "contrast": 0.1, "blur": 0.5, "noise": 0.05}
    scan = {**_image(3), "spacing_mm": [1.5, 1.25, 1.0], "window": [0, 200], "augment": augment}
    targets = {
        "outline": {"task": "segment", "column": "mask", "input": "scan", "labels": {"blob": 1}},
        "ill": {"task": "classify", "column": "blob"},
    }
    return _study(folder, {"scan": scan}, targets, train={**SMALL, "batch": 4})


def image_register_2d(folder: Path) -> Study:
    """Pairs of pictures of one blob, moved between them, with masks and landmarks that judge; some pairs lack one of these."""
    random = np.random.default_rng(5)
    places = np.stack(np.meshgrid(np.arange(16), np.arange(20), indexing="ij"), -1)
    kinds = ("", "_mask", "_points")
    columns: dict[str, list[str | None]] = {f"{which}{kind}": [] for which in ("moving", "fixed") for kind in kinds}
    for row in range(24):
        centre = np.array([7.5, 9.5]) + random.uniform(-2, 2, 2)
        for which in ("moving", "fixed"):
            blob = centre + random.uniform(-1.5, 1.5, 2)
            away = np.linalg.norm(places - blob, axis=-1)
            image = 40 + 160 * np.exp(-((away / 4) ** 2)) + random.normal(0, 4, away.shape)
            columns[which].append(_save(folder / f"{which}{row}", image.clip(0, 255).astype(np.uint8)))
            columns[f"{which}_mask"].append(_save(folder / f"{which}{row}-mask", (away < 4).astype(np.uint8)))
            name = f"{which}{row}-points.csv"
            marked = {"point": ["middle", "edge"], "row": blob[0] + [0, 3], "column": blob[1] + [0, 0]}
            pl.DataFrame(marked).head(1 + row % 2).write_csv(folder / name)
            columns[f"{which}_points"].append(name)
    columns["moving"][3] = columns["fixed_mask"][4] = columns["moving_points"][5] = columns["fixed_points"][5] = None
    ids = {"stay": [f"s{i:04d}" for i in range(24)], "patient": [f"p{i // 2:04d}" for i in range(24)]}
    pl.DataFrame({**ids, **columns}).write_csv(folder / "cohort.csv")
    scan = {**_image(2), "patch": [16, 20], "size": [16, 20], "flip": []}
    pair = {name: {**scan, "column": name} for name in ("moving", "fixed")}
    target = {
        "task": "register", "moving": "moving", "fixed": "fixed", "moving_mask": "moving_mask",
        "fixed_mask": "fixed_mask", "moving_points": "moving_points", "fixed_points": "fixed_points", "labels": {"blob": 1}, "supervise": 0.5,
    }  # fmt: skip
    return _study(folder, pair, {"map": target}, train={**SMALL, "batch": 8})


def image_bag_2d(folder: Path) -> Study:
    """Two columns of pictures, one with several in a cell; any of them may be missing, some rows have none; all are mixed."""
    frame = _pictures(folder, 40, (16, 16))
    names = frame["image"].to_list()
    front: list[str | None] = list(names)
    side: list[str | None] = [";".join([names[(row + 2) % 40]] * (row % 3)) or None for row in range(40)]
    for row in (0, 3, 7):
        front[row] = None
    side[3] = None
    frame.with_columns(pl.Series("front", front), pl.Series("side", side)).drop("image").write_csv(
        folder / "cohort.csv"
    )
    scan = {**_image(2), "column": ["front", "side"], "size": [16, 16]}
    target = {"ill": {"task": "classify", "column": "blob"}}
    shown = {"resamples": 100, "maps": {"pictures": 1}}
    return _study(folder, {"scan": scan}, target, train={**SMALL, "batch": 8, "mixup": 0.4}, evaluate=shown)


def image_restore_2d(folder: Path) -> Study:
    """Nobody has labelled anything: parts of pictures are hidden, and restored from the rest; windows of larger pictures."""
    _pictures(folder, 24, (16, 20)).drop("mask", "blob").write_csv(folder / "cohort.csv")
    targets = {"hidden": {"task": "restore", "input": "scan", "cells": 4}}
    return _study(folder, {"scan": _image(2)}, targets, train={**SMALL, "batch": 8})
