"""Robust centre and scale of intensities, from counts that add up exactly; and the simple numbers of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from jaxtyping import Float, Int, Num, Shaped

from medloom.tally import Tally, add, quantile, tally

MOST_COUNTED = 2**20
"""Voxels of one image that are counted; of larger ones every n-th is."""
BACKGROUND_SHARE = 0.25
"""A single value that more than this share of all voxels has is background."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
CELLS = {2: 4, 3: 3}
"""Cells along each axis of the coarse grid of mean intensities, for images of 2 and of 3 axes."""


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """How often each intensity occurs, for each channel: sorted values, rounded to 16 mantissa bits, and their counts.

    Whole numbers of at most 17 bits stay as they are, and counts are whole numbers: summaries add up exactly, in any order.
    """

    channels: tuple[Tally, ...]


def every_nth(values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, " some"]:
    """All voxels, or every n-th where there are more than `MOST_COUNTED`: the same ones each time."""
    flat = values.reshape(-1)
    # An odd step does not fall into the rhythm of rows, whose lengths are mostly even.
    step = -(-len(flat) // MOST_COUNTED) | 1 if len(flat) > MOST_COUNTED else 1
    return flat[::step]


def counts(values: Num[np.ndarray, "..."]) -> Tally:
    """Distinct intensities of one channel and how often each occurs."""
    return tally(every_nth(values))


def merge(summaries: Sequence[ImageSummary]) -> ImageSummary:
    """The summary of several sites or groups of rows together."""
    return ImageSummary(tuple(add(parts) for parts in zip(*(summary.channels for summary in summaries), strict=True)))


def centre_and_scale(values: Float[np.ndarray, " values"], number: Int[np.ndarray, " values"]) -> tuple[float, float]:
    """Median and IQR / 1.349 (a Gaussian's standard deviation) of the foreground.

    Foreground is everything but the single most frequent value, where that fills over a quarter of all voxels (air,
    or what a skull-stripping tool left). The scale falls back to the standard deviation, and to 1 for one value alone.
    """
    if not number.sum():
        return 0.0, 1.0
    common = int(np.argmax(number))
    if number[common] > BACKGROUND_SHARE * number.sum() and len(number) > 1:
        values, number = np.delete(values, common), np.delete(number, common)
    low, centre, high = (quantile(values, number, share) for share in (0.25, 0.5, 0.75))
    mean = float(np.average(values.astype(np.float64), weights=number))
    deviation = float(np.sqrt(np.average((values.astype(np.float64) - mean) ** 2, weights=number)))
    return centre, (high - low) / 1.349 or deviation or 1.0


def simple_features(values: Num[np.ndarray, "channels *spatial"]) -> Float[np.ndarray, " features"]:
    """Of each channel: mean, standard deviation, least, most, quantiles, and mean intensity on a coarse grid.

    The standard deviation comes first, since it alone scales without being shifted. NaN where there are no voxels.
    """
    dims = values.ndim - 1
    cells = CELLS[dims]
    if not values.size:
        return np.full(len(values) * feature_count(dims), np.nan)
    features: list[np.ndarray] = []
    for plane in values:
        some = every_nth(plane).astype(np.float64)
        extremes = np.array([some.std(), some.mean(), some.min(), some.max()])
        features += [extremes, np.quantile(some, QUANTILES), np.array(_coarse(plane, cells))]
    return np.concatenate(features)


def feature_count(dims: int) -> int:
    """Simple numbers of one channel."""
    return 4 + len(QUANTILES) + CELLS[dims] ** dims


def feature_names(dims: int) -> tuple[str, ...]:
    """What each simple number of one channel is, in the order of `simple_features`."""
    whole = ["spread of the intensities", "mean intensity", "least intensity", "highest intensity"]
    shares = [f"{100 * share:g} % quantile of the intensities" for share in QUANTILES]
    grid = " × ".join([str(CELLS[dims])] * dims)
    axes = ("row", "column") if dims == 2 else ("x", "y", "z")
    cells = [
        f"mean intensity of {', '.join(f'{axis} {place}' for axis, place in zip(axes, cell, strict=True))} of {grid} cells"
        for cell in product(range(1, CELLS[dims] + 1), repeat=dims)
    ]
    return (*whole, *shares, *cells)


def _coarse(plane: Num[np.ndarray, "*spatial"], cells: int) -> list[float]:
    """Means over a grid of cells; an axis shorter than the grid repeats its nearest positions."""
    axes = []
    for size in plane.shape:
        edges = np.linspace(0, size, cells + 1).astype(int)
        axes.append([slice(int(low), max(int(high), int(low) + 1)) for low, high in pairwise(edges)])
    return [float(plane[cell].mean(dtype=np.float64)) for cell in product(*axes)]
