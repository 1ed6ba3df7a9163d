"""Pointwise intervals of shares over time, as Kaplan and Meier or Aalen and Johansen find them, over patients.

The variance comes from leaving out one group of patients after the other, so it needs nothing but the curve itself and
holds for rows of the same patient; the interval has Wilson's form with as many independent rows as that variance is worth, so
it stays inside 0 and 1 and is not empty where nothing has happened yet. Source: Tukey's jackknife in groups, as in Shao &
Tu, "The jackknife and bootstrap", 1995, section 2.3; Rothman, "Estimation of confidence limits for the cumulative
probability of survival in life table analysis", Journal of Chronic Diseases 31, 1978 (Wilson's form).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from medloom.statistics.shares import wilson_at

GROUPS = 100
"""Groups of patients that are left out; single patients where there are no more."""
CELLS = 600_000
"""Weights (groups × rows) held at a time."""
Steps = Callable[
    [np.ndarray, np.ndarray, Float[np.ndarray, "resamples rows"]],
    tuple[Float[np.ndarray, " times"], Float[np.ndarray, "resamples times"]],
]
"""The distinct times of rows followed for `time` until `event`, and the share just after each, in each resample."""


class StepBand(NamedTuple):
    """A share just after each of some times, and its interval."""

    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def step_band(
    curve: Steps,
    start: float,
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    at: Float[np.ndarray, " at"],
    level: float = 0.95,
) -> StepBand:
    """The share just after each of the times `at`, `start` before the first, with an interval each for itself.

    Where nothing varies, the patients that are still followed count. All rows have a known time. Without rows
    everything is NaN; the interval of a single patient is as wide as Wilson's of one.
    """
    if not len(time):
        return StepBand(*(np.full(len(at), np.nan) for _ in range(3)))
    code = np.unique(patient, return_inverse=True)[1]
    patients = int(code.max()) + 1
    share = _at(curve, start, time, event, np.ones((1, len(time))), at)[0]
    groups = min(patients, GROUPS)
    spread = np.zeros(len(at))
    if groups > 1:
        step = max(1, CELLS // len(time))
        left_out = np.concatenate(
            [
                _at(curve, start, time, event, _without(code % groups, first, min(first + step, groups)), at)
                for first in range(0, groups, step)
            ]
        )
        spread = (groups - 1) * left_out.var(axis=0)
    last = np.zeros(patients)
    np.maximum.at(last, code, time)
    followed = np.maximum(1, patients - np.searchsorted(np.sort(last), at, side="left"))
    held = np.clip(share, 0.5 / len(time), 1 - 0.5 / len(time))
    worth = np.where(spread > 1e-15, held * (1 - held) / np.maximum(spread, 1e-15), followed)
    ends = [wilson_at(float(s), float(min(w, len(time))), level) for s, w in zip(share, worth, strict=True)]
    low, high = np.array(ends).reshape(-1, 2).T
    return StepBand(share, low, high)


def _without(group: Int[np.ndarray, " rows"], first: int, stop: int) -> Float[np.ndarray, "groups rows"]:
    return (group != np.arange(first, stop)[:, None]).astype(np.float64)


def _at(
    curve: Steps,
    start: float,
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
    at: Float[np.ndarray, " at"],
) -> Float[np.ndarray, "resamples at"]:
    times, share = curve(time, event, weight)
    begun = np.concatenate([np.full((len(share), 1), start), share], axis=1)
    return np.asarray(begun[:, np.searchsorted(times, at, side="right")])
