"""Simple forecasts: as now, as one season before, the usual season, a ridge regression, gradient boosting.

Each gives what the head of a forecast gives, `{"quantiles": [rows, horizons, quantiles]}`: changes from the last value
in their usual size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import ndtri

from medloom import fitted
from medloom.batch import Field, Output
from medloom.cohort.panel_values import scaled
from medloom.task import Baseline, Block, Member
from medloom.tasks._models import KINDS, Constant, Forest, Linear, Model
from medloom.tasks._plain import strongest

PENALTIES = (1.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10_000.0)
USUAL = 1
"""The place of the penalty that is taken where neither validation rows nor stretches of the training rows can tell."""
STRETCHES = 4
"""Parts of the time of the training rows, each forecast from the others where there are no validation rows."""
MOST_KNOTS = 7
"""Quantiles that get trees of their own; the others lie between them on the scale of a normal distribution."""
TREES = 100
FEWEST_ERRORS = 50
"""Validation rows from which on errors are taken from them, else from the training rows."""
NEAR_DAYS = 21.0
FEWEST_NEAR = 20
"""Values about a day of the year that a usual season is told from; with fewer it is that of all days."""
YEAR_DAYS = 365.2425


@dataclass(frozen=True, slots=True)
class Unit:
    """The quantiles that are asked for, and those of past changes at each horizon."""

    levels: tuple[float, ...]
    errors: tuple[tuple[float, ...], ...]

    @property
    def around(self) -> Float[np.ndarray, "horizons quantiles"]:
        """Quantiles of past changes about no change."""
        return np.array(self.errors)


def _output(quantile: Float[np.ndarray, "rows horizons quantiles"]) -> Output:
    return {"quantiles": torch.from_numpy(np.sort(quantile, axis=-1).astype(np.float32))}


def _changes(target: Field) -> Float[np.ndarray, "rows horizons"]:
    assert target.valid is not None
    return np.where(target.valid.numpy(), target.extra["change"].double().numpy(), np.nan)


class Persistence(Member):
    """The last value, with the quantiles of past changes, taken in both directions, about it.

    Source: Cramer et al., "Evaluation of individual and ensemble probabilistic forecasts of COVID-19 mortality in the
    United States", PNAS 119, 2022 (the baseline of forecast hubs).
    """

    label = "Last value, with past errors"

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Nothing is learnt that the task has not: the quantiles of changes in the training rows."""

    def answer(self, plain: Float[np.ndarray, "rows features"]) -> Output:
        return _output(np.tile(self._unit.around, (len(plain), 1, 1)))

    def arrays(self) -> dict[str, np.ndarray]:
        return {"around": self._unit.around}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """The task holds it already."""


class Seasonal(Baseline):
    """The value one season before, with the quantiles of its errors; the last value where that is not known."""

    label = "As one season before"

    def __init__(self, unit: Unit) -> None:
        self._unit, self._around = unit, unit.around

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Quantiles of the errors of training rows at each horizon."""
        errors = [_changes(block.target) - block.target.extra["season"].double().numpy() for block in train]
        every = np.concatenate(errors) if errors else np.zeros((0, len(self._around)))
        self._around = _error_quantiles(every, self._unit)

    def output(self, block: Block) -> Output:
        season = block.target.extra["season"].double().numpy()[..., None]
        return _output(np.where(np.isnan(season), self._unit.around, season + self._around))


class Climatology(Baseline):
    """The quantiles of what came about the same day of the year, in training rows of the same series."""

    label = "Usual for the season"

    def __init__(self, unit: Unit, scale: Float[np.ndarray, " horizons"], transform: str) -> None:
        self._unit, self._scale, self._transform = unit, scale, transform
        self._held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Keeps the values of training rows with their day and series."""
        self._held = [self._seen(block.target) for block in train]

    def _seen(self, target: Field) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert target.valid is not None
        per = target.extra["per"].double().numpy()[:, None]
        value = np.where(target.valid.numpy(), target.value.double().numpy(), np.nan)
        return scaled(value / per, self._transform), target.extra["day"].numpy(), target.extra["series"].numpy()

    def output(self, block: Block) -> Output:
        """One look-up for each series and day among the rows."""
        level, day, series = (np.concatenate(parts) for parts in zip(*self._held, strict=True))
        _, asked_day, asked_series = self._seen(block.target)
        both, place = np.unique(np.stack([asked_series, asked_day]), axis=1, return_inverse=True)
        usual = np.stack([self._usual(level, day, series, one, when) for one, when in both.T])[place.ravel()]
        base = block.target.extra["base"].double().numpy()[:, None, None]
        made = (usual - base) / self._scale[:, None]
        return _output(np.where(np.isnan(made), self._unit.around, made))

    def _usual(self, level: np.ndarray, day: np.ndarray, series: np.ndarray, one: float, when: float) -> np.ndarray:
        apart = np.abs(day - when)
        near = np.minimum(apart, YEAR_DAYS - apart) <= NEAR_DAYS
        for rows in (near & (series == one), series == one, near):
            if (~np.isnan(level[rows])).sum(axis=0).min() >= FEWEST_NEAR:
                return np.nanquantile(level[rows], self._unit.levels, axis=0).T
        return np.full((level.shape[1], len(self._unit.levels)), np.nan)


