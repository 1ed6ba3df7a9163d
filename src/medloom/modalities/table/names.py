"""What the plain numbers of a table are called, and what units its numbers may be mistaken for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medloom.modalities.table import Table

FIRST = 2
"""The first id of a vocabulary that stands for a word."""
OTHER_UNIT = {
    "g/dL": ("g/L", 10.0),
    "g/L": ("g/dL", 0.1),
    "kg": ("lb", 2.20462),
    "lb": ("kg", 0.453592),
    "cm": ("inch", 0.393701),
    "m": ("cm", 100.0),
    "kPa": ("mmHg", 7.50062),
    "mmHg": ("kPa", 0.133322),
    "mg": ("µg", 1000.0),
    "µg": ("mg", 0.001),
    "year": ("month", 12.0),
}
"""Units that are in use side by side, and by what the same quantity's number differs."""


def mistaken(unit: str | None, molar_mass: float | None) -> tuple[str, float] | None:
    """The unit that this one is easily mistaken for, and the factor of the number; `molar_mass` in g/mol."""
    if molar_mass is not None:
        by_mole = {"mmol/L": ("mg/dL", molar_mass / 10), "mg/dL": ("mmol/L", 10 / molar_mass)}
        by_mole["umol/L"] = by_mole["µmol/L"] = ("mg/dL", molar_mass / 10_000)
        if unit in by_mole:
            return by_mole[unit]
    return OTHER_UNIT.get(unit or "")


def plain_names(table: Table) -> tuple[str, ...]:
    """The column of each number, or the column and the word, in the order of `Table.plain`."""
    options = table.options
    kept = options.numbers if table.kept is None else [options.numbers[place] for place in table.kept]
    found = list(kept)
    for name, coding in zip(options.coded, table.codings, strict=True):
        found += [name] * (len(coding.prior) * (1 + (options.columns[name].primary is not None)))
    categories, codes = options.named("category"), options.named("code")
    for place, ids in zip(table._embedded("category"), table.vocabulary, strict=True):
        words = (
            table.words[place] if options.category == "embedding" else [f"bucket {n + 1}" for n in range(ids - FIRST)]
        )
        found += [f"{categories[place]}: {word}" for word in words]
    for place in table._embedded("code"):
        name = codes[place]
        found += [f"{name}: number of codes", *(f"{name}: {word}" for word in table.frequent[place])]
        if options.columns[name].primary is not None:
            found += [f"{name}: main code in {word}" for word in table.codes[place][0]]
    return tuple(found)
