"""Shared steps of the estimators: rows with a known answer, weighted means, tied scores."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

T = TypeVar("T")


def remembered(of: Callable[..., T]) -> Callable[..., T]:
    """The function, asked once for the same read-only arrays, for as long as they live.

    A thousand resamples come in blocks, and what depends on the rows alone is the same for each. Arrays that could be
    written to are never remembered.
    """
    held: dict[tuple[int, ...], tuple[tuple[weakref.ref[np.ndarray], ...], T]] = {}

    @wraps(of)
    def found(*arrays: np.ndarray) -> T:
        if any(array.flags.writeable for array in arrays):
            return of(*arrays)
        key = tuple(map(id, arrays))
        entry = held.get(key)
        if entry is None or any(ref() is not array for ref, array in zip(entry[0], arrays, strict=True)):
            forget = lambda _: held.pop(key, None)  # noqa: E731
            entry = (tuple(weakref.ref(array, forget) for array in arrays), of(*arrays))
            held[key] = entry
        return entry[1]

    return found


def read_only(arrays: dict[str, Any] | Any) -> dict[str, np.ndarray]:
    """Views of these arrays that cannot be written to."""
    views = {name: np.asarray(array).view() for name, array in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views


def known(truth: Shaped[np.ndarray, rows]) -> Bool[np.ndarray, " rows"]:
    """Rows whose truth is known: not NaN."""
    return np.ones(len(truth), bool) if truth.dtype.kind in "biu" else ~np.isnan(truth)


def take(rows: Bool[np.ndarray, " rows"], *arrays: Shaped[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """These rows of arrays "rows ..." and, for the last one, of weights "resamples rows"; no copy where all are taken."""
    if rows.all():
        return arrays
    return (*(array[rows] for array in arrays[:-1]), arrays[-1][:, rows])


def divide(
    numerator: Float[np.ndarray, " resamples"], denominator: Float[np.ndarray, " resamples"]
) -> Float[np.ndarray, " resamples"]:
    """The quotient, NaN where the denominator is not above 0."""
    result = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def mean(
    value: Shaped[np.ndarray, " rows"], weight: Float[np.ndarray, "resamples rows"]
) -> Float[np.ndarray, " resamples"]:
    """The weighted mean of a value a row in each resample; NaN where nothing has weight."""
    return divide(weight @ np.asarray(value, np.float64), weight.sum(axis=1))


def tied(score: Shaped[np.ndarray, " rows"]) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " groups"]]:
    """The order of ascending scores, and where each group of equal scores starts in it."""
    order = np.argsort(score, kind="stable")
    ascending = score[order]
    return order, np.flatnonzero(np.concatenate(([True], ascending[1:] != ascending[:-1])))


def sums_by_code(
    weight: Float[np.ndarray, "resamples rows"], code: Int[np.ndarray, " rows"], codes: int
) -> Float[np.ndarray, "resamples codes"]:
    """Sums of weights over the rows of each code, in the order that the rows stand in: nothing is moved to sort them."""
    out = np.zeros((len(weight), codes))
    for sums, each in zip(out, weight, strict=True):
        sums[:] = np.bincount(code, each, codes)  # whole numbers where there are no rows
    return out


def grouped(
    weight: Float[np.ndarray, "resamples rows"], starts: Int[np.ndarray, " groups"]
) -> Float[np.ndarray, "resamples groups"]:
    """Sums of ordered weights over groups of tied rows."""
    return weight if len(starts) == weight.shape[1] else np.add.reduceat(weight, starts, axis=1)
