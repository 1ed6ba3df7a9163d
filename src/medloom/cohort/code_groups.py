"""Sets of codes and the groups that codes fall into, said in a few words of a study file or in a table of a user.

A pattern is one of

- `icd10:I50`, `icd9:250`, `atc:C09`: a group of a system at any of its levels, and all that lies below it;
- `icd10:I20-I25`, `atc:C07-C09`: a range of groups of one length, both ends included;
- `group:sepsis`: what a user's table with the columns code and group calls so; its codes may be patterns too;
- `LAB//*`: every code that begins so; `*` alone is every code;
- anything else: that code exactly.

A code of a store belongs to a system by what stands before it (`ICD10:I50.1`, `DIAGNOSIS//ICD//10//I501`,
`http://hl7.org/fhir/sid/icd-10|I50.1`); one with nothing before it, by its form. Nothing here knows the printed names.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field as Key
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from medloom.cohort.codes import EXAMPLES, LEVELS, NAMES, fits, levels
from medloom.errors import DataError, counted, some
from medloom.find import near
from medloom.parts import Strict

SYSTEMS = ("icd9", "icd10", "atc")
_ATC = frozenset("ABCDGHJLMNPRSV")
"""The anatomical groups there are: I50 has the form of an ATC code, and is none."""
_SEPARATORS = re.compile(r"//|[/:|]")


class CodeGroups(Strict):
    """Which wider groups stand in place of single codes. Codes of none of them stay as they are."""

    icd9: Literal["chapter", "category"] | None = Key(None, description="level that stands for ICD-9 diagnoses")
    icd10: Literal["chapter", "category"] | None = Key(None, description="level that stands for ICD-10 diagnoses")
    atc: (
        Literal["anatomical group", "therapeutic group", "pharmacological group", "chemical group"] | None
    ) = Key(None, description="level that stands for drugs")  # fmt: skip
    table: str | None = Key(
        None,
        min_length=1,
        description="CSV file with the columns code and group, relative to the study file; it goes before the levels. A code may end in *, or be such as icd10:I20-I25",
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.icd9 or self.icd10 or self.atc or self.table):
            raise PydanticCustomError("part", "names no level and no table; give one, or leave the groups out")
        return self


def code_groups(store_codes: Sequence[str], options: CodeGroups, folder: Path = Path()) -> Sequence[str]:
    """The group of each code, in the order given: the table's, else the level of its system, else the code itself.

    A level is named with its system, such as "icd10:I50". `folder` is where the table's path begins. Raises DataError
    for codes in several groups of the table, and for codes whose form is that of several of the systems.

    >>> list(code_groups(["I50.1", "ICD10//I509", "lactate"], CodeGroups(icd10="category")))
    ['icd10:I50', 'icd10:I50', 'lactate']
    """
    asked = {system: level for system in SYSTEMS if (level := getattr(options, system)) is not None}
    table = {} if options.table is None else read_groups(folder / options.table)
    of_table = CodeSets.of({group: tuple(codes) for group, codes in table.items()}).names(store_codes)
    several = [code for code, names in zip(store_codes, of_table, strict=True) if len(names) > 1]
    if several:
        raise DataError(f"{options.table}: codes in several groups ({some(several)}); expected one group for each code")
    found: list[str] = []
    unclear: list[str] = []
    for code, names in zip(store_codes, of_table, strict=True):
        systems = [] if names else [system for system in asked if system in _systems(code)]
        unclear += [code] if len(systems) > 1 else []
        found.append(names[0] if names else _at_level(code, systems[0], asked[systems[0]]) if systems else code)
    if unclear:
        raise DataError(
            f"codes whose form is that of several systems ({some(unclear)}); put the system before them, such as ATC//C09"
        )
    return found


def read_groups(path: Path) -> dict[str, list[str]]:
    """Group → codes or patterns, of a CSV file with the columns code and group. Raises DataError."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            lines = csv.DictReader(handle)
            missing = {"code", "group"} - set(lines.fieldnames or ())
            if missing:
                raise DataError(f"{path}: no column {sorted(missing)[0]!r}; expected the columns code and group")
            rows = [((line["code"] or "").strip(), (line["group"] or "").strip()) for line in lines]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected a table with the columns code and group") from error
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8: {error}") from error
    broken = [number for number, row in enumerate(rows, 2) if not all(row)]
    if broken:
        raise DataError(
            f"{path}: {counted(len(broken), 'line lacks', 'lines lack')} a code or a group (lines {some(broken)}); fill them in"
        )
    wrong = [f"line {number}: {why}" for number, (code, _) in enumerate(rows, 2) if (why := mistake(code))]
    if wrong:
        raise DataError(f"{path}: " + "; ".join(wrong[:5]))
    found: dict[str, list[str]] = {}
    for code, group in rows:
        found.setdefault(group, []).append(code)
    return found


