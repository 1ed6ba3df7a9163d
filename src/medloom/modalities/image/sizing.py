"""Patch, width and levels where the study leaves them open: from the size of the images, memory and time.

In the spirit of Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation", Nature Methods 18, 2021 (supplementary note 2: an image of median size, made smaller until it fits; an
axis is halved until its map has 4 positions, a coarse one only when the others are as coarse), with rules of our own
for width and time (docs/adr/0035).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from pydantic import ValidationError

from medloom.errors import DataError
from medloom.modalities.image.looking import Looked
from medloom.modalities.image.options import MOST_TOKENS, ImageOptions
from medloom.modality import Budget, Sized

WIDTHS = (16, 8)
"""The usual width, and the one where time is short."""
WIDER = (32,)
"""Where there is time."""
LEAST_GRID = {"transformer": 8}
"""Positions that the deepest grid keeps along an axis: 4, and more where they attend to each other."""
MOST_LEVELS = 5
MOST_PATCH = {2: 2**18, 3: 2**21}
"""Voxels of a patch: 512 by 512, or 128 each way."""
LEAST_SIDE = {2: 64, 3: 32}
"""Voxels along an axis below which time alone makes no patch smaller."""
PASSES = 10
"""How often a network should see each row at least."""
SPEED = {"cpu": 25e9, "cuda": 5e12}
"""Multiplications and additions a second, of one core and of one GPU: a guess that only sizes hang on, not the budget."""
MEMORY_SHARE = 0.25
GPU_MEMORY = 16 << 30
ON_TOP = 2.0
"""What a decoder on all maps may take beside the encoder: as much again."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one view asks of an encoder in training: bytes kept for the way back, and operations both ways."""

    bytes: int
    operations: float


def sized(options: ImageOptions, seen: Looked | None, budget: Budget) -> Sized:
    """The options with numbers in the place of every "auto", and why. Raises DataError where none would do."""
    if options.resolved:
        return Sized(options)
    if seen is None:
        raise DataError(f"{options.label}: no row has an image; expected paths of files")
    limits = _Limits.of(budget)
    shape = tuple(options.size or seen.shape)
    why = [f"{seen.files} headers: {_by(seen.shape)} voxels in the median, {_by(seen.largest)} at most{_gap(seen)}"]
    chosen = _within_time(_within_memory(options, shape, seen.spacing_mm, limits), options, seen.spacing_mm, limits)
    cost = cost_of(chosen)
    if not (limits.holds(chosen, cost) and limits.in_time(cost)):
        why.append("the smallest that is tried, and still more than memory or time allow")
    why.append(_words(options, chosen, shape, seen))
    time = "" if limits.operations is None else f" and {limits.operations / 1e6:,.0f} million ({limits.told})"
    why.append(
        f"a view takes {cost.bytes * ON_TOP / 2**20:,.0f} MB and {cost.operations * ON_TOP / 1e6:,.0f} million operations "
        f"in training, with as much for heads as for the encoder; it may take {limits.bytes / 2**20:,.0f} MB{time}"
    )
    return Sized(chosen, tuple(why))


@dataclass(frozen=True, slots=True)
class _Limits:
    """What one view may take; `operations` is None where no minutes are given, `told` how they were found."""

    bytes: float
    operations: float | None
    told: str

    @classmethod
    def of(cls, budget: Budget) -> _Limits:
        cuda = budget.device == "cuda"
        memory = MEMORY_SHARE * (GPU_MEMORY if cuda else budget.memory_bytes)
        if budget.minutes is None:
            return cls(memory, None, "")
        speed = SPEED["cuda"] if cuda else SPEED["cpu"] * budget.cores
        views = PASSES * max(1, budget.rows) * budget.inputs
        return cls(memory, budget.minutes * 60 * speed / views, f"{PASSES} passes in {budget.minutes:g} minutes")

    def holds(self, options: ImageOptions, cost: Cost) -> bool:
        """Whether a view fits into memory, and is no larger than is sensible."""
        small = options.size is not None or prod(options.sides) <= MOST_PATCH[options.dims]
        return small and cost.bytes * ON_TOP <= self.bytes

    def in_time(self, cost: Cost) -> bool:
        """Whether each row can be seen often enough."""
        return self.operations is None or cost.operations * ON_TOP <= self.operations


