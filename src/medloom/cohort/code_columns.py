"""Which columns of a table hold medical codes, judged from name and values. For `guess`: a person checks it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from medloom.cohort.codes import fits

DIAGNOSES = frozenset(
    {"diag", "diags", "diagnosis", "diagnoses", "dx", "icd", "icd9", "icd10", "comorbidity", "comorbidities"}
)
DRUGS = frozenset({"atc", "drug", "drugs", "medication", "medications", "prescription", "prescriptions"})
"""Words in the name of a column that speak of codes."""
SEPARATORS = (";", "|", ",", " ")
FEWEST = 5
"""A column of fewer different codes is a category, which says as much."""
ALMOST = 0.95
MARKED = 0.2
"""Of codes without such a name, at least so many carry what only these codes have: a dot, or all levels."""


@dataclass(frozen=True, slots=True)
class Codes:
    """The system, and what parts several codes in a cell (None where each cell holds one)."""

    system: str
    separator: str | None


def codes_of(names: frozenset[str], text: pl.Series) -> Codes | None:
    """The codes that a column holds, by the words of its name and its values without those that mean missing."""
    for separator in (None, *SEPARATORS):
        if separator is not None and float(text.str.contains(separator, literal=True).to_numpy().mean()) < 0.05:
            continue
        items = text if separator is None else text.str.split(separator).explode().drop_nulls()
        items = items.str.strip_chars().str.to_uppercase()
        system = _system(names, items.filter(items != ""))
        if system is not None:
            return Codes(system, separator)
    return None


def _system(names: frozenset[str], items: pl.Series) -> str | None:
    if items.n_unique() < FEWEST:
        return None
    counts = items.value_counts()
    distinct, times = counts.to_series(0).to_list(), counts.to_series(1).to_numpy()
    dotted = items.str.contains(r"^[A-Z]\d[0-9A-Z]\.").to_numpy().mean() >= MARKED
    whole = items.str.contains(r"^[A-Z]\d\d[A-Z]{2}\d\d$").to_numpy().mean() >= MARKED
    lettered = items.str.contains(r"^([VE]\d|\d{1,3}\.\d)").to_numpy().any()
    asked = (
        ("atc", whole or (bool(names & DRUGS) and items.str.contains(r"^[A-Z]\d\d[A-Z]").any())),
        ("icd10", dotted or (bool(names & DIAGNOSES) and items.str.contains(r"^[A-Z]\d").to_numpy().mean() >= ALMOST)),
        ("icd9", bool(names & DIAGNOSES) and lettered),
    )
    for system, likely in asked:
        fit = [fits(system, code) for code in distinct] if likely else [False]
        if likely and times[fit].sum() >= ALMOST * times.sum():
            return system
    return None
