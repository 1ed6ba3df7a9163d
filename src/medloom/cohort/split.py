"""Folds of whole patients, and the proof that no patient crosses."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom.cohort.table import Cohort, canonical
from medloom.draw import generator
from medloom.errors import DataError, some
from medloom.find import near
from medloom.study import SplitPart

PARTS = ("train", "valid", "calibrate", "test")


@dataclass(frozen=True, slots=True)
class Fold:
    """Positions of the cohort's rows by what they are for; each sorted."""

    train: Int[np.ndarray, " train"]
    valid: Int[np.ndarray, " valid"]
    calibrate: Int[np.ndarray, " calibrate"]
    test: Int[np.ndarray, " test"]

    def parts(self) -> Mapping[str, Int[np.ndarray, " rows"]]:
        """The four parts by name, in their order."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def check(self, cohort: Cohort) -> dict[str, Any]:
        """Proof that no row and no patient is in two parts: counts, overlaps (all zero) and a digest of the rows.

        Raises DataError where a patient or a row crosses.
        """
        owner = np.full(int(cohort.patient.max()) + 1, -1)
        proof: dict[str, Any] = {"by": "patient", "parts": {}, "patients_in_two_parts": 0}
        for index, (name, rows) in enumerate(self.parts().items()):
            patients = np.unique(cohort.patient[rows])
            crossing = patients[(owner[patients] != -1) & (owner[patients] != index)]
            if len(crossing):
                held = cohort.row.gather(np.flatnonzero(np.isin(cohort.patient, crossing))).to_list()
                raise DataError(
                    f"split: {len(crossing)} patients are in {name} and in another part (rows {some(held)}); "
                    "give every row of a patient the same part"
                )
            owner[patients] = index
            digest = hashlib.sha256("\n".join(sorted(cohort.row.gather(rows).to_list())).encode()).hexdigest()
            proof["parts"][name] = {"rows": len(rows), "patients": len(patients), "sha256_of_row_ids": digest}
        together = np.concatenate(list(self.parts().values()))
        if len(np.unique(together)) != len(together):
            raise DataError("split: a row is in two parts")
        return proof


def split(part: SplitPart, cohort: Cohort, strata: Sequence[Int[np.ndarray, " rows"]], seed: int) -> tuple[Fold, ...]:
    """The folds of a cohort: a function of patient ids, strata and seed, not of the order of rows.

    `strata` hold a small class code a row (−1 unknown) for each target that can be stratified by.
    """
    if part.by == "column":
        fold = _by_column(part, cohort)
    else:
        shares = np.array([1 - part.valid - part.calibrate - part.test, part.valid, part.calibrate, part.test])
        place = _places(cohort, strata if part.stratify else (), shares, seed)
        fold = Fold(*(np.flatnonzero(place[cohort.patient] == index) for index in range(4)))
    for name in ("train", "test"):
        if not len(getattr(fold, name)):
            raise DataError(
                f"split: no rows are left for {name}; found {len(np.unique(cohort.patient))} patients, which is too few"
            )
    return (fold,)


def _by_column(part: SplitPart, cohort: Cohort) -> Fold:
    values = canonical(cohort.column(str(part.column), "split.column"))
    found = values.unique().drop_nulls().to_list()
    unknown = sorted(set(found) - set(PARTS))
    if unknown or values.null_count():
        raise DataError(
            f"split.column: {part.column!r} holds {some(unknown) if unknown else 'empty values'}; expected one of "
            f"{', '.join(PARTS)} in every row; {near(unknown[0], PARTS) if unknown else ''}"
        )
    return Fold(*((values == name).arg_true().to_numpy().astype(np.int64) for name in PARTS))


def _places(
    cohort: Cohort, strata: Sequence[Int[np.ndarray, " rows"]], shares: np.ndarray, seed: int
) -> Int[np.ndarray, " patients"]:
    """A part for each patient. Within each stratum, patients in random order fill the parts by the shares.

    The order is random but a patient's rows weigh in: a patient goes to the part that is furthest below its share
    of rows, so that a patient with a thousand rows does not make a part many times too large.
    """
    ids = pl.DataFrame({"code": cohort.patient, "id": cohort.patient_id}).unique("code").sort("id")["code"].to_numpy()
    weight = np.bincount(cohort.patient, minlength=len(ids)).astype(float)
    stratum = _patient_strata(cohort.patient, strata, len(ids))
    place = np.full(len(ids), -1)
    for value in np.unique(stratum):
        members = ids[stratum[ids] == value]
        members = generator(seed, "split", int(value)).permutation(members)
        members = members[np.argsort(-_size_class(weight[members]), kind="stable")]
        place[members] = _fill(weight[members], shares)
    return place


def _size_class(weight: np.ndarray) -> np.ndarray:
    """Powers of two of the rows a patient has: the largest patients are placed first, ties at random."""
    return np.floor(np.log2(weight))


def _fill(weight: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Parts for patients in order, each to the part with the largest deficit of rows."""
    if weight.min() == weight.max():
        exact = shares * len(weight)
        counts = np.floor(exact).astype(np.int64)
        counts[np.argsort(counts - exact, kind="stable")[: len(weight) - counts.sum()]] += 1
        return np.repeat(np.arange(len(shares)), counts)
    place = []
    filled, wanted, total = [0.0] * len(shares), shares.tolist(), 0.0
    for rows in weight.tolist():
        total += rows
        deficit = [share * total - have if share else -np.inf for share, have in zip(wanted, filled, strict=True)]
        chosen = deficit.index(max(deficit))
        place.append(chosen)
        filled[chosen] += rows
    return np.array(place)


def _patient_strata(patient: np.ndarray, strata: Sequence[np.ndarray], patients: int) -> np.ndarray:
    """One code a patient: for each target the rarest class that any of its rows has, then all targets combined."""
    combined = np.zeros(patients, np.int64)
    for codes in strata:
        rarity = np.argsort(np.argsort(-np.bincount(codes + 1, minlength=1), kind="stable"), kind="stable")
        rank = np.zeros(patients, np.int64)
        np.maximum.at(rank, patient, rarity[codes + 1])
        combined = combined * len(rarity) + rank
    return np.unique(combined, return_inverse=True)[1]
