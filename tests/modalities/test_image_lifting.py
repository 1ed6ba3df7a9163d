"""Windows lifted a slab at a time say the same as all of them at once; mirrored and skipped windows too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloom.modalities.image import Image, ImageOptions
from medloom.modalities.image.lifting import NOTHING, importance
from medloom.modalities.image.packing import pack
from medloom.modalities.image.reading.scan import NIFTI, Scan
from medloom.modality import View
from medloom.packed import Source


def source_of(grids: list[np.ndarray], raw: tuple[int, ...] | None = None) -> Source:
    scans = [
        Scan(grid[None], NIFTI, grid.shape, np.diag([1.0, 2.0, 3.0, 1.0]), sized=True, raw_shape=raw or grid.shape)
        for grid in grids
    ]
    return Source(pack([scans], 3, 1, None), np.arange(1, len(grids) + 1), np.arange(len(grids)))


def image_of(**chosen: object) -> Image:
    part = {"column": "scan", "dims": 3, "patch": [8, 8, 8], "levels": 2, "known_before_index": True, **chosen}
    return Image(ImageOptions.model_validate(part), (0.0,), (1.0,))


def settle(scores: np.ndarray) -> np.ndarray:
    return scores.argmax(axis=0).astype(np.uint8)[None] + 1


def grids() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 200, shape).astype(np.uint8) for shape in ((19, 9, 12), (5, 8, 14))]


@pytest.mark.parametrize("flip", [(), (0, 2)])
def test_lifting_is_the_weighted_mean_of_all_views(flip: tuple[int, ...]) -> None:
    source, image = source_of(grids()), image_of(predict_flip=flip)
    view = image.view(source, np.array([1, 0]), None)
    values = np.random.default_rng(1).normal(size=(len(view.rows), 2, 8, 8, 8)).astype(np.float32)
    lifting, settled = image.lifting(source), image.lifting(source, settle)
    for start in range(0, len(view.rows), 3):
        piece = View(view.rows[start : start + 3], {name: a[start : start + 3] for name, a in view.at.items()})
        for one in (lifting, settled):
            one.add(piece, {"logits": torch.from_numpy(values[start : start + 3])})
    whole, parts = lifting.finish(), settled.finish()
    assert whole.spacing_mm == parts.spacing_mm == [(1.0, 2.0, 3.0)] * 2
    for row, found, kept in zip((1, 0), whole.values, parts.values, strict=True):
        shape = grids()[row].shape
        total, weights = np.zeros((2, *(side + 16 for side in shape))), np.zeros([side + 16 for side in shape])
        for place in np.flatnonzero(view.rows == row):
            at = tuple(slice(c + 8, c + 16) for c in view.at["corner"][place])
            turned = [axis + 1 for axis in range(3) if view.at["flip"][place][axis]]
            total[(slice(None), *at)] += np.flip(values[place], turned) * importance((8, 8, 8))
            weights[at] += importance((8, 8, 8))
        inner = tuple(slice(8, 8 + side) for side in shape)
        np.testing.assert_allclose(found, total[(slice(None), *inner)] / weights[inner], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(kept, settle(found))


def test_what_is_resampled_is_settled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medloom.modalities.image.lifting.SLAB_VOXELS", 100)
    source, image = source_of(grids()[:1], (31, 9, 20)), image_of()
    view = image.view(source, np.array([0]), None)
    values = torch.randn(len(view.rows), 3, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    scores = image.lift(source, view, {"logits": values}).values[0]
    assert scores.shape == (3, 31, 9, 20)
    settled = image.lifting(source, settle)
    settled.add(view, {"logits": values})
    assert (settled.finish().values[0] != settle(scores)).mean() < 1e-3


def test_empty_windows_are_not_looked_at() -> None:
    grid = np.zeros((40, 8, 8), np.uint8)
    grid[33:, 2] = 9
    source, image = source_of([grid, np.zeros((20, 8, 8), np.uint8)]), image_of(skip_empty=True)
    view = image.view(source, np.array([0, 1]), None)
    assert view.rows.tolist() == [0, 0, 1]
    assert view.at["corner"][:, 0].tolist() == [28, 32, 0] or (view.at["corner"][:2, 0] + 8 > 33).all()
    values = torch.ones(len(view.rows), 2, 8, 8, 8)
    scores = image.lift(source, view, {"logits": values})
    first = int(view.at["corner"][0, 0])
    np.testing.assert_allclose(scores.values[0][:, first:], 1, rtol=1e-5)
    assert (scores.values[0][:, :first] == NOTHING).all()
    settled = image.lifting(source, settle)
    settled.add(view, {"logits": values})
    kept = settled.finish().values
    assert (kept[0][0, :first] == 0).all()
    assert (kept[0][0, first:] == 1).all()
    assert (kept[1][0, :8] == 1).all()
    assert (kept[1][0, 8:] == 0).all()
    with pytest.raises(ValueError, match="uncovered"):
        image_of().lift(source, view, {"logits": values})
