"""What maps over images are worth: whether they follow what was learnt, what moves the answer, and what a person marked.

Learnt: the map of a network whose weights are drawn anew has to be another one (Adebayo et al., "Sanity checks for saliency
maps", NeurIPS 2018: rank correlation). Moves the answer: to flatten the regions that a map calls high has to lower the
answer more than to flatten others (Samek et al., IEEE TNNLS 28, 2017). Marked: the highest point lies in the mask (Zhang et al.,
"Top-down neural attention by excitation backprop", IJCV 126, 2018: the pointing game), beside a point at random and the
middle of the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from medloom.batch import Field
from medloom.draw import generator
from medloom.explain.maps import Asked, Views, lifted, maps
from medloom.explain.regions import block_means, flat, of_blocks
from medloom.model.assembly import Network
from medloom.packed import Source

SHARES = (0.05, 0.1, 0.2, 0.4)
"""Shares of an image's blocks that are flattened."""
RANDOM = 3
"""Random orders of blocks, whose mean a map is held against."""
CHANCE, MIDDLE = "chance", "middle"
"""Who else points: a point at random, and always the middle."""
Maps = Mapping[str, Float[np.ndarray, "views ..."]]


def valid_voxels(field: Field, dims: int) -> Bool[np.ndarray, "views ..."]:
    """Which voxels are data, "views [images] *patch"."""
    if field.valid is not None:
        return field.valid.numpy()
    return np.ones((*field.value.shape[: -dims - 1], *field.value.shape[-dims:]), bool)


def likeness(
    asked: Asked, views: Views, found: Maps, fresh: Sequence[Network]
) -> dict[str, Float[np.ndarray, " rows"]]:
    """Rank correlation of each map's sizes with those of the map of networks that learnt nothing, over blocks; by row.

    NaN where one of the two is the same everywhere.
    """
    there = valid_voxels(views.batch.inputs[asked.input], asked.dims)
    untrained = maps(replace(asked, networks=tuple(fresh)), views, tuple(found))
    return {
        method: views.of_rows(
            _rank_correlation(
                block_means(np.abs(of), there, asked.dims), block_means(np.abs(untrained[method]), there, asked.dims)
            )
        )
        for method, of in found.items()
    }


def _rank_correlation(
    one: Float[np.ndarray, "views blocks"], other: Float[np.ndarray, "views blocks"]
) -> Float[np.ndarray, " views"]:
    """Spearman's, of each view over the blocks that both know."""
    from scipy.stats import rankdata

    result = np.full(len(one), np.nan)
    for place, (a, b) in enumerate(zip(one, other, strict=True)):
        known = ~np.isnan(a) & ~np.isnan(b)
        if known.sum() > 1 and np.ptp(a[known]) > 0 and np.ptp(b[known]) > 0:
            result[place] = np.corrcoef(rankdata(a[known]), rankdata(b[known]))[0, 1]
    return result


def gains(asked: Asked, views: Views, found: Maps, seed: int) -> dict[str, Float[np.ndarray, " rows"]]:
    """By how much more the answer falls where the highest blocks of each map are flattened than where random ones are; by row.

    The mean over `SHARES` of the blocks; blocks of one height, such as those of 0, come in an order at random. The answer is
    that of the networks together, in its own unit. NaN where a map is the same everywhere, and so calls nothing high.
    """
    there = valid_voxels(views.batch.inputs[asked.input], asked.dims)
    orders = {method: block_means(of, there, asked.dims) for method, of in found.items()}
    known = block_means(np.ones(there.shape, np.float32), there, asked.dims)
    drawn = [
        np.stack([generator(seed, "blocks", int(row), number).random(known.shape[1]) for row in views.view.rows])
        for number in range(RANDOM)
    ]
    falls = {method: _fall(asked, views, order, drawn[0]) for method, order in orders.items()}
    by_chance = np.zeros(len(views.view.rows))
    for order in drawn:
        by_chance += _fall(asked, views, np.where(np.isnan(known), np.nan, order), order) / RANDOM
    return {
        method: np.where(_says_something(views, orders[method]), views.of_rows(fall - by_chance), np.nan)
        for method, fall in falls.items()
    }


def _says_something(views: Views, height: Float[np.ndarray, "views blocks"]) -> Bool[np.ndarray, " rows"]:
    """Whether any view of a row has blocks that differ."""
    none = np.isnan(height)
    differs = np.where(none, -np.inf, height).max(axis=1) > np.where(none, np.inf, height).min(axis=1)
    return views.of_rows(differs.astype(np.float64)) > 0


def _fall(
    asked: Asked, views: Views, height: Float[np.ndarray, "views blocks"], among: Float[np.ndarray, "views blocks"]
) -> Float[np.ndarray, " views"]:
    """The mean fall of the answer over shares of blocks that are flattened, the highest first; NaN heights are no blocks.

    Of blocks of one height those that are highest in `among` come first.
    """
    field = views.batch.inputs[asked.input]
    start = flat(field, asked.dims)
    count = (~np.isnan(height)).sum(axis=1)
    place = np.argsort(np.lexsort((-among, np.where(np.isnan(height), np.inf, -height)), axis=1), axis=1)
    shape = valid_voxels(field, asked.dims).shape[1:]
    whole = asked.mean_score(views, field.value)
    fall = np.zeros(len(height))
    for share in SHARES:
        taken = place < np.maximum(1, np.round(share * count))[:, None]
        covered = torch.from_numpy(of_blocks(taken, shape, asked.dims)).unsqueeze(-asked.dims - 1)
        value = torch.where(covered, start, field.value)
        fall += (whole - asked.mean_score(views, value)) / len(SHARES)
    return fall


def hits(asked: Asked, views: Views, found: Maps, laid: Source) -> dict[str, Float[np.ndarray, " rows"]]:
    """Whether the highest point of each map lies in the row's mask (1 or 0), by method and row; NaN without a marked voxel.

    `CHANCE` is the share of the image that is marked: how often a point at random lies in it. `MIDDLE` is the pointing of
    one who always takes the middle of the image.
    """
    truth = asked.feed.modalities[asked.input].truth(laid, views.rows).values
    marked = [one[0] > 0 for one in truth]
    known = np.array([bool(mask.any()) for mask in marked])
    result = {CHANCE: np.array([float(mask.mean()) if mask.any() else np.nan for mask in marked])}
    middle = [bool(mask[tuple(side // 2 for side in mask.shape)]) if mask.size else False for mask in marked]
    result[MIDDLE] = np.where(known, np.array(middle, np.float64), np.nan)
    for method, of in found.items():
        points = [highest(values) for _, values in lifted(asked, views, of)]
        inside = [bool(mask[point]) if mask.any() else False for mask, point in zip(marked, points, strict=True)]
        result[method] = np.where(known, np.array(inside, np.float64), np.nan)
    return result


def highest(values: Float[np.ndarray, "*spatial"]) -> tuple[int, ...]:
    """The place of the highest value, the first of several."""
    return tuple(int(place) for place in np.unravel_index(int(np.argmax(values)), values.shape))
