"""Ridge regression of classes: what suits thousands of plain numbers of few rows, such as convolutions of a signal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from medloom.tasks._baselines import Predictor, Problem, _affordable, _Classifier, _predictor, _strongest
from medloom.tasks._models import Linear

PENALTIES = tuple(10.0**power for power in np.arange(-5.0, 2.5, 0.5))
"""Strengths of the penalty, as shares of the mean variance of a direction."""
SHARPEST = 60.0
"""Greatest slope from scores, which lie about between 0 and 1, to log-odds."""


class RidgeClasses(_Classifier):
    """Least squares on indicators of the classes with a ridge penalty, then one slope from scores to log-odds.

    Missing values become the median, with an indicator beside them; features are standardised. Penalty and slope are
    those of the least log-loss on the validation rows; without them, of each training row as predicted by all others,
    which least squares give in closed form. Where rows × features are more than 20 million, only the features whose
    means differ most between the classes of the training rows are kept.

    Source: Allen, "The relationship between variable selection and data augmentation and a method for prediction",
    Technometrics 16, 1974 (predictions that leave one out); Rifkin & Klautau, Journal of Machine Learning Research 5,
    2004 (least squares on indicators beside other classifiers).
    """

    label = "Ridge regression of classes"
    asked_only: ClassVar[bool] = True

    def _learn(self, problem: Problem) -> Predictor:
        chosen = _strongest(problem, _affordable(problem))
        features = problem.features[:, chosen]
        present = np.unique(problem.codes)
        prepared = Standardised.of(features)
        hot = (problem.codes[:, None] == present).astype(np.float64)
        scored = np.isin(problem.valid_codes, present) & problem.can_choose
        valid = None
        if scored.any():
            valid = prepared.standard(problem.valid_features[scored][:, chosen])
        place = np.searchsorted(present, problem.codes if valid is None else problem.valid_codes[scored])
        best = (np.inf, np.zeros((0, 0)), 1.0)
        for weight, left_out in _ridges(prepared.standard(features), hot):
            score = left_out if valid is None else valid @ weight + hot.mean(axis=0)
            loss, slope = _slope(score, place)
            if loss < best[0]:
                best = (loss, weight, slope)
        _, weight, slope = best
        linear = Linear(
            chosen,
            prepared.median,
            prepared.holes,
            prepared.mean,
            prepared.scale,
            weight * slope,
            hot.mean(axis=0) * slope,
        )
        return _predictor(linear, present, problem)


@dataclass(frozen=True, slots=True)
class Standardised:
    """How features become columns, as `Linear` makes them."""

    median: Float[np.ndarray, " chosen"]
    holes: Int[np.ndarray, " holes"]
    mean: Float[np.ndarray, " columns"]
    scale: Float[np.ndarray, " columns"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "rows chosen"]) -> Standardised:
        missing = np.isnan(features)
        holes = np.flatnonzero(missing.any(axis=0))
        median = np.nanmedian(features, axis=0) if features.size else np.zeros(features.shape[1])
        columns = np.concatenate([np.where(missing, median, features), missing[:, holes]], axis=1)
        scale = columns.std(axis=0)
        return cls(median, holes, columns.mean(axis=0), np.where(scale > 1e-12, scale, 1.0))

    def standard(self, features: Float[np.ndarray, "rows chosen"]) -> Float[np.ndarray, "rows columns"]:
        missing = np.isnan(features)
        columns = np.concatenate([np.where(missing, self.median, features), missing[:, self.holes]], axis=1)
        return (columns - self.mean) / self.scale


def _ridges(
    columns: Float[np.ndarray, "rows columns"], hot: Float[np.ndarray, "rows classes"]
) -> Iterator[tuple[Float[np.ndarray, "columns classes"], Float[np.ndarray, "rows classes"]]]:
    """For each penalty: weights, and the score of each row as predicted from all others.

    One decomposition serves all penalties, on the shorter side of the table.
    """
    rows, width = columns.shape
    wide = width > rows
    square, axes = np.linalg.eigh(columns @ columns.T if wide else columns.T @ columns)
    kept = square > max(square.max(initial=0.0), 1e-12) * 1e-10
    square, axes = square[kept], axes[:, kept]
    # Rows along the directions of the table, each of length 1, and how the columns lead there.
    along = axes if wide else columns @ (axes / np.sqrt(square))
    back = columns.T @ (axes / np.sqrt(square)) if wide else axes
    share = hot.mean(axis=0)
    found = along.T @ (hot - share)
    typical = square.sum() / max(len(square), 1)
    for penalty in PENALTIES:
        shrunk = square / (square + penalty * typical)
        score = share + along @ (shrunk[:, None] * found)
        own = (1 / rows + np.square(along) @ shrunk)[:, None]
        yield back @ ((shrunk / np.sqrt(square))[:, None] * found), (score - own * hot) / np.maximum(1 - own, 1e-9)


def _slope(score: Float[np.ndarray, "rows classes"], place: Int[np.ndarray, " rows"]) -> tuple[float, float]:
    """The least log-loss that any slope up to `SHARPEST` gives, and that slope."""
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    own = score[np.arange(len(score)), place]
    found = minimize_scalar(
        lambda slope: float((logsumexp(slope * score, axis=1) - slope * own).mean()),
        bounds=(1e-3, SHARPEST),
        method="bounded",
    )
    return float(found.fun), float(found.x)
