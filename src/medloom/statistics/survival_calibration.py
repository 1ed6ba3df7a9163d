"""Whether predicted risks by a horizon mean what they say, where some rows are censored before it.

Weights are "resamples rows". Rows with a NaN time do not count. A horizon that the rows of a resample are not followed to
gives NaN.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from medloom.statistics._rows import divide, known, mean, take
from medloom.statistics.smooth import mean_distance, neighbours, smoothed
from medloom.statistics.survival import _after, _inverse_before, kaplan_meier


def observed_over_expected(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    risk: Shaped[np.ndarray, " rows"],
    horizon: float,
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """The risk that Kaplan and Meier find by the horizon over the mean predicted risk: 1 is ideal, above 1 too little

    risk is predicted. Source: Riley et al., "External validation of clinical prediction models using big datasets", BMJ
    353, 2016.
    """
    time, event, risk, weight = take(known(time), time, event, risk, weight)
    if not len(time) or not np.isfinite(risk).all():
        return np.full(len(weight), np.nan)
    observed = 1 - _after(*kaplan_meier(time, event, weight), np.array([horizon]))[:, 0]
    # Past the last time that is followed nothing is known, unless nobody was left.
    followed = ((weight > 0) & (time >= horizon)).any(axis=1) | (observed >= 1 - 1e-12)
    return np.where(followed, divide(observed, mean(risk, weight)), np.nan)


def index_at(
    time: Shaped[np.ndarray, " rows"],
    event: Shaped[np.ndarray, " rows"],
    risk: Shaped[np.ndarray, " rows"],
    horizon: float,
    weight: Float[np.ndarray, "resamples rows"],
) -> Float[np.ndarray, " resamples"]:
    """The integrated calibration index at a horizon: mean distance of the smoothed observed risk from the predicted one.

    What happened by the horizon is smoothed by local regression on the predicted risk, of the rows of which it is known,
    each weighted by the inverse probability of not being censored. Source: Austin, Harrell & van Klaveren, "Graphical
    calibration curves and the integrated calibration index (ICI) for survival models", Statistics in Medicine 39, 2020,
    for the index; Graf et al., Statistics in Medicine 18, 1999, for the weights.
    """
    time, event, risk, weight = take(known(time), time, event, risk, weight)
    risk = np.asarray(risk, np.float64)
    if not len(time) or not np.isfinite(risk).all():
        return np.full(len(weight), np.nan)
    happened = (event == 1) & (time <= horizon)
    outlived = time > horizon
    inverse = _inverse_before(time, event, weight, np.where(outlived, horizon, time))
    told = weight * inverse * (happened | outlived)
    near = neighbours(risk)
    curve = smoothed(near, near.sums(told), near.sums(told * happened))
    followed = ((weight > 0) & outlived).any(axis=1) & ((weight > 0) & (happened | outlived)).any(axis=1)
    return np.where(followed, mean_distance(np.abs(curve - near.place), near.sums(weight)), np.nan)
