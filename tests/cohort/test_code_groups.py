"""Sets of codes by system, range, group, beginning or name, and the groups that codes fall into."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.cohort.code_groups import CodeGroups, CodeSets, code_groups, mistake, read_groups
from medloom.cohort.codes import levels
from medloom.errors import DataError


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("icd10:I20-I25", ["I20", "I21.4", "ICD10//I259", "icd-10-cm:I25"], ["I26", "I1", "ATC//I20", "LAB//I21"]),
        ("icd10:I50.1", ["I50.1", "I501"], ["I50", "I50.2"]),
        ("icd10:I", ["I50.1", "DIAGNOSIS//ICD//10//I10"], ["J44", "ICD9//401"]),
        ("icd10:C-D49", ["C50.1", "D10"], ["D50"]),
        ("icd9:250", ["250", "25043", "250.4", "DIAGNOSIS//ICD//9//25000"], ["251", "ICD10//250"]),
        ("icd9:390-459", ["401.9", "428", "ICD9:42823"], ["460", "389.1"]),
        ("icd9:8", ["008", "0088", "8.6"], ["080", "800"]),
        ("atc:C09", ["C09", "C09AA05", "ATC//C09CA"], ["C08", "ICD10//C09", "ICD-10-PCS//C09"]),
        ("atc:C07-C09", ["C08CA01", "http://www.whocc.no/atc|C09"], ["C10AA"]),
        ("LAB//*", ["LAB//lactate"], ["lab//lactate", "VITAL//LAB//"]),
        ("*", ["anything"], []),
        ("death", ["death"], ["DEATH", "death certificate"]),
        ("group:sepsis", ["A41.9", "septic shock"], ["A39"]),
    ],
)
def test_a_pattern_holds_these_codes(pattern: str, inside: list[str], outside: list[str]) -> None:
    sets = CodeSets.of({"set": [pattern]}, {"sepsis": ["icd10:A40-A41", "septic shock"]})
    assert mistake(pattern) is None
    assert [bool(names) for names in sets.names([*inside, *outside])] == [True] * len(inside) + [False] * len(outside)


@pytest.mark.parametrize(
    "pattern", ["icd10:heart", "icd10:I25-I20", "icd10:I20-I25.1", "atc:09", "icd9:I50", "icd10:", "  "]
)
def test_a_pattern_that_says_nothing_is_a_mistake(pattern: str) -> None:
    assert mistake(pattern)


def test_a_code_may_be_in_several_sets() -> None:
    sets = CodeSets.of({"heart": ["icd10:I"], "failure": ["icd10:I50"], "lung": ["icd10:J"]})
    assert sets.names(["I50.1", "J44", "x"]) == [["heart", "failure"], ["lung"], []]


def test_an_unknown_group_is_named() -> None:
    with pytest.raises(DataError, match="no group 'sepsi'.*sepsis"):
        CodeSets.of({"set": ["group:sepsi"]}, {"sepsis": ["A41"]})


def test_codes_become_groups_of_their_system(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("code,group\nicd10:A40-A41,sepsis\nLAB//lac*,lactate\n")
    options = CodeGroups(icd10="category", icd9="chapter", table="groups.csv")
    codes = ["A41.9", "I50.1", "E11", "401.9", "LAB//lactate", "LAB//crp", "I"]
    assert code_groups(codes, options, tmp_path) == ["sepsis", "icd10:I50", "icd10:E11", "icd9:390-459", "lactate", "LAB//crp", "I"]  # fmt: skip
    assert code_groups(["C09AA05", "C"], CodeGroups(atc="pharmacological group")) == ["atc:C09A", "atc:C"]


def test_a_code_of_two_systems_is_refused() -> None:
    with pytest.raises(DataError, match="several systems \\('C09'\\)"):
        code_groups(["C09", "I50.1"], CodeGroups(icd10="category", atc="therapeutic group"))
    assert code_groups(["ATC//C09", "I50"], CodeGroups(icd10="category", atc="therapeutic group")) == ["atc:C09", "icd10:I50"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("code,name\na,b\n", "no column 'group'"),
        ("code,group\na,\n", "lines '2'"),
        ("code,group\nicd10:xyz,g\n", "line 2"),
        ("code,group\nI50,g\nicd10:I50,h\n", "several groups \\('I50'\\)"),
    ],
)
def test_a_broken_table_of_groups_is_refused(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(DataError, match=match):
        code_groups(["I50"], CodeGroups(table="groups.csv"), tmp_path)


def test_an_absent_table_of_groups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_groups(tmp_path / "none.csv")


@given(st.from_regex(r"[A-Z][0-9]{2}(\.[0-9]{1,2})?", fullmatch=True), st.from_regex(r"[A-Z][0-9]{2}", fullmatch=True))
def test_a_group_holds_a_code_where_it_is_one_of_its_levels(code: str, group: str) -> None:
    held = bool(CodeSets.of({"set": [f"icd10:{group}"]}).names([code])[0])
    assert held == (group in levels("icd10", code)) == (code[:3] == group)
