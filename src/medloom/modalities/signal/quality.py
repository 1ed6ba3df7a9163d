"""How good each lead of a window is: flat lines, clipped peaks, noise, unknown samples; and other simple numbers.

Source of the thoughts: Clifford et al., "Signal quality indices and data fusion for determining clinical acceptability
of electrocardiograms", Physiological Measurement 33, 2012.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

QUALITY = ("flat", "clipped", "noise", "unknown")
STATISTICS = ("mean", "log deviation", "log line length", "skewness", "low", "high")
FLAT, CLIPPED, NOISE, GAPS = 0.5, 0.05, 0.4, 0.2
LIMITS = (FLAT, CLIPPED, NOISE, GAPS)
"""Shares of a window from which a lead is named as flat, clipped, noisy or unknown."""
WORDS = ("are flat", "are clipped", "are mostly noise", "have gaps")
LEAST = 1e-9


def quality(
    windows: Float[np.ndarray, "views leads samples"], known: Bool[np.ndarray, "views leads samples"]
) -> Float[np.ndarray, "views leads 4"]:
    """Of each lead: the share of samples that equal the one before, that stay at the lead's extreme, the share of power
    that is faster than a sixth of the rate (white noise: two thirds), and the share unknown. `windows` are 0 where unknown.
    """
    both = known[..., 1:] & known[..., :-1]
    pairs = np.maximum(both.sum(axis=2), 1)
    step = np.diff(windows, axis=2)
    still = both & (step == 0)
    high = np.where(known, windows, -np.inf).max(axis=2, keepdims=True)
    low = np.where(known, windows, np.inf).min(axis=2, keepdims=True)
    extreme = (windows[..., 1:] == high) | (windows[..., 1:] == low)
    flat = still.sum(axis=2) / pairs
    clipped = np.where(high > low, still & extreme, False).sum(axis=2) / pairs
    count = np.maximum(known.sum(axis=2), 1)
    mean = windows.sum(axis=2) / count
    power = (np.where(known, windows - mean[..., None], 0.0) ** 2).sum(axis=2)
    # A difference of neighbours has four times the power of the fastest wave and nearly none of slow ones.
    rough = (np.where(both, step, 0.0) ** 2).sum(axis=2) / 3
    noise = np.divide(rough, power, out=np.zeros_like(rough), where=power > LEAST)
    return np.stack([flat, clipped, np.minimum(noise, 1.0), 1 - known.mean(axis=2)], axis=2)


def statistics(
    windows: Float[np.ndarray, "views leads samples"], known: Bool[np.ndarray, "views leads samples"]
) -> Float[np.ndarray, "views leads 6"]:
    """Of each lead: mean, log standard deviation, log line length, skewness, 5 % and 95 % quantiles."""
    count = np.maximum(known.sum(axis=2), 1)
    mean = windows.sum(axis=2) / count
    off = np.where(known, windows - mean[..., None], 0.0)
    deviation = np.sqrt((off**2).sum(axis=2) / count)
    cubed = (off**3).sum(axis=2) / count
    skewness = np.divide(cubed, deviation**3, out=np.zeros_like(cubed), where=deviation > LEAST)
    both = known[..., 1:] & known[..., :-1]
    line = np.where(both, np.abs(np.diff(windows, axis=2)), 0.0).sum(axis=2) / np.maximum(both.sum(axis=2), 1)
    ordered = np.sort(np.where(known, windows, np.inf), axis=2)
    ends = [
        np.take_along_axis(ordered, (share * (count - 1)).astype(np.int64)[..., None], 2)[..., 0]
        for share in (0.05, 0.95)
    ]
    ends = [np.where(np.isfinite(end), end, 0.0) for end in ends]
    parts = [mean, np.log(deviation + LEAST), np.log(line + LEAST), skewness, *ends]
    return np.stack(parts, axis=2)


def poor(
    found: Float[np.ndarray, "rows leads 4"], there: Bool[np.ndarray, "rows leads"]
) -> Bool[np.ndarray, "rows leads 4"]:
    """Which leads that are there are flat, clipped, mostly noise or full of gaps."""
    return (found > np.array(LIMITS)) & there[:, :, None]


def complaints(
    found: Float[np.ndarray, "leads 4"],
    leads: tuple[str, ...],
    there: Bool[np.ndarray, " leads"],
    usual: tuple[tuple[float, ...], ...],
) -> list[str]:
    """What is wrong with the leads of a row, in words; nothing where all are good, or as poor as training rows `usual`ly
    are: what a network was taught on is no reason to refuse a row.
    """
    unusual = poor(found[None], there[None])[0] & (found > np.array(usual, np.float64).reshape(found.shape))
    said = []
    for place, word in enumerate(WORDS):
        named = [lead for number, lead in enumerate(leads) if unusual[number, place]]
        said += [f"leads {', '.join(named[:12])} {word}"] if named else []
    return said
