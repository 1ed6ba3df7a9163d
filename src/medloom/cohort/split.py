"""Folds of whole patients, and the proof that neither a patient nor the future crosses."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from medloom.cohort.files import canonical
from medloom.cohort.table import Cohort
from medloom.draw import generator
from medloom.errors import DataError, counted, some
from medloom.find import near
from medloom.parts import SplitPart

PARTS = ("train", "valid", "calibrate", "test")
REHEARSED = 0.5
"""Share of the patients that teach whom rehearsals answer, where a study does not say."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Positions of the cohort's rows by what they are for; each sorted.

    `left_out` holds rows that would let a patient or the future cross, by why they are in no part.
    """

    train: Int[np.ndarray, " train"]
    valid: Int[np.ndarray, " valid"]
    calibrate: Int[np.ndarray, " calibrate"]
    test: Int[np.ndarray, " test"]
    left_out: Mapping[str, Int[np.ndarray, " rows"]] = field(default_factory=dict, kw_only=True)
    number: int = field(default=1, kw_only=True)
    repeat: int = field(default=1, kw_only=True)

    def parts(self) -> Mapping[str, Int[np.ndarray, " rows"]]:
        """The four parts by name, in their order."""
        return {name: getattr(self, name) for name in PARTS}

    def rows(self) -> Int[np.ndarray, " rows"]:
        """All rows of the four parts, sorted."""
        return np.sort(np.concatenate(list(self.parts().values())))

    def check(self, cohort: Cohort, by: str = "patient") -> dict[str, Any]:
        """Proof that no row and no patient is in two parts: counts, overlaps (all zero) and a digest of the rows.

        For `by="time"` also that what teaches is older than what judges, for `by="site"` that it is of other sites.
        Raises DataError where a patient, a row, the future or a site crosses.
        """
        owner = np.full(int(cohort.patient.max()) + 1, -1)
        proof: dict[str, Any] = {"by": by, "parts": {}, "patients_in_two_parts": 0}
        for index, (name, rows) in enumerate(self.parts().items()):
            patients = np.unique(cohort.patient[rows])
            crossing = patients[(owner[patients] != -1) & (owner[patients] != index)]
            if len(crossing):
                held = cohort.row.gather(np.flatnonzero(np.isin(cohort.patient, crossing))).to_list()
                raise DataError(
                    f"split: {counted(len(crossing), 'patient is', 'patients are')} in {name} and in another part (rows {some(held)}); "
                    "give every row of a patient the same part"
                )
            owner[patients] = index
            digest = _digest(cohort.row.gather(rows).sort())
            proof["parts"][name] = {"rows": len(rows), "patients": len(patients), "sha256_of_row_ids": digest}
        if np.bincount(np.concatenate(list(self.parts().values()))).max(initial=0) > 1:
            raise DataError("split: a row is in two parts")
        return proof | self._crossing(cohort, by)

    def _crossing(self, cohort: Cohort, by: str) -> dict[str, str]:
        """What a split by time or by site proves besides. Raises DataError."""
        teaching = np.setdiff1d(self.rows(), self.test)
        if by == "time" and len(self.test) and cohort.at is not None:
            if len(teaching) and cohort.at[teaching].max() >= cohort.at[self.test].min():
                raise DataError("split: a row that teaches is not older than every row that judges")
            told = "every row that teaches is older than every row that judges"
            if cohort.answered is None:
                return {"time": told}
            if (cohort.answered[teaching] >= cohort.at[self.test].min()).any():
                raise DataError("split: a row teaches whose answers were not known before the first row that judges")
            return {"time": f"{told}, and so are its answers"}
        if by == "site" and len(self.test) and cohort.site is not None:
            if set(cohort.site.gather(teaching)) & set(cohort.site.gather(self.test)):
                raise DataError("split: a site both teaches and judges")
            return {"site": "no site both teaches and judges"}
        return {}


def _digest(ids: pl.Series) -> str:
    """SHA-256 of ids with a line end between them, without a list of them all."""
    digest = hashlib.sha256()
    for start in range(0, len(ids), 1 << 16):
        lines = ids[start : start + (1 << 16)].str.join("\n").item()
        digest.update(("\n" * bool(start) + lines).encode())
    return digest.hexdigest()


def split(part: SplitPart, cohort: Cohort, strata: Sequence[Int[np.ndarray, " rows"]], seed: int) -> tuple[Fold, ...]:
    """The folds of a cohort: a function of patient ids, strata and seed, not of the order of rows.

    `strata` hold a small class code a row (−1 unknown) for each target that can be stratified by. With folds, every
    row judges once a repeat.
    """
    strata = strata if part.stratify else ()
    if part.by == "column":
        folds = [_by_column(part, cohort)]
    elif part.by == "time":
        folds = _by_time(part, cohort)
    elif part.by == "site":
        folds = _by_site(part, cohort, strata, seed)
    elif part.folds > 1:
        folds = _by_fold(part, cohort, strata, seed)
    else:
        shares = np.array([1 - part.valid - part.calibrate - part.test, part.valid, part.calibrate, part.test])
        place = _places(cohort.patient, cohort.patient_id, strata, shares, (seed, "split"))
        folds = [Fold(*(np.flatnonzero(place[cohort.patient] == index) for index in range(4)))]
    for fold in folds:
        for name in ("train", "test") if part.judges else ("train",):
            if not len(getattr(fold, name)):
                raise DataError(
                    f"split: no rows are left for {name}; found {counted(len(np.unique(cohort.patient)), 'patient')}, which is too few"
                )
    return tuple(folds)


def whole(part: SplitPart, cohort: Cohort, strata: Sequence[Int[np.ndarray, " rows"]], seed: int) -> Fold:
    """All rows for a last training after cross-validation: valid and calibration shares as asked, nobody judges."""
    return _around(part, cohort, strata if part.stratify else (), np.zeros(0, np.int64), {}, (seed, "whole"))


def rehearsals(part: SplitPart, cohort: Cohort, fold: Fold) -> tuple[Fold, ...]:
    """Folds within the rows that teach in a fold: the latest of them judge in stretches, each taught by what came before.

    Raises DataError where a stretch, or what came before it, has no row.
    """
    rows = np.union1d(fold.train, fold.valid)
    share = REHEARSED if part.rehearsed is None else part.rehearsed
    inner = part.model_copy(update={"test": share, "folds": part.rehearsals})
    found = []
    for one in _by_time(inner, cohort.take(rows)):
        if not len(one.train) or not len(one.test):
            raise DataError(
                f"split.rehearsals: rehearsal {one.number} of {part.rehearsals} has {counted(len(one.train), 'row')} that teach and "
                f"{len(one.test)} to answer; give fewer rehearsals, or a smaller split.rehearsed"
            )
        found.append(Fold(rows[one.train], rows[one.valid], rows[one.calibrate], rows[one.test], number=one.number))
    return tuple(found)


def _by_time(part: SplitPart, cohort: Cohort) -> list[Fold]:
    """Patients in the order of their first index time, the latest judge; who began at the same time stays together.

    With folds the latest share judges in periods, each taught by all that came before it (walk forward). Rows that
    teach are left out where they, or their answers, are not older than the first row that judges: at that moment
    nobody would have had them.
    """
    assert cohort.at is not None
    first = np.full(int(cohort.patient.max()) + 1, np.inf)
    np.minimum.at(first, cohort.patient, cohort.at)
    starts = np.sort(first[np.isfinite(first)])
    ends = np.linspace(1 - part.test, 1, part.folds + 1)
    return [_period(part, cohort, first, starts, (ends[n], ends[n + 1]), n + 1) for n in range(part.folds)]


def _period(
    part: SplitPart, cohort: Cohort, first: np.ndarray, starts: np.ndarray, judged: tuple[float, float], number: int
) -> Fold:
    """The fold whose test rows are those of patients who began in this period, as shares of all patients."""
    assert cohort.at is not None
    grown = judged[0] / (1 - part.test)
    shares = (1 - part.valid - part.calibrate - part.test, part.valid, part.calibrate)
    place = np.zeros(len(first), np.int64)
    for bound in [*(np.cumsum(shares) * grown), *([judged[1]] if number < part.folds else [])]:
        position = min(len(starts) - 1, round(bound * len(starts)))
        place += first >= starts[position]
    index = place[cohort.patient]
    begins = first[place == 3].min(initial=np.inf)
    late = (index < 3) & (cohort.at >= begins)
    left_out = {"later rows of patients that teach, not older than the first row that judges": np.flatnonzero(late)}
    if cohort.answered is not None:
        open_ = (index < 3) & ~late & (cohort.answered >= begins)
        left_out["rows whose answers were not yet known when the first row that judges was asked"] = np.flatnonzero(
            open_
        )
        late |= open_
    if part.folds > 1:
        left_out["rows after the period that judges"] = np.flatnonzero(index > 3)
    parts = (np.flatnonzero((index == one) & ~late) for one in range(4))
    return Fold(*parts, left_out=left_out, number=number)


def _by_site(part: SplitPart, cohort: Cohort, strata: Sequence[np.ndarray], seed: int) -> list[Fold]:
    """Whole sites judge. Rows that a patient who judges has at other sites are left out, so that nobody crosses."""
    assert cohort.site is not None
    if cohort.site.null_count():
        missing = cohort.row.gather(cohort.site.is_null().arg_true()).to_list()
        raise DataError(
            f"cohort.site: {counted(len(missing), 'row has', 'rows have')} no site (rows {some(missing)}); a split by site needs it"
        )
    sites = cohort.site.unique().sort().to_list()
    needed = max(2, part.folds)
    if len(sites) < needed:
        raise DataError(f"split: found {counted(len(sites), 'site')} ({some(sites)}); expected at least {needed}")
    unknown = [name for name in part.test_sites if name not in sites]
    if unknown:
        raise DataError(f"split.test_sites: no row is of {some(unknown)}; {near(unknown[0], sites)}")
    folds = []
    for repeat in range(1, part.repeats + 1):
        for number, judging in enumerate(_judging_sites(part, cohort.site, sites, seed, repeat), 1):
            test = cohort.site.is_in(judging).arg_true().to_numpy().astype(np.int64)
            away = np.isin(cohort.patient, cohort.patient[test])
            away[test] = False
            why = "rows at other sites of patients that judge"
            left_out = {why: np.flatnonzero(away)}
            fold = _around(part, cohort, strata, test, left_out, (seed, "site", repeat, number))
            folds.append(replace(fold, number=number, repeat=repeat))
    return folds


def _judging_sites(part: SplitPart, site: pl.Series, sites: list[str], seed: int, repeat: int) -> list[Sequence[str]]:
    """The sites that judge in each fold: those named, a share of them, or all in turn, balanced by their rows."""
    if part.test_sites:
        return [part.test_sites]
    drawn = generator(seed, "sites", repeat).permutation(np.array(sites, dtype=object)).tolist()
    if part.folds == 1:
        return [drawn[: min(len(sites) - 1, max(1, round(part.test * len(sites))))]]
    rows = dict(site.value_counts().iter_rows())
    groups: list[list[str]] = [[] for _ in range(part.folds)]
    for name in sorted(drawn, key=lambda name: -rows[name]):
        min(groups, key=lambda group: sum(rows[one] for one in group)).append(name)
    return list(groups)


def _by_fold(part: SplitPart, cohort: Cohort, strata: Sequence[np.ndarray], seed: int) -> list[Fold]:
    """Patients in equal stratified parts, each of which judges once; the others teach, validate and calibrate."""
    folds = []
    patients = len(np.unique(cohort.patient))
    if patients < part.folds:
        raise DataError(
            f"split: {counted(patients, 'patient cannot', 'patients cannot')} be in {counted(part.folds, 'fold')}; give fewer folds"
        )
    for repeat in range(1, part.repeats + 1):
        order = np.concatenate(_strata_in_order(cohort.patient, cohort.patient_id, strata, (seed, "folds", repeat)))
        dealt = np.zeros(int(cohort.patient.max()) + 1, np.int64)
        dealt[order] = np.arange(len(order)) % part.folds
        place = dealt[cohort.patient]
        for number in range(part.folds):
            test = np.flatnonzero(place == number)
            fold = _around(part, cohort, strata, test, {}, (seed, "fold", repeat, number))
            folds.append(replace(fold, number=number + 1, repeat=repeat))
    return folds


def _around(
    part: SplitPart,
    cohort: Cohort,
    strata: Sequence[np.ndarray],
    test: Int[np.ndarray, " test"],
    left_out: Mapping[str, Int[np.ndarray, " rows"]],
    purpose: tuple[object, ...],
) -> Fold:
    """A fold around its test rows: the other patients at random, valid and calibration shares being of all patients."""
    rest = np.setdiff1d(np.arange(len(cohort)), np.concatenate([test, *left_out.values()]))
    if not len(rest):
        return Fold(rest, rest, rest, test, left_out=left_out)
    judging = len(np.unique(cohort.patient[test])) / len(np.unique(cohort.patient))
    held = np.minimum(np.array([part.valid, part.calibrate]) / (1 - min(judging, 0.5)), 0.45)
    shares = np.array([1 - held.sum(), *held])
    codes = [one[rest] for one in strata]
    place = _places(cohort.patient[rest], cohort.patient_id.gather(rest), codes, shares, purpose)[cohort.patient[rest]]
    train, valid, calibrate = (rest[place == index] for index in range(3))
    return Fold(train, valid, calibrate, test, left_out=left_out)


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
    patient: Int[np.ndarray, " rows"],
    patient_id: pl.Series,
    strata: Sequence[Int[np.ndarray, " rows"]],
    shares: np.ndarray,
    purpose: tuple[object, ...],
) -> Int[np.ndarray, " codes"]:
    """A part for each patient code, −1 for codes without a row. Within each stratum, patients in random order fill the
    parts by the shares.

    The order is random but a patient's rows weigh in: a patient goes to the part that is furthest below its share
    of rows, so that a patient with a thousand rows does not make a part many times too large.
    """
    weight = np.bincount(patient).astype(float)
    place = np.full(len(weight), -1)
    for members in _strata_in_order(patient, patient_id, strata, purpose):
        place[members] = _fill(weight[members], shares)
    return place


def _strata_in_order(
    patient: Int[np.ndarray, " rows"],
    patient_id: pl.Series,
    strata: Sequence[Int[np.ndarray, " rows"]],
    purpose: tuple[object, ...],
) -> list[Int[np.ndarray, " members"]]:
    """Patient codes of each stratum in random order, those with many rows first."""
    ids = pl.DataFrame({"code": patient, "id": patient_id}).unique("code").sort("id")["code"].to_numpy()
    weight = np.bincount(patient).astype(float)
    stratum = _patient_strata(patient, strata, len(weight))
    ordered = []
    for value in np.unique(stratum[ids]):
        members = generator(*purpose, int(value)).permutation(ids[stratum[ids] == value])
        ordered.append(members[np.argsort(-_size_class(weight[members]), kind="stable")])
    return ordered


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
