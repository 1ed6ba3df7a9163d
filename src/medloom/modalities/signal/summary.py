"""What a fit needs of training windows: how often each value of each lead occurs, how good they are, and a few windows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt

from medloom.modalities.signal.quality import QUALITY, quality
from medloom.tally import Tally, add, quantile, tally

KEPT_WINDOWS = 64
"""Windows that random convolutions are fitted on: those of the smallest digests, whatever the order of rows or sites."""
USUAL = 0.95
"""Share of the training windows whose quality counts as usual."""
COUNTED = 2_048
"""Samples of a lead that are counted of each window, evenly spaced."""


@dataclass(frozen=True, slots=True)
class SignalSummary:
    """Values of each lead, rounded to 16 mantissa bits, with their counts; likewise each number of `quality`, lead by lead,
    of windows that have the lead; `kept` windows, raw, by their `digest`.
    """

    leads: tuple[Tally, ...]
    quality: tuple[Tally, ...]
    digest: UInt[np.ndarray, " windows"]
    kept: Float[np.ndarray, "windows leads samples"]


def nothing(leads: int, samples: int) -> SignalSummary:
    """The summary of no rows."""
    none = (np.zeros(0, np.float32), np.zeros(0, np.int64))
    digest, kept = np.zeros(0, np.uint64), np.zeros((0, leads, samples), np.float32)
    return SignalSummary((none,) * leads, (none,) * (leads * len(QUALITY)), digest, kept)


def summarise(
    windows: Float[np.ndarray, "views leads samples"],
    known: Bool[np.ndarray, "views leads samples"],
    lead: Bool[np.ndarray, "views leads"],
    keep: bool,
) -> SignalSummary:
    """Of these windows, NaN where unknown; `lead` says which are there, `keep` whether windows themselves are wanted."""
    step = -(-windows.shape[2] // COUNTED)
    thin, there = windows[:, :, ::step], known[:, :, ::step]
    leads = tuple(tally(thin[:, place][there[:, place]]) for place in range(windows.shape[1]))
    found = quality(np.nan_to_num(windows), known)
    how_good = tuple(
        tally(found[lead[:, place], place, kind].astype(np.float32))
        for place in range(windows.shape[1])
        for kind in range(len(QUALITY))
    )
    if not keep:
        return SignalSummary(leads, how_good, np.zeros(0, np.uint64), windows[:0])
    digest = np.array([_digest(window) for window in windows], np.uint64)
    return _least(leads, how_good, digest, windows)


def merge(summaries: Sequence[SignalSummary]) -> SignalSummary:
    """The summary of several groups of rows together."""
    leads = tuple(add(parts) for parts in zip(*(summary.leads for summary in summaries), strict=True))
    how_good = tuple(add(parts) for parts in zip(*(summary.quality for summary in summaries), strict=True))
    digest = np.concatenate([summary.digest for summary in summaries])
    return _least(leads, how_good, digest, np.concatenate([summary.kept for summary in summaries]))


def _least(
    leads: tuple[Tally, ...],
    how_good: tuple[Tally, ...],
    digest: UInt[np.ndarray, " windows"],
    windows: Float[np.ndarray, "windows leads samples"],
) -> SignalSummary:
    order = np.argsort(digest, kind="stable")[:KEPT_WINDOWS]
    return SignalSummary(leads, how_good, digest[order], windows[order])


def _digest(window: Float[np.ndarray, "leads samples"]) -> int:
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(window).tobytes(), digest_size=8).digest(), "little")


def centre_and_scale(values: Float[np.ndarray, " _"], number: np.ndarray) -> tuple[float, float]:
    """Median and IQR / 1.349 (a Gaussian's standard deviation); the standard deviation where that is 0, else 1."""
    if not number.sum():
        return 0.0, 1.0
    low, centre, high = (quantile(values, number, share) for share in (0.25, 0.5, 0.75))
    wide = values.astype(np.float64)
    mean = float(np.average(wide, weights=number))
    deviation = float(np.sqrt(np.average((wide - mean) ** 2, weights=number)))
    return centre, (high - low) / 1.349 or deviation or 1.0


def usual_quality(summary: SignalSummary) -> tuple[tuple[float, ...], ...]:
    """Of each lead, what each number of `quality` does not exceed in nearly all training windows; 0 where there is none."""
    ends = [quantile(values, number, USUAL) if number.sum() else 0.0 for values, number in summary.quality]
    return tuple(tuple(ends[first : first + len(QUALITY)]) for first in range(0, len(ends), len(QUALITY)))
