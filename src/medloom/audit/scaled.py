"""Columns that carry the marks of a preprocessing that was fitted on all rows: scaled, ranked, filled or rotated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import kstwobign, norm

from medloom.audit.evidence import Column, Evidence
from medloom.audit.finding import Finding

RARE = 1e-4
"""A mark counts where chance would leave it on a column less often than this, over all columns together."""


def findings(evidence: Evidence) -> Iterator[Finding]:
    """One finding for each kind of mark, with all columns that carry it."""
    columns = [c for c in evidence.columns if not c.is_word and c.present.sum() >= 30 and len(c.values) > 12]
    train = evidence.part == 0
    marks = {
        "standardised": [c for c in columns if _standardised(c, train, len(columns))],
        "scaled to median 0 and interquartile range 1": [c for c in columns if _robust(c)],
        "turned into ranks": [c for c in columns if _ranked(c.number[c.present], len(columns))],
        "filled with the mean of all rows": [c for c in columns if _filled(c, train, len(columns))],
        "rotated to principal components": _rotated(columns),
        "scaled to 0 and 1": _squeezed(columns),
    }
    taken: set[str] = set()
    for what, found in marks.items():
        fresh = [c for c in found if c.name not in taken]
        if fresh:
            taken |= {c.name for c in fresh}
            yield _finding(what, fresh, len(evidence.cohort))


def _finding(what: str, columns: list[Column], rows: int) -> Finding:
    names = tuple(c.name for c in columns)
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return Finding(
        "fitted-on-all-rows",
        "note" if what == "scaled to 0 and 1" else "suspicious",
        f"{shown}: {what} over all rows, test rows among them, before the split?",
        "give the values as they were measured: medloom scales and fills by training rows alone",
        "columns",
        float(len(names)),
        names,
        columns[0].input,
        rows=rows,
    )


def resolution(number: Float[np.ndarray, " rows"]) -> float:
    """The power of ten to which numbers were rounded; 0 where they were not."""
    some = number[:500]
    for digits in range(9):
        if np.allclose(some, np.round(some, digits), rtol=0, atol=1e-11):
            return 10.0**-digits
    return 0.0


def _standardised(column: Column, train: np.ndarray, tries: int) -> bool:
    """Mean 0 and standard deviation 1 over all rows, more exactly than chance makes them, and not over training rows."""
    number = column.number[column.present]
    rows, mean, spread = len(number), float(number.mean()), float(number.std())
    slack = 1e-7 + 2 * resolution(number) / np.sqrt(12 * rows)
    near = min(abs(spread - 1), abs(number.std(ddof=1) - 1))
    if abs(mean) > slack or near > max(slack, 1e-7):
        return False
    chance = (2 * slack * np.sqrt(rows / (2 * np.pi))) * (2 * slack * np.sqrt(rows / np.pi))
    if chance * tries > RARE:
        return False
    taught = column.number[column.present & train]
    return not (len(taught) < rows and abs(taught.mean()) <= slack and abs(taught.std() - 1) <= slack)


def _robust(column: Column) -> bool:
    number = column.number[column.present]
    low, middle, high = np.quantile(number, [0.25, 0.5, 0.75])
    return bool(abs(middle) < 1e-9 and abs(high - low - 1) < 1e-9 and resolution(number) < 1e-4)


def _ranked(number: np.ndarray, tries: int) -> bool:
    """Closer to a uniform or a normal distribution than a sample of one can be."""
    if len(np.unique(number)) < 0.9 * len(number) or len(number) < 60:
        return False
    low, high = number.min(), number.max()
    forms = []
    if abs(low) < 1e-6 + 1 / len(number) and abs(high - 1) < 1e-6 + 1 / len(number):
        forms.append(np.sort(number))
    if -8 < low < -1.5 and 1.5 < high < 8:
        inner = np.sort(number)
        forms.append(norm.cdf(inner))
    for form in forms:
        steps = (np.arange(len(form)) + 0.5) / len(form)
        away = float(np.abs(form - steps).max()) * np.sqrt(len(form))
        # The middle of a step is half a step from either side of the empirical distribution.
        if kstwobign.cdf(away + 0.5 / np.sqrt(len(form))) * tries < RARE**2:
            return True
    return False


def _filled(column: Column, train: np.ndarray, tries: int) -> bool:
    """A value that stands several times is the mean of the others over all rows; or far the commonest is their median."""
    number, tally = column.number[column.present], column.tally
    values, rounded = np.array(column.values), resolution(number)
    spread = float(number.std())
    several = np.flatnonzero((tally >= max(3, 0.003 * len(number))) & (tally < 0.8 * len(number)))
    if not len(several) or spread == 0:
        return False
    # What is filled with the mean of the others leaves the mean of all where it was.
    code = int(several[np.argmin(np.abs(values[several] - number.mean()))])
    slack = 1e-10 * max(abs(float(values[code])), spread) + 0.51 * rounded
    second = np.sort(np.delete(tally, code))[-1]
    sharp = slack / spread * len(several) * tries < 1e-3
    rare = tally[code] >= 4 * second and tally[code] >= 5 and slack / spread * tries < 0.1
    others = column.present & (column.code != code)
    if abs(float(values[code]) - column.number[others].mean()) <= slack and (sharp or rare):
        return _not_by_training(column, others, train, float(values[code]), slack, np.mean)
    top = int(np.argmax(tally))
    others = column.present & (column.code != top)
    second = np.partition(tally, -2)[-2]
    if tally[top] < max(8, 10 * second) or len(np.unique(column.number[others])) < 0.3 * others.sum():
        return False
    slack = 1e-10 * spread + 0.51 * rounded
    same = abs(float(values[top]) - float(np.median(column.number[others]))) <= slack
    return same and _not_by_training(column, others, train, float(values[top]), slack, np.median)


def _not_by_training(
    column: Column, others: np.ndarray, train: np.ndarray, value: float, slack: float, middle: Callable[..., Any]
) -> bool:
    """Whether the training rows alone would have given another value."""
    taught = column.number[others & train]
    return len(taught) == 0 or abs(value - float(middle(taught))) > slack


def _rotated(columns: list[Column]) -> list[Column]:
    """Columns with mean 0 that are uncorrelated with one another to the last digit."""
    whole = [c for c in columns if c.present.all() and len(c.values) > 0.5 * len(c.code)]
    whole = [c for c in whole if abs(c.number.mean()) < 1e-6 * c.number.std() + resolution(c.number)]
    if len(whole) < 2:
        return []
    values = np.stack([c.number for c in whole], axis=1)
    r = np.corrcoef(values, rowvar=False)
    rounding = max(resolution(c.number) / c.number.std() for c in whole)
    slack = 1e-8 + 2 * rounding / np.sqrt(len(values))
    apart = np.abs(r) < slack
    np.fill_diagonal(apart, False)
    if slack * np.sqrt(len(values)) * len(whole) ** 2 > 1e-2:
        return []
    return [c for place, c in enumerate(whole) if apart[place].any()]


def _squeezed(columns: list[Column]) -> list[Column]:
    """Several columns of many values with 0 and 1 as their very ends, each reached by few rows."""
    found = []
    for c in columns:
        number = c.number[c.present]
        if len(c.values) > max(50, 0.2 * len(number)) and number.min() == 0 and number.max() == 1:
            if max((number == 0).mean(), (number == 1).mean()) < 0.05 and resolution(number) < 1e-3:
                found.append(c)
    return found if len(found) >= 2 else []
