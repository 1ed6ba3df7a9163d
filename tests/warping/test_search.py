"""Maps searched for one pair: known moves are found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloom.warping.search import Search, aligned, deformed, standardised
from medloom.warping.transform import Transform, folded, same, sample


def _scene(shape=(40, 44), seed=0):
    """Smooth blobs of many sizes."""
    random = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij"), -1)
    image = np.zeros(shape)
    for _ in range(25):
        away = np.linalg.norm(at - random.uniform(-0.9, 0.9, len(shape)), axis=-1)
        image += random.normal() * np.exp(-((away / random.uniform(0.1, 0.4)) ** 2))
    return standardised(torch.from_numpy(image.astype(np.float32))[None, None])


def _bump(shape, height):
    """A displacement along the first axis that is largest in the middle."""
    at = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, size) for size in shape], indexing="ij"))
    moved = torch.zeros(1, len(shape), *shape)
    moved[0, 0] = height * torch.exp(-(at**2).sum(0) / 0.2)
    return moved


def test_an_affine_move_is_found():
    moving = _scene()
    truth = torch.tensor([[[1.05, 0.08, 0.06], [-0.06, 0.96, -0.08]]])
    fixed = standardised(sample(moving, Transform(truth).forward(moving.shape[2:])))
    found = aligned(moving, fixed, same(1, 2), Search()).affine
    assert (found - truth).abs().max() < 0.03 < (same(1, 2) - truth).abs().max()


@pytest.mark.parametrize("kind", ["lncc", "mind"])
def test_a_local_move_is_found_without_folding(kind):
    moving = _scene()
    truth = _bump(moving.shape[2:], 0.15)
    fixed = standardised(sample(moving, truth))
    found = deformed(moving, fixed, Transform(same(1, 2)), Search(kind)).forward(moving.shape[2:])
    middle = (slice(None), slice(None), slice(12, 28), slice(13, 31))
    off = (found - truth)[middle].abs().mean()
    assert off < 0.35 * truth[middle].abs().mean()
    assert float(folded(found)) == 0


def test_a_row_alone_is_searched_as_in_a_batch():
    moving = torch.cat([_scene(), _scene(seed=1)])
    fixed = torch.cat([sample(one[None], _bump((40, 44), 0.1)) for one in moving])
    how = Search(affine_steps=5, flow_steps=4)
    both = deformed(moving, fixed, aligned(moving, fixed, same(2, 2), how), how).forward((40, 44))
    one = deformed(moving[1:], fixed[1:], aligned(moving[1:], fixed[1:], same(1, 2), how), how).forward((40, 44))
    torch.testing.assert_close(one[0], both[1], atol=1e-4, rtol=0)
