"""What a column of a table seems to hold, judged from its name and values. For `guess`: a person checks every answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from medloom.cohort.code_columns import Codes, codes_of
from medloom.cohort.codes import NAMES
from medloom.cohort.table import canonical
from medloom.cohort.times import read_times
from medloom.errors import DataError, counted

Kind = Literal[
    "numeric",
    "category",
    "code",
    "id",
    "date",
    "free text",
    "constant",
    "picture",
    "volume",
    "signal",
    "split",
    "window",
    "target copy",
    "target",
]


@dataclass(frozen=True, slots=True)
class Files:
    """What files of these suffixes hold, and the input that reads them."""

    modality: Literal["image", "signal"]
    suffixes: tuple[str, ...]
    dims: int = 0


FILES: Mapping[Kind, Files] = {
    "picture": Files("image", (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm"), 2),
    "volume": Files("image", (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"), 3),
    "signal": Files("signal", (".hea", ".edf", ".bdf")),
}
"""Kinds of columns that name a file in each row. Suffixes that may mean several things are not among them."""
MASKS = frozenset(
    {"mask", "masks", "seg", "segmentation", "label", "labels", "annotation", "outline", "contour", "roi"}
)
"""Words in the name of a column of images that say what was drawn on them."""

BLANKS = frozenset({"?", "??", "-", "--", ".", "na", "n/a", "n.a.", "#n/a", "nan", "null"})
"""Words that mean missing in any column, in lower case."""
WORDS = BLANKS | {"unknown", "missing", "none", "not done", "not available", "not measured"}
"""Words that mean missing among numbers; among words, "none" may be an answer."""
SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0, 9.0, 99.0, 999.0, 9999.0, 99999.0, 999.9)
"""Numbers that data sets write for missing."""
SENTINEL_TIMES = 3
"""A sentinel is one that stands there at least so often."""
NAMING = frozenset(
    {
        "id",
        "ids",
        "uid",
        "uuid",
        "mrn",
        "ssn",
        "nhs",
        "name",
        "surname",
        "firstname",
        "lastname",
        "record",
        "email",
        "phone",
        "address",
        "accession",
    }
)
"""Words in the name of a column that speak of an identifier."""
DIRECT = frozenset({"ssn", "nhs", "surname", "firstname", "lastname", "email", "phone", "address", "birthdate", "dob"})
"""Words in the name of a column that tell who somebody is."""
CODING = frozenset({"id", "ids", "code", "type", "category", "class", "group"})
"""Words in the name of a column whose few whole numbers are codes."""
MOST_CODES = 50
FEWEST_TO_JUDGE = 20
"""With fewer values, that all differ says nothing."""
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_LETTERED_CODE = r"^[A-Za-z]\d+(\.\d+)?$"
_DECIMAL_COMMA = r"^[+-]?\d+,\d+$"
_DAY_FIRST = r"^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}( \d{1,2}:\d{2}(:\d{2})?)?$"


@dataclass(frozen=True, slots=True)
class ColumnGuess:
    """One column: its kind and why, in one sentence. `used` columns become inputs; `missing` means missing there."""

    name: str
    kind: Kind
    reason: str
    used: bool = False
    missing: tuple[str | float, ...] = ()
    warnings: tuple[str, ...] = ()
    codes: Codes | None = None


def words_of(name: str) -> frozenset[str]:
    """The words of a column's name in lower case: `patientID`, `patient_id` and `Patient ID` are {patient, id}."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return frozenset(re.findall(r"[^\W_]+", spaced.lower()))


def judge(name: str, values: pl.Series) -> ColumnGuess:
    """What a column seems to hold, whatever the target is."""
    if values.dtype.is_nested() or values.dtype in (pl.Object, pl.Binary):
        return ColumnGuess(name, "free text", f"Holds {values.dtype}, which no table column can be.")
    text = canonical(values).drop_nulls()
    if values.dtype.is_temporal():
        guess = _date(name, text)
    elif values.dtype.is_numeric():
        guess = _numbers(name, text, text.cast(pl.Float64, strict=False).drop_nulls(), ())
    else:
        guess = _text(name, text)
    share = len(text) / len(values)
    if share < 1 and guess.kind != "constant":
        guess = replace(guess, reason=f"{guess.reason[:-1]}; {1 - share:.0%} empty.")
    if words_of(name) & DIRECT:
        warning = f"column {name!r} may tell who a patient is; take it out of the file"
        guess = replace(guess, used=False, warnings=(*guess.warnings, warning))
    return guess


