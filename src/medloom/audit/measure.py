"""How well one column, or all columns together, tell an answer: out of sample, for any kind of answer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm, rankdata

from medloom.audit.evidence import Column, Evidence, Outcome
from medloom.statistics.survival import harrell

FIGURES = {"binary": "AUROC", "number": "R² of ranks", "survival": "concordance"}
NOTHING = {"binary": 0.5, "number": 0.0, "survival": 0.5}
"""What a column that tells nothing scores."""
FEWEST = 8
"""Rows of either class, below which nothing is scored."""
MODEL_ROWS = 2_500
FOLDS = 5


def score(outcome: Outcome, predicted: Float[np.ndarray, " rows"], rows: Int[np.ndarray, " some"]) -> float:
    """AUROC of two classes, squared rank correlation with a number, concordance with survival; `predicted` as `rows`."""
    value = outcome.value[rows]
    if outcome.kind == "binary":
        return auroc(value, predicted)
    if outcome.kind == "number":
        return correlation(rankdata(value), rankdata(predicted)) ** 2
    assert outcome.event is not None
    concordance = harrell(value, outcome.event[rows], predicted, np.ones((1, len(rows))))[0]
    return 0.5 if np.isnan(concordance) else float(concordance)


def auroc(truth: Float[np.ndarray, " rows"], predicted: Float[np.ndarray, " rows"]) -> float:
    """Area under the ROC curve, ties counting half; 0.5 where a class has no row."""
    positive = truth > 0.5
    cases, controls = int(positive.sum()), int((~positive).sum())
    if not cases or not controls:
        return 0.5
    return float((rankdata(predicted)[positive].sum() - cases * (cases + 1) / 2) / (cases * controls))


def correlation(one: Float[np.ndarray, " rows"], other: Float[np.ndarray, " rows"]) -> float:
    """Pearson's correlation; 0 where one is constant."""
    one, other = one - one.mean(), other - other.mean()
    spread = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / spread) if spread > 0 else 0.0


def enough(outcome: Outcome, rows: Int[np.ndarray, " some"]) -> bool:
    """Whether these rows can say anything about the answer."""
    if len(rows) < 3 * FEWEST:
        return False
    if outcome.kind == "number":
        return len(np.unique(outcome.value[rows])) > 2
    cases = int((outcome.value[rows] > 0.5).sum()) if outcome.event is None else int((outcome.event[rows] > 0.5).sum())
    return cases >= FEWEST and (outcome.event is not None or len(rows) - cases >= FEWEST)


def surprise(outcome: Outcome, found: float, rows: Int[np.ndarray, " some"]) -> float:
    """How many standard errors a score lies above nothing, were nothing there."""
    value = outcome.value[rows]
    if outcome.kind == "number":
        return float(np.sqrt(max(found, 0.0) * len(rows)))
    if outcome.event is not None:
        events = float((outcome.event[rows] > 0.5).sum())
        return (found - 0.5) / np.sqrt(1 / (12 * max(events, 1.0)))
    cases = float((value > 0.5).sum())
    controls = len(value) - cases
    return (found - 0.5) / np.sqrt((cases + controls + 1) / (12 * cases * controls))


def beyond_chance(z: float, tries: int, level: float = 1e-3) -> bool:
    """Whether so many standard errors are more than chance gives in so many tries."""
    return bool(norm.sf(z) * max(tries, 1) < level)


def response(outcome: Outcome) -> Float[np.ndarray, " rows"]:
    """One number a row that rises with what is asked: the class, the rank of the number, the martingale residual.

    Source of the residual: Therneau, Grambsch & Fleming, "Martingale-based residuals for survival models",
    Biometrika 77, 1990; of the model without covariates.
    """
    known = outcome.known
    result = np.full(len(outcome.value), np.nan)
    if outcome.kind == "binary":
        return outcome.value
    if outcome.kind == "number":
        result[known] = rankdata(outcome.value[known]) / known.sum()
        return result
    assert outcome.event is not None
    time, event = outcome.value[known], outcome.event[known]
    order = np.argsort(time, kind="stable")
    at_risk = len(time) - np.searchsorted(time[order], time[order], side="left")
    hazard = np.cumsum(event[order] / at_risk)
    last = np.searchsorted(time[order], time, side="right") - 1
    result[known] = event - hazard[last]
    return result


