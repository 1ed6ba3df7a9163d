"""Means of the answer that were taken over all rows and stand among the inputs (target coding before the split)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import chi2

from medloom.audit.evidence import Column, Evidence, Outcome
from medloom.audit.finding import Finding
from medloom.audit.measure import correlation

FEWEST_GROUPS = 4
SMOOTHING = (0.0, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 100.0, 200.0, 300.0, 500.0)


def findings(evidence: Evidence) -> Iterator[Finding]:
    """At most one finding a column."""
    seen: set[str] = set()
    groups = _groups(evidence)
    for outcome in evidence.outcomes:
        answer = outcome.event if outcome.event is not None else outcome.value
        rows = np.flatnonzero(outcome.known)
        if len(rows) < 40 or np.unique(answer[rows]).size < 2:
            continue
        for column in evidence.columns:
            if column.is_word or column.name in seen or len(column.values) < FEWEST_GROUPS:
                continue
            by = _source(evidence, column, groups, answer, rows)
            if by is not None:
                seen.add(column.name)
                yield _finding(column, outcome, by, len(rows))


def _finding(column: Column, outcome: Outcome, by: str, rows: int) -> Finding:
    return Finding(
        "target-statistics",
        "severe",
        f"{column.name} is a mean of {outcome.target} {by}, taken over rows that are to judge as well",
        "take such means from training rows alone, or give the category itself",
        "rows",
        float(rows),
        (column.name,),
        column.input,
        outcome.target,
        rows,
    )


def _groups(evidence: Evidence) -> dict[str, np.ndarray]:
    """What a mean could be taken by: categories, numbers of few values, the site, the patient."""
    cohort = evidence.cohort
    found = {}
    for column in (*evidence.columns, *evidence.others):
        most = len(cohort) // 2 if column.is_word else min(100, len(cohort) // 10)
        if FEWEST_GROUPS <= len(column.values) <= most:
            found[column.name] = column.code + 1
    if cohort.site is not None:
        found[str(evidence.prepared.study.cohort.site)] = (
            cohort.site.rank("dense").fill_null(0).to_numpy().astype(np.int64)
        )
    if len(np.unique(cohort.patient)) < len(cohort):
        found[str(evidence.prepared.study.cohort.patient)] = cohort.patient
    return found


def _source(
    evidence: Evidence, column: Column, groups: dict[str, np.ndarray], answer: np.ndarray, rows: np.ndarray
) -> str | None:
    """By what the column is a mean of the answer; None where it is none, or one over training rows alone."""
    rows = rows[column.present[rows]]
    x, y = column.number[rows], answer[rows]
    if len(rows) < 40 or x.std() == 0:
        return None
    train = evidence.part[rows] == 0
    own = column.code[rows]
    if len(np.unique(own)) <= len(rows) // 2 and _is_mean(x, y, own, train, by_itself=True):
        return "over the rows that share its value"
    for name, code in groups.items():
        if name != column.name and _follows(x, y, code[rows], train):
            return f"by {name}"
    return None


def _follows(x: np.ndarray, y: np.ndarray, code: np.ndarray, train: np.ndarray) -> bool:
    """Whether x is a mean of y over each group: with the row itself, without it, or with a little noise."""
    count = np.bincount(code)
    total, sums = np.bincount(code, x), np.bincount(code, y)
    mean = (total / np.maximum(count, 1))[code]
    spread, within = x.std(), (x - mean).std()
    if (count > 1).sum() < FEWEST_GROUPS or spread == 0:
        return False
    if within < 0.3 * spread:
        # With noise laid over it, what is left of the group means has to be less than chance leaves.
        return _is_mean(mean, y, code, train, by_itself=False)
    several = np.flatnonzero(count[code] > 1)
    for some in (several[:200], several):
        without = (sums[code[some]] - y[some]) / (count[code[some]] - 1)
        if len(some) < 20 or abs(correlation(without, x[some])) < 0.999:
            return False
    return len(several) >= 0.5 * len(x)


def _is_mean(
    x: Float[np.ndarray, " rows"],
    y: Float[np.ndarray, " rows"],
    code: Int[np.ndarray, " rows"],
    train: np.ndarray,
    by_itself: bool,
) -> bool:
    """Whether x, constant in each group, is the group's mean of y up to a straight line, smoothing, or small noise.

    A rate that was known before lies about a standard error from the mean of these rows; a mean of these very rows
    does not. So the sum of squared standardised distances is held against the lower tail of chi-square.
    """
    _, group, count = np.unique(code, return_inverse=True, return_counts=True)
    if len(count) < FEWEST_GROUPS:
        return False
    mean, value = np.bincount(group, y) / count, np.bincount(group, x) / count
    residual = y - mean[group]
    # Where every group has one answer, the column is the answer itself, which is found elsewhere.
    within = float((residual**2).sum() / max(len(y) - len(count), 1))
    if value.std() == 0 or mean.std() == 0 or within < 1e-6 * y.var():
        return False
    if _exact(value, mean, count, y.mean(), by_itself):
        return not _on_training_rows(value, x, y, group, train)
    if by_itself and abs(np.average(value, weights=count) - y.mean()) > 1e-3 * y.std():
        return False
    left = _distance(value, mean, count, by_itself)
    freedom = len(count) - (0 if by_itself else 2)
    if freedom < 8:
        return False
    return bool(chi2.cdf(left / within, freedom) < 1e-8) and not _on_training_rows(value, x, y, group, train)


def _exact(value: np.ndarray, mean: np.ndarray, count: np.ndarray, prior: float, by_itself: bool) -> bool:
    """Whether the values are the means to the last digits that are kept, shrunk to the mean of all by some weight."""
    if by_itself:
        return bool((np.abs(value - mean) < 1e-4 * mean.std() + 1e-9).all())
    for weight in SMOOTHING:
        shrunk = (count * mean + weight * prior) / (count + weight)
        for form in (shrunk, _log_odds(shrunk)):
            if form is not None and form.std() > 0 and abs(np.corrcoef(form, value)[0, 1]) > 1 - 1e-8:
                return len(count) >= FEWEST_GROUPS
    return False


def _log_odds(mean: np.ndarray) -> np.ndarray | None:
    if mean.min() <= 0 or mean.max() >= 1:
        return None
    return np.log(mean / (1 - mean))


def _distance(value: np.ndarray, mean: np.ndarray, count: np.ndarray, by_itself: bool) -> float:
    """Sum of squared distances weighed by rows, of the values themselves or of the nearest straight line of them."""
    if by_itself:
        return float((count * (value - mean) ** 2).sum())
    root = np.sqrt(count)
    design = np.stack([root, root * value], axis=1)
    fitted = design @ np.linalg.lstsq(design, root * mean, rcond=None)[0]
    return float(((root * mean - fitted) ** 2).sum())


def _on_training_rows(value: np.ndarray, x: np.ndarray, y: np.ndarray, group: np.ndarray, train: np.ndarray) -> bool:
    """Whether the training rows alone give the very same means, while all rows do not: as it should be done."""
    if train.all() or not train.any():
        return False
    many = len(value)
    count = np.bincount(group[train], minlength=many)
    have = count > 0
    mean = np.bincount(group[train], y[train], many)[have] / count[have]
    everything = (np.bincount(group, y, many) / np.bincount(group, minlength=many))[have]
    near, far = np.abs(value[have] - mean).max(), np.abs(value[have] - everything).max()
    return bool(near < 1e-9 * max(1.0, np.abs(mean).max()) and far > 1e-6)