class _Learnt(Member):
    """A model of each quantile at each horizon, of plain numbers; `_models` by horizon and knot."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._models: list[list[Model]] = []
        self._around = np.zeros((len(unit.errors), len(unit.levels)))

    def arrays(self) -> dict[str, np.ndarray]:
        found = {
            f"{h}/{k}/{name}:{type(model).__name__}": array
            for h, each in enumerate(self._models)
            for k, model in enumerate(each)
            for name, array in fitted.arrays(model).items()
        }
        return {"around": self._around, **found}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._around = arrays["around"]
        self._models = [self._restored(fitted.below(arrays, f"{h}/")) for h in range(len(self._unit.errors))]

    def _restored(self, arrays: Mapping[str, np.ndarray]) -> list[Model]:
        found: list[Model] = []
        while parts := fitted.below(arrays, f"{len(found)}/"):
            kind = next(iter(parts)).partition(":")[2]
            found.append(fitted.from_arrays(KINDS[kind], {n.partition(":")[0]: a for n, a in parts.items()}, KINDS))
        return found


def _gathered(blocks: Iterable[Block]) -> tuple[np.ndarray, np.ndarray]:
    held = [(np.asarray(block.plain, np.float64), _changes(block.target)) for block in blocks]
    if not held:
        return np.zeros((0, 0)), np.zeros((0, 0))
    return np.concatenate([features for features, _ in held]), np.concatenate([change for _, change in held])


def _error_quantiles(error: Float[np.ndarray, "rows horizons"], unit: Unit) -> Float[np.ndarray, "horizons quantiles"]:
    """Of the known errors at each horizon; of past changes where there are under two."""
    found = unit.around.copy()
    for h, column in enumerate(error.T):
        known = column[~np.isnan(column)]
        if len(known) > 1:
            found[h] = np.quantile(known, unit.levels)
    return found


Stretch = tuple[Int[np.ndarray, " others"], Int[np.ndarray, " own"]]


def _times(blocks: Iterable[Block]) -> Float[np.ndarray, " rows"]:
    return np.concatenate([np.zeros(0), *(block.target.extra["time"].double().numpy() for block in blocks)])


def _stretches(time: Float[np.ndarray, " rows"], change: Float[np.ndarray, "rows horizons"]) -> list[Stretch]:
    """For each stretch of time the rows that are forecast, and those that may teach; none where rows are too few.

    Rows within the furthest horizon of the stretch do not teach: what came of them lies in it.
    """
    dates, place = np.unique(time, return_inverse=True)
    furthest = change.shape[1]
    if len(dates) < 2 * STRETCHES * furthest:
        return []
    found = []
    for dates_of in np.array_split(np.arange(len(dates)), STRETCHES):
        own = np.flatnonzero((place >= dates_of[0]) & (place <= dates_of[-1]))
        others = np.flatnonzero((place < dates_of[0] - furthest) | (place > dates_of[-1] + furthest))
        if ((~np.isnan(change[others])).sum(axis=0) < FEWEST_ERRORS).any():
            return []
        found.append((others, own))
    return found


def _path(
    features: Float[np.ndarray, "rows features"],
    change: Float[np.ndarray, "rows horizons"],
    held: Float[np.ndarray, "held features"],
) -> Float[np.ndarray, "penalties held horizons"]:
    """What ridge regressions of these rows say of the held ones; one decomposition a horizon serves all penalties."""
    from medloom.tasks._ridge_classes import Standardised

    found = np.zeros((len(PENALTIES), len(held), change.shape[1]))
    for h, column in enumerate(change.T):
        known = ~np.isnan(column)
        chosen = strongest(features[known], column[known])
        if not len(chosen):
            found[:, :, h] = np.median(column[known])
            continue
        prepared = Standardised.of(features[known][:, chosen])
        columns, level = prepared.standard(features[known][:, chosen]), column[known].mean()
        square, axes = np.linalg.eigh(columns.T @ columns)
        product, along = axes.T @ (columns.T @ (column[known] - level)), prepared.standard(held[:, chosen]) @ axes
        for place, penalty in enumerate(PENALTIES):
            found[place, :, h] = level + along @ (product / (np.maximum(square, 0) + penalty))
    return found


class Ridge(_Learnt):
    """A linear autoregression at each horizon, with a ridge penalty, and the quantiles of its errors about it.

    Penalty and errors are those of the validation rows. Without them, of each stretch of the training rows' time as it
    is forecast from the others, less the rows whose horizons reach into it: errors of rows that taught are too small.
    Source: Bergmeir & Benítez, "On the use of cross-validation for time series predictor evaluation", Information
    Sciences 191, 2012 (blocks).
    """

    label = "Ridge regression"

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """The penalty of each horizon is the one with the least absolute error."""
        train = list(train)
        features, change = _gathered(train)
        held, truth = _gathered(valid)
        if len(held):
            errors = truth - _path(features, change, held)
        else:
            errors = np.full((len(PENALTIES), *change.shape), np.nan)
            for others, own in _stretches(_times(train), change):
                errors[:, own] = change[own] - _path(features[others], change[others], features[own])
        self._models, enough = [], len(errors[0]) >= FEWEST_ERRORS
        error = np.full(errors.shape[1:], np.nan)
        for h in range(change.shape[1]):
            of = errors[:, :, h]
            known = ~np.isnan(of[0])
            best = int(np.argmin(np.abs(of[:, known]).mean(axis=1))) if known.any() else USUAL
            self._models.append([self._linear(features, change[:, h], PENALTIES[best])])
            error[:, h] = of[best]
        if not enough or np.isnan(error).all():
            error = change - _scores([each[0] for each in self._models], features)
        self._around = _error_quantiles(error, self._unit)

    def _linear(self, features: np.ndarray, column: np.ndarray, penalty: float) -> Model:
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import Ridge as Linear_
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        known = ~np.isnan(column)
        chosen = strongest(features[known], column[known])
        if not len(chosen):
            return Constant(np.array([np.median(column[known])]))
        imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
        model = make_pipeline(imputer, StandardScaler(), Linear_(alpha=penalty))
        model.fit(features[known][:, chosen], column[known])
        return Linear.of(model, chosen, model[-1].coef_, model[-1].intercept_)

    def answer(self, plain: Float[np.ndarray, "rows features"]) -> Output:
        middle = _scores([each[0] for each in self._models], np.asarray(plain, np.float64))
        return _output(middle[..., None] + self._around)


def _scores(models: list[Model], features: np.ndarray) -> Float[np.ndarray, "rows horizons"]:
    return np.stack([model.score(features)[:, 0] for model in models], axis=1)


class GradientBoosting(_Learnt):
    """Boosted trees for quantiles at each horizon; validation rows stop the boosting (at most 100 trees)."""

    label = "Gradient boosting"

    def __init__(self, unit: Unit, seed: int) -> None:
        super().__init__(unit)
        self._seed = seed
        count = len(unit.levels)
        places = np.linspace(0, count - 1, min(count, MOST_KNOTS))
        self._knots = np.unique(np.round(places).astype(np.int64))

    def fit(self, train: Iterable[Block], valid: Iterable[Block]) -> None:
        """Learns from the rows of which a horizon is known."""
        features, change = _gathered(train)
        held, truth = _gathered(valid)
        self._models = []
        for h, column in enumerate(change.T):
            known = ~np.isnan(column)
            chosen = strongest(features[known], column[known])
            stop = ~np.isnan(truth[:, h]) if len(truth) else np.zeros(0, bool)
            watched = (held[stop], truth[stop, h]) if stop.any() else None
            levels = [self._unit.levels[place] for place in self._knots]
            if len(chosen):
                each = [self._boosted(features[known], column[known], chosen, level, watched) for level in levels]
            else:
                each = [Constant(np.array([np.quantile(column[known], level)])) for level in levels]
            self._models.append(each)

    def _boosted(
        self, features: np.ndarray, change: np.ndarray, chosen: np.ndarray, level: float, watched: Any
    ) -> Model:
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(
            loss="quantile",
            quantile=level,
            learning_rate=0.1,
            max_leaf_nodes=8,
            max_iter=TREES,
            min_samples_leaf=max(2, min(20, len(change) // 25)),
            early_stopping=watched is not None,
            n_iter_no_change=10,
            random_state=self._seed % 2**32,
        )
        more = {} if watched is None else {"X_val": watched[0][:, chosen], "y_val": watched[1]}
        model.fit(features[:, chosen], change, **more)
        return Forest.of(model, chosen)

    def answer(self, plain: Float[np.ndarray, "rows features"]) -> Output:
        features = np.asarray(plain, np.float64)
        knots = np.stack([_scores(each, features) for each in self._models], axis=1)
        return _output(_between(np.sort(knots, axis=-1), self._knots, self._unit.levels))


def _between(
    value: Float[np.ndarray, "rows horizons knots"], knots: np.ndarray, levels: tuple[float, ...]
) -> Float[np.ndarray, "rows horizons quantiles"]:
    """Quantiles between knots, on straight lines over the scale of a normal distribution."""
    place = ndtri(levels)
    at = place[knots]
    upper = np.clip(np.searchsorted(at, place), 1, len(at) - 1)
    share = (place - at[upper - 1]) / (at[upper] - at[upper - 1])
    return value[..., upper - 1] * (1 - share) + value[..., upper] * share
