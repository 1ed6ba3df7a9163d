"""Parts of an image hidden from the encoder: cells that are no valid positions, as padding is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Int

from medloom.batch import Field
from medloom.draw import Draw
from medloom.modality import Hiding


def hide(field: Field, hiding: Hiding, rows: Int[np.ndarray, " batch"], draw: Draw | None) -> Field:
    """The field with cells made invalid; `extra["whole"]` holds all values, `extra["hidden"]` where they are hidden.

    In training a function of epoch and row; without a draw the same cells for all rows, so that an answer is one of its
    row alone.
    """
    whole, spatial = field.value, tuple(field.value.shape[2:])
    inside = torch.ones((len(whole), *spatial), dtype=torch.bool) if field.valid is None else field.valid
    chosen = torch.from_numpy(cells(spatial, hiding, rows, draw))
    hidden = chosen & inside
    shown = inside & ~chosen
    extra = {**field.extra, "whole": whole, "hidden": hidden}
    return replace(field, value=whole * shown[:, None], valid=shown, extra=extra)


def cells(
    spatial: tuple[int, ...], hiding: Hiding, rows: Int[np.ndarray, " batch"], draw: Draw | None
) -> Bool[np.ndarray, "batch *spatial"]:
    """Which positions lie in a cell that is chosen: of cubic cells, the share that is asked for, and at least one."""
    side = max(1, -(-max(spatial) // hiding.cells))
    grid = tuple(-(-size // side) for size in spatial)
    total = int(np.prod(grid))
    if draw is None:
        fixed = Draw(0, np.zeros(1, np.int64)).uniform("hidden", np.zeros(1, np.int64), total)
        order = np.repeat(fixed, len(rows), axis=0)
    else:
        order = draw.uniform("hidden", rows, total)
    number = min(total - 1, max(1, round(hiding.share * total)))
    limit = np.partition(order, number - 1, axis=1)[:, number - 1 : number]
    found = (order <= limit).reshape(len(rows), *grid)
    for axis, size in enumerate(spatial, 1):
        found = found.repeat(side, axis=axis).take(np.arange(size), axis=axis)
    return found
