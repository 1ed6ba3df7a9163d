"""Simple models as arrays: what scikit-learn fitted, kept so that a bundle holds it without scikit-learn or pickle.

A baseline predicts through these from its first prediction on, so what is judged is what is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

CELLS = 2_000_000
"""Places in trees (rows × trees) that are followed at a time."""


class Model(ABC):
    """A frozen dataclass of arrays that scores rows of features."""

    @abstractmethod
    def score(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows outputs"]:
        """One number a row for each output, before any link."""


@dataclass(frozen=True, slots=True)
class Constant(Model):
    """The same numbers for every row."""

    value: Float[np.ndarray, " outputs"]

    def score(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows outputs"]:
        return np.tile(self.value, (len(features), 1))


@dataclass(frozen=True, slots=True)
class Linear(Model):
    """A weighted sum of standardised features; a missing one is the median, and `holes` have an indicator beside them."""

    chosen: Int[np.ndarray, " chosen"]
    median: Float[np.ndarray, " chosen"]
    holes: Int[np.ndarray, " holes"]
    mean: Float[np.ndarray, " columns"]
    scale: Float[np.ndarray, " columns"]
    weight: Float[np.ndarray, "columns outputs"]
    intercept: Float[np.ndarray, " outputs"]

    @classmethod
    def of(cls, pipeline: Any, chosen: Int[np.ndarray, " chosen"], weight: Any, intercept: Any) -> Linear:
        """From a pipeline that begins with an imputer with indicator and a scaler, and the coefficients fitted behind."""
        imputer, scaler = pipeline[0], pipeline[1]
        return cls(
            chosen,
            imputer.statistics_.astype(np.float64),
            imputer.indicator_.features_.astype(np.int64),
            scaler.mean_,
            scaler.scale_,
            np.atleast_2d(weight).T.astype(np.float64),
            np.atleast_1d(intercept).astype(np.float64),
        )

    def score(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows outputs"]:
        held = features[:, self.chosen]
        missing = np.isnan(held)
        columns = np.concatenate([np.where(missing, self.median, held), missing[:, self.holes]], axis=1)
        return ((columns - self.mean) / self.scale) @ self.weight + self.intercept


@dataclass(frozen=True, slots=True)
class Forest(Model):
    """Boosted trees: all nodes side by side; a leaf leads to itself. `root` and `output` are those of each tree."""

    chosen: Int[np.ndarray, " chosen"]
    start: Float[np.ndarray, " outputs"]
    root: Int[np.ndarray, " trees"]
    output: Int[np.ndarray, " trees"]
    depth: Int[np.ndarray, ""]
    feature: Int[np.ndarray, " nodes"]
    threshold: Float[np.ndarray, " nodes"]
    missing_left: Bool[np.ndarray, " nodes"]
    left: Int[np.ndarray, " nodes"]
    right: Int[np.ndarray, " nodes"]
    value: Float[np.ndarray, " nodes"]

    @classmethod
    def of(cls, boosting: Any, chosen: Int[np.ndarray, " chosen"]) -> Forest:
        """From a fitted histogram gradient boosting of scikit-learn without categories."""
        trees = [(place, tree.nodes) for each in boosting._predictors for place, tree in enumerate(each)]
        sizes = np.array([len(nodes) for _, nodes in trees], np.int64)
        root = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
        nodes = np.concatenate([nodes for _, nodes in trees])
        offset, own = np.repeat(root, sizes), np.arange(len(nodes), dtype=np.int32)
        leaf = nodes["is_leaf"].astype(bool)
        return cls(
            chosen,
            np.atleast_1d(np.asarray(boosting._baseline_prediction, np.float64).ravel()),
            root,
            np.array([place for place, _ in trees], np.int32),
            np.array(nodes["depth"].max(), np.int32),
            np.where(leaf, 0, nodes["feature_idx"]).astype(np.int32),
            np.where(leaf, 0.0, nodes["num_threshold"]),
            nodes["missing_go_to_left"].astype(bool),
            np.where(leaf, own, nodes["left"] + offset).astype(np.int32),
            np.where(leaf, own, nodes["right"] + offset).astype(np.int32),
            np.where(leaf, nodes["value"], 0.0),
        )

    @classmethod
    def mean(cls, forests: Sequence[Forest]) -> Forest:
        """One forest that gives the mean score of these, which choose among the same features."""
        before = np.cumsum([0, *(len(one.value) for one in forests[:-1])]).astype(np.int32)
        moved = {
            name: np.concatenate([getattr(one, name) + places for one, places in zip(forests, before, strict=True)])
            for name in ("root", "left", "right")
        }
        same = {
            name: np.concatenate([getattr(one, name) for one in forests])
            for name in ("output", "feature", "threshold", "missing_left")
        }
        return cls(
            chosen=forests[0].chosen,
            start=np.mean([one.start for one in forests], axis=0),
            depth=np.array(max(int(one.depth) for one in forests), np.int32),
            value=np.concatenate([one.value for one in forests]) / len(forests),
            **moved,
            **same,
        )

    def score(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows outputs"]:
        block = max(1, CELLS // len(self.root))
        parts = [self._block(features[i : i + block]) for i in range(0, len(features), block)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.start)))

    def _block(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows outputs"]:
        held = np.ascontiguousarray(features[:, self.chosen])
        missing = np.isnan(held) if np.isnan(held).any() else None
        row = (np.arange(len(held)) * held.shape[1])[:, None]
        place = np.tile(self.root, (len(held), 1))
        for _ in range(int(self.depth)):
            cell = row + self.feature[place]
            left = held.ravel()[cell] <= self.threshold[place]
            if missing is not None:
                left = np.where(missing.ravel()[cell], self.missing_left[place], left)
            place = np.where(left, self.left[place], self.right[place])
        leaves = self.value[place]
        sums = [leaves[:, self.output == number].sum(axis=1) for number in range(len(self.start))]
        return self.start + np.stack(sums, axis=1)


@dataclass(frozen=True, slots=True)
class Curve(Model):
    """One feature alone: straight lines between knots, level beyond them; missing values have a score of their own."""

    feature: Int[np.ndarray, ""]
    knots: Float[np.ndarray, " knots"]
    value: Float[np.ndarray, "knots outputs"]
    missing: Float[np.ndarray, " outputs"]

    def score(self, features: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, "rows outputs"]:
        held = features[:, int(self.feature)]
        lines = [np.interp(np.nan_to_num(held), self.knots, column) for column in self.value.T]
        return np.where(np.isnan(held)[:, None], self.missing, np.stack(lines, axis=1))


KINDS: dict[str, type] = {"Constant": Constant, "Linear": Linear, "Forest": Forest, "Curve": Curve}
