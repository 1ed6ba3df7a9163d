"""Intervals of figures made of shares: accuracy, sensitivity, predictive values, F1, likelihood ratios, and their like.

Every function takes yes-or-no arrays "rows" and a patient a row, and returns value, low and high: Wilson's interval
with the number of rows divided by the design effect, so that many rows of few patients do not look like many patients.
Source: Wilson, JASA 22, 1927; Rao & Scott, "A simple method for the analysis of clustered binary data", Biometrics 48,
1992; Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17, 1998.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.statistics.clusters import NOTHING, Bounds, members, mover, patient_sums, quantile


def share(
    counted: Bool[np.ndarray, " rows"],
    among: Bool[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    level: float,
    extra: float = 0.0,
) -> Bounds:
    """The share of the rows `among` that are `counted`, with Wilson's interval; NaN where there are no such rows.

    `extra` is variance that the share has from elsewhere, such as a threshold that was estimated.
    """
    total = int(among.sum())
    if not total:
        return NOTHING
    found = int((counted & among).sum()) / total
    effective = _effective(found, counted, among, patient)
    if extra > 0:
        # One success and one failure are added, so that a share of 0 or 1 does not seem to have no variance.
        own = (found * total + 1) / (total + 2)
        own = own * (1 - own) / effective
        effective *= own / (own + extra)
    return (found, *wilson_at(found, effective, level))


def wilson_at(found: float, effective: float, level: float) -> tuple[float, float]:
    """Wilson's interval of a share that is worth so many independent rows."""
    z = quantile(level)
    middle = (found + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * np.sqrt(found * (1 - found) / effective + z**2 / (4 * effective**2))
    # The score interval of 0 begins at 0 and that of 1 ends at 1; rounding must not move them inside.
    return (float(max(0.0, min(middle - half, found))), float(min(1.0, max(middle + half, found))))


def odds_like(
    both: Bool[np.ndarray, " rows"], either: Bool[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"], level: float
) -> Bounds:
    """2s / (1 + s) of the share s of the rows `either` that are `both`: F1, or Dice, from Jaccard's share."""
    value, low, high = share(both, either, patient, level)
    return (2 * value / (1 + value), 2 * low / (1 + low), 2 * high / (1 + high))


def inverse(of: Bounds) -> Bounds:
    """One over a share; the upper end is infinite where the share may be 0."""
    value, low, high = of
    if not value > 0:
        return NOTHING
    return (1 / value, 1 / high, 1 / low if low > 0 else float("inf"))


def mean_of_two(one: Bounds, other: Bounds) -> Bounds:
    """Half the sum of two estimates of different rows, such as sensitivity and specificity."""
    turned = (-other[0], -other[2], -other[1])
    value, low, high = mover(one, turned)
    return (value / 2, low / 2, high / 2)


def ratio(one: Bounds, other: Bounds) -> Bounds:
    """One share over another of different rows, such as a likelihood ratio; NaN where the other is 0.

    The interval is that of the difference of the logarithms, so that it never reaches 0 while the first share does
    not, however few rows the second one counts; the upper end is infinite where the other share may be 0. Where the first
    is 0 and has no logarithm, the upper end is of Fieller's form. Source: Zou & Donner, Statistics in Medicine 27, 2008
    (ratios through logarithms); Donner & Zou, "Closed-form confidence intervals for functions of the normal mean and
    standard deviation", Statistical Methods in Medical Research 21, 2012, equation 9.
    """
    a, la, ua = one
    b, lb, ub = other
    if not b > 0 or np.isnan(a):
        return NOTHING
    if a == 0:
        return (0.0, 0.0, float(ua / np.sqrt(lb * (2 * b - lb))) if lb > 0 else float("inf"))
    down = np.hypot(np.log(a / la), np.log(ub / b)) if la > 0 else np.inf
    up = np.hypot(np.log(ua / a), np.log(b / lb)) if lb > 0 else np.inf
    return (a / b, float(a / b * np.exp(-down)), float(a / b * np.exp(up)))


def correlation(
    one: Float[np.ndarray, " rows"],
    other: Float[np.ndarray, " rows"],
    among: Bool[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
) -> float:
    """Correlation of the sums over patients of two influences; 0 where one of them does not vary."""
    a, b = (patient_sums(np.where(among, part, 0.0), patient) for part in (one, other))
    size = np.sqrt((a**2).sum() * (b**2).sum())
    return float(np.clip((a * b).sum() / size, -1.0, 1.0)) if size > 0 else 0.0


def _effective(
    found: float,
    counted: Bool[np.ndarray, " rows"],
    among: Bool[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
) -> float:
    """Independent rows that these are worth. A design effect is never below 1, and where all rows agree, which says

    nothing about it, a patient counts as one row.
    """
    total, patients = int(among.sum()), members(among, patient)
    if patients == total:
        return float(total)
    if found in (0.0, 1.0) or patients < 2:
        return float(patients)
    sums = patient_sums(np.where(among, counted - found, 0.0), patient)
    clustered = float((sums**2).sum()) / total**2
    return min(float(total), found * (1 - found) / clustered) if clustered > 0 else float(patients)
