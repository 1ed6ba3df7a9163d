"""What should say nothing of the answer, and does: gaps, the order of rows, ids, sites, times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import polars as pl
from scipy.stats import rankdata

from medloom.audit.evidence import Column, Evidence, Outcome, words_of
from medloom.audit.finding import Finding, Severity
from medloom.audit.measure import (
    FEWEST,
    FIGURES,
    auroc,
    beyond_chance,
    bins_of,
    by_bins,
    correlation,
    enough,
    response,
    score,
    surprise,
)
from medloom.errors import counted

NAMES_OF_IDS = frozenset(
    "id ids patient subject mrn person participant pid ptid empi identifier uuid guid accession record case key number nr no row index".split()
)
NAMES_OF_SITES = frozenset("site hospital centre center clinic scanner device ward institution".split())
GAPS = {"binary": 0.70, "number": 0.72, "survival": 0.64}
"""How well gaps may tell the answer: sicker patients have more measured, so some of it is as it should be."""
ORDER = {"binary": 0.70, "number": 0.08, "survival": 0.68}
ID = {"binary": 0.68, "number": 0.15, "survival": 0.66}
SITE = {"binary": 0.78, "number": 0.20, "survival": 0.72}
TIME = {"binary": 0.62, "number": 0.07, "survival": 0.66}
NEARLY = {"binary": 0.9, "number": 0.7, "survival": 0.88}


def missingness(evidence: Evidence) -> Iterator[Finding]:
    """Columns whose gaps tell the answer, and the gaps of each row together; inputs that are absent."""
    gaps: dict[str, tuple[str | None, np.ndarray]] = {c.name: (c.input, ~c.present) for c in evidence.columns}
    for name, source in evidence.prepared.feed.sources.items():
        gaps.setdefault(f"input {name}", (name, source.unit == 0))
    for outcome in evidence.outcomes:
        rows = np.flatnonzero(outcome.known)
        if not enough(outcome, rows):
            continue
        for name, (owner, gap) in gaps.items():
            missing = gap[rows].astype(np.float64)
            if min(missing.sum(), len(rows) - missing.sum()) < FEWEST:
                continue
            found, z = _split_score(outcome, missing, rows)
            if found < GAPS[outcome.kind] or not beyond_chance(z, len(gaps) * len(evidence.outcomes), 1e-5):
                continue
            sure: Severity = "severe" if found > 0.85 else "suspicious"
            yield Finding(
                "missingness",
                sure,
                f"whether {name} is missing tells {outcome.asked}: AUROC {found:.3f}, {counted(int(missing.sum()), 'row misses', 'rows miss')} it",
                "find out why it is missing: where the answer is the reason, take the column out",
                "AUROC",
                found,
                (name,) if not name.startswith("input ") else (),
                owner,
                outcome.target,
                int(missing.sum()),
            )


def _split_score(outcome: Outcome, flag: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """How well a flag parts the answer's order, between 0.5 and 1, and by how many standard errors."""
    if outcome.kind == "survival":
        found = score(outcome, flag, rows)
        found = max(found, 1 - found)
        return found, surprise(outcome, found, rows)
    if outcome.kind == "binary":
        found = auroc(outcome.value[rows], flag)
        return max(found, 1 - found), surprise(outcome, max(found, 1 - found), rows)
    found = auroc(flag, outcome.value[rows])
    cases = flag.sum()
    z = abs(found - 0.5) / np.sqrt((len(flag) + 1) / (12 * cases * (len(flag) - cases)))
    return max(found, 1 - found), float(z)


def order_and_ids(evidence: Evidence) -> Iterator[Finding]:
    """The order of rows in the table; the number, the first letters and the length of the patients' and rows' ids."""
    cohort = evidence.cohort
    first = np.unique(cohort.patient, return_index=True)[1]
    first.sort()
    clues: dict[str, dict[str, np.ndarray]] = {"row-order": {"the place of a row in the table": first.astype(float)}}
    ids: dict[str, np.ndarray] = {}
    study = evidence.prepared.study
    for name, held in ((study.cohort.patient, cohort.patient_id), (study.cohort.row, cohort.row)):
        if name is not None:
            ids |= {f"{what} of {name}": value[first] for what, value in _of_ids(held).items()}
    clues["identifier"] = ids
    limits = {"row-order": ORDER, "identifier": ID}
    for outcome in evidence.outcomes:
        known = outcome.known[first]
        if not enough(outcome, first[known]):
            continue
        for kind, named in clues.items():
            best = max(
                ((*_clue(evidence, outcome, first[known], v[known]), what) for what, v in named.items()), default=None
            )
            if best is None or best[0] < limits[kind][outcome.kind] or not beyond_chance(best[1], 10, 1e-6):
                continue
            yield _order_finding(kind, outcome, *best, int(known.sum()))


