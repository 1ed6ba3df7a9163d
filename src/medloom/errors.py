"""The three errors a user can cause, each saying what was found, what was expected, and one thing to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MedloomError(Exception):
    """Base of the errors that the command line prints without a traceback, with exit code 2."""


class StudyError(MedloomError):
    """A study file asks for something that cannot be done. Carries every problem found, not only the first."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class DataError(MedloomError):
    """The data do not fit the study. Names columns and at most five row ids, never a patient's values."""


class BundleError(MedloomError):
    """A bundle is damaged, of another format, or does not fit what is asked of it."""


_ALONE = {"are": "is", "have": "has", "do": "does", "were": "was", "miss": "misses"}
_ALIKE = ("can", "cannot", "could", "may", "might", "must", "should", "will", "would")


@dataclass(frozen=True, slots=True)
class Noun:
    """What something is called where it is one, and where it is several."""

    one: str
    many: str

    def counted(self, number: int) -> str:
        """`1 patient`, `2 patients`."""
        return counted(number, self.one, self.many)


PATIENT = Noun("patient", "patients")
"""Who rows belong to, unless a study says otherwise: forecasts have none."""


def counted(number: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`: a number with its noun; `many` where an s does not make it: `counted(n, "row has", "rows have")`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def clause(number: int, one: str, said: str) -> str:
    """`2 values are negative`, `1 value is negative`: what is said begins with the verb of many."""
    verb, space, rest = said.partition(" ")
    alone = verb if verb in _ALIKE else _ALONE.get(verb, f"{verb}s")
    return f"{counted(number, one)} {alone if number == 1 else verb}{space}{rest}"


def those(number: int, one: str, reason: str) -> str:
    """`2 files are empty`, `1 file, of those that are empty`: `reason` is in words that follow a plural."""
    return f"{counted(number, one)}{', of those that' if number == 1 else ''} {reason}"


def rows_named(rows: Sequence[object]) -> str:
    """`row 'a'`, or `rows 'a', 'b' and 7 more`."""
    return f"row{'' if len(rows) == 1 else 's'} {some(rows)}"


def some(names: Sequence[object], most: int = 5) -> str:
    """Lists at most `most` names, then how many more: `'a', 'b' and 7 more`."""
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
