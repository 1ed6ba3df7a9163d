"""In which unit the values of a code stand, so that a fitted state is never asked about values in another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from medloom.errors import DataError, counted, some


def of_names(names: Sequence[str], codes: Sequence[str], units: Mapping[str, str]) -> dict[str, str]:
    """The units of those codes that stand for themselves alone; of a group of several, none is known."""
    members = Counter(names)
    return {code: units[code] for name, code in zip(names, codes, strict=True) if name == code and members[name] == 1 and code in units}  # fmt: skip


def together(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The units of several sites. Raises DataError where a code stands in another unit at another site."""
    found: dict[str, str] = {}
    for part in parts:
        refuse_others("sites of the study", part, found)
        found |= part
    return found


def refuse_others(where: str, units: Mapping[str, str], learnt: Mapping[str, str]) -> None:
    """Raises DataError where a code stands in another unit than was learnt. One side that names none is believed."""
    wrong = sorted(code for code, unit in units.items() if _plain(unit) != _plain(learnt.get(code, unit)))
    if wrong:
        raise DataError(
            f"{where}: values of {counted(len(wrong), 'code')} stand in other units than those learnt ({some(wrong)}; the first in "
            f"{units[wrong[0]]!r}, learnt in {learnt[wrong[0]]!r}); convert them, as with `medloom ingest … codes=FILE.csv`"
        )


def _plain(unit: str) -> str:
    return "".join(unit.split()).casefold()