def _order_finding(kind: str, outcome: Outcome, found: float, z: float, what: str, rows: int) -> Finding:
    figure = FIGURES[outcome.kind]
    sure: Severity = "note" if kind == "row-order" else "suspicious"
    return Finding(
        kind,
        sure,
        f"{what} tells {outcome.asked} with {figure} {found:.3f}",
        "nothing here reads it; make sure that no input was made from the order or the ids, and that cases and "
        "controls were gathered alike",
        figure,
        found,
        target=outcome.target,
        rows=rows,
    )


def _of_ids(ids: pl.Series) -> dict[str, np.ndarray]:
    """What can be read from ids: their number, their letters, their length, each as numbers; what is constant is left out."""
    number = ids.str.extract(r"(\d{1,15})\D*$").cast(pl.Float64).fill_null(float("nan")).to_numpy()
    letters = ids.str.replace_all(r"[\d\W_]+", " ").str.strip_chars().fill_null("")
    start = ids.str.slice(0, 2).fill_null("")
    found = {
        "the number": number,
        "the length": ids.str.len_chars().cast(pl.Float64).to_numpy(),
        "the letters": letters.rank("dense").cast(pl.Float64).to_numpy()
        if letters.n_unique() <= len(ids) / 20
        else number,
        "the beginning": start.rank("dense").cast(pl.Float64).to_numpy(),
        "the last digit": np.mod(number, 10),
    }
    return {k: v for k, v in found.items() if len(v) and not np.isnan(v).any() and v.min() < v.max()}


