"""Maps from one image to another: affine, then flows of stationary velocity fields, all on grids of any size.

Positions are normalised: along each axis the outer edges of the first and the last voxel lie at −1 and 1, whatever the
number of voxels. Channels of a field stand in the order of the spatial axes. A map takes positions in the fixed image
to positions in the moving image; a displacement is what it adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Displacement = Float[Tensor, "batch dims *spatial"]
SQUARINGS = 6
"""A flow is that of a 64th of its time, doubled six times."""
MODE = {1: "linear", 2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True, slots=True)
class Transform:
    """Fixed position → the flows, last one first → affine → moving position.

    `affine` is [batch, dims, dims + 1]; each velocity field has a grid of its own, coarse ones first.
    """

    affine: Float[Tensor, "batch dims more"]
    velocities: tuple[Displacement, ...] = ()

    def forward(self, shape: Sequence[int]) -> Displacement:
        """The displacement from fixed to moving positions, on a grid of this shape."""
        moved: Displacement | None = None
        for velocity in self.velocities:
            flow = resized(flowed(velocity), shape)
            moved = flow if moved is None else composed(moved, flow)
        return affine_after(self.affine, moved, shape)

    def inverse(self, shape: Sequence[int]) -> Displacement:
        """The displacement from moving to fixed positions, on a grid of this shape laid on the moving image."""
        moved = affine_after(inverted(self.affine), None, shape)
        for velocity in self.velocities:
            moved = composed(resized(flowed(-velocity), shape), moved)
        return moved


def same(batch: int, dims: int) -> Float[Tensor, "batch dims more"]:
    """The affine map that moves nothing."""
    return torch.eye(dims, dims + 1).expand(batch, dims, dims + 1).clone()


@lru_cache(maxsize=32)
def _centres(shape: tuple[int, ...]) -> Float[Tensor, "1 dims *spatial"]:
    with torch.inference_mode(False):
        axes = [(torch.arange(size, dtype=torch.float32) * 2 + 1) / size - 1 for size in shape]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def centres(shape: Sequence[int], like: Tensor) -> Float[Tensor, "1 dims *spatial"]:
    """Normalised positions of all voxels of a grid."""
    return _centres(tuple(shape)).to(like.device)


def sample(
    values: Float[Tensor, "batch channels *source"], displacement: Displacement, border: bool = True
) -> Float[Tensor, "batch channels *spatial"]:
    """The values where each position is taken to, linear between voxels. Beyond the image the edge goes on, or 0."""
    shape = displacement.shape[2:]
    place = (centres(shape, displacement) + displacement).movedim(1, -1).flip(-1)
    return F.grid_sample(values, place, padding_mode="border" if border else "zeros", align_corners=False)


def composed(outer: Displacement, inner: Displacement) -> Displacement:
    """First `inner`, then `outer`."""
    return inner + sample(outer, inner)


def resized(field: Displacement, shape: Sequence[int]) -> Displacement:
    """The field on another grid of the same extent; beyond the outermost centres their value goes on."""
    if tuple(field.shape[2:]) == tuple(shape):
        return field
    return F.interpolate(field, size=tuple(shape), mode=MODE[field.ndim - 2], align_corners=False)


def flowed(velocity: Displacement, squarings: int = SQUARINGS) -> Displacement:
    """The displacement after a unit of time of a velocity field: smooth and invertible where the field is smooth.

    Source: Arsigny et al., "A log-Euclidean framework for statistics on diffeomorphisms", MICCAI 2006 (scaling and
    squaring).
    """
    moved = velocity / 2**squarings
    for _ in range(squarings):
        moved = composed(moved, moved)
    return moved


def affine_after(
    affine: Float[Tensor, "batch dims more"], moved: Displacement | None, shape: Sequence[int]
) -> Displacement:
    """The displacement of an affine map after another displacement, or alone."""
    here = centres(shape, affine)
    place = here.expand(len(affine), *here.shape[1:]) if moved is None else here + moved
    linear, shift = affine[:, :, :-1], affine[:, :, -1]
    taken = torch.einsum("bij,bj...->bi...", linear, place) + shift.view(*shift.shape, *[1] * len(shape))
    return taken - here


def inverted(affine: Float[Tensor, "batch dims more"]) -> Float[Tensor, "batch dims more"]:
    """The affine map back."""
    linear = torch.linalg.inv(affine[:, :, :-1])
    return torch.cat([linear, -linear @ affine[:, :, -1:]], 2)


def jacobian(displacement: Displacement) -> Float[Tensor, "batch *inner"]:
    """The determinant of the map's Jacobian between neighbouring voxels, [batch, *(size − 1)]: not above 0 where it folds.

    Forward differences at the corner of each cell of voxels; an axis of one voxel counts as unmoved.
    """
    shape = displacement.shape[2:]
    dims = len(shape)
    place = (centres(shape, displacement) + displacement).movedim(1, -1)
    inner = tuple(slice(0, max(1, size - 1)) for size in shape)
    columns = []
    for axis, size in enumerate(shape):
        if size > 1:
            step = (place.narrow(axis + 1, 1, size - 1) - place.narrow(axis + 1, 0, size - 1)) * size / 2
        else:
            step = torch.zeros_like(place)
            step[..., axis] = 1.0
        cut = tuple(slice(None) if other == axis else part for other, part in enumerate(inner))
        columns.append(step[(slice(None), *cut)])
    return torch.linalg.det(torch.stack(columns, -1)) if dims > 1 else columns[0][..., 0]


def folded(displacement: Displacement, mirrored: bool = False) -> Float[Tensor, " batch"]:
    """Share of voxels at which the map folds: the determinant of its Jacobian is not above 0.

    `mirrored` says that the axes of both grids have other hands, as files that count from left and from right: a map
    that folds nowhere then mirrors everywhere.
    """
    return ((-jacobian(displacement) if mirrored else jacobian(displacement)) <= 0).flatten(1).float().mean(1)


def inverse_error(forward: Displacement, inverse: Displacement) -> Float[Tensor, " batch"]:
    """Mean distance, in voxels of the grid, from where positions end that go there and back; of those that stay inside."""
    shape = torch.tensor(forward.shape[2:], dtype=forward.dtype, device=forward.device)
    place = centres(forward.shape[2:], forward) + forward
    stays = (place.abs() <= 1).all(1).flatten(1).to(forward.dtype)
    back = composed(inverse, forward) * (shape / 2).view(1, -1, *[1] * len(shape))
    off = torch.linalg.vector_norm(back, dim=1).flatten(1)
    return (off * stays).sum(1) / stays.sum(1).clamp_min(1.0)


def roughness(velocity: Displacement) -> Float[Tensor, " batch"]:
    """Mean squared difference of a field between neighbouring voxels, in voxels: what smooth fields have little of."""
    shape = torch.tensor(velocity.shape[2:], dtype=velocity.dtype, device=velocity.device)
    voxels = velocity * (shape / 2).view(1, -1, *[1] * len(shape))
    total = velocity.new_zeros(len(velocity))
    for axis, size in enumerate(velocity.shape[2:]):
        if size > 1:
            total = total + torch.diff(voxels, dim=axis + 2).square().sum(1).flatten(1).mean(1)
    return total
