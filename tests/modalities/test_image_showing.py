"""Images as a person would look at them: which way each axis of a file counts in the patient."""

from __future__ import annotations

import itertools

import nibabel
import numpy as np

from medloom.modalities.image.reading.scan import NIFTI, Scan
from medloom.modalities.image.showing import towards


def _scan(affine: np.ndarray, placed: bool = True, shape: tuple[int, ...] = (4, 5, 6)) -> Scan:
    return Scan(np.zeros((1, *shape), np.float32), NIFTI, (4, 5, 6), affine, placed=placed)


def test_sides_are_those_that_nibabel_tells() -> None:
    random = np.random.default_rng(0)
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((-1, 1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = (np.eye(3) * signs)[:, order] * random.uniform(0.5, 4, 3) + random.normal(0, 0.05, (3, 3))
            assert towards(_scan(affine)) == nibabel.aff2axcodes(affine)


def test_a_file_without_a_place_tells_no_sides() -> None:
    assert towards(_scan(np.eye(4), placed=False)) == ()