def _clue(evidence: Evidence, outcome: Outcome, rows: np.ndarray, clue: np.ndarray) -> tuple[float, float]:
    """Score of a clue out of sample, one row a patient: the mean answer of the rows that are next to it, or share it."""
    answer = response(outcome)[rows]
    distinct = len(np.unique(clue))
    bins = (
        bins_of(clue, int(np.clip(len(rows) // 20, 3, 50)))
        if distinct > 50
        else np.unique(clue, return_inverse=True)[1]
    )
    predicted = by_bins(bins, answer, evidence.fold_of[rows])
    found = score(outcome, predicted, rows) if correlation(predicted, answer) > 0 else 0.0
    straight = score(outcome, clue, rows)
    found = max(found, straight if outcome.kind == "number" else max(straight, 1 - straight))
    return found, surprise(outcome, found, rows)


def id_inputs(evidence: Evidence) -> Iterator[Finding]:
    """Columns that are read as input and name the patient or the row."""
    cohort = evidence.cohort
    patients = int(cohort.patient.max()) + 1
    for column in evidence.columns:
        have = column.present
        if have.sum() < 0.9 * len(have) or patients < 20:
            continue
        values, people = len(column.values), np.unique(cohort.patient[have])
        if values < 0.98 * len(people) or (column.is_fine and np.mod(column.number[have], 1).any()):
            continue
        of_row = values >= 0.98 * have.sum()
        both = np.unique(column.code[have] * patients + cohort.patient[have])
        of_patient = len(both) == len(people) and values >= 0.98 * len(both)
        if not (of_patient or of_row):
            continue
        if not (_is_same(column, cohort.patient_id) or _is_same(column, cohort.row) or _looks_like_id(column)):
            continue
        yield Finding(
            "identifier-input",
            "severe" if patients < len(cohort) else "suspicious",
            f"{column.name} has another value for every {'patient' if of_patient else 'row'} and is read as input",
            "take it out of the inputs: what is learnt of an id holds for no one else",
            "different values",
            float(len(column.values)),
            (column.name,),
            column.input,
            rows=int(have.sum()),
        )


def _is_same(column: Column, ids: pl.Series) -> bool:
    """Whether the column orders rows as the ids, or their numbers, do."""
    if column.is_word:
        return bool((np.array(column.values, object)[column.code] == ids.to_numpy())[column.present].all())
    number = ids.str.extract(r"(\d{1,15})").cast(pl.Float64).fill_null(float("nan")).to_numpy()
    have = column.present & ~np.isnan(number)
    if have.sum() < 20 or len(np.unique(number[have])) < 0.9 * have.sum():
        return False
    return abs(correlation(rankdata(column.number[have]), rankdata(number[have]))) > 0.9999 and bool(
        np.mod(column.number[have], 1).max() == 0
    )


def _looks_like_id(column: Column) -> bool:
    named = bool(NAMES_OF_IDS & set(words_of(column.name)))
    if column.is_word:
        text = [str(v) for v in column.values[:200]]
        return named or all(" " not in v and any(ch.isdigit() for ch in v) and len(v) >= 4 for v in text)
    return named and bool(np.mod(column.number[column.present], 1).max() == 0)


def site(evidence: Evidence) -> Iterator[Finding]:
    """Sites that nearly tell the answer, and sites in which all rows have one answer."""
    cohort = evidence.cohort
    places: dict[str, tuple[str | None, np.ndarray]] = {}
    if cohort.site is not None:
        code = cohort.site.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
        places[str(evidence.prepared.study.cohort.site)] = (None, code)
    for column in (*evidence.columns, *evidence.others):
        if NAMES_OF_SITES & set(words_of(column.name)) and 2 <= len(column.values) <= max(50, len(cohort) // 20):
            places.setdefault(column.name, (column.input, column.code + 1))
    for name, (owner, code) in places.items():
        for outcome in evidence.outcomes:
            rows = np.flatnonzero(outcome.known)
            if enough(outcome, rows):
                yield from _site(evidence, name, owner, code[rows], outcome, rows)


def _site(
    evidence: Evidence, name: str, owner: str | None, code: np.ndarray, outcome: Outcome, rows: np.ndarray
) -> Iterator[Finding]:
    answer = response(outcome)[rows]
    found = score(outcome, by_bins(code, answer, evidence.fold_of[rows]), rows)
    pure, held = 0, 0
    if outcome.kind == "binary":
        base, count = answer.mean(), np.bincount(code)
        cases = np.bincount(code, answer)
        with np.errstate(divide="ignore"):
            chance = np.where(
                cases == 0, count * np.log10(1 - base), np.where(cases == count, count * np.log10(base), 0)
            )
        one_sided = (count >= 30) & (chance < -8)
        pure, held = int(one_sided.sum()), int(count[one_sided].sum())
    strong = found >= SITE[outcome.kind] and beyond_chance(surprise(outcome, found, rows), 10, 1e-6)
    if not strong and not (pure and held >= 0.05 * len(rows)):
        return
    sure: Severity = "severe" if found >= NEARLY[outcome.kind] else "suspicious"
    classes = f"; {counted(pure, 'site')} with {counted(held, 'row')} together have one answer only" if pure else ""
    yield Finding(
        "site",
        sure,
        f"{name} alone tells {outcome.asked} with {FIGURES[outcome.kind]} {found:.3f}{classes}",
        'judge by site (split.by = "site"), and ask why the sites differ: the network may learn the site',
        FIGURES[outcome.kind],
        found,
        (name,),
        owner,
        outcome.target,
        held or len(rows),
    )


def time(evidence: Evidence) -> Iterator[Finding]:
    """An index time that tells the answer while rows are split without regard to time."""
    cohort = evidence.cohort
    by: Literal["patient", "time", "site", "column"] = evidence.prepared.study.split.by
    if cohort.at is None or by == "time":
        return
    limits: Mapping[str, float] = TIME
    for outcome in evidence.outcomes:
        rows = np.flatnonzero(outcome.known)
        if not enough(outcome, rows) or len(np.unique(cohort.at[rows])) < 5:
            continue
        found, z = _clue(evidence, outcome, rows, cohort.at[rows])
        if found >= limits[outcome.kind] and beyond_chance(z, 10, 1e-6):
            yield Finding(
                "time",
                "suspicious",
                f"the index time alone tells {outcome.asked} with {FIGURES[outcome.kind]} {found:.3f}, and the split is by {by}",
                'judge by the latest rows (split.by = "time"): what drifts makes figures of a random split too good',
                FIGURES[outcome.kind],
                found,
                (str(evidence.prepared.study.cohort.at),),
                None,
                outcome.target,
                len(rows),
            )
