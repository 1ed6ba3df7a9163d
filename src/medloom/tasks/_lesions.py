"""Lesions one at a time: which were found, by size, and how many false alarms that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

LEVELS = 64
"""Steps in which the confidence of a candidate is counted."""
CANDIDATE = 0.1
"""Probability above which connected voxels are a candidate."""
HIT = 0.1
"""Overlap (intersection over union) from which a candidate is the lesion it touches."""
FALSE_ALARMS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False alarms an image at which the sensitivity is read and averaged. Source: the LUNA16 and LIDC challenges."""


@dataclass(frozen=True, slots=True)
class Lesions:
    """Of one row and label: lesions drawn, by size; those that the answer touches; and what each confidence gives.

    `found[level]` and `false[level]` count the lesions and the false alarms of candidates of at least that confidence.
    """

    drawn: Float[np.ndarray, " sizes"]
    touched: Float[np.ndarray, " sizes"]
    found: Float[np.ndarray, " levels"]
    false: Float[np.ndarray, " levels"]


def lesions_of(
    answer: Bool[np.ndarray, "*spatial"],
    confidence: Integer[np.ndarray, "*spatial"],
    truth: Bool[np.ndarray, "*spatial"],
    voxel_mm3: float,
    limits_mm: Sequence[float],
) -> Lesions:
    """Counts of one row. `confidence` is the probability of the label in 255 steps.

    A candidate is a connected part of at least 0.1 probability and as confident as its surest voxel; one that overlaps a
    lesion by 0.1 or more (intersection over union) is that lesion, each lesion's surest candidate counts, and the rest
    are false alarms. Source: Saha et al., "Artificial intelligence and radiologists in prostate cancer detection",
    Lancet Oncology 25, 2024 (the rules of picai_eval).
    """
    from scipy.ndimage import generate_binary_structure, label

    whole = generate_binary_structure(truth.ndim, truth.ndim)
    drawn, count = label(truth, whole)
    volume = np.bincount(drawn.ravel(), minlength=count + 1)[1:] * voxel_mm3
    diameter = (6 * volume / np.pi) ** (1 / 3)
    size = np.searchsorted(np.array(limits_mm), diameter, side="right")
    sizes = len(limits_mm) + 1
    touched = np.isin(np.arange(1, count + 1), np.unique(drawn[answer]))
    parts, candidates = label(confidence >= CANDIDATE * 255, whole)
    surest = np.zeros(candidates + 1, np.int64)
    np.maximum.at(surest, parts.ravel(), confidence.ravel())
    level = surest[1:] * LEVELS // 256
    best = _best_candidates(parts, drawn, candidates, count, level)
    hit = np.unique(best[best >= 0])
    alarm = np.setdiff1d(np.arange(candidates), hit)
    return Lesions(
        np.bincount(size, minlength=sizes).astype(float),
        np.bincount(size[touched], minlength=sizes).astype(float),
        _at_least(level[best[best >= 0]]),
        _at_least(level[alarm]),
    )


def _best_candidates(
    parts: np.ndarray, drawn: np.ndarray, candidates: int, count: int, level: np.ndarray
) -> Integer[np.ndarray, " lesions"]:
    """For each lesion its surest candidate of enough overlap, −1 where there is none; a candidate finds one lesion."""
    both = np.bincount(parts.ravel() * (count + 1) + drawn.ravel(), minlength=(candidates + 1) * (count + 1))
    table = both.reshape(candidates + 1, count + 1)
    shared = table[1:, 1:]
    union = table.sum(axis=1)[1:, None] + table.sum(axis=0)[None, 1:] - shared
    overlap = np.where(shared > 0, shared / np.maximum(union, 1), 0.0)
    best = np.full(count, -1)
    free = np.ones(candidates, bool)
    for candidate in np.argsort(-level, kind="stable"):
        lesion = int(np.where(best < 0, overlap[candidate], -1).argmax()) if count else -1
        if free[candidate] and lesion >= 0 and best[lesion] < 0 and overlap[candidate, lesion] >= HIT:
            best[lesion], free[candidate] = candidate, False
    return best


def _at_least(level: Integer[np.ndarray, " candidates"]) -> Float[np.ndarray, " levels"]:
    return np.bincount(level, minlength=LEVELS)[::-1].cumsum()[::-1].astype(float)


def froc(
    found: Float[np.ndarray, "resamples levels"],
    false: Float[np.ndarray, "resamples levels"],
    lesions: Float[np.ndarray, " resamples"],
    rows: Float[np.ndarray, " resamples"],
) -> Float[np.ndarray, " resamples"]:
    """Mean sensitivity at `FALSE_ALARMS` an image: at each, that of the lowest confidence with no more of them.

    NaN in a resample without a lesion.
    """
    known = (lesions > 0) & (rows > 0)
    sensitivity = found / np.where(known, lesions, np.nan)[:, None]
    alarms = false / np.where(known, rows, np.nan)[:, None]
    read = [np.where(alarms <= limit, sensitivity, 0.0).max(axis=1) for limit in FALSE_ALARMS]
    return np.where(known, np.mean(read, axis=0), np.nan)
