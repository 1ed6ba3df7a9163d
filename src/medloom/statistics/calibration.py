"""Whether predicted probabilities mean what they say: slope, intercept.

Source: Cox, "Two further applications of a model for binary regression", Biometrika 45, 1958; Van Calster et al.,
"Calibration: the Achilles heel of predictive analytics", BMC Medicine 17, 2019.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.special import expit

from medloom.statistics._rows import known, take

NEAREST = 1e-7
"""Probabilities are held this far from 0 and 1 before the logit: about the step of float32 below 1."""
ITERATIONS = 60
TOLERANCE = 1e-9
SMALLEST_SPREAD = 1e-12
"""Logits that vary less than this are one logit, to which no slope belongs."""
LONGEST_STEP = 4.0
"""In logits (for the slope: per standard deviation), so that no step ends where every probability is 0 or 1."""


def slope(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Slope of the logistic regression of the truth on logit(probability); 1 is ideal, below 1 is overconfident.

    NaN where it cannot be estimated: one class only, one probability only, or classes that the probability separates.
    """
    prepared = _prepared(truth, probability, weight)
    if prepared is None:
        return np.full(len(weight), np.nan)
    truth, logit, weight = prepared
    spread = logit.std()
    if spread < SMALLEST_SPREAD:
        return np.full(len(weight), np.nan)
    # On standardised logits both parameters have one scale, which keeps Newton's steps well conditioned.
    design = np.stack([np.ones_like(logit), (logit - logit.mean()) / spread])
    return maximum_likelihood(truth, design, np.zeros_like(logit), weight)[:, 1] / spread


def intercept(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """Calibration in the large: the intercept of a logistic regression with logit(probability) as offset; 0 is ideal.

    Above 0 the probabilities are too low on average. NaN where a resample holds one class only.
    """
    prepared = _prepared(truth, probability, weight)
    if prepared is None:
        return np.full(len(weight), np.nan)
    truth, logit, weight = prepared
    return maximum_likelihood(truth, np.ones((1, len(logit))), logit, weight)[:, 0]


def _prepared(
    truth: Shaped[np.ndarray, " rows"],
    probability: Shaped[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    truth, probability, weight = take(known(truth), truth, probability, weight)
    if not len(truth) or np.isnan(probability).any():
        return None
    return (truth == 1).astype(np.float64), logits(probability), weight


def logits(probability: Shaped[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """Log-odds, held finite."""
    held = np.clip(np.asarray(probability, np.float64), NEAREST, 1 - NEAREST)
    return np.log(held) - np.log1p(-held)


def maximum_likelihood(
    truth: Float[np.ndarray, " rows"],
    design: Float[np.ndarray, "parameters rows"],
    offset: Float[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, "resamples parameters"]:
    """Logistic regression in every resample at once, each begun where the regression on all of them together ends."""
    origin = np.zeros(len(design))
    together = _newton(truth, design, offset, weight.mean(axis=0, keepdims=True), origin)[0]
    return _newton(truth, design, offset, weight, together if np.isfinite(together).all() else origin)


def _newton(
    truth: Float[np.ndarray, " rows"],
    design: Float[np.ndarray, "parameters rows"],
    offset: Float[np.ndarray, " rows"],
    weight: Float[np.ndarray, "resamples rows"],
    origin: Float[np.ndarray, " parameters"],
) -> Float[np.ndarray, "resamples parameters"]:
    """Newton's method with bounded steps; a step that overshoots is halved.

    The likelihood is concave, so its slope along a step tells an overshoot: it turned, and is nearly as steep as before.
    """
    products = (design[:, None] * design[None]).reshape(-1, len(truth)).T
    result = np.full((len(weight), len(design)), np.nan)
    active = np.flatnonzero(_both_classes(truth, weight))
    weight = weight[active] if len(active) < len(weight) else weight
    accepted = np.tile(origin, (len(active), 1))
    step, steepness = np.zeros_like(accepted), np.zeros(len(active))
    for _ in range(ITERATIONS):
        if not len(active):
            break
        trial = accepted + step
        mean = expit(trial @ design + offset)
        score = (weight * (truth - mean)) @ design.T
        better = (score * step).sum(axis=1) >= -0.9 * steepness
        accepted[better] = trial[better]
        mean *= 1 - mean
        newton = _solved(((mean * weight) @ products).reshape(-1, len(design), len(design)), score, weight.sum(axis=1))
        length = np.abs(newton).max(axis=1, keepdims=True)
        done = better & (length[:, 0] < TOLERANCE)
        result[active[done]] = accepted[done]
        newton = newton * np.minimum(1, LONGEST_STEP / np.maximum(length, TOLERANCE))
        step = np.where(better[:, None], newton, step / 2)
        steepness = np.where(better, (score * newton).sum(axis=1), steepness)
        keep = ~done & np.isfinite(step).all(axis=1)
        if not keep.all():
            active, accepted, weight = active[keep], accepted[keep], weight[keep]
            step, steepness = step[keep], steepness[keep]
    return result


def _solved(
    information: Float[np.ndarray, "resamples parameters parameters"],
    score: Float[np.ndarray, "resamples parameters"],
    total: Float[np.ndarray, " resamples"],
) -> Float[np.ndarray, "resamples parameters"]:
    """Information⁻¹ · score, NaN where the information is singular (a flat likelihood: the classes are separated)."""
    diagonal = np.diagonal(information, axis1=1, axis2=2)
    weightless = (diagonal <= 1e-10 * total[:, None]).any(axis=1)
    flat = weightless | ~(np.linalg.det(information) > 1e-10 * diagonal.prod(axis=1))
    step = np.linalg.solve(np.where(flat[:, None, None], np.eye(score.shape[1]), information), score[..., None])[..., 0]
    step[flat] = np.nan
    return step


def _both_classes(
    truth: Float[np.ndarray, " rows"], weight: Float[np.ndarray, "resamples rows"]
) -> Bool[np.ndarray, " resamples"]:
    positive = weight @ truth
    return (positive > 0) & (weight @ (1 - truth) > 0)