def by_bins(
    bins: Int[np.ndarray, " rows"], answer: Float[np.ndarray, " rows"], fold: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """Mean answer of each row's bin among the rows of other folds, drawn to the mean of all by two rows."""
    many = int(bins.max()) + 1
    total = np.bincount(bins * FOLDS + fold, answer, many * FOLDS).reshape(many, FOLDS)
    count = np.bincount(bins * FOLDS + fold, minlength=many * FOLDS).reshape(many, FOLDS)
    prior = answer.mean()
    rest = total.sum(axis=1, keepdims=True) - total
    number = count.sum(axis=1, keepdims=True) - count
    return ((rest + 2 * prior) / (number + 2))[bins, fold]


def bins_of(number: Float[np.ndarray, " rows"], most: int) -> Int[np.ndarray, " rows"]:
    """The quantile bin of each number, at most `most` of them; equal numbers share a bin."""
    edges = np.unique(np.quantile(number, np.linspace(0, 1, most + 1)[1:-1], method="lower"))
    return np.searchsorted(edges, number, side="left")


def alone(
    column: Column, outcome: Outcome, evidence: Evidence, answer: Float[np.ndarray, " rows"]
) -> tuple[float, Int[np.ndarray, " some"]]:
    """Score of one column where it has a value, and the rows that were scored.

    The better of its order alone and of the mean answer in its bins, which is out of sample. `answer` is `response`.
    """
    rows = evidence.sample[(column.present & outcome.known)[evidence.sample]]
    if not enough(outcome, rows) or len(column.values) < 2:
        return NOTHING[outcome.kind], rows
    found = []
    if column.is_word:
        bins = column.code[rows]
    else:
        number = column.number[rows]
        bins = bins_of(number, int(np.clip(len(rows) // 12, 4, 64)))
        plain = score(outcome, number, rows)
        found.append(plain if outcome.kind == "number" else max(plain, 1 - plain))
    predicted = by_bins(bins, answer[rows], evidence.fold_of[rows])
    # A fold's own mean is left out of its bins, so a column that says nothing would score backwards, and not by chance.
    found.append(score(outcome, predicted, rows) if correlation(predicted, answer[rows]) > 0 else 0.0)
    return max(found), rows


def together(columns: Sequence[Column], evidence: Evidence, outcome: Outcome, suffices: float = 1.0) -> float:
    """Score of a model of all these columns, out of sample: the better of a ridge regression and boosted trees.

    The trees are not asked where the regression reaches `suffices`.
    """
    rows = evidence.sample[outcome.known[evidence.sample]]
    if len(rows) > MODEL_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, MODEL_ROWS).astype(np.int64)]
    values = matrix(columns, rows)
    values = values[:, np.nanmax(values, axis=0, initial=-np.inf) > np.nanmin(values, axis=0, initial=np.inf)]
    if not values.shape[1] or not enough(outcome, rows):
        return NOTHING[outcome.kind]
    answer, fold = response(outcome)[rows], evidence.fold_of[rows] % 3
    best = 0.0
    for predict in (_ridge, _boosted):
        predicted = np.zeros(len(rows))
        for part in range(3):
            taught, judged = fold != part, fold == part
            if judged.any() and taught.any():
                predicted[judged] = predict(values[taught], answer[taught], values[judged])
        best = max(best, score(outcome, predicted, rows))
        if best >= suffices:
            break
    return best


def matrix(columns: Sequence[Column], rows: Int[np.ndarray, " some"]) -> Float[np.ndarray, "some features"]:
    """Numbers as they are, and 0 or 1 for each of the twelve commonest words of a column."""
    parts: list[Any] = [np.zeros((len(rows), 0))]
    for column in columns:
        if column.is_word:
            common = np.argsort(-column.tally, kind="stable")[:12]
            parts.append((column.code[rows][:, None] == common).astype(np.float64))
        else:
            parts.append(column.number[rows][:, None])
    return np.concatenate(parts, axis=1)


def _ridge(taught: np.ndarray, answer: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """A ridge regression on standardised numbers, gaps filled with medians."""
    from sklearn.linear_model import RidgeCV

    middle = np.nan_to_num(_quietly(np.nanmedian, taught))
    filled = [np.where(np.isnan(x), middle, x) for x in (taught, judged)]
    centre, spread = filled[0].mean(axis=0), filled[0].std(axis=0)
    scaled = [np.clip((x - centre) / np.where(spread > 0, spread, 1.0), -6, 6) for x in filled]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RidgeCV(alphas=(0.1, 1.0, 10.0, 100.0)).fit(scaled[0], answer).predict(scaled[1])


def _boosted(taught: np.ndarray, answer: np.ndarray, judged: np.ndarray) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(
        max_iter=60, max_leaf_nodes=15, min_samples_leaf=8, learning_rate=0.15, early_stopping=False, random_state=0
    )
    return trees.fit(taught, answer).predict(judged)


def _quietly(function: Any, values: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(values, axis=0)
