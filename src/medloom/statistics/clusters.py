"""Rows of one patient belong together: the variance of figures when patients are drawn, and not rows.

A figure is close to a sum of one contribution a row (its *influence*). Its variance is the sum of squares of the
contributions of whole patients. Source: Liang & Zeger, "Longitudinal data analysis using generalized linear models",
Biometrika 73, 1986; Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53, 1997.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats import t as student

Bounds = tuple[float, float, float]
"""Value, low, high. NaN where there is none."""
NOTHING: Bounds = (float("nan"), float("nan"), float("nan"))


def patient_sums(value: Float[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " codes"]:
    """The sum of a value over the rows of each patient; zeros for codes without rows may stand between."""
    return np.bincount(_codes(patient), weights=value)


def variance(influence: Float[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"]) -> float:
    """Variance of a figure from the influence of each row, with the small-sample factor patients / (patients − 1)."""
    patients = members(np.ones(len(patient), bool), patient)
    squares = float((patient_sums(influence, patient) ** 2).sum())
    return squares * patients / (patients - 1) if patients > 1 else float("nan")


def variance_by_class(
    influence: Float[np.ndarray, " rows"], positive: Bool[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"]
) -> float:
    """Variance of a figure of two samples, each with the factor of its own number of patients.

    Source: Obuchowski, Biometrics 53, 1997, equations 3 to 6; with one row a patient it is that of DeLong et al., 1988.
    """
    of_positive = patient_sums(np.where(positive, influence, 0.0), patient)
    of_negative = patient_sums(np.where(positive, 0.0, influence), patient)
    with_positive, with_negative = members(positive, patient), members(~positive, patient)
    if min(with_positive, with_negative) < 2:
        return float("nan")
    return float(
        (of_positive**2).sum() * with_positive / (with_positive - 1)
        + (of_negative**2).sum() * with_negative / (with_negative - 1)
        + 2 * (of_positive * of_negative).sum()
    )


def members(rows: Bool[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"]) -> int:
    """How many patients have such a row."""
    return int(np.count_nonzero(np.bincount(_codes(patient[rows])))) if rows.any() else 0


def _codes(patient: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """Small codes that may be counted without sorting; those of a cohort are such codes already."""
    if len(patient) and patient.min() >= 0 and patient.max() < 10 * len(patient) + 1000:
        return patient
    return np.unique(patient, return_inverse=True)[1]


def quantile(level: float, freedom: float = np.inf) -> float:
    """The two-sided quantile of the normal distribution, or of Student's with these degrees of freedom."""
    return float(norm.ppf((1 + level) / 2) if np.isinf(freedom) else student.ppf((1 + level) / 2, max(freedom, 1.0)))


def around(value: float, spread: float, width: float) -> Bounds:
    """The value with `width` standard errors on each side."""
    return (value, value - width * spread, value + width * spread)


def on_logit_scale(value: float, spread: float, width: float) -> Bounds:
    """As `around`, for a value strictly between 0 and 1, on the scale of its log-odds: it never leaves that range."""
    half = width * spread / (value * (1 - value))
    return (value, float(expit(logit(value) - half)), float(expit(logit(value) + half)))


def mover(one: Bounds, other: Bounds, factor: float = 1.0, correlation: float = 0.0) -> Bounds:
    """The interval of `one − factor × other` (factor above 0) from the intervals of both.

    Source: Zou & Donner, "Construction of confidence limits about effect measures: a general approach", Statistics in
    Medicine 27, 2008, equations 6 and 7; with the correlation of the two estimates.
    """
    value = one[0] - factor * other[0]
    down = (one[0] - one[1], factor * (other[2] - other[0]))
    up = (one[2] - one[0], factor * (other[0] - other[1]))
    low, high = (np.sqrt(max(0.0, a * a + b * b - 2 * correlation * a * b)) for a, b in (down, up))
    return (value, float(value - low), float(value + high))
