"""Simple models for survival: Kaplan and Meier's curve for everyone, Cox's regression, gradient boosting.

Each gives what the head gives, `{"logits": [rows, bins]}`: log-odds of the hazard of each interval of time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from medloom import fitted
from medloom.batch import Output
from medloom.task import Block, Member
from medloom.tasks import _cox
from medloom.tasks._hazards import LEAST, logit, marginal, negative_log_likelihood, periods
from medloom.tasks._models import KINDS, Forest, Linear
from medloom.tasks._plain import CELLS, strongest

COX_FEATURES = 200
"""Features of Cox's regression, at most: each step solves a system of so many equations."""
PENALTIES = (0.001, 0.01, 0.1, 1.0)
"""Strengths that the ridge penalty chooses among, of the log-likelihood a row and standardised features."""
MOST_SINGLE = 10
"""Features that are tried one by one."""
BOOSTING_SETTINGS = ((0.1, 15), (0.03, 7))
"""Learning rate and most leaves of a tree that gradient boosting chooses among."""
BOOSTING_FEATURES = 500
MOST_TREES = 200
UNTUNED_TREES = 50


class Predictor(ABC):
    """A frozen dataclass of arrays that gives log-odds of the hazard of each interval."""

    @abstractmethod
    def __call__(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows bins"]:
        """Log-odds of the rows."""


@dataclass(frozen=True, slots=True)
class Everyone(Predictor):
    """The same for every row."""

    logits: Float[np.ndarray, " bins"]

    def __call__(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows bins"]:
        return np.tile(self.logits, (len(features), 1))


@dataclass(frozen=True, slots=True)
class Proportional(Predictor):
    """Increments of the baseline's cumulative hazard times the relative hazard, held to the range of training rows."""

    line: Linear
    bounds: Float[np.ndarray, "2"]
    increments: Float[np.ndarray, " bins"]

    def __call__(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows bins"]:
        relative = np.exp(np.clip(self.line.score(features), *self.bounds))
        return logit(-np.expm1(-self.increments * relative))


@dataclass(frozen=True, slots=True)
class Boosted(Predictor):
    """Trees for each row and interval; the last feature they chose among is the interval's number."""

    chosen: Int[np.ndarray, " chosen"]
    forest: Forest
    bins: Int[np.ndarray, ""]

    def __call__(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows bins"]:
        bins, bound = int(self.bins), float(np.log(1 / LEAST))
        number = np.tile(np.arange(bins, dtype=np.float64), len(features))[:, None]
        each = np.concatenate([np.repeat(features[:, self.chosen], bins, axis=0), number], axis=1)
        return np.clip(self.forest.score(each)[:, 0], -bound, bound).reshape(len(features), bins)


PREDICTORS: dict[str, type[Predictor]] = {one.__name__: one for one in (Everyone, Proportional, Boosted)}


@dataclass(frozen=True, slots=True)
class Problem:
    """Features, times and events of the rows that teach, and of those that choose settings."""

    features: Float[np.ndarray, "rows features"]
    time: Float[np.ndarray, " rows"]
    event: Float[np.ndarray, " rows"]
    valid_features: Float[np.ndarray, "valid features"]
    valid_time: Float[np.ndarray, " valid"]
    valid_event: Float[np.ndarray, " valid"]

    @property
    def can_choose(self) -> bool:
        """Whether validation rows have an event to choose by."""
        return bool((self.valid_event == 1).any())


class _Survival(Member):
    def __init__(self, edges: Float[np.ndarray, " bins"], seed: int) -> None:
        self._edges = edges
        self._seed = seed
        self._predictor: Predictor = Everyone(np.zeros(len(edges)))

    @abstractmethod
    def _learn(self, problem: Problem) -> Predictor:
        """A predictor, from training rows with an event and a known value of some feature."""

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Learns from the rows whose follow-up is known; validation rows choose the settings where there are any."""
        problem = Problem(*_gather(train), *_gather(valid))
        learnable = problem.features.size and not np.isnan(problem.features).all() and (problem.event == 1).any()
        self._predictor = self._learn(problem) if learnable else self._marginal(problem)

    def answer(self, plain: Float[np.ndarray, "rows features"]) -> Output:
        """Log-odds of hazards as the head gives them, float32."""
        features = np.asarray(plain, np.float64)
        made = self._predictor(features) if len(features) else np.zeros((0, len(self._edges)))
        return {"logits": torch.from_numpy(made.astype(np.float32))}

    def arrays(self) -> dict[str, np.ndarray]:
        return {f"{type(self._predictor).__name__}/{k}": a for k, a in fitted.arrays(self._predictor).items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        kind = next(iter(arrays)).partition("/")[0]
        self._predictor = fitted.from_arrays(PREDICTORS[kind], fitted.below(arrays, f"{kind}/"), KINDS)

    def _marginal(self, problem: Problem) -> Predictor:
        return Everyone(logit(marginal(problem.time, problem.event, self._edges)))

    def _best(self, candidates: list[Predictor], problem: Problem) -> Predictor:
        """The one under which the validation rows are likeliest; the first where they cannot choose."""
        if len(candidates) == 1 or not problem.can_choose:
            return candidates[0]
        truth = periods(problem.valid_time, problem.valid_event, self._edges)
        loss = [negative_log_likelihood(predict(problem.valid_features), *truth) for predict in candidates]
        return candidates[int(np.argmin(loss))]


class KaplanMeier(_Survival):
    """The hazards of all training rows together, whatever the inputs."""

    label = "Kaplan-Meier curve for everyone"

    def _learn(self, problem: Problem) -> Predictor:
        return self._marginal(problem)


class CoxPH(_Survival):
    """Cox's proportional hazards with a ridge penalty.

    Missing values become the median, with an indicator beside them; features are standardised. The penalty is chosen by
    the likelihood of the validation rows. Of more than 200 features, those that correlate most with the difference of
    events and expected events are kept.
    """

    label = "Cox regression"

    def _learn(self, problem: Problem) -> Predictor:
        chosen = strongest(problem.features, _unexpected(problem), COX_FEATURES)
        penalties = PENALTIES if problem.can_choose else PENALTIES[2:3]
        return self._best([_proportional(problem, chosen, penalty, self._edges) for penalty in penalties], problem)


class BestFeature(_Survival):
    """Cox's regression on one feature: of the ten that follow the event most, the likeliest on the validation rows.

    Without events among the validation rows it is the one that follows the event most.
    """

    label = "Best single feature"

    def _learn(self, problem: Problem) -> Predictor:
        most = MOST_SINGLE if problem.can_choose else 1
        candidates = [
            _proportional(problem, np.array([one]), 0.001, self._edges)
            for one in strongest(problem.features, _unexpected(problem), most)
        ]
        return self._best(candidates, problem)


class GradientBoosting(_Survival):
    """Boosted trees for the hazard of each interval: a row for each row and interval it was followed in.

    The number of the interval is a feature; a row that is censored inside an interval weighs there by the part it
    outlived. Settings are chosen by the likelihood of the validation rows, which also stop the boosting (at most 200
    trees). Where rows × intervals × features are more than 20 million, a part of the rows is drawn at random.
    """

    label = "Gradient boosting"

    def _learn(self, problem: Problem) -> Predictor:
        chosen = strongest(problem.features, _unexpected(problem), BOOSTING_FEATURES)
        most = max(100, CELLS // (len(self._edges) * max(len(chosen), 1)))
        some = np.arange(len(problem.time))
        if len(some) > most:
            some = np.sort(np.random.default_rng(self._seed).permutation(some)[:most])
        train = self._expanded(problem.features[some][:, chosen], problem.time[some], problem.event[some])
        if len(np.unique(train[1])) < 2:
            return self._marginal(problem)
        valid = self._expanded(problem.valid_features[:, chosen], problem.valid_time, problem.valid_event) if problem.can_choose else None  # fmt: skip
        settings = BOOSTING_SETTINGS if valid is not None else BOOSTING_SETTINGS[1:]
        return self._best([self._boosted(train, valid, chosen, *setting) for setting in settings], problem)

    def _expanded(self, features: np.ndarray, time: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, ...]:
        """Features with the interval's number, whether it ended with the event, and a weight, a row an interval."""
        ended, outlived = periods(time, event, self._edges)
        row, interval = np.nonzero(ended + outlived)
        number = interval[:, None].astype(np.float64)
        weight = (ended + outlived)[row, interval]
        return np.concatenate([features[row], number], axis=1), ended[row, interval].astype(np.int64), weight

    def _boosted(
        self,
        train: tuple[np.ndarray, ...],
        valid: tuple[np.ndarray, ...] | None,
        chosen: np.ndarray,
        rate: float,
        leaves: int,
    ) -> Predictor:
        from sklearn.ensemble import HistGradientBoostingClassifier

        stops = valid is not None
        model = HistGradientBoostingClassifier(
            learning_rate=rate,
            max_leaf_nodes=leaves,
            max_iter=MOST_TREES if stops else UNTUNED_TREES,
            min_samples_leaf=20,
            early_stopping=stops,
            n_iter_no_change=10,
            random_state=self._seed % 2**32,
        )
        more = {} if valid is None else {"X_val": valid[0], "y_val": valid[1], "sample_weight_val": valid[2]}
        model.fit(train[0], train[1], sample_weight=train[2], **more)
        forest = Forest.of(model, np.arange(train[0].shape[1]))
        return Boosted(np.asarray(chosen, np.int64), forest, np.array(len(self._edges)))


def _proportional(problem: Problem, chosen: np.ndarray, penalty: float, edges: np.ndarray) -> Predictor:
    """Cox's regression on these features, as hazards of the intervals."""
    prepare = _prepared(problem.features[:, chosen])
    features = prepare.transform(problem.features[:, chosen])
    model = _cox.fit(features, problem.time, problem.event, penalty)
    line = features @ model.coefficient
    return Proportional(
        Linear.of(prepare, chosen, model.coefficient, 0.0),
        np.array([line.min(), line.max()]),
        np.diff(model.hazard(edges), prepend=0.0),
    )


def _unexpected(problem: Problem) -> np.ndarray:
    """Events of each row minus those expected of it, were all rows alike (martingale residuals)."""
    null = _cox.fit(np.zeros((len(problem.time), 0)), problem.time, problem.event)
    return (problem.event == 1) - null.hazard(problem.time)


def _prepared(features: np.ndarray) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    return pipeline.fit(features)


def _gather(blocks: Iterable[Block]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, times and events of the rows whose follow-up is known."""
    held = [
        (np.asarray(b.plain, np.float64), b.target.value.double().numpy(), b.target.present.numpy()) for b in blocks
    ]
    if not held:
        return np.zeros((0, 0)), np.zeros(0), np.zeros(0)
    followed = np.concatenate([value[known] for _, value, known in held])
    return np.concatenate([features[known] for features, _, known in held]), followed[:, 0], followed[:, 1]
