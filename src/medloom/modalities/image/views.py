"""Which part of an image is looked at: random crops in training, windows that cover everything in prediction.

A corner is the first voxel of a view, and may be negative: voxels beyond an image are padding. The random numbers of a
view stand in its `View`, so that a mask on the image is cut and mirrored by the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped

from medloom.draw import Draw
from medloom.modalities.image.packing import Grids
from medloom.modality import View
from medloom.packed import Source

FOCUSED_SHARE = 0.5
"""Share of training views that centre on a marked voxel, where there is one."""


def training_view(
    shapes: Int[np.ndarray, "views dims"],
    patch: tuple[int, ...],
    flip: tuple[int, ...],
    rows: Int[np.ndarray, " views"],
    draw: Draw,
    focus: Sequence[Source],
) -> View:
    """One crop a row: at random, or around a marked voxel of a laid source for half of the rows that have one.

    A crop lies within its image; where the image is the smaller one, the image lies within the crop.
    """
    room = shapes - np.array(patch)
    low, high = np.minimum(room, 0), np.maximum(room, 0)
    corner = low + np.floor(draw.uniform("image.corner", rows, len(patch)) * (high - low + 1)).astype(np.int64)
    for place, source in enumerate(focus):
        marked, has = _marked_voxel(source, shapes, rows, draw.uniform(f"image.mark.{place}", rows))
        chosen = np.floor(draw.uniform("image.which_focus", rows) * len(focus)) == place
        centred = has & chosen & (draw.uniform("image.focused", rows) < FOCUSED_SHARE)
        corner = np.where(centred[:, None], np.clip(marked - np.array(patch) // 2, low, high), corner)
    mirrored = np.zeros(corner.shape, bool)
    if flip:
        mirrored = (draw.uniform("image.flip", rows, len(patch)) < 0.5) & np.isin(np.arange(len(patch)), flip)
    return View(rows, {"corner": corner, "flip": mirrored})


def _marked_voxel(
    source: Source,
    shapes: Int[np.ndarray, "views dims"],
    rows: Int[np.ndarray, " views"],
    uniform: Float[np.ndarray, " views"],
) -> tuple[Int[np.ndarray, "views dims"], Bool[np.ndarray, " views"]]:
    """For each row one of the marked voxels of its laid unit, and whether there is any."""
    ends = source.packed.arrays["marked_end"]
    unit = source.unit[rows]
    first = np.where(unit > 0, ends[unit - 1], 0)
    number = np.where(unit > 0, ends[unit] - first, 0)
    has = number > 0
    place = np.zeros((len(rows), shapes.shape[1]), np.int64)
    if has.any():
        flat = source.packed.arrays["marked"][(first + np.floor(uniform * number).astype(np.int64))[has]]
        for axis in reversed(range(shapes.shape[1])):
            place[has, axis], flat = flat % shapes[has, axis], flat // shapes[has, axis]
    return place, has


def covering_view(
    shapes: Int[np.ndarray, "rows dims"],
    patch: tuple[int, ...],
    overlap: float,
    rows: Int[np.ndarray, " rows"],
    flip: tuple[int, ...] = (),
) -> View:
    """Windows that cover all of each row's image, the windows of a row side by side; one around a smaller image.

    They come in the order of their corners, the first axis slowest. Each is seen mirrored along `flip` too, in every
    combination, one after another.
    """
    corners = [np.array(list(product(*map(starts, shape.tolist(), patch, [overlap] * len(patch))))) for shape in shapes]
    corner = np.concatenate([np.zeros((0, len(patch)), np.int64), *corners])
    mirrored = np.array(list(product(*([False, True] if axis in flip else [False] for axis in range(len(patch))))))
    counts = np.array([len(windows) for windows in corners], np.int64)
    return View(
        np.repeat(rows, counts * len(mirrored)),
        {"corner": corner.repeat(len(mirrored), axis=0), "flip": np.tile(mirrored, (len(corner), 1))},
    )


def telling(view: View, source: Source, patch: tuple[int, ...]) -> View:
    """The windows in which voxels differ; of an image in which none does, the first, so that every row has one."""
    grids = Grids(source.packed)
    first = np.diff(view.rows, prepend=-1) != 0
    kept = np.zeros(len(view.rows), bool)
    for place, (row, corner) in enumerate(zip(view.rows.tolist(), view.at["corner"].tolist(), strict=True)):
        grid = grids.unit(int(source.unit[row]))
        of_grid, _ = inside(corner, patch, grid.shape[1:])
        seen = grid[(slice(None), *of_grid)]
        kept[place] = seen.size > 0 and bool(
            (seen != seen.reshape(len(seen), -1)[:, :1].reshape(-1, *[1] * len(patch))).any()
        )
    some = {int(row) for row in view.rows[kept]}
    kept |= first & ~np.isin(view.rows, list(some))
    return View(view.rows[kept], {name: array[kept] for name, array in view.at.items()})


def starts(size: int, patch: int, overlap: float) -> list[int]:
    """Evenly spaced first voxels of the windows along one axis, from the first voxel to the last."""
    if size <= patch:
        return [(size - patch) // 2]
    step = max(1, int(patch * (1 - overlap)))
    number = -(-(size - patch) // step) + 1
    return [int(start) for start in np.linspace(0, size - patch, number).round()]


def inside(
    corner: Sequence[int], patch: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels that a view and its image share: as slices of the image, and as slices of the view."""
    low = [max(c, 0) for c in corner]
    high = [max(first, min(c + p, s)) for first, c, p, s in zip(low, corner, patch, shape, strict=True)]
    of_image = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return of_image, tuple(slice(a - c, b - c) for a, b, c in zip(low, high, corner, strict=True))


