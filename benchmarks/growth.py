"""Lesions that grow by a known amount between visits: how much of it a carried outline recovers. Needs no data.

A phantom of 48³ voxels of 1 mm: a head-like ellipsoid with a smooth texture and a bright lesion. Each later visit is the
first one, moved rigidly by up to 2 mm and swollen around the lesion by a smooth map with a known volume; noise is drawn
anew. The first outline is carried by the search of `medloom register`, without training.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.result import Result
from medloom.registering import register

ID = "growth"
SIDE = 48
LESIONS = 4
GROWTHS = (0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
"""Volume of the lesion at a later visit, as a share of its first one."""
NOISE = 3.0


def run(data: Path | None) -> list[Result]:
    """The error of the carried volume, as a share of the true volume at that visit."""
    errors, folded = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(LESIONS):
            for place, growth in enumerate(GROWTHS):
                error, share = measured(Path(folder) / f"{seed}-{place}", seed, growth)
                errors.append(error)
                folded.append(share)
    size = np.abs(errors)
    drawn = np.random.default_rng(0).integers(0, len(size), (1_000, len(size)))
    low, high = np.quantile(size[drawn].mean(axis=1), [0.025, 0.975])
    nothing = np.mean([abs(1 / growth - 1) for growth in GROWTHS])
    split = f"{LESIONS} phantoms × {len(GROWTHS)} visits, volume × {GROWTHS[0]} to {GROWTHS[-1]}"
    return [
        Result(
            ID, "mean absolute error of the carried volume", float(size.mean()), False, split, tuple(range(LESIONS)),
            float(low), float(high), f"outline carried unchanged {nothing:.3f}",
            f"bias {np.mean(errors):+.4f}, largest error {size.max():.4f}, folded voxels {np.mean(folded):.3%}", "", 0.03,
        )
    ]  # fmt: skip


def measured(folder: Path, seed: int, growth: float) -> tuple[float, float]:
    """(Carried volume − true volume) / true volume of one visit, and the share of voxels that fold."""
    folder.mkdir(parents=True)
    random = np.random.default_rng([seed, round(1000 * growth)])
    first, outline, _ = phantom(seed, 1.0, np.zeros(3), random)
    later, _, volume = phantom(seed, growth, random.uniform(-2, 2, 3), random)
    for name, values in (("first", first), ("outline", outline), ("later", later)):
        _save(folder / f"{name}.nii.gz", values)
    (told,) = register(
        folder / "first.nii.gz", [folder / "later.nii.gz"], folder / "out", mask=folder / "outline.nii.gz"
    )
    return told["volumes"][0]["after"] * 1000 / volume - 1, told["folded_share"]


def phantom(
    seed: int, growth: float, shift: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Image, outline, and the lesion's true volume (mm³) where it has grown and the head is moved by `shift`.

    Around the lesion's centre a radius r was r · s(r) before, with s from growth^(−1/3) at the lesion to 1 far away.
    """
    own = np.random.default_rng(seed)
    centre = SIDE / 2 + own.uniform(-5, 5, 3)
    radius = own.uniform(5, 7)
    waves = own.normal(0, 0.35, (24, 3))
    phases, heights = own.uniform(0, 2 * np.pi, 24), own.uniform(2, 6, 24)
    at = np.stack(np.meshgrid(*[np.arange(SIDE, dtype=float)] * 3, indexing="ij"), -1) - shift
    away = np.linalg.norm(at - centre, axis=-1)
    grown = radius * growth ** (1 / 3)
    share = growth ** (-1 / 3)
    fade = np.clip((away - grown) / (1.5 * grown), 0, 1)
    scale = share + (1 - share) * fade * fade * (3 - 2 * fade)
    before = centre + (at - centre) * scale[..., None]
    head = 1 / (1 + np.exp((np.linalg.norm((before - SIDE / 2) / [1.0, 1.1, 0.9], axis=-1) - 19) / 0.7))
    texture = (np.sin(before @ waves.T + phases) * heights).sum(-1)
    lesion = 1 / (1 + np.exp((np.linalg.norm(before - centre, axis=-1) - radius) / 0.4))
    image = head * (100 + texture) + 60 * lesion + random.normal(0, NOISE, head.shape)
    return image, (away <= grown).astype(np.uint8), 4 / 3 * np.pi * grown**3


def _save(path: Path, values: np.ndarray) -> None:
    import nibabel

    kept = values if values.dtype == np.uint8 else values.astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(kept, np.eye(4)), path)