def _text(name: str, text: pl.Series) -> ColumnGuess:
    lower = text.str.to_lowercase()
    rest = text.filter(~lower.is_in(list(WORDS)))
    if not len(rest):
        return _constant(name, text)
    if (files := _files(name, rest)) is not None:
        return files
    if _is_date(rest):
        return _date(name, rest)
    if (codes := codes_of(words_of(name), rest)) is not None:
        return _codes(name, text, codes)
    number = rest.cast(pl.Float64, strict=False)
    numbers = number.is_not_null()
    grouped = rest.str.contains(_THOUSANDS)
    comma = rest.str.contains(_DECIMAL_COMMA)
    coded = rest.str.contains(r"^[+-]?0\d").any()
    markers = tuple(text.filter(lower.is_in(list(WORDS))).unique().sort().to_list())
    if numbers.all() and not coded:
        return _numbers(name, rest, number, markers)
    if not coded and _share(numbers | grouped | comma) >= 0.9 and (grouped | comma).any():
        what = "thousands separators" if grouped.sum() >= (comma & ~grouped).sum() else "decimal commas"
        count = int((grouped | comma).sum())
        warning = f"column {name!r}: {counted(count, 'number has', 'numbers have')} {what}; write them plainly (1234.5), then take the column in"
        return ColumnGuess(name, "numeric", f"Numbers, {count} of them with {what}.", False, markers, (warning,))
    if not coded and _share(numbers) >= 0.8 and _share(rest.filter(~numbers).str.contains(_LETTERED_CODE)) < 0.5:
        count = int((~numbers).sum())
        warning = f"column {name!r}: {count} of {counted(len(rest), 'value')} are not numbers (a sign, a unit?); mend them, then take the column in"
        return ColumnGuess(
            name, "numeric", f"Numbers, but for {count} of {counted(len(rest), 'value')}.", False, markers, (warning,)
        )
    return _words(name, text)


def _files(name: str, text: pl.Series) -> ColumnGuess | None:
    """Images or signals, where every value ends as their files do."""
    ends = text.str.to_lowercase().to_list()
    for kind, files in FILES.items():
        if all(path.endswith(files.suffixes) for path in ends):
            if files.modality == "image" and words_of(name) & MASKS:
                return ColumnGuess(
                    name, kind, "Images, and the name says that they are masks: an answer, never an input."
                )
            return ColumnGuess(name, kind, f"Files of {kind}s, {text.n_unique()} different ones.", True)
    return None


def _numbers(name: str, text: pl.Series, number: pl.Series, markers: tuple[str, ...]) -> ColumnGuess:
    number = number.filter(number.is_finite())
    distinct = number.n_unique()
    if distinct <= 1:
        return _constant(name, text)
    whole = bool((number == number.round()).all())
    if whole and (guess := _identifier(name, number, "number")) is not None:
        return guess
    sentinels = _sentinels(number)
    missing = (*markers, *(int(v) if v == int(v) else v for v in sentinels))
    warnings = tuple(
        f"column {name!r}: {counted(int((number == v).sum()), 'value is', 'values are')} {v:g}, far from all others: taken to mean missing; check"
        for v in sentinels
    )
    if markers:
        warnings = (
            *warnings,
            f"column {name!r}: {', '.join(map(repr, markers))} among numbers: taken to mean missing; check",
        )
    if distinct - len(sentinels) == 2:
        return ColumnGuess(name, "category", "Two different numbers.", True, missing, warnings)
    if whole and distinct <= MOST_CODES and words_of(name) & CODING:
        return ColumnGuess(
            name,
            "category",
            f"{distinct} different whole numbers, which the name says are codes.",
            True,
            missing,
            warnings,
        )
    codes = " (if they are codes of something, it is a category)" if whole and distinct <= 12 else ""
    what = "whole numbers" if whole else "numbers"
    return ColumnGuess(name, "numeric", f"{distinct} different {what}{codes}.", True, missing, warnings)


def _sentinels(number: pl.Series) -> tuple[float, ...]:
    """Sentinels that are repeated and stand far outside all other numbers, or are the only negative ones."""
    found: list[float] = []
    for value in sorted(set(SENTINELS), key=abs, reverse=True):
        same = number == value
        if int(same.sum()) < SENTINEL_TIMES:
            continue
        rest = number.filter(~same & ~number.is_in([*found, value]))
        if rest.n_unique() < 3:
            continue
        low, high = float(str(rest.min())), float(str(rest.max()))
        outside = max(value - high, low - value)
        others = rest.filter(~rest.is_in(list(SENTINELS)))
        only_negative = value < 0 and len(others) > 0 and float(str(others.min())) >= 0 and len(rest) > int(same.sum())
        if only_negative or (outside > high - low and abs(value) > 9):
            found.append(value)
    return tuple(sorted(found))


