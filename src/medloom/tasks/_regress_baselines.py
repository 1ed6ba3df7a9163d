"""Simple models for numbers: the mean alone, the best single feature, a ridge regression, gradient boosting.

Each gives what the head of a regression gives, `{"logits": [rows, 1 + quantiles]}`: the number in the unit of the loss
(of counts the logarithm of the rate over the mean rate), then the quantiles.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from medloom import fitted
from medloom.batch import Field, Output
from medloom.task import Block, Member
from medloom.tasks import _best_feature
from medloom.tasks._models import KINDS, Constant, Forest, Linear, Model
from medloom.tasks._plain import strongest

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Strengths that the ridge penalty chooses among, of squared errors of standardised features."""
COUNT_PENALTIES = (0.0001, 0.001, 0.01, 0.1, 1.0)
"""The same for counts, whose deviance is a mean over rows."""
BOOSTING_SETTINGS = ((0.1, 31), (0.1, 7), (0.03, 15))
"""Learning rate and most leaves of a tree that gradient boosting chooses among."""
MOST_TREES = 300
UNTUNED_TREES = 100
LEAST_RATE = 1e-6
"""Least predicted rate of a count, as a share of the mean rate."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """Numbers in the unit of the column: what the model scores (its exponential where `rate`), held to `bounds`, plus `shift`.

    The bounds are the least and the greatest number of the training rows: an outlying feature says anything.
    """

    model: Model
    rate: Bool[np.ndarray, ""]
    bounds: Float[np.ndarray, "2"]
    shift: Float[np.ndarray, ""]

    def __call__(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, " rows"]:
        score = self.model.score(features)[:, 0]
        return np.clip(np.exp(score) if self.rate else score, *self.bounds) + self.shift


@dataclass(frozen=True, slots=True)
class Unit:
    """The loss, its centre and scale, and the quantiles: what a number of the column is to the head."""

    loss: str
    centre: float
    scale: float
    quantiles: tuple[float, ...]

    @property
    def robust(self) -> bool:
        """Whether a few outlying numbers shall not count for more than others."""
        return self.loss in {"absolute", "huber"}

    def number(self, value: Float[np.ndarray, " rows"]) -> np.ndarray:
        """Predicted numbers as the head gives them."""
        if self.loss == "poisson":
            return np.log(np.maximum(value / self.centre, LEAST_RATE))
        return (value - self.centre) / self.scale


@dataclass(frozen=True, slots=True)
class Problem:
    """Features and numbers of the rows that teach, and of those that choose settings."""

    features: Float[np.ndarray, "rows features"]
    truth: Float[np.ndarray, " rows"]
    valid_features: Float[np.ndarray, "valid features"]
    valid_truth: Float[np.ndarray, " valid"]


class _Regression(Member):
    """A predictor of the number, and a predictor of each quantile."""

    def __init__(self, unit: Unit, seed: int) -> None:
        self._unit = unit
        self._seed = seed
        self._number: Predictor = _constant(unit.centre)
        self._quantiles: list[Predictor] = []

    @abstractmethod
    def _learn(self, problem: Problem) -> tuple[Predictor, list[Predictor]]:
        """The number and the quantiles, from training rows with a known value of some feature."""

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Learns from the rows whose number is known; validation rows choose the settings where there are any."""
        problem = Problem(*_gather(train), *_gather(valid))
        learnable = problem.features.size and not np.isnan(problem.features).all()
        learn = self._learn if learnable else self._marginal
        self._number, self._quantiles = learn(problem)

    def answer(self, plain: Float[np.ndarray, "rows features"]) -> Output:
        """Numbers as the head gives them, float32."""
        features = np.asarray(plain, np.float64)
        unit = self._unit
        columns = [unit.number(self._number(features))]
        columns += [(quantile(features) - unit.centre) / unit.scale for quantile in self._quantiles]
        return {"logits": torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))}

    def arrays(self) -> dict[str, np.ndarray]:
        each = [self._number, *self._quantiles]
        return {f"{i}/{name}": array for i, one in enumerate(each) for name, array in fitted.arrays(one).items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        count = 1 + len(self._unit.quantiles)
        each = [fitted.from_arrays(Predictor, fitted.below(arrays, f"{i}/"), KINDS) for i in range(count)]
        self._number, self._quantiles = each[0], each[1:]

    def _marginal(self, problem: Problem) -> tuple[Predictor, list[Predictor]]:
        middle = float(np.median(problem.truth) if self._unit.robust else problem.truth.mean())
        return _constant(middle), [_constant(float(np.quantile(problem.truth, q))) for q in self._unit.quantiles]

    def _around(self, number: Predictor, problem: Problem) -> list[Predictor]:
        """Quantiles as the number plus those of the errors: of validation rows where there are enough, else training."""
        enough = len(problem.valid_truth) >= 50
        features, truth = (problem.valid_features, problem.valid_truth) if enough else (problem.features, problem.truth)
        error = truth - number(features)
        return [replace(number, shift=np.array(number.shift + np.quantile(error, q))) for q in self._unit.quantiles]

    def _loss(self, number: Predictor, problem: Problem) -> float:
        value, truth = number(problem.valid_features), problem.valid_truth
        if self._unit.loss == "poisson":
            return float((value - truth * np.log(np.maximum(value, 1e-12))).mean())
        error = np.abs(value - truth)
        return float(error.mean() if self._unit.robust else (error**2).mean())

    def _best(self, candidates: list[Predictor], problem: Problem) -> int:
        """The one with the least loss on the validation rows; the first without them."""
        if len(candidates) == 1 or not len(problem.valid_truth):
            return 0
        return int(np.argmin([self._loss(number, problem) for number in candidates]))


class Mean(_Regression):
    """The mean of the training rows, whatever the inputs; their median where the loss is absolute or huber."""

    def __init__(self, unit: Unit, seed: int) -> None:
        super().__init__(unit, seed)
        self.label = "Median alone" if unit.robust else "Mean alone"

    def _learn(self, problem: Problem) -> tuple[Predictor, list[Predictor]]:
        return self._marginal(problem)


class BestFeature(_Regression):
    """The one feature that tells the number best, by a curve over its quantiles (`_best_feature`).

    It is chosen by the squared error of the validation rows; without them by that of each fifth of the training rows.
    """

    label = "Best single feature"

    def _learn(self, problem: Problem) -> tuple[Predictor, list[Predictor]]:
        chosen = strongest(problem.features, problem.truth, _best_feature.MOST_FEATURES)
        some = len(problem.valid_truth) > 0
        valid = (problem.valid_features if some else problem.features[:0], problem.valid_truth[:, None])
        model = _best_feature.best(
            problem.features,
            problem.truth[:, None],
            valid,
            chosen,
            np.asarray,
            lambda made, true: float(((made - true) ** 2).mean()),
        )
        number = _predictor(model, False, problem.truth)
        return number, self._around(number, problem)


class Ridge(_Regression):
    """A linear regression with a ridge penalty; of counts a Poisson regression.

    Missing values become the median, with an indicator beside them; features are standardised. The penalty is chosen
    by the loss of the validation rows. Quantiles are those of its errors. Of more features than are affordable, those
    that correlate most with the answer are kept.
    """

    label = "Ridge regression"

    def _learn(self, problem: Problem) -> tuple[Predictor, list[Predictor]]:
        chosen = strongest(problem.features, problem.truth)
        counts = self._unit.loss == "poisson"
        penalties = COUNT_PENALTIES if counts else PENALTIES
        candidates = []
        for penalty in penalties if len(problem.valid_truth) else penalties[1:2]:
            model = _linear(penalty, counts)
            with warnings.catch_warnings():
                # A fit stopped at its last iteration is judged by the validation rows like any other.
                warnings.filterwarnings("ignore", category=_convergence_warning())
                model.fit(problem.features[:, chosen], problem.truth)
            linear = Linear.of(model, chosen, model[-1].coef_, model[-1].intercept_)
            candidates.append(_predictor(linear, counts, problem.truth))
        number = candidates[self._best(candidates, problem)]
        return number, self._around(number, problem)


class GradientBoosting(_Regression):
    """Boosted trees on histograms, for the same loss (absolute in place of huber) and, so set, for each quantile.

    Missing values are a branch of their own. Learning rate and leaves are chosen by the loss of the validation rows,
    which also stop the boosting (at most 300 trees); without them 100 trees of at most 7 leaves.
    """

    label = "Gradient boosting"

    def _learn(self, problem: Problem) -> tuple[Predictor, list[Predictor]]:
        chosen = strongest(problem.features, problem.truth)
        loss = "poisson" if self._unit.loss == "poisson" else "absolute_error" if self._unit.robust else "squared_error"
        if loss == "poisson" and not (problem.valid_truth > 0).any():
            # scikit-learn refuses counts that are all 0.
            problem = Problem(problem.features, problem.truth, problem.valid_features[:0], problem.valid_truth[:0])
        settings = BOOSTING_SETTINGS if len(problem.valid_truth) else ((0.1, 7),)
        candidates = [self._boosted(problem, chosen, setting, loss=loss) for setting in settings]
        best = self._best(candidates, problem)
        quantiles = [
            self._boosted(problem, chosen, settings[best], loss="quantile", quantile=q) for q in self._unit.quantiles
        ]
        return candidates[best], quantiles

    def _boosted(self, problem: Problem, chosen: np.ndarray, setting: tuple[float, int], **loss: Any) -> Predictor:
        from sklearn.ensemble import HistGradientBoostingRegressor

        stops = len(problem.valid_truth) > 0
        model = HistGradientBoostingRegressor(
            learning_rate=setting[0],
            max_leaf_nodes=setting[1],
            max_iter=MOST_TREES if stops else UNTUNED_TREES,
            min_samples_leaf=max(2, min(20, len(problem.truth) // 25)),
            early_stopping=stops,
            n_iter_no_change=15,
            random_state=self._seed % 2**32,
            **loss,
        )
        valid = {"X_val": problem.valid_features[:, chosen], "y_val": problem.valid_truth} if stops else {}
        model.fit(problem.features[:, chosen], problem.truth, **valid)
        return _predictor(Forest.of(model, chosen), loss["loss"] == "poisson", problem.truth)


def _linear(penalty: float, counts: bool) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import PoissonRegressor
    from sklearn.linear_model import Ridge as Linear
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        PoissonRegressor(alpha=penalty, max_iter=500) if counts else Linear(alpha=penalty),
    )


def _convergence_warning() -> type[Warning]:
    from sklearn.exceptions import ConvergenceWarning

    return ConvergenceWarning


def _predictor(model: Model, rate: bool, truth: np.ndarray) -> Predictor:
    return Predictor(model, np.array(rate), np.array([truth.min(), truth.max()], np.float64), np.array(0.0))


def _constant(value: float) -> Predictor:
    return Predictor(Constant(np.array([value])), np.array(False), np.array([-np.inf, np.inf]), np.array(0.0))


def _gather(blocks: Iterable[Block]) -> tuple[np.ndarray, np.ndarray]:
    """Features and numbers of the rows whose number is known."""
    held = [(np.asarray(block.plain, np.float64), *_truth(block.target)) for block in blocks]
    if not held:
        return np.zeros((0, 0)), np.zeros(0)
    return np.concatenate([f[k] for f, _, k in held]), np.concatenate([t[k] for _, t, k in held])


def _truth(target: Field) -> tuple[np.ndarray, np.ndarray]:
    return target.value.double().numpy(), target.present.numpy()
