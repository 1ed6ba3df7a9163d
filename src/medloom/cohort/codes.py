"""Systems of medical codes: what a code looks like, and the wider groups that it belongs to.

Levels go from the widest group to the code itself. The rules are those of the printed classifications: chapters by
ranges, categories by leading characters. No table of codes is needed, so that national extensions are read as well.
"""

from __future__ import annotations

import bisect
import re
from typing import Literal

System = Literal["icd9", "icd10", "atc", "none"]
NAMES: dict[str, str] = {"icd9": "ICD-9", "icd10": "ICD-10", "atc": "ATC"}
LEVELS: dict[str, tuple[str, ...]] = {
    "icd9": ("chapter", "category", "code"),
    "icd10": ("chapter", "category", "code"),
    "atc": ("anatomical group", "therapeutic group", "pharmacological group", "chemical group", "substance"),
    "none": ("code",),
}
"""What the levels of each system are called, the widest first."""
_FORMS = {
    "icd9": re.compile(r"\d{1,3}(\.\d{0,2})?|\d{4,5}|V\d\d(\.?\d{1,2})?|E\d{3}(\.?\d)?"),
    "icd10": re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4}|\.)?"),
    "atc": re.compile(r"[A-Z](\d\d([A-Z]([A-Z](\d\d)?)?)?)?"),
    "none": re.compile(r".+", re.DOTALL),
}
EXAMPLES = {"icd9": "250.43, V58.1 or E812.0", "icd10": "E11.9 or I50", "atc": "A10BA02 or C09"}
_ICD9_FIRST = (1, 140, 240, 280, 290, 320, 390, 460, 520, 580, 630, 680, 710, 740, 760, 780, 800)
_ATC_LENGTHS = (1, 3, 4, 5, 7)
_ICD10_JOINED = {
    "A": "A-B",
    "B": "A-B",
    "C": "C-D49",
    "S": "S-T",
    "T": "S-T",
    "V": "V-Y",
    "W": "V-Y",
    "X": "V-Y",
    "Y": "V-Y",
}
"""Chapters of several letters. Two letters, D and H, are parted between chapters."""


def fits(system: str, code: str) -> bool:
    """Whether a code has the form of its system, with or without its dot.

    >>> fits("icd9", "250.43"), fits("icd9", "I50.1"), fits("icd10", "I501")
    (True, False, True)
    """
    return _FORMS[system].fullmatch(_plain(system, code)) is not None


def levels(system: str, code: str) -> tuple[str, ...]:
    """The groups of a code, the widest first, the code itself last; a wider code has fewer.

    >>> levels("icd9", "250.43")
    ('240-279', '250', '250.43')
    >>> levels("icd10", "I501"), levels("atc", "C09AA")
    (('I', 'I50', 'I50.1'), ('C', 'C09', 'C09A', 'C09AA'))

    Source: WHO, ICD-9 (1977) and ICD-10 (2016 edition), tabular lists; WHO Collaborating Centre, ATC structure.
    """
    code = _plain(system, code)
    if system == "icd9":
        return _icd9(code)
    if system == "icd10":
        category, rest = code[:3], code[3:].lstrip(".")
        return (_icd10_chapter(category), category, *([f"{category}.{rest}"] if rest else []))
    if system == "atc":
        return tuple(code[:length] for length in _ATC_LENGTHS if length <= len(code))
    return (code,)


def _plain(system: str, code: str) -> str:
    return code.strip() if system == "none" else code.strip().upper()


def _icd9(code: str) -> tuple[str, ...]:
    """Numbers have three places before the dot: 8 is 008, and 0088 is 008.8."""
    wide = 4 if code[0] == "E" else 3
    head, dot, rest = code.partition(".")
    if not dot and len(head) > wide:
        head, rest = head[:wide], head[wide:]
    head = head.zfill(3)
    return (_icd9_chapter(head), head, *([f"{head}.{rest}"] if rest else []))


def _icd9_chapter(category: str) -> str:
    if not category.isdigit():
        return category[0]
    place = max(bisect.bisect_right(_ICD9_FIRST, int(category)) - 1, 0)
    last = _ICD9_FIRST[place + 1] - 1 if place + 1 < len(_ICD9_FIRST) else 999
    return f"{_ICD9_FIRST[place]:03d}-{last:03d}"


def _icd10_chapter(category: str) -> str:
    """Chapters by their letters; D and H by the second character too, as national extensions end in letters."""
    letter, tens = category[0], category[1]
    if letter == "D":
        return "C-D49" if tens < "5" else "D50-D89"
    if letter == "H":
        return "H00-H59" if tens < "6" else "H60-H95"
    return _ICD10_JOINED.get(letter, letter)