def mistake(pattern: str) -> str | None:
    """What is wrong with a pattern, None where nothing is."""
    system, colon, text = pattern.partition(":")
    if not pattern.strip():
        return "an empty code; expected such as icd10:I20-I25, LAB//* or the code itself"
    if not colon or system.lower() not in SYSTEMS:
        return None
    system, text = system.lower(), text.strip().upper()
    first, dash, last = text.partition("-")
    if text in _chapters(system) or (not dash and fits(system, text)):
        return None
    form = f"expected such as {system}:{EXAMPLES[system].split(',')[0].split(' ')[0]}"
    if not dash:
        return f"{pattern!r} is no group of {NAMES[system]}; {form}"
    if not (fits(system, first) and fits(system, last)):
        return f"{pattern!r} is no range of {NAMES[system]}; {form}, or two of them with - between"
    first, last = (levels(system, end)[-1] for end in (first, last))
    if len(first) != len(last) or first > last:
        return f"{pattern!r} is no range: expected two groups of one length, the lower one first"
    return None


@dataclass(frozen=True, slots=True)
class CodeSets:
    """Named sets of patterns, looked up for many codes at once."""

    exact: Mapping[str, Sequence[str]]
    level: Mapping[tuple[str, str], Sequence[str]]
    ranges: Sequence[tuple[str, str, str, str]]
    starts: Sequence[tuple[str, str]]
    order: Sequence[str] = field(default=())

    @classmethod
    def of(cls, sets: Mapping[str, Iterable[str]], groups: Mapping[str, Sequence[str]] | None = None) -> CodeSets:
        """Sets by name; `groups` says what stands behind `group:name`. Raises DataError for an unknown group."""
        exact: dict[str, list[str]] = {}
        level: dict[tuple[str, str], list[str]] = {}
        ranges: list[tuple[str, str, str, str]] = []
        starts: list[tuple[str, str]] = []
        for name, patterns in sets.items():
            for pattern in unfolded(patterns, groups or {}):
                system, colon, text = pattern.partition(":")
                system = system.lower()
                if colon and system in SYSTEMS:
                    text = text.strip().upper()
                    level.setdefault((system, _key(system, text)), []).append(name)
                    if "-" in text and text not in _chapters(system):
                        first, _, last = text.partition("-")
                        ranges.append((system, levels(system, first)[-1], levels(system, last)[-1], name))
                elif pattern.endswith("*"):
                    starts.append((pattern[:-1], name))
                else:
                    exact.setdefault(pattern, []).append(name)
        return cls(exact, level, ranges, starts, tuple(sets))

    def names(self, codes: Sequence[str]) -> list[list[str]]:
        """The sets that each code belongs to, in the order in which they were named."""
        place = {name: number for number, name in enumerate(self.order)}
        return [sorted(self._of(code), key=place.__getitem__) for code in codes]

    def _of(self, code: str) -> set[str]:
        found = set(self.exact.get(code, ()))
        found |= {name for start, name in self.starts if code.startswith(start)}
        if not self.level:
            return found
        for system, body in _systems(code).items():
            for group in levels(system, body):
                found |= set(self.level.get((system, group), ()))
                found |= {
                    name
                    for of, first, last, name in self.ranges
                    if of == system and len(group) == len(first) and first <= group <= last
                }
        return found


def unfolded(patterns: Iterable[str], groups: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """The patterns with what stands behind each `group:name`. Raises DataError for an unknown group."""
    for pattern in patterns:
        kind, colon, name = pattern.partition(":")
        if colon and kind == "group":
            if name not in groups:
                raise DataError(f"no group {name!r} in the table of groups; {near(name, groups)}")
            yield from groups[name]
        else:
            yield pattern


def _key(system: str, text: str) -> str:
    """A group as `levels` writes it: with its dot, and ICD-9 in three places."""
    return text if text in _chapters(system) or not fits(system, text) else levels(system, text)[-1]


def _systems(code: str) -> dict[str, str]:
    """The systems that a code may be of, with the code as it stands in each."""
    parts = [part for part in _SEPARATORS.split(code) if part]
    if len(parts) < 2:
        return {system: code for system in SYSTEMS if fits(system, code) and (system != "atc" or code[0] in _ATC)}
    body, before = parts[-1], [re.sub(r"[^A-Z0-9]", "", part.upper()) for part in parts[:-1]]
    said, joined = [], "".join(before)
    if "ATC" in before:
        said.append("atc")
    elif "PCS" not in joined:
        said += [system for system in ("icd9", "icd10") if re.search(rf"{system.upper()}(?!\d)", joined)]
    return {system: body for system in said if fits(system, body)}


def _at_level(code: str, system: str, level: str) -> str:
    """The group of a code at a level, or at the narrowest it has where the code is wider than that."""
    groups = levels(system, _systems(code)[system])
    place = LEVELS[system].index(level)
    return f"{system}:{groups[min(place, len(groups) - 1)]}"


@cache
def _chapters(system: str) -> frozenset[str]:
    if system == "icd9":
        return frozenset([*(levels(system, f"{number:03d}")[0] for number in range(1, 1000)), "V", "E"])
    if system == "icd10":
        letters = (chr(letter) for letter in range(ord("A"), ord("Z") + 1))
        return frozenset(levels(system, f"{letter}{tens}0")[0] for letter in letters for tens in range(10))
    return frozenset()
