"""Maps: their algebra, against what is known of them in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloom.warping.transform import (
    Transform,
    centres,
    composed,
    flowed,
    folded,
    inverse_error,
    inverted,
    jacobian,
    roughness,
    same,
    sample,
)  # fmt: skip


def _smooth(shape, height=0.2, seed=0):
    random = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, len(shape), *[4] * len(shape), generator=random)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return height * torch.nn.functional.interpolate(coarse, size=shape, mode=mode, align_corners=False)


@pytest.mark.parametrize("shape", [(7, 9), (6, 5, 8)])
def test_nothing_moved_gives_the_image_back(shape):
    image = torch.rand(2, 3, *shape)
    moved = Transform(same(2, len(shape))).forward(shape)
    assert moved.abs().max() < 1e-6
    torch.testing.assert_close(sample(image, moved), image, atol=1e-5, rtol=0)


def test_a_shift_by_whole_voxels_shifts_the_image_along_its_own_axis():
    image = torch.rand(1, 1, 6, 8)
    affine = same(1, 2)
    affine[0, 0, 2] = 2 / 6  # one voxel of six along the first axis
    moved = sample(image, Transform(affine).forward((6, 8)))
    torch.testing.assert_close(moved[:, :, :-1], image[:, :, 1:], atol=1e-5, rtol=0)


def test_the_flow_of_a_linear_field_is_the_exponential_of_its_matrix():
    """v(x) = A x flows to exp(A) x; away from the border, where the field is not linear any more."""
    matrix = torch.tensor([[0.10, -0.25], [0.20, -0.05]])
    place = centres((65, 65), matrix)
    velocity = torch.einsum("ij,bj...->bi...", matrix, place)
    expected = torch.einsum("ij,bj...->bi...", torch.linalg.matrix_exp(matrix) - torch.eye(2), place)
    inner = (slice(None), slice(None), slice(16, 49), slice(16, 49))
    torch.testing.assert_close(flowed(velocity)[inner], expected[inner], atol=2e-3, rtol=0)


@pytest.mark.parametrize("shape", [(32, 40), (16, 20, 18)])
def test_there_and_back_is_nowhere_and_smooth_flows_do_not_fold(shape):
    affine = same(1, len(shape))
    affine[0, 0, 1], affine[0, 1, -1] = 0.1, 0.05
    transform = Transform(affine, (_smooth(shape, 0.1), _smooth(shape, 0.05, 1)))
    forward, inverse = transform.forward(shape), transform.inverse(shape)
    moved = torch.linalg.vector_norm(forward, dim=1).mean() * np.mean(shape) / 2
    assert float(inverse_error(forward, inverse)) < 0.15 < float(moved)
    assert float(folded(forward)) == 0


def test_the_inverse_of_an_affine_map_undoes_it():
    affine = torch.tensor([[[1.1, 0.2, 0.1], [-0.1, 0.9, -0.2]]])
    there, back = (Transform(one).forward((20, 20)) for one in (affine, inverted(affine)))
    inner = composed(back, there)[:, :, 5:15, 5:15]
    assert inner.abs().max() < 1e-5


def test_the_jacobian_of_a_scaling_is_its_determinant_and_a_mirror_folds_everywhere():
    affine = torch.diag(torch.tensor([1.5, 0.5, 2.0]))[None]
    scaled = torch.cat([affine, torch.zeros(1, 3, 1)], 2)
    found = jacobian(Transform(scaled).forward((5, 6, 7)))
    torch.testing.assert_close(found, torch.full((1, 4, 5, 6), 1.5), atol=1e-4, rtol=0)
    mirrored = torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    assert float(folded(Transform(mirrored).forward((8, 8)))) == 1.0


def test_folding_counts_the_voxels_that_fold():
    """Along a line of ten voxels one step goes back: one of nine cells in each row folds."""
    displacement = torch.zeros(1, 2, 4, 10)
    displacement[:, 1, :, 5:] = -1.5 * 2 / 10
    assert float(folded(displacement)) == pytest.approx(1 / 9)


def test_roughness_is_of_voxels_and_zero_for_a_shift():
    assert float(roughness(torch.full((1, 2, 8, 8), 0.3))) == 0
    ramp = torch.zeros(1, 2, 8, 8)
    ramp[0, 0] = (torch.arange(8) * 2 / 8)[:, None]  # one voxel more at each step along the first axis
    assert float(roughness(ramp)) == pytest.approx(1.0, rel=1e-5)
