"""Simple models for class targets: the prevalence alone, the best single feature, logistic regression, gradient boosting.

Each gives what the classification head gives, `{"logits": …}`: one logit of the positive class for two classes,
log-probabilities for several, one logit a label for labels. Labels are learnt one by one, each from the rows on which
it is known.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from medloom import fitted
from medloom.batch import Field, Output
from medloom.task import Block, Member
from medloom.tasks import _best_feature
from medloom.tasks._models import KINDS, Constant, Forest, Linear, Model

Kind = Literal["binary", "multiclass", "multilabel"]
LEAST = 1e-7
"""Probability given to a class that no training row has, and the distance of every probability from 0 and 1."""
CELLS = 20_000_000
"""Training values (rows × features) a model is given, at most; but always `FEWEST_FEATURES`."""
FEWEST_FEATURES = 500
BOOSTING_FEATURES = 500
PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""Inverse strengths C of the ridge penalty that logistic regression chooses among."""
BOOSTING_SETTINGS = ((0.1, 31), (0.1, 7), (0.03, 15))
"""Learning rate and most leaves of a tree that gradient boosting chooses among."""
WIDE, SAMPLED_SHARE = 64, 0.2
"""Of more features than this each split of a tree looks at about so many, drawn at random, or at this share of them."""
WIDE_SETTING, DRAWS = (0.05, 8), 3
"""Learning rate and leaves in wide tables with few validation rows, and how many boostings are averaged."""
ENOUGH_TO_CHOOSE = 1_000
"""Validation rows from which on settings are chosen by them in wide tables too."""
PATIENCE, DRAWN_PATIENCE = 15, 40
"""Trees without a better validation loss after which boosting stops."""
MOST_TREES = 300
UNTUNED_TREES = 100
"""Trees where no validation rows say when to stop."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One question of classes: features and codes of the rows that teach, and of those that choose settings."""

    features: Float[np.ndarray, "rows features"]
    codes: Int[np.ndarray, " rows"]
    valid_features: Float[np.ndarray, "valid features"]
    valid_codes: Int[np.ndarray, " valid"]
    classes: int
    seed: int

    @property
    def can_choose(self) -> bool:
        """Whether validation rows of two classes or more exist to choose by."""
        return len(np.unique(self.valid_codes)) > 1


