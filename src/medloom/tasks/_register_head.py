"""From the maps of two images to the map between them: affine, then a flow at each resolution, coarse ones first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medloom.batch import Gives, Output, Seen
from medloom.masked import MaskedGroupNorm
from medloom.warping.likeness import Likeness, likeness
from medloom.warping.search import Search, deformed
from medloom.warping.transform import Transform, inverse_error, roughness, same, sample

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
AFFINE_SHARE = 0.1
"""The affine map changes by a tenth of what the network says, so that first steps do not throw an image out of sight."""


class FlowBlock(nn.Module):
    """The fixed image's maps beside the moving image's, carried so far: the velocity that is left, in voxels of the grid."""

    def __init__(self, dims: int, moving: int, fixed: int, width: int) -> None:
        super().__init__()
        convolution = CONVOLUTION[dims]
        self.conv_in = convolution(moving + fixed, width, 3, 1, 1, bias=False)
        self.norm = MaskedGroupNorm(width)
        self.conv_mid = convolution(width, width, 3, 1, 1, bias=False)
        self.norm_mid = MaskedGroupNorm(width)
        self.velocity = convolution(width, dims, 3, 1, 1)
        nn.init.normal_(self.velocity.weight, std=1e-4)
        if self.velocity.bias is not None:
            nn.init.zeros_(self.velocity.bias)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Velocity [batch, dims, *spatial], normalised."""
        every = torch.ones_like(fixed[:, :1])
        values = F.relu(self.norm(self.conv_in(torch.cat([moving, fixed], 1)), every))
        values = F.relu(self.norm_mid(self.conv_mid(values), every))
        half = torch.tensor(fixed.shape[2:], dtype=values.dtype, device=values.device) / 2
        return torch.as_tensor(self.velocity(values) / half.view(1, -1, *[1] * (fixed.ndim - 2)))


class PairHead(nn.Module):
    """Two pyramids → {"forward": [batch, dims, *grid], "likeness", "roughness", "inverse_error", "known": [batch]}.

    At each resolution but the finest the moving image's maps are carried by what was found before, and a flow is added
    to it. Source: Hu et al., "Dual-stream pyramid registration network", MICCAI 2019 (two pyramids, coarse to fine);
    Dalca et al., "Unsupervised learning for fast probabilistic diffeomorphic registration", MICCAI 2018 (velocities).
    """

    def __init__(
        self, moving: str, fixed: str, gives: tuple[Gives, Gives], kind: Likeness, window: int, search: Search
    ) -> None:
        super().__init__()
        self.moving, self.fixed, self.kind, self.window, self.search = moving, fixed, kind, window, search
        self.dims = gives[0].dims
        self.affine = nn.Linear(gives[0].width + gives[1].width, self.dims * (self.dims + 1))
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)
        levels = list(zip(gives[0].levels, gives[1].levels, strict=True))[1:] or [
            (gives[0].levels[0], gives[1].levels[0])
        ]
        self.first = 1 if len(gives[0].levels) > 1 else 0
        self.blocks = nn.ModuleList(
            FlowBlock(self.dims, there, here, max(8, min(there, 32))) for (there, _), (here, _) in reversed(levels)
        )

    def forward(self, seen: Seen) -> Output:
        """The map, how alike it makes the images, and how rough its flows are. A row that lacks an image is not moved."""
        one, other = seen.encoded[self.moving], seen.encoded[self.fixed]
        fields = seen.inputs[self.moving], seen.inputs[self.fixed]
        images = [f.value if f.index is None else f.value[f.index] for f in fields]
        known = (fields[0].present & fields[1].present).to(images[0].dtype)
        each = known.view(-1, *[1] * (self.dims + 1))
        change = AFFINE_SHARE * self.affine(torch.cat([one.pooled, other.pooled], 1)).view(-1, self.dims, self.dims + 1)
        transform = Transform(same(len(known), self.dims).to(change) + change * known.view(-1, 1, 1))
        for block, level in zip(self.blocks, reversed(range(self.first, len(one.finer))), strict=True):
            shape = other.finer[level].shape[2:]
            carried = sample(one.finer[level], transform.forward(shape))
            velocity = block(carried, other.finer[level]) * each
            transform = Transform(transform.affine, (*transform.velocities, velocity))
        if self.search.flow_steps and torch.is_inference_mode_enabled():
            transform = deformed(images[0], images[1], transform, self.search)
        return mapped(transform, images[0], images[1], known, self.kind, self.window, not self.training)


def mapped(
    transform: Transform,
    moving: Tensor,
    fixed: Tensor,
    known: Tensor,
    kind: Likeness,
    window: int,
    judged: bool = True,
) -> Output:
    """What a head says of a map between these images; the way back is only looked at where the map is `judged`."""
    forward = transform.forward(fixed.shape[2:])
    with torch.no_grad():
        missed = inverse_error(forward, transform.inverse(moving.shape[2:])) if judged else torch.zeros_like(known)
    seen = sample(torch.ones_like(moving[:, :1]), forward.detach(), border=False) > 0.5
    alike = likeness(kind, sample(moving, forward), fixed, seen.to(fixed.dtype), window)
    rough = [roughness(velocity) for velocity in transform.velocities]
    return {
        "forward": forward,
        "likeness": alike * known,
        "roughness": torch.stack(rough).sum(0) if rough else torch.zeros_like(known),
        "inverse_error": missed,
        "known": known,
    }
