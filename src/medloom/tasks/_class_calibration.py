"""Calibrated scores of classes: temperature, Platt's line or isotonic steps, held near no change where rows are few."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit

from medloom.errors import DataError
from medloom.tasks._curves import Line, Steps

SPREAD = 0.35
"""Standard deviation of the prior on the logarithm of the temperature, and on intercepts: at 0, which changes nothing."""
FEWEST = 10
"""Rows with a known answer, of two classes at least, from which on anything is set."""
FEWEST_LOCAL = 20
"""Rows of every class from which on a bundle is recalibrated to local rows."""
FLATTEST = 0.02
"""The least slope that is taken for a recalibration, and not for a model that knows nothing of the place."""


def line(score: np.ndarray, answer: np.ndarray, noise: float, shifts: bool, spread: float | None = SPREAD) -> Line:
    """The line of most posterior likelihood: its slope (one over the temperature), and intercepts where it `shifts`.

    `score` is [rows] of two classes or [rows, classes]; `answer` codes. With label noise the likelihood is of what is
    recorded. The prior holds the line near no change until some tens of rows say otherwise; `spread` None: no prior.
    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2 (temperature); Platt, 1999
    (slope and intercept). The spread was chosen by simulation (docs/adr/0023).
    """
    several = score.ndim == 2
    rows, codes = np.arange(len(answer)), answer.astype(int)
    count = score.shape[1] if several else 2
    other = noise / (count - 1)
    free = (count if several else 1) if shifts else 0
    weak = 1e-8 if spread is None else 1 / spread**2

    def loss(at: np.ndarray) -> float:
        shift = at[1:] if free else 0.0
        moved = np.exp(np.clip(at[0], -6, 6)) * score + shift
        both = moved if several else np.stack([np.zeros_like(moved), moved], axis=1)
        log = log_softmax(both, axis=1)[rows, codes]
        found = -(np.logaddexp(log + np.log(1 - noise - other), np.log(other)) if noise else log).sum()
        return float(found + weak * (at**2).sum() / 2)

    found = minimize(loss, np.zeros(1 + free), method="L-BFGS-B", bounds=[(-6, 6)] * (1 + free)).x
    shift = found[1:] if free else np.zeros(count if several else 1)
    return Line(float(np.exp(found[0])), tuple(float(value) for value in shift))


def local_line(score: np.ndarray, answer: np.ndarray, classes: tuple[str, ...], name: str) -> Line:
    """Slope and intercepts that local rows say of calibrated scores. Raises DataError for too few rows of a class."""
    counts = np.bincount(answer.astype(int), minlength=len(classes))
    few = [f"{count} of {word}" for word, count in zip(classes, counts, strict=True) if count < FEWEST_LOCAL]
    if few:
        raise DataError(
            f"{name}: found {', '.join(few)} among the local rows; expected at least {FEWEST_LOCAL} rows of each class. "
            "Gather more rows, or use the bundle as it is"
        )
    found = line(score, answer, 0.0, shifts=True, spread=None)
    if found.slope < FLATTEST:
        raise DataError(
            f"{name}: the local answers do not rise with what the bundle predicts (slope {found.slope:.3f}); no "
            "recalibration can mend that. Train on local rows"
        )
    return found


def isotonic(score: Float[np.ndarray, " rows"], positive: np.ndarray) -> Steps:
    """Rising shares of positive rows, as log-odds. The shares stay as far from 0 and 1 as this many rows can tell.

    Source: Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
    """
    from sklearn.isotonic import IsotonicRegression

    least = 1 / (len(score) + 2)
    fitted = IsotonicRegression(y_min=least, y_max=1 - least).fit(score, positive.astype(np.float64))
    return Steps(
        tuple(fitted.X_thresholds_.astype(float).tolist()), tuple(map(float, np.asarray(logit(fitted.y_thresholds_))))
    )


def stepped(logits: Float[np.ndarray, "rows classes"], steps: tuple[Steps, ...]) -> Float[np.ndarray, "rows classes"]:
    """Log-probabilities of classes, each by its own steps against all others, made to sum to one.

    A class without steps keeps its probability.
    """
    probability = np.exp(log_softmax(logits, axis=1))
    odds = logit(np.clip(probability, 1e-12, 1 - 1e-12))
    each = [curve(odds[:, i]) if curve.score else odds[:, i] for i, curve in enumerate(steps)]
    share = expit(np.stack(each, axis=1))
    return np.asarray(np.log(share / share.sum(axis=1, keepdims=True)))


def class_steps(logits: Float[np.ndarray, "rows classes"], answer: np.ndarray) -> tuple[Steps, ...]:
    """Isotonic steps of each class against all others; none for a class that all rows or no row has."""
    probability = np.clip(np.exp(log_softmax(logits, axis=1)), 1e-12, 1 - 1e-12)
    found = []
    for code in range(logits.shape[1]):
        held = answer == code
        mixed = held.any() and not held.all()
        found.append(isotonic(np.asarray(logit(probability[:, code])), held) if mixed else Steps((), ()))
    return tuple(found)