def _within_memory(
    options: ImageOptions, shape: tuple[int, ...], spacing_mm: tuple[float, ...] | None, limits: _Limits
) -> ImageOptions:
    """The usual width, and of the image as much as memory holds."""
    chosen = _with(options, shape, _widths(options)[0], spacing_mm)
    cost = cost_of(chosen)
    voxels = prod(chosen.sides)
    while not limits.holds(chosen, _scaled(cost, prod(chosen.sides) / voxels)):
        smaller = _smaller(shape, spacing_mm, options) if options.patch == "auto" and options.size is None else None
        if smaller is None:
            break
        shape, chosen = smaller, _with(options, smaller, _widths(options)[0], spacing_mm)
    return chosen


def _within_time(
    chosen: ImageOptions, options: ImageOptions, spacing_mm: tuple[float, ...] | None, limits: _Limits
) -> ImageOptions:
    """As wide as time allows. A volume rather becomes smaller than narrower than usual; a picture keeps its patch.

    Crops of a picture save no work for each of its voxels, and may miss what its answer is about.
    """
    if limits.operations is None:
        return chosen
    usual, *narrower = _widths(options)
    wider = [width for width in WIDER if options.width == "auto"]
    for width in (*wider, usual):
        tried = _with(options, chosen.sides, width, spacing_mm)
        cost = cost_of(tried)
        if limits.in_time(cost) and limits.holds(tried, cost):
            return tried
    if options.dims == 3 and options.patch == "auto" and options.size is None:
        shape, voxels, cost = chosen.sides, prod(chosen.sides), cost_of(chosen)
        while not limits.in_time(_scaled(cost, prod(chosen.sides) / voxels)):
            smaller = _smaller(shape, spacing_mm, options)
            if smaller is None:
                break
            shape, chosen = smaller, _with(options, smaller, usual, spacing_mm)
        else:
            return chosen
    return _with(options, chosen.sides, (usual, *narrower)[-1], spacing_mm)


def _widths(options: ImageOptions) -> list[int]:
    """Widths that may be chosen, the usual one first."""
    if not isinstance(options.width, str):
        return [options.width]
    least = 2 * options.block_count if options.encoder == "dense" else 0
    return [width for width in WIDTHS if width >= least] or [min(256, 2 ** (least - 1).bit_length())]


def _scaled(cost: Cost, share: float) -> Cost:
    """About what a part of a view takes: convolutions take as much of each voxel."""
    return Cost(int(cost.bytes * share), cost.operations * share)


