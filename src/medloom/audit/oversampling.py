"""Rows that were made up to balance the classes before the split: copies of a class, and points between its rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from medloom.audit.evidence import Evidence
from medloom.audit.finding import Finding
from medloom.audit.twins import different, hashes
from medloom.draw import generator
from medloom.errors import counted

NEIGHBOURS = 24
JUDGED = 400
"""Rows of a class that are held against the lines between their neighbours."""


def findings(evidence: Evidence) -> Iterator[Finding]:
    """A class of which many rows lie exactly between two others, or are copies, while other classes have none."""
    fine = different([c for c in evidence.columns if c.is_fine])
    whole = [c for c in fine if c.present.mean() > 0.99]
    columns = whole if len(whole) >= 3 else [c for c in fine if c.present.mean() > 0.9]
    for outcome in evidence.outcomes:
        if outcome.kind != "binary":
            continue
        cases, controls = (np.flatnonzero(outcome.value == side) for side in (1.0, 0.0))
        if min(len(cases), len(controls)) < 30:
            continue
        # Rows of few values meet by chance the more often the more there are: as many of one class as of the other.
        size = min(len(cases), len(controls))
        shares = [_copied(evidence, _some(rows, size)) for rows in (cases, controls)]
        how = "copies of others"
        if len(columns) >= 3 and max(shares) - min(shares) < 0.1:
            values = np.stack([c.number for c in columns], axis=1)
            between = [_between(values, rows) for rows in (cases, controls)]
            if max(between) >= 0.08:
                shares, how = between, "exactly between two others"
        if max(shares) < 0.08 or max(shares) < 4 * min(shares) + 0.05:
            continue
        made = cases if shares[0] > shares[1] else controls
        yield Finding(
            "oversampling",
            "severe",
            f"{max(shares):.0%} of the {counted(len(made), 'row')} {'of' if made is cases else 'without'} {outcome.asked} are {how}, "
            f"and {min(shares):.0%} of the others",
            "split first and balance the training rows alone, or use class_weights; take the made-up rows out",
            "share of rows",
            float(max(shares)),
            tuple(c.name for c in columns) if "between" in how else (),
            None,
            outcome.target,
            int(max(shares) * len(made)),
        )


def _some(rows: np.ndarray, size: int) -> np.ndarray:
    """So many of the rows, at random."""
    return rows if len(rows) == size else rows[generator(len(rows), "copies").permutation(len(rows))[:size]]


def _copied(evidence: Evidence, rows: np.ndarray) -> float:
    """The share of rows that another patient has exactly, in tables with at least one column of many values."""
    columns = [c for c in evidence.columns if len(c.values) > 1]
    if len(columns) < 3 or not any(c.is_fine for c in columns):
        return 0.0
    total = hashes(columns, 0)[rows].sum(axis=1)
    key, place, times = np.unique(total, return_inverse=True, return_counts=True)
    first = np.full(len(key), -1)
    first[place] = evidence.cohort.patient[rows]
    several = np.zeros(len(key), bool)
    np.logical_or.at(several, place, evidence.cohort.patient[rows] != first[place])
    return float(((times - 1) * several).sum() / len(rows))


def _between(values: Float[np.ndarray, "rows columns"], rows: np.ndarray) -> float:
    """The share of rows that lie on a straight line between two of their neighbours of the same class.

    Source: Chawla et al., "SMOTE: synthetic minority over-sampling technique", JAIR 16, 2002, whose points these are.
    """
    rows = rows[~np.isnan(values[rows]).any(axis=1)]
    if len(rows) < 30:
        return 0.0
    x = values[rows]
    x = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    judged = generator(len(rows), "between").permutation(len(rows))[:JUDGED]
    near = cKDTree(x).query(x[judged], k=min(NEIGHBOURS, len(rows) - 1) + 1)[1][:, 1:]
    i, j = np.triu_indices(near.shape[1], 1)
    hits, nearly = 0, 5e-5 if x.shape[1] >= 4 else 1e-9  # room for numbers that were rounded
    for place, row in enumerate(judged.tolist()):
        toward = x[near[place]] - x[row]
        length = np.sqrt((toward**2).sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = toward / length[:, None]
        cosine = np.einsum("pd,pd->p", unit[i], unit[j])
        hits += bool((cosine < -1 + nearly).any())
    return hits / len(judged)
