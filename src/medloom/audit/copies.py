"""Records of two patients that are copies of each other: images saved anew, resized, turned, mirrored or brightened."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from medloom.audit.evidence import Evidence
from medloom.audit.finding import Finding
from medloom.audit.twins import Pairs, finding_of

FAR_NEIGHBOUR = 5
SHARE = 0.3
"""Copies lie nearer than this share of the usual distance of a record's fifth neighbour."""
BLOCK = 1_000


def findings(evidence: Evidence) -> Iterator[Finding]:
    """One finding for each input whose fingerprint tells copies."""
    feed = evidence.prepared.feed
    for name, modality in feed.modalities.items():
        if modality.copies_within is None:
            continue
        rows = evidence.sample[feed.sources[name].unit[evidence.sample] > 0]
        marks = modality.fingerprint(feed.sources[name], rows)
        pairs = copied(marks, evidence.cohort.patient[rows], modality.copies_within)
        if len(pairs.one):
            how = f"copies of each other's {name}, as they are or saved anew, resized, turned, mirrored or brightened"
            yield finding_of("copied-records", how, Pairs(rows[pairs.one], rows[pairs.other]), evidence)


def copied(marks: Float[np.ndarray, "rows features"], patient: Int[np.ndarray, " rows"], within: float) -> Pairs:
    """Pairs of rows of different patients whose marks lie within `within`, and far closer than records do here.

    Rows without a pattern (all features 0) are no copies of one another.
    """
    marks = np.asarray(marks, np.float32)
    squared = (marks**2).sum(axis=1)
    told = np.flatnonzero(squared > 0)
    ones, others, fifth = [], [], []
    for start in range(0, len(told), BLOCK):
        here = told[start : start + BLOCK]
        distance = squared[here, None] + squared[told] - 2 * marks[here] @ marks[told].T
        if len(told) > FAR_NEIGHBOUR:
            fifth.append(np.partition(distance, FAR_NEIGHBOUR, axis=1)[:, FAR_NEIGHBOUR])
        row, column = np.nonzero(distance < within**2)
        one, other = here[row], told[column]
        kept = (one < other) & (patient[one] != patient[other])
        ones.append(one[kept])
        others.append(other[kept])
    if not ones:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    one, other = np.concatenate(ones), np.concatenate(others)
    usual = float(np.sqrt(max(np.median(np.concatenate(fifth)), 0.0))) if fifth else 0.0
    # Taken again without the rounding of the products above, which is larger than the distance of exact copies.
    exact = np.linalg.norm(marks[one] - marks[other], axis=1)
    near = exact < max(min(within, SHARE * usual), 1e-3)
    return Pairs(one[near], other[near])
