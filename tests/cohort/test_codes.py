"""Levels of codes, and what has not the form of its system."""

from __future__ import annotations

import pytest

from medloom.cohort.codes import LEVELS, fits, levels


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        ("icd9", "250.43", ("240-279", "250", "250.43")),
        ("icd9", "25043", ("240-279", "250", "250.43")),
        ("icd9", "8", ("001-139", "008")),
        ("icd9", "41.1", ("001-139", "041", "041.1")),
        ("icd9", "139.9", ("001-139", "139", "139.9")),
        ("icd9", "999", ("800-999", "999")),
        ("icd9", "v58.11", ("V", "V58", "V58.11")),
        ("icd9", "E8120", ("E", "E812", "E812.0")),
        ("icd10", "I501", ("I", "I50", "I50.1")),
        ("icd10", "D49.0", ("C-D49", "D49", "D49.0")),
        ("icd10", "D50", ("D50-D89", "D50")),
        ("icd10", "H59.9", ("H00-H59", "H59", "H59.9")),
        ("icd10", "H60", ("H60-H95", "H60")),
        ("icd10", "O9A.1", ("O", "O9A", "O9A.1")),
        ("icd10", "S72.001A", ("S-T", "S72", "S72.001A")),
        ("icd10", "W19", ("V-Y", "W19")),
        ("icd10", "U07.1", ("U", "U07", "U07.1")),
        ("atc", "A10BA02", ("A", "A10", "A10B", "A10BA", "A10BA02")),
        ("atc", "c09", ("C", "C09")),
        ("none", "Any text", ("Any text",)),
    ],
)
def test_levels(system: str, code: str, expected: tuple[str, ...]) -> None:
    assert fits(system, code)
    assert levels(system, code) == expected
    assert len(expected) <= len(LEVELS[system])


@pytest.mark.parametrize(
    ("system", "code"),
    [
        ("icd9", "I50"), ("icd9", "2504.3"), ("icd9", "250.432"), ("icd9", ""), ("icd9", "E12"), ("icd10", "250"),
        ("icd10", "I5"), ("icd10", "I50.12345"), ("atc", "A1"), ("atc", "A10BA2"), ("atc", "10"), ("none", ""),
    ],
)  # fmt: skip
def test_what_is_no_code(system: str, code: str) -> None:
    assert not fits(system, code)