def _identifier(name: str, known: pl.Series, what: str) -> ColumnGuess | None:
    """An identifier: every value differs, or the name says so and most differ."""
    distinct, count = known.n_unique(), len(known)
    named = bool(words_of(name) & NAMING)
    if count >= FEWEST_TO_JUDGE and distinct == count:
        reason = f"Every {what} differs{', and the name speaks of an identifier' if named else ''}."
    elif named and distinct >= FEWEST_TO_JUDGE and distinct >= 0.2 * count:
        reason = f"The name speaks of an identifier, and {distinct} of {counted(count, 'value')} differ."
    else:
        return None
    warning = f"column {name!r} looks like an identifier: a network would learn rows by heart; left out"
    return ColumnGuess(name, "id", reason, warnings=(warning,))


def _words(name: str, text: pl.Series) -> ColumnGuess:
    distinct, count = text.n_unique(), len(text)
    if distinct <= 1:
        return _constant(name, text)
    spoken = float(text.str.split(" ").list.len().to_numpy().mean())
    vocabulary = text.str.to_lowercase().str.split(" ").explode().n_unique() if spoken >= 4 else 0
    if distinct > 0.5 * count and spoken >= 4 and vocabulary >= FEWEST_TO_JUDGE:
        reason = f"Long text, {spoken:.0f} words on average, {vocabulary} different ones."
        warning = f"column {name!r} is free text: it may name people, and a table cannot read it; left out"
        return ColumnGuess(name, "free text", reason, warnings=(warning,))
    if (identifier := _identifier(name, text, "text")) is not None:
        return identifier
    blanks = tuple(text.filter(text.str.to_lowercase().is_in(list(BLANKS))).unique().sort().to_list())
    warnings: tuple[str, ...] = ()
    if distinct > 50 and distinct > 0.2 * count:
        warnings = (
            f"column {name!r}: {counted(distinct, 'category', 'categories')} in {counted(count, 'row')}; those of fewer than 10 patients pool as rare",
        )
    if blanks:
        warnings = (*warnings, f"column {name!r}: {', '.join(map(repr, blanks))} taken to mean missing; check")
    return ColumnGuess(name, "category", f"{distinct - len(blanks)} different words.", True, blanks, warnings)


def _codes(name: str, text: pl.Series, codes: Codes) -> ColumnGuess:
    several = f", several in a cell by {codes.separator!r}" if codes.separator else ""
    blanks = tuple(text.filter(text.str.to_lowercase().is_in(list(WORDS))).unique().sort().to_list())
    reason = f"{NAMES[codes.system]} codes{several}."
    warning = (
        f"column {name!r}: values that are no {NAMES[codes.system]} codes, if there are any, are refused; mend them"
    )
    return ColumnGuess(name, "code", reason, True, blanks, (warning,), codes)


def _constant(name: str, text: pl.Series) -> ColumnGuess:
    reason = "One value everywhere." if text.n_unique() == 1 else "Nothing but missing values."
    return ColumnGuess(
        name,
        "constant",
        reason,
        warnings=(f"column {name!r} says nothing: {reason[0].lower()}{reason[1:-1]}; left out",),
    )


def _share(these: pl.Series) -> float:
    return float(these.to_numpy().mean())


def _is_date(text: pl.Series) -> bool:
    if _share(text.str.contains(_DAY_FIRST)) >= 0.95:
        return True
    if not text.head(100).str.contains(r"^\d{4}-\d\d-\d\d").all():
        return False
    try:
        return read_times(text, "", text)[1] == "date"
    except DataError:
        return True


def _date(name: str, text: pl.Series) -> ColumnGuess:
    if text.n_unique() <= 1:
        return _constant(name, text)
    warning = (
        f"column {name!r} holds dates: give it as cohort.at if it is the index time, or make a number of it; left out"
    )
    if words_of(name) & {"birth", "dob", "birthdate"}:
        warning = f"column {name!r} holds dates of birth: make an age of it, and take it out of the file; left out"
    return ColumnGuess(name, "date", f"{text.n_unique()} different dates.", warnings=(warning,))
