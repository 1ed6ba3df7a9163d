"""Whose values each row gets when those of patients are exchanged: another patient's, all rows of it together."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def donors(patient: Int[np.ndarray, " rows"], random: np.random.Generator) -> Int[np.ndarray, " rows"]:
    """For each row the place of the row whose values it gets. Nobody keeps their own where there are two patients.

    Patients with equally many rows change places whole, so that every value is used once. Those whose number of rows
    nobody shares change with the nearest of their kind, and rows repeat or are left over. Row k gives to row k, so that a
    course over time stays one.
    """
    order = np.argsort(patient, kind="stable")
    _, first, count = np.unique(patient[order], return_index=True, return_counts=True)
    giver = np.arange(len(count))
    alone = []
    for size in np.unique(count):
        alike = random.permutation(np.flatnonzero(count == size))
        if len(alike) > 1:
            giver[alike] = np.roll(alike, 1)
        else:
            alone.append(int(alike[0]))
    if len(alone) > 1:
        giver[alone] = np.roll(alone, 1)
    elif alone and len(count) > 1:
        others = np.delete(np.arange(len(count)), alone[0])
        giver[alone[0]] = others[np.argmin(np.abs(count[others] - count[alone[0]]))]
    whose = np.repeat(giver, count)
    within = np.arange(len(order)) - np.repeat(first, count)
    given = np.empty(len(order), np.int64)
    given[order] = order[first[whose] + within % count[whose]]
    return given
