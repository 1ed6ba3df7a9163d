"""Batches of images, plain and altered, beside MONAI's CacheDataset and DataLoader doing the same. Needs no data.

Both hold all images in memory and cut a crop at random from each: that is a plain batch. Turned ones are rotated and
scaled, and their contrast, brightness and noise vary; bent ones are bent too. In two axes both bend over a coarse grid; in
three MONAI smooths a field of the crop's size, as it has no other way. Its transforms run without meta data, which is
faster than with them.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.result import Result
from medloom.draw import Draw
from medloom.modalities.image import Image
from medloom.modalities.image.options import ImageOptions
from medloom.modalities.image.packing import pack
from medloom.modalities.image.reading.scan import NUMPY, Scan
from medloom.packed import Source

ID = "image-batches"
PAIRS = 5
CENTRE, SCALE = 500.0, 200.0
TURNED = {"rotate_degrees": 15, "scale": 0.1, "contrast": 0.1, "brightness": 0.1, "noise": 0.1}
AUGMENT = {"plain": None, "turned": TURNED, "bent": {**TURNED, "elastic": 0.2}}
WANT = {"plain": 5.0, "turned": 2.0, "bent": 2.0}


@dataclass(frozen=True, slots=True)
class Shapes:
    """Images of one kind: how many, how large, what is seen of them, how many at a time, and batches of a round."""

    images: int
    shape: tuple[int, ...]
    patch: tuple[int, ...]
    batch: int
    batches: int
    plain_batches: int

    @property
    def words(self) -> str:
        """For the table."""
        return f"{self.batch} crops of {' × '.join(map(str, self.patch))} from {' × '.join(map(str, self.shape))}"


PICTURES = Shapes(128, (256, 256), (224, 224), 32, 2, 50)
VOLUMES = Shapes(16, (96, 96, 80), (64, 64, 64), 4, 1, 100)


def made(shapes: Shapes) -> list[np.ndarray]:
    """Images of 16 bits."""
    random = np.random.default_rng(0)
    return [random.integers(0, 1000, shapes.shape).astype(np.int16) for _ in range(shapes.images)]


def ours(shapes: Shapes, images: list[np.ndarray], how: str) -> tuple[Image, Source]:
    """A fitted input, and its source of one row an image."""
    options = ImageOptions.model_validate(
        {
            "column": "image", "dims": len(shapes.patch), "patch": shapes.patch, "levels": 3, "known_before_index": True,
            "augment": AUGMENT[how],
        }
    )  # fmt: skip
    size = (*shapes.shape, 1)[:3]
    scans = [Scan(image[None], NUMPY, (size[0], size[1], size[2]), np.eye(4), raw_shape=image.shape) for image in images]  # fmt: skip
    unit = np.arange(1, len(images) + 1)
    modality = Image(options, (CENTRE,), (SCALE,))
    return modality, modality.bind(Source(pack([scans], len(shapes.patch), 1, None), unit, unit))


def theirs(shapes: Shapes, images: list[np.ndarray], how: str) -> Any:
    """MONAI's data set, everything that is not random cached."""
    # MONAI's modules do not declare what they export, so its names are looked up.
    made_by: Any = importlib.import_module("monai.transforms")
    data: Any = importlib.import_module("monai.data")
    data.set_track_meta(False)
    key, dims = ["image"], len(shapes.patch)
    steps: list[Any] = [
        made_by.EnsureTyped(key, dtype=torch.float32, track_meta=False),
        made_by.NormalizeIntensityd(key, subtrahend=CENTRE, divisor=SCALE),
        made_by.RandSpatialCropd(key, shapes.patch, random_size=False),
    ]
    if how != "plain":
        turn: dict[str, Any] = {
            "prob": 1.0, "rotate_range": (np.radians(15),) * (1 if dims == 2 else 3), "scale_range": (0.1,) * dims,
            "padding_mode": "zeros",
        }  # fmt: skip
        quarter = shapes.patch[0] / 4
        if how == "turned":
            moved = made_by.RandAffined(key, **turn)
        elif dims == 2:
            moved = made_by.Rand2DElasticd(key, spacing=(quarter, quarter), magnitude_range=(0, 0.2 * quarter), **turn)
        else:
            moved = made_by.Rand3DElasticd(key, sigma_range=(5, 8), magnitude_range=(50, 150), **turn)
        steps += [
            moved,
            made_by.RandScaleIntensityd(key, factors=0.1, prob=1.0),
            made_by.RandShiftIntensityd(key, offsets=0.1, prob=1.0),
            made_by.RandGaussianNoised(key, prob=1.0, std=0.1),
        ]
    return data.CacheDataset([{"image": image[None]} for image in images], made_by.Compose(steps), progress=False)


