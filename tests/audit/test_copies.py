"""Copies of images under another patient are found, whatever was done to them; other images are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image as Pillow

from medloom.audit.copies import copied
from medloom.modalities.image import Image
from medloom.modalities.image.copies import signature

RNG = np.random.default_rng(11)


def chests(count: int, size: int = 64) -> np.ndarray:
    """Pictures that share their anatomy and differ in shape and texture, as those of one body part do."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    out = []
    for _ in range(count):
        width, height, off = RNG.uniform(0.2, 0.35), RNG.uniform(0.45, 0.7), RNG.uniform(-0.1, 0.1)
        lungs = sum(np.exp(-(((x - side * 0.45 - off) / width) ** 2) - (y / height) ** 2) for side in (-1, 1))
        texture = scipy.ndimage.gaussian_filter(RNG.normal(size=(size, size)), 3) * 3
        out.append(150 - 90 * lungs + 40 * texture)
    return np.clip(out, 0, 255).astype(np.uint8)


def jpeg(picture: np.ndarray) -> np.ndarray:
    held = io.BytesIO()
    Pillow.fromarray(picture).save(held, "JPEG", quality=70)
    return np.asarray(Pillow.open(held))


CHANGES = {
    "as it is": lambda p: p,
    "saved anew": jpeg,
    "smaller": lambda p: np.asarray(Pillow.fromarray(p).resize((48, 40), Pillow.Resampling.BILINEAR)),
    "larger": lambda p: np.asarray(Pillow.fromarray(p).resize((100, 90), Pillow.Resampling.BICUBIC)),
    "turned": lambda p: np.rot90(p),
    "mirrored": lambda p: p[:, ::-1],
    "turned and mirrored": lambda p: np.rot90(p[::-1], 3),
    "darker": lambda p: (p * 0.7).astype(np.uint8),
    "brighter": lambda p: (p.astype(int) + 30).clip(0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(change: str) -> None:
    pictures = chests(120)
    again = [CHANGES[change](picture) for picture in pictures[:20]]
    marks = np.stack([signature(np.ascontiguousarray(p)[None]) for p in [*pictures, *again]])
    pairs = copied(marks, np.arange(140), float(Image.copies_within or 0))
    found = set(zip(pairs.one.tolist(), pairs.other.tolist(), strict=True))
    expected = {(n, 120 + n) for n in range(20)}
    assert len(found & expected) >= 19
    assert found <= expected


def test_copies_of_one_patient_and_empty_images_are_no_finding() -> None:
    pictures = chests(30)
    marks = np.stack([signature(p[None]) for p in [*pictures, *pictures[:3]]])
    assert len(copied(marks, np.array([*range(30), 0, 1, 2]), 0.08).one) == 0
    blank = np.stack([signature(np.full((1, 20, 20), value, np.uint8)) for value in (0, 0, 7)])
    assert len(copied(blank, np.arange(3), 0.08).one) == 0


def test_turned_volumes_have_one_signature() -> None:
    volume = scipy.ndimage.gaussian_filter(RNG.normal(size=(16, 16, 16)), 1.5)
    turned = np.rot90(volume, axes=(0, 2))[:, ::-1] * 2 + 5
    np.testing.assert_allclose(signature(turned[None]), signature(volume[None]), atol=1e-5)
    other = scipy.ndimage.gaussian_filter(RNG.normal(size=(16, 16, 16)), 1.5)
    assert np.linalg.norm(signature(other[None]) - signature(volume[None])) > 0.3
