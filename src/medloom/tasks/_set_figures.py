"""Figures of sets of classes: how often they hold the truth, and how large they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from medloom.statistics import shares
from medloom.task import Bounds, Measured, Metric


def metrics() -> Mapping[str, Metric]:
    """From `covered` (0, 1, NaN where the truth is unknown) and `set_size`."""
    found = [
        Metric(
            "set_coverage",
            _mean(_covered),
            True,
            "Sets that hold the truth",
            "share of rows; as asked is ideal",
            "intervals",
            _share(_covered),
        ),
        Metric("set_size", _mean(_size), False, "Classes in a set", "mean; 1 is a plain answer", "intervals"),
        Metric(
            "single_answers",
            _mean(_single),
            True,
            "Sets of one class",
            "share of rows with one answer only",
            "intervals",
            _share(_single),
        ),
    ]
    return {metric.name: metric for metric in found}


def _covered(m: Measured) -> np.ndarray:
    return m["covered"]


def _size(m: Measured) -> np.ndarray:
    return m["set_size"]


def _single(m: Measured) -> np.ndarray:
    return (m["set_size"] == 1).astype(np.float64)


def _mean(of: Callable[[Measured], np.ndarray]) -> Callable[[Measured, np.ndarray], np.ndarray]:
    def value(m: Measured, weight: np.ndarray) -> np.ndarray:
        known = ~np.isnan(m["covered"])
        total = weight[:, known].sum(axis=1)
        held = weight[:, known] @ of(m)[known]
        return np.divide(held, total, out=np.full(len(total), np.nan), where=total > 0)

    return value


def _share(of: Callable[[Measured], np.ndarray]) -> Callable[[Measured, np.ndarray, float], Bounds]:
    def bounds(m: Measured, patient: np.ndarray, level: float) -> Bounds:
        known = ~np.isnan(m["covered"])
        return shares.share(of(m)[known] == 1, np.ones(int(known.sum()), bool), patient[known], level)

    return bounds
