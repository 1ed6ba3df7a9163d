"""Classes read from the columns of a cohort, and counted among the training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medloom.errors import DataError, counted, some
from medloom.find import near
from medloom.modality import Marks
from medloom.tasks._class_options import ClassifyOptions, Kind

if TYPE_CHECKING:
    import polars as pl

    from medloom.cohort.table import Cohort

POSITIVE = {"1": "0", "true": "false", "yes": "no", "y": "n", "present": "absent", "positive": "negative"}
"""Pairs of class names in which it is plain which one is asked for."""
MOST_CLASSES = 1000

Counted = tuple[Kind, tuple[str, ...], tuple[int, ...], tuple[float, ...]]
"""Kind, names in order, rows of each, and weights that make them equal."""


def read_classes(options: ClassifyOptions, cohort: Cohort) -> Marks:
    """Codes of the classes by name, −1 where unknown."""
    import polars as pl

    text = known(options, cohort, str(options.column))
    names = text.unique().drop_nulls().sort().to_list()
    if len(names) > MOST_CLASSES:
        raise DataError(
            f"column {options.column!r} has {len(names)} different values; expected at most {MOST_CLASSES} classes. "
            'If it holds numbers to predict, the task is task = "regress"'
        )
    if options.order:
        strange = [name for name in names if name not in options.names_in_order()]
        if strange:
            raise DataError(
                f"column {options.column!r}: {some(strange)} is not in order; "
                f"{near(strange[0], options.names_in_order())}, or name it in missing"
            )
    codes = np.full(len(cohort), -1, np.int64)
    if names:
        codes = text.replace_strict(names, list(range(len(names))), default=-1, return_dtype=pl.Int64).to_numpy()
    return Marks(codes, codes >= 0, tuple(names))


def known(options: ClassifyOptions, cohort: Cohort, name: str) -> pl.Series:
    """A target column as text, null where unknown."""
    import polars as pl

    from medloom.cohort.table import canonical

    text = canonical(cohort.column(name, "target"))
    if not options.missing:
        return text
    markers = [f"{marker:g}" if isinstance(marker, float) else str(marker) for marker in options.missing]
    return pl.select(pl.when(~text.is_in(markers)).then(text)).to_series()


def read_label(options: ClassifyOptions, cohort: Cohort, name: str) -> np.ndarray:
    """One label as 0, 1 and NaN."""
    import polars as pl

    text = known(options, cohort, name).str.to_lowercase()
    strange = text.filter(~text.is_in(["0", "1", "true", "false"]) & text.is_not_null())
    if len(strange):
        raise DataError(
            f"column {name!r}: {counted(len(strange), 'value is', 'values are')} neither 0 nor 1; expected a label of 0 and 1, empty where unknown"
        )
    number = text.replace_strict(
        ["0", "1", "false", "true"], [0.0, 1.0, 0.0, 1.0], default=None, return_dtype=pl.Float64
    )
    return number.fill_null(float("nan")).to_numpy()


def count_classes(options: ClassifyOptions, summaries: Sequence[Mapping[str, int]]) -> Counted:
    """Of one column; raises DataError where fewer than two classes have training rows."""
    total: dict[str, int] = {}
    for summary in summaries:
        for name, n in summary.items():
            total[name] = total.get(name, 0) + n
    if len(total) < 2:
        found = f"only the class {next(iter(total))!r}" if total else "no known value"
        raise DataError(f"column {options.column!r}: {found} in the training rows; expected at least two classes")
    names = sorted(total, key=natural)
    if options.order:
        names = list(options.names_in_order())
        absent = [name for name in names if name not in total]
        if absent:
            raise DataError(f"order: no training row has the class {some(absent)}; take it out of order")
    if len(names) == 2:
        positive = _positive(options, names)
        names = [next(name for name in names if name != positive), positive]
    counts = tuple(total[name] for name in names)
    weights = tuple(sum(counts) / (len(counts) * n) for n in counts)
    return "binary" if len(names) == 2 else "multiclass", tuple(names), counts, weights


def natural(name: str) -> tuple[int, float, str]:
    """Numbers in the order of their value, then words."""
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)


def _positive(options: ClassifyOptions, names: list[str]) -> str:
    if options.positive is not None:
        if options.positive not in names:
            raise DataError(
                f"positive: no training row has the class {options.positive!r}; {near(options.positive, names)}"
            )
        return options.positive
    for name in names:
        other = next(word for word in names if word != name)
        if POSITIVE.get(name.lower()) == other.lower():
            return name
    raise DataError(
        f"column {options.column!r} has the classes {names[0]!r} and {names[1]!r}; say which one is asked for: positive = {names[1]!r}"
    )


def count_labels(options: ClassifyOptions, summaries: Sequence[tuple[tuple[int, int], ...]]) -> Counted:
    """Of labels; raises DataError where one has no training row with 0, or none with 1."""
    total = np.sum([np.array(summary) for summary in summaries], axis=0)
    for name, (zeros, ones) in zip(options.columns, total, strict=True):
        if not zeros or not ones:
            raise DataError(f"column {name!r}: the training rows have {zeros} zeros and {ones} ones; expected both")
    weights = total.sum(axis=1, keepdims=True) / (2 * total)
    return "multilabel", options.columns, tuple(int(n) for n in total[:, 1]), tuple(float(w) for w in weights.ravel())