def mirror(
    values: Shaped[np.ndarray, "channels *spatial"], flip: Bool[np.ndarray, " dims"]
) -> Shaped[np.ndarray, "channels *spatial"]:
    """The values seen in a mirror along the marked spatial axes, without copying."""
    return values[(slice(None), *(slice(None, None, -1 if turned else 1) for turned in flip))]


def within(view: View, shapes: Int[np.ndarray, "views dims"], patch: tuple[int, ...]) -> bool:
    """Whether every view is a plain crop that lies within its image."""
    corner, moved = view.at["corner"], view.at.get("moved")
    return (moved is None or not moved.any()) and bool(((corner >= 0) & (corner + np.array(patch) <= shapes)).all())


def gather(
    grids: Grids,
    units: Int[np.ndarray, " views"],
    view: View,
    out: Num[np.ndarray, "views channels *patch"],
    valid: Bool[np.ndarray, "views *patch"],
) -> Iterator[bool]:
    """Fills `out` with each view's part of its unit, 0 beyond it. Yields whether it is everywhere.

    `valid` comes as true and becomes false where a view has no part of its unit.

    View after view, so that each is still in the processor's cache for what the caller does to it. A strided copy: an
    index for every voxel would be eight times the size of the values. A view that looks through a lattice
    (`augment.py`) is interpolated.
    """
    patch = out.shape[2:]
    corner = view.at["corner"]
    low = np.maximum(corner, 0)
    high = np.maximum(low, np.minimum(corner + np.array(patch), grids.shapes[units]))
    whole = [sides == list(patch) for sides in (high - low).tolist()]
    mirrored = [any(axes) for axes in view.at["flip"].tolist()]
    moved = view.at["moved"].tolist() if "moved" in view.at else [False] * len(units)
    parts = zip(grids.units(units), low.tolist(), high.tolist(), strict=True)
    for place, (grid, start, stop) in enumerate(parts):
        if moved[place]:
            yield _warped(grid, view.at["lattice"][place], out[place], valid[place])
            continue
        cut = grid[(slice(None), *map(slice, start, stop))]
        if whole[place] and not mirrored[place]:
            out[place] = cut
            yield True
            continue
        flip = view.at["flip"][place]
        shared = (
            slice(None),
            *map(slice, (low[place] - corner[place]).tolist(), (high[place] - corner[place]).tolist()),
        )
        if not whole[place]:
            out[place], valid[place] = 0, False
            mirror(valid[place : place + 1], flip)[shared] = True
        mirror(out[place], flip)[shared] = cut
        yield whole[place]


def _warped(
    grid: Shaped[np.ndarray, "channels *spatial"],
    lattice: Float[np.ndarray, "dims *points"],
    out: Num[np.ndarray, "channels *patch"],
    valid: Bool[np.ndarray, "*patch"],
) -> bool:
    from medloom.modalities.image.warp import warped

    out[...], valid[...] = 0, False
    warped(grid, lattice, out, valid)
    return bool(valid.all())