def rounds(shapes: Shapes, how: str, pairs: int = PAIRS) -> np.ndarray:
    """Seconds of a batch: ours, and MONAI's with no worker and with two, `[pairs, 3]`. A first round warms all up."""
    images = made(shapes)
    (modality, source), dataset = ours(shapes, images, how), theirs(shapes, images, how)
    count = shapes.plain_batches if how == "plain" else shapes.batches
    if how == "plain":
        _check_same(shapes, modality, source, dataset)
    found = [[_ours(modality, source, shapes, count, turn), *(_theirs(dataset, shapes, count, w) for w in (0, 2))] for turn in range(pairs + 1)]  # fmt: skip
    return np.array(found[1:])


def _check_same(shapes: Shapes, modality: Image, source: Source, dataset: Any) -> None:
    """Raises where crops of ours are not what MONAI crops from: its scaled images, in float32."""
    rows = np.arange(shapes.batch)
    view = modality.view(source, rows, Draw(0, np.zeros(len(rows), np.int64)))
    found = modality.batch(source, view)
    assert found.valid is not None and bool(found.valid.all())
    for row, corner in zip(rows.tolist(), view.at["corner"].tolist(), strict=True):
        place = tuple(slice(first, first + side) for first, side in zip(corner, shapes.patch, strict=True))
        scaled = torch.as_tensor(dataset._cache[row]["image"])
        torch.testing.assert_close(found.value[row], scaled[(slice(None), *place)], rtol=1e-6, atol=1e-6)


def _ours(modality: Image, source: Source, shapes: Shapes, count: int, turn: int) -> float:
    random = np.random.default_rng(turn)
    began = time.perf_counter()
    for _ in range(count):
        rows = random.integers(0, shapes.images, shapes.batch)
        field = modality.batch(source, modality.view(source, rows, Draw(0, np.full(len(rows), turn))))
        assert field.value.shape == (shapes.batch, 1, *shapes.patch)
    return (time.perf_counter() - began) / count


def _theirs(dataset: Any, shapes: Shapes, count: int, workers: int) -> float:
    """From the first batch on: workers run already, as they do within an epoch, and have few batches ready of many."""
    from torch.utils.data import RandomSampler

    load: Any = importlib.import_module("monai.data").DataLoader
    number = max(count, 4 * workers)
    sampler = RandomSampler(dataset, replacement=True, num_samples=(number + 1) * shapes.batch)
    loader: Iterator[Any] = iter(load(dataset, batch_size=shapes.batch, sampler=sampler, num_workers=workers))
    next(loader)
    began = time.perf_counter()
    for batch in loader:
        assert batch["image"].shape == (shapes.batch, 1, *shapes.patch)
    return (time.perf_counter() - began) / number


def run(data: Path | None) -> list[Result]:
    """Ratio of batches a second, ours in one thread to the faster of MONAI's without and with two workers."""
    torch.set_num_threads(1)
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for shapes in (PICTURES, VOLUMES):
            for how, want in WANT.items():
                times = rounds(shapes, how)
                ratio = times[:, 1:].min(axis=1) / times[:, 0]
                alone = np.median(times[:, 1] / times[:, 0])
                results.append(
                    Result(
                        id=ID,
                        metric=f"batches a second, ours / MONAI, {how}, {len(shapes.patch)}-D",
                        value=float(np.median(ratio)),
                        low=float(ratio.min()),
                        high=float(ratio.max()),
                        higher_is_better=True,
                        want=want,
                        baseline=f"MONAI {np.median(1 / times[:, 1:].min(axis=1)):,.1f} batches a second (the faster of 0 and 2 "
                        f"workers), ours {np.median(1 / times[:, 0]):,.1f} in one thread; to MONAI without workers {alone:.1f}",
                        split=f"{shapes.words}, {PAIRS} alternating rounds; least and largest ratio",
                    )
                )
    return results
