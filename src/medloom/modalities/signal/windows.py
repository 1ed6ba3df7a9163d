"""Which windows of a record are looked at, and how they are altered in training: numbers only, by the draw of the row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.draw import Draw
from medloom.modality import View

if TYPE_CHECKING:
    from medloom.modalities.signal.options import AugmentOptions

SLOWEST_HZ, FASTEST_HZ = 0.05, 0.5
"""Frequencies of a wandering baseline."""


def training_view(
    start: Int[np.ndarray, " rows"],
    stop: Int[np.ndarray, " rows"],
    samples: int,
    leads: int,
    augment: AugmentOptions,
    rows: Int[np.ndarray, " rows"],
    draw: Draw,
) -> View:
    """One window a row within `start:stop`, or all of it where it is shorter; and the numbers of every alteration."""
    room = np.maximum(stop - start - samples, 0)
    first = start + np.floor(draw.uniform("signal.window", rows) * (room + 1)).astype(np.int64)
    at: dict[str, np.ndarray] = {"first": first, "last": np.minimum(first + samples, stop)}
    if augment.crop:
        cut = draw.own("signal.crop", rows, 2) * augment.crop * samples
        left = np.floor(cut[:, 0] * cut[:, 1] / max(augment.crop * samples, 1)).astype(np.int64)
        at["hidden_before"], at["hidden_behind"] = left, samples - (np.floor(cut[:, 0]).astype(np.int64) - left)
    if augment.scale:
        at["gain"] = 1 + augment.scale * (2 * draw.own("signal.scale", rows) - 1)
    if augment.noise:
        at["noise"] = np.floor(draw.own("signal.noise", rows) * 2.0**53).astype(np.int64)
    if augment.wander:
        at["wander"] = draw.own("signal.wander", rows, leads, 3)
    if augment.drop_leads:
        chance = draw.own("signal.drop", rows, leads)
        at["dropped"] = (chance < augment.drop_leads) & (chance < chance.max(axis=1, keepdims=True))
    if augment.mask:
        size, place = draw.own("signal.mask", rows, 2).T
        length = np.floor(size * augment.mask * samples).astype(np.int64)
        begin = np.floor(place * (samples - length + 1)).astype(np.int64)
        at["masked"] = np.stack([begin, begin + length], axis=1)
    return View(rows, at)


def covering_view(
    start: Int[np.ndarray, " rows"],
    stop: Int[np.ndarray, " rows"],
    samples: int,
    stride: int,
    rows: Int[np.ndarray, " rows"],
    most: int | None = None,
) -> View:
    """Windows that cover `start:stop` of each row, those of a row side by side and evenly spaced; at most so many."""
    room = np.maximum(stop - start - samples, 0)
    count = -(-room // stride) + 1
    if most is not None:
        count = np.minimum(count, most)
    which = np.repeat(np.arange(len(rows)), count)
    step = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    share = step / np.maximum(count - 1, 1)[which]
    first = start[which] + np.rint(share * room[which]).astype(np.int64)
    return View(rows[which], {"first": first, "last": np.minimum(first + samples, stop[which])})


def alter(value: Float[np.ndarray, "views leads samples"], view: View, augment: AugmentOptions, rate_hz: float) -> None:
    """Scale, noise and a wandering baseline on scaled windows, in place."""
    at = view.at
    if "gain" in at:
        value *= at["gain"].astype(np.float32)[:, None, None]
    if "noise" in at:
        for place, key in enumerate(at["noise"].tolist()):
            noise = np.random.Generator(np.random.Philox(key=key)).standard_normal(value.shape[1:], np.float32)
            value[place] += np.float32(augment.noise) * noise
    if "wander" in at:
        high, frequency, phase = np.moveaxis(at["wander"], 2, 0)
        hertz = SLOWEST_HZ * (FASTEST_HZ / SLOWEST_HZ) ** frequency
        seconds = np.arange(value.shape[2]) / rate_hz
        wave = np.sin(2 * np.pi * (hertz[..., None] * seconds + phase[..., None]))
        value += (augment.wander * high[..., None] * wave).astype(np.float32)


def seen(valid: Bool[np.ndarray, "views samples"], view: View) -> Bool[np.ndarray, "views samples"]:
    """Which samples are left of the valid ones after crop and mask."""
    position = np.arange(valid.shape[1])
    if "hidden_before" in view.at:
        valid = valid & (position >= view.at["hidden_before"][:, None]) & (position < view.at["hidden_behind"][:, None])
    if "masked" in view.at:
        begin, end = view.at["masked"].T[:, :, None]
        valid = valid & ~((position >= begin) & (position < end))
    return valid
