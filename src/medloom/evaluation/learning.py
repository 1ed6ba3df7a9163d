"""Parts of the training rows, and what was reached with each: whether more patients would help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom.cohort.split import Fold
from medloom.cohort.table import Cohort
from medloom.draw import generator
from medloom.evaluation.intervals import Comparison


@dataclass(frozen=True, slots=True)
class Reached:
    """What was reached with one share of the training patients; without comparisons where it was too little."""

    share: float
    rows: int
    patients: int
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    note: str = ""

    def plain(self, target: str) -> dict[str, Any]:
        """One target's figures for JSON."""
        one = self.comparisons.get(target)
        entrants = (
            {}
            if one is None
            else {
                name: {figure: estimate.plain() for figure, estimate in figures.items()}
                for name, figures in one.estimates.items()
            }
        )
        return {
            "share": self.share,
            "rows": self.rows,
            "patients": self.patients,
            "figures": entrants,
            **({"note": self.note} if self.note else {}),
        }


def with_share(fold: Fold, cohort: Cohort, strata: Sequence[Int[np.ndarray, " rows"]], share: float, seed: int) -> Fold:
    """The fold with a share of its training patients, its other parts as they are.

    Within each combination of the strata the same order of patients is cut at the share, so that smaller parts lie
    within larger ones. The order is a function of seed and patient ids, not of the order of rows.
    """
    patient = cohort.patient[fold.train]
    ids = pl.DataFrame({"code": patient, "id": cohort.patient_id.gather(fold.train)}).unique("code").sort("id")
    codes = ids["code"].to_numpy()
    stratum = _strata(patient, [one[fold.train] for one in strata], int(patient.max()) + 1)[codes]
    kept = []
    for value in np.unique(stratum):
        members = generator(seed, "learning curve", int(value)).permutation(codes[stratum == value])
        kept.append(members[: math.ceil(share * len(members) - 1e-9)])
    return replace(fold, train=fold.train[np.isin(patient, np.concatenate(kept))])


def _strata(
    patient: Int[np.ndarray, " rows"], strata: Sequence[Int[np.ndarray, " rows"]], patients: int
) -> Int[np.ndarray, " patients"]:
    """One code a patient: the highest code of its rows, of all strata together."""
    combined = np.zeros(patients, np.int64)
    for codes in strata:
        highest = np.full(patients, -1)
        np.maximum.at(highest, patient, codes)
        combined = combined * (int(codes.max(initial=-1)) + 2) + highest + 1
    return combined