def _smaller(
    shape: Sequence[int], spacing_mm: tuple[float, ...] | None, options: ImageOptions
) -> tuple[int, ...] | None:  # fmt: skip
    """The shape with its longest axis, in mm where that is known, an eighth shorter; None where all are short."""
    dims = options.dims
    room = [axis for axis in range(dims) if shape[axis] > LEAST_SIDE[dims]]
    if not room:
        return None
    gaps = spacing_mm or (1.0,) * dims
    longest = max(room, key=lambda axis: shape[axis] * gaps[axis])
    return tuple(
        max(LEAST_SIDE[dims], side * 7 // 8) if axis == longest else side for axis, side in enumerate(shape)
    )  # fmt: skip


def _with(
    options: ImageOptions, shape: Sequence[int], width: int, spacing_mm: tuple[float, ...] | None
) -> ImageOptions:
    """The options for a view of this shape: levels as it asks for, and a patch that is a multiple of their strides."""
    fixed = options.patch if not isinstance(options.patch, str) else options.size
    halvings = options.halvings
    if halvings is None and isinstance(options.levels, str):
        halvings = halvings_of(fixed or shape, spacing_mm, options, exact=fixed is not None)
    levels = options.levels if not isinstance(options.levels, str) else max(halvings or (0,)) + 1
    strides = [2**count for count in halvings or (levels - 1,) * options.dims]
    patch = fixed or tuple(
        max(1, ceil(side / stride)) * stride for side, stride in zip(shape, strides, strict=True)
    )  # fmt: skip
    even = halvings is not None and len(set(halvings)) == 1 and options.halvings is None
    found: dict[str, Any] = {
        "patch": patch,
        "width": width,
        "levels": levels,
        "halvings": None if even else halvings,
    }
    try:
        return ImageOptions.model_validate({**options.model_dump(), **found})
    except ValidationError as error:
        raise DataError(str(error.errors()[0]["msg"])) from error


def halvings_of(
    shape: Sequence[int], spacing_mm: tuple[float, ...] | None, options: ImageOptions, exact: bool
) -> tuple[int, ...]:
    """How often each axis is halved: while positions are left, and not before finer axes are as coarse as it is.

    `exact` sizes are only halved while they are even, as nothing may be added to them.
    """
    least = LEAST_GRID.get(options.encoder, 4)
    sides = list(shape)
    gaps = list(spacing_mm or (1.0,) * len(sides))
    halvings = [0] * len(sides)
    for _ in range(MOST_LEVELS - 1):
        able = [
            axis for axis, side in enumerate(sides) if side >= 2 * least and (side % 2 == 0 or not exact)
        ]  # fmt: skip
        finest = min((gaps[axis] for axis in able), default=0.0)
        chosen = [axis for axis in able if gaps[axis] < 2 * finest]
        if not chosen:
            break
        for axis in chosen:
            sides[axis], gaps[axis], halvings[axis] = ceil(sides[axis] / 2), gaps[axis] * 2, halvings[axis] + 1
    while options.encoder == "transformer" and prod(sides) > MOST_TOKENS:
        longest = max(range(len(sides)), key=lambda axis: sides[axis] if sides[axis] % 2 == 0 or not exact else 0)
        if sides[longest] < 2 or (exact and sides[longest] % 2):
            break
        sides[longest], halvings[longest] = ceil(sides[longest] / 2), halvings[longest] + 1
    return tuple(halvings)


def cost_of(options: ImageOptions) -> Cost:
    """Memory and operations of one view of the encoder, counted on tensors that have shapes and no values."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from medloom.batch import Field
    from medloom.modalities.image.encoders.network import ImageEncoder

    held: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        held[storage._cdata] = storage
        return tensor

    with torch.device("meta"):
        encoder = ImageEncoder(options)
        field = Field(torch.zeros(1, options.channels, *options.sides), torch.ones(1, dtype=torch.bool))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), FlopCounterMode(display=False) as count:
        encoder(field)
    for weight in encoder.parameters():
        held.pop(weight.untyped_storage()._cdata, None)
    # The way back takes about twice what the way there does.
    return Cost(sum(storage.nbytes() for storage in held.values()), 3.0 * count.get_total_flops())


def _words(options: ImageOptions, chosen: ImageOptions, shape: Sequence[int], seen: Looked) -> str:
    parts = []
    if options.patch == "auto":
        held = "a part of an image"
        if options.size is not None:
            held = "the whole of every image, as size says"
        elif all(side >= size for side, size in zip(chosen.sides, seen.largest, strict=True)):
            held = "the whole of every image that was looked at"
        elif all(side >= size for side, size in zip(chosen.sides, shape, strict=True)):
            held = "an image of median size, and larger ones in windows"
        elif options.dims == 2:
            held = "a part of an image; give size for answers that are of the whole picture"
        parts.append(f"patch {_by(chosen.sides)}: {held}")
    if options.levels == "auto":
        grid = [side // stride for side, stride in zip(chosen.sides, chosen.strides, strict=True)]
        parts.append(f"levels {chosen.levels}: until the deepest grid has {_by(grid)} positions")
    if chosen.halvings is not None and options.halvings is None:
        parts.append(f"halvings {list(chosen.halvings)}: axes differ in size or spacing")
    if options.width == "auto":
        parts.append(f"width {chosen.width}")
    return "; ".join(parts)


def _by(shape: Sequence[int]) -> str:
    return " × ".join(str(side) for side in shape)


def _gap(seen: Looked) -> str:
    return "" if seen.spacing_mm is None else f", {' × '.join(f'{gap:.3g}' for gap in seen.spacing_mm)} mm apart"
