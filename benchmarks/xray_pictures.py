"""Chest X-rays of children with and without pneumonia, as a table of PNG files, for the benchmarks that read them.

Reads xray-pneumonia/pneumoniamnist.npz of the data folder: 28 × 28 pixels, after Kermany et al., "Identifying medical
diagnoses and treatable diseases by image-based deep learning", Cell 2018, in the form of MedMNIST (Yang et al.,
Scientific Data 2023), split anew by whoever made the file. No patient is known: every file counts as one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

PARTS = {"train": "train", "val": "valid", "test": "test"}


def pictures(data: Path | None, folder: Path) -> pl.DataFrame | None:
    """A row for each film: its file (written once), its class and its part of the given split; None without data."""
    archive = None if data is None else data / "xray-pneumonia" / "pneumoniamnist.npz"
    if archive is None or not archive.is_file():
        return None
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with np.load(archive) as held:
        for name, part in PARTS.items():
            for place, (image, label) in enumerate(
                zip(held[f"{name}_images"], held[f"{name}_labels"].ravel(), strict=True)
            ):
                path = folder / f"{name}-{place:05d}.png"
                if not path.exists():
                    Image.fromarray(image).save(path)
                rows.append((f"{name}-{place:05d}", str(path), "pneumonia" if label else "none", part))
    return pl.DataFrame(rows, schema=["film", "path", "finding", "part"], orient="row")