@dataclass(frozen=True, slots=True)
class Predictor:
    """Log-probabilities of `classes` classes from a model of those that its rows had, `present`."""

    model: Model
    present: Int[np.ndarray, " present"]
    classes: Int[np.ndarray, ""]

    def __call__(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows classes"]:
        from scipy.special import log_softmax

        score = self.model.score(features)
        if score.shape[1] == 1:
            score = np.concatenate([np.zeros_like(score), score], axis=1)
        log = np.full((len(features), int(self.classes)), np.log(LEAST))
        log[:, self.present] = np.maximum(log_softmax(score, axis=1), np.log(LEAST))
        return log


class _Classifier(Member):
    """One predictor for the classes, or one for each label."""

    def __init__(self, kind: Kind, classes: int, seed: int) -> None:
        self._kind = kind
        self._classes = classes
        self._seed = seed
        self._predictors: list[Predictor] = []

    @abstractmethod
    def _learn(self, problem: Problem) -> Predictor:
        """A predictor for a problem whose training rows have two classes or more, and a known value of some feature."""

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Learns from the rows whose target is known; validation rows choose the settings where there are any."""
        features, truth = self._gather(train)
        valid_features, valid_truth = self._gather(valid)
        self._predictors = []
        for column in range(truth.shape[1]):
            known, valid_known = ~np.isnan(truth[:, column]), ~np.isnan(valid_truth[:, column])
            problem = Problem(
                _those(features, known),
                truth[known, column].astype(np.int64),
                _those(valid_features, valid_known),
                valid_truth[valid_known, column].astype(np.int64),
                self._classes if self._kind == "multiclass" else 2,
                self._seed,
            )
            learnable = len(np.unique(problem.codes)) > 1 and not np.isnan(problem.features).all()
            self._predictors.append(self._learn(problem) if learnable else _prevalence(problem))

    def answer(self, plain: Float[np.ndarray, "rows features"]) -> Output:
        """Logits as the classification head gives them, float32."""
        features = np.asarray(plain, np.float64)
        each = [predictor(features) for predictor in self._predictors]
        logits = each[0] if self._kind == "multiclass" else np.stack([log[:, 1] - log[:, 0] for log in each], axis=1)
        return {"logits": torch.from_numpy(logits.astype(np.float32))}

    def arrays(self) -> dict[str, np.ndarray]:
        return {f"{i}/{name}": a for i, one in enumerate(self._predictors) for name, a in fitted.arrays(one).items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        count = 1 + max(int(name.partition("/")[0]) for name in arrays)
        self._predictors = [fitted.from_arrays(Predictor, fitted.below(arrays, f"{i}/"), KINDS) for i in range(count)]

    def _gather(self, blocks: Iterable[Block]) -> tuple[np.ndarray, np.ndarray]:
        """Features, and targets "rows problems" with NaN where unknown."""
        held = [(np.asarray(block.plain, np.float64), _truth(block.target)) for block in blocks]
        if not held:
            return np.zeros((0, 0)), np.zeros((0, self._classes if self._kind == "multilabel" else 1))
        if len(held) == 1:
            return held[0]
        return np.concatenate([f for f, _ in held]), np.concatenate([t for _, t in held])


class Majority(_Classifier):
    """The frequency of each class among the training rows, whatever the inputs."""

    label = "Prevalence alone"

    def _learn(self, problem: Problem) -> Predictor:
        return _prevalence(problem)


class Logistic(_Classifier):
    """Logistic regression with a ridge penalty.

    Missing values become the median, with an indicator beside them; features are standardised. The penalty is chosen
    by the log-loss of the validation rows, C = 1 without them. Where rows × features are more than 20 million, only
    the features whose means differ most between the classes of the training rows are kept.
    """

    label = "Logistic regression"

    def _learn(self, problem: Problem) -> Predictor:
        chosen = _strongest(problem, _affordable(problem))
        features = problem.features[:, chosen]
        candidates = []
        for penalty in PENALTIES if problem.can_choose else (1.0,):
            model = _logistic(penalty, problem.seed)
            with warnings.catch_warnings():
                # A fit stopped at its last iteration is judged by the validation rows like any other.
                warnings.filterwarnings("ignore", category=_convergence_warning())
                model.fit(features, problem.codes)
            linear = Linear.of(model, chosen, model[-1].coef_, model[-1].intercept_)
            candidates.append(_predictor(linear, model.classes_, problem))
        return _best(candidates, problem)


class GradientBoosting(_Classifier):
    """Boosted trees on histograms; missing values are a branch of their own.

    Learning rate and leaves are chosen by the log-loss of the validation rows, which also stop the boosting (at most
    300 trees); without them 100 trees of at most 7 leaves. In wide tables each split looks at some features, drawn at
    random; with few validation rows, which choose little but chance there, the mean of three such boostings of one
    setting is the answer. Of more than 500 features, or more than rows × features = 20 million, only those whose means differ most
    between the classes of the training rows are kept.

    Source: Friedman, "Greedy function approximation", Annals of Statistics 29, 2001 (boosting); Breiman, "Random
    forests", Machine Learning 45, 2001 (features drawn for each split).
    """

    label = "Gradient boosting"

    def _learn(self, problem: Problem) -> Predictor:
        chosen = _strongest(problem, min(BOOSTING_FEATURES, _affordable(problem)))
        features, codes = problem.features[:, chosen], problem.codes
        if not problem.can_choose:
            model = _boosting(0.1, 7, UNTUNED_TREES, features.shape, 0, problem.seed).fit(features, codes)
            return _predictor(Forest.of(model, chosen), model.classes_, problem)
        # Early stopping scores the classes that were trained on; a validation row of another one cannot be scored.
        scored = np.isin(problem.valid_codes, codes)
        valid = (problem.valid_features[:, chosen][scored], problem.valid_codes[scored])
        drawn = len(chosen) > WIDE and len(valid[1]) < ENOUGH_TO_CHOOSE
        forests = []
        for place, (rate, leaves) in enumerate((WIDE_SETTING,) * DRAWS if drawn else BOOSTING_SETTINGS):
            seed, patience = (problem.seed + place, DRAWN_PATIENCE) if drawn else (problem.seed, PATIENCE)
            stops = patience if scored.any() else 0
            model = _boosting(rate, leaves, MOST_TREES, features.shape, stops, seed)
            model.fit(features, codes, X_val=valid[0], y_val=valid[1]) if stops else model.fit(features, codes)
            forests.append(Forest.of(model, chosen))
        if drawn:
            return _predictor(Forest.mean(forests), model.classes_, problem)
        return _best([_predictor(forest, model.classes_, problem) for forest in forests], problem)


class BestFeature(_Classifier):
    """The one feature that tells the classes apart best, by a curve over its quantiles (`_best_feature`).

    It is chosen by the log-loss of the validation rows; without them by that of each fifth of the training rows.
    """

    label = "Best single feature"

    def _learn(self, problem: Problem) -> Predictor:
        chosen = _strongest(problem, min(_best_feature.MOST_FEATURES, _affordable(problem)))
        present = np.unique(problem.codes)
        hot = (problem.codes[:, None] == present).astype(np.float64)
        scored = np.isin(problem.valid_codes, present) & problem.can_choose
        valid_hot = (problem.valid_codes[scored][:, None] == present).astype(np.float64)
        valid = (problem.valid_features[scored] if scored.any() else problem.features[:0], valid_hot)
        model = _best_feature.best(problem.features, hot, valid, chosen, _log_shares, _log_loss)
        return _predictor(model, present, problem)


def _log_shares(shares: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(shares, LEAST))


def _log_loss(score: np.ndarray, hot: np.ndarray) -> float:
    from scipy.special import log_softmax

    return float(-(log_softmax(score, axis=1) * hot).sum(axis=1).mean())


def _logistic(penalty: float, seed: int) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=penalty, max_iter=500, random_state=seed),
    )


def _boosting(rate: float, leaves: int, trees: int, shape: tuple[int, ...], patience: int, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows, features = shape

    return HistGradientBoostingClassifier(
        learning_rate=rate,
        max_leaf_nodes=leaves,
        max_iter=trees,
        min_samples_leaf=max(2, min(20, rows // 25)),
        early_stopping=patience > 0,
        n_iter_no_change=max(patience, 1),
        max_features=min(1.0, max(SAMPLED_SHARE, WIDE / max(features, 1))),
        random_state=seed % 2**32,
    )


def _convergence_warning() -> type[Warning]:
    from sklearn.exceptions import ConvergenceWarning

    return ConvergenceWarning


def _predictor(model: Model, present: Int[np.ndarray, " present"], problem: Problem) -> Predictor:
    return Predictor(model, np.asarray(present, np.int64), np.array(problem.classes))


def _prevalence(problem: Problem) -> Predictor:
    """The share of each class, half a row added to each, so that an unseen class keeps some probability."""
    count = np.bincount(problem.codes, minlength=problem.classes) + 0.5
    return _predictor(Constant(np.log(count / count.sum())), np.arange(problem.classes), problem)


def _best(candidates: list[Predictor], problem: Problem) -> Predictor:
    """The one with the least log-loss on the validation rows."""
    if len(candidates) == 1:
        return candidates[0]
    rows = np.arange(len(problem.valid_codes))
    loss = [-predict(problem.valid_features)[rows, problem.valid_codes].mean() for predict in candidates]
    return candidates[int(np.argmin(loss))]


def _affordable(problem: Problem) -> int:
    return max(FEWEST_FEATURES, CELLS // max(len(problem.codes), 1))


def _strongest(problem: Problem, most: int) -> Int[np.ndarray, " chosen"]:
    """At most `most` features with a known value, by the share of their variance that lies between classes.

    Missing values do not count. Features are looked at a block at a time, so that no copy of all of them is made.
    """
    features = problem.features
    if features.shape[1] <= most:
        return np.flatnonzero(~np.isnan(features).all(axis=0))
    member = (problem.codes[:, None] == np.unique(problem.codes)).astype(np.float64)
    share = np.zeros(features.shape[1])
    for start in range(0, features.shape[1], 512):
        part = features[:, start : start + 512]
        known = ~np.isnan(part)
        count = np.maximum(known.sum(axis=0), 1)
        centred = np.where(known, part - np.where(known, part, 0).sum(axis=0) / count, 0)
        total = (centred**2).sum(axis=0)
        in_class = member.T @ known
        sums = member.T @ centred
        between = np.divide(sums**2, in_class, out=np.zeros_like(sums), where=in_class > 0).sum(axis=0)
        share[start : start + 512] = np.divide(between, total, out=np.zeros_like(total), where=total > 0)
        share[start : start + 512][~known.any(axis=0)] = -1
    best = np.argsort(-share, kind="stable")[:most]
    return np.sort(best[share[best] >= 0])


def _those(features: Float[np.ndarray, "rows features"], rows: Bool[np.ndarray, " rows"]) -> np.ndarray:
    return features if rows.all() else features[rows]


def _truth(target: Field) -> np.ndarray:
    value: Tensor = target.value.double()
    truth = value.reshape(len(value), -1).numpy().copy()
    if target.valid is not None:
        truth[~target.valid.numpy().reshape(truth.shape)] = np.nan
    truth[~target.present.numpy()] = np.nan
    return truth
