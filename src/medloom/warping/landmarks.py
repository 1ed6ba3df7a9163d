"""Places that somebody marked on both images: how far a map misses them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional as F

from medloom.errors import DataError, some
from medloom.warping.transform import Displacement

AXES = {2: ("row", "column"), 3: ("x", "y", "z")}
RESAMPLES = 1_000
Places = Mapping[str, Float[np.ndarray, " axes"]]


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Pairs of one moving and one fixed image: names, and places in the units of their files (mm in RAS, or pixels)."""

    names: tuple[str, ...]
    moving: Float[np.ndarray, "points axes"]
    fixed: Float[np.ndarray, "points axes"]


def read_landmarks(path: Path, moving: str, fixed: Sequence[str], dims: int) -> list[Landmarks]:
    """For each fixed image the landmarks that the moving one has too.

    The table has the columns image (a file's name), point, and x, y, z (mm, RAS) of volumes or row, column (pixels from
    0) of pictures. Raises DataError for other columns, for places that are no numbers, for a point that stands twice, and
    for an image that shares no point with the moving one.
    """
    columns = ("image", "point", *AXES[dims])
    try:
        lines, found = _lines(path, ", ".join(columns))
        if set(columns) - set(found):
            raise DataError(f"has the columns {some(found)}; expected {', '.join(columns)}")
        by = _by_image([(line["image"], line) for line in lines], AXES[dims])
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return [_pairs(path, by, moving, one) for one in fixed]


def read_points(path: Path) -> dict[str, Float[np.ndarray, " axes"]]:
    """The places of one image's points by name: x, y, z (mm, RAS) of volumes, or row, column (pixels from 0) of pictures.

    Raises DataError without the path, which may name a patient, for what is no table of points.
    """
    expected = "point, x, y, z or point, row, column"
    lines, found = _lines(path, expected)
    axes = [names for names in AXES.values() if {"point", *names} <= set(found)]
    if len(axes) != 1:
        raise DataError(f"has the columns {some(found)}; expected {expected}")
    if not lines:
        raise DataError("has no points; expected a line for each, or an empty cell in the place of its path")
    return _by_image([("", line) for line in lines], axes[0])[""]


def _lines(path: Path, columns: str) -> tuple[list[dict[str, str]], Sequence[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            return list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read; expected a CSV with the columns {columns}") from error


def _by_image(
    lines: Sequence[tuple[str, Mapping[str, str]]], axes: Sequence[str]
) -> dict[str, dict[str, Float[np.ndarray, " axes"]]]:
    by: dict[str, dict[str, Float[np.ndarray, " axes"]]] = {}
    for number, (image, line) in enumerate(lines, 2):
        try:
            place = np.array([float(line[axis]) for axis in axes])
        except (TypeError, ValueError):
            place = np.array([np.nan])
        if not np.isfinite(place).all():
            raise DataError(f"line {number}: a place is no number; expected {', '.join(axes)}")
        if line["point"] in by.setdefault(image, {}):
            raise DataError(f"line {number}: the point stands on two lines of its image; expected one")
        by[image][line["point"]] = place
    return by


def _pairs(path: Path, by: Mapping[str, Places], moving: str, fixed: str) -> Landmarks:
    here, there = by.get(fixed, {}), by.get(moving, {})
    names = tuple(name for name in there if name in here)
    if not names:
        raise DataError(
            f"{path}: no point stands on both {moving!r} and {fixed!r}; expected points of one name on both (column image "
            "has the names of the files)"
        )
    return Landmarks(names, np.stack([there[name] for name in names]), np.stack([here[name] for name in names]))


def errors(
    marks: Landmarks,
    forward: Displacement,
    moving: Float[np.ndarray, "space more"],
    fixed: Float[np.ndarray, "space more"],
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """How far each landmark is missed as the files lie, and by the map, in the files' units (target registration error).

    `moving` and `fixed` take normalised positions (with a 1) to places. Raises DataError for a landmark beyond the fixed
    image. Source: Fitzpatrick, West & Maurer, IEEE Transactions on Medical Imaging 17, 1998.
    """
    space = marks.fixed.shape[1]
    inside = np.linalg.lstsq(fixed[:space, :-1], (marks.fixed - fixed[:space, -1]).T, rcond=None)[0].T
    beyond = np.abs(inside).max(axis=1) > 1
    if beyond.any():
        raise DataError(
            f"{int(beyond.sum())} landmarks lie beyond the fixed image; expected places in mm (RAS), or pixels"
        )
    at = torch.from_numpy(inside.astype(np.float32))
    where = at.flip(-1).view(1, -1, *[1] * (at.shape[1] - 1), at.shape[1])
    moved = F.grid_sample(forward, where, padding_mode="border", align_corners=False).flatten(2)[0].T.double().numpy()
    found = (inside + moved) @ moving[:space, :-1].T + moving[:space, -1]
    return np.linalg.norm(marks.fixed - marks.moving, axis=1), np.linalg.norm(found - marks.moving, axis=1)


def told(before: Float[np.ndarray, " points"], after: Float[np.ndarray, " points"], unit: str) -> dict[str, Any]:
    """Mean before and after, with a 95 % interval over landmarks, median and largest error; no interval of one landmark."""
    low = high = None
    if len(after) > 1:
        drawn = np.random.default_rng(0).integers(0, len(after), (RESAMPLES, len(after)))
        low, high = (float(value) for value in np.quantile(after[drawn].mean(axis=1), [0.025, 0.975]))
    return {
        "points": len(after),
        "before": float(before.mean()),
        "after": float(after.mean()),
        "low": low,
        "high": high,
        "median": float(np.median(after)),
        "most": float(after.max()),
        "unit": unit,
    }
