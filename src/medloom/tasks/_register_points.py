"""Landmarks of pairs: read from a file of each image, and how far a map misses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from medloom.errors import DataError, counted, some

if TYPE_CHECKING:
    from torch import Tensor

    from medloom.cohort.table import Cohort

UNITS = {2: "pixels", 3: "mm"}
"""What places are told in, by the number of their axes."""


def read_pairs(cohort: Cohort, columns: Sequence[str]) -> np.ndarray:
    """The places of each row on its moving and its fixed image: `[rows, 2]` of `[points, axes]` in one order, or None.

    Raises one DataError for all files that cannot be used, and for rows whose two files do not hold the same points.
    """
    from medloom.cohort.table import canonical

    paths = [canonical(cohort.column(column, "target")).to_list() for column in columns]
    pairs = np.full((len(cohort), 2), None, dtype=object)
    wrong: dict[str, list[int]] = {}
    for row, pair in enumerate(zip(*paths, strict=True)):
        if pair == (None, None):
            continue
        try:
            places = _matched(cohort.files, pair)
        except DataError as error:
            wrong.setdefault(str(error), []).append(row)
            continue
        pairs[row, 0], pairs[row, 1] = places
    lines = [
        f"columns {', '.join(columns)}: of {counted(len(rows), 'row')} {reason} (rows {some(cohort.row.gather(rows).to_list())})"
        for reason, rows in wrong.items()
    ]
    if len({places.shape[1] for places in pairs[:, 0] if places is not None}) > 1:
        lines.append(f"columns {', '.join(columns)}: some files have x, y, z and others row, column; expected one kind")
    if lines:
        raise DataError("\n".join(lines))
    return pairs


def _matched(folder: Path, pair: Sequence[str | None]) -> list[np.ndarray]:
    """The places of both images, point by point."""
    from medloom.warping.landmarks import read_points

    names, both = ("moving", "fixed"), []
    for name, path in zip(names, pair, strict=True):
        if path is None:
            raise DataError(f"the {name} image has no file of landmarks; expected one on both images, or on none")
        try:
            both.append(read_points(folder / path))
        except DataError as error:
            raise DataError(f"the file of landmarks on the {name} image {error}") from error
    moving, fixed = both
    if len(moving) != len(fixed):
        raise DataError(
            f"the moving image has {len(moving)} landmarks and the fixed one {len(fixed)}; expected the same points on both"
        )
    if set(moving) != set(fixed):
        other = len(set(moving) - set(fixed))
        raise DataError(f"{other} of {len(moving)} landmarks have other names on the two images; expected the same")
    places = [np.stack([of[name] for name in moving]) for of in both]
    if places[0].shape != places[1].shape:
        raise DataError("one file of landmarks has x, y, z and the other row, column; expected one kind")
    return places


def misses(
    forward: Float[Tensor, "rows dims *grid"],
    fixed: Float[Tensor, "rows points dims"],
    moving: Float[Tensor, "rows points dims"],
    step: Float[Tensor, "rows dims dims"],
) -> Float[np.ndarray, " rows"]:
    """The mean distance of each row's landmarks from where the map takes them, in the unit of the moving files; NaN without.

    Source: Fitzpatrick, West & Maurer, IEEE Transactions on Medical Imaging 17, 1998 (target registration error).
    """
    import torch
    from torch.nn import functional as F

    known = ~torch.isnan(fixed).any(2) & ~torch.isnan(moving).any(2)
    here = torch.nan_to_num(fixed)
    dims = here.shape[2]
    where = here.to(forward.dtype).flip(-1).view(len(here), -1, *[1] * (dims - 1), dims)
    moved = F.grid_sample(forward, where, padding_mode="border", align_corners=False).flatten(2).transpose(1, 2)
    off = here + moved.double() - torch.nan_to_num(moving)
    distance = torch.linalg.vector_norm(off @ torch.nan_to_num(step).transpose(1, 2), dim=2)
    number = known.sum(1)
    return torch.where(number > 0, (distance * known).sum(1) / number.clamp_min(1), torch.nan).numpy()
