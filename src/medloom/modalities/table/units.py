"""Conversion between units of measurement, by pint."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from medloom.errors import StudyError
from medloom.find import need

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


@lru_cache(maxsize=512)
def line(unit_in: str, unit: str, molar_mass: float | None = None) -> tuple[float, float]:
    """(slope, offset) with `value in unit = slope · value in unit_in + offset`; `molar_mass` in g/mol.

    Raises StudyError for a unit that pint does not know, for units of different kinds, and where pint is missing.
    """
    pint = need("pint")
    zero, one, two = (_converted(pint, value, unit_in, unit, molar_mass) for value in (0.0, 1.0, 2.0))
    if abs((two - one) - (one - zero)) > 1e-9 * max(abs(two), abs(one), abs(zero)):
        raise StudyError(f"{unit_in} to {unit} is no straight line; convert the column in the table")
    return one - zero, zero


@lru_cache(maxsize=1)
def _registry() -> Any:
    return need("pint").UnitRegistry()


def _converted(pint: Any, value: float, unit_in: str, unit: str, molar_mass: float | None) -> float:
    registry = _registry()
    known = []
    for name in (unit_in, unit):
        try:
            known.append(registry.Unit(name))
        except (pint.errors.PintError, ValueError, TypeError, AttributeError, SyntaxError) as error:
            raise StudyError(f"{name!r} is no unit that pint knows; give factor = <number> instead") from error
    quantity = registry.Quantity(value, known[0])
    ways = [quantity]
    if molar_mass is not None:
        per_mole = registry.Quantity(molar_mass, "g/mol")
        ways = [quantity / per_mole, quantity * per_mole]
    for way in ways:
        if way.is_compatible_with(known[1]):
            return float(way.to(known[1]).magnitude)
    if molar_mass is not None:
        raise StudyError(f"{unit_in} and {unit} are not mass and amount of the same thing; take molar_mass out")
    raise StudyError(
        f"{unit_in} and {unit} measure different things; between mass and amount of substance give molar_mass (g/mol)"
    )


def mistaken(unit: str | None, molar_mass: float | None) -> tuple[str, float] | None:
    """The unit that this one is easily mistaken for, and the factor of the number; `molar_mass` in g/mol."""
    if molar_mass is not None:
        by_mole = {"mmol/L": ("mg/dL", molar_mass / 10), "mg/dL": ("mmol/L", 10 / molar_mass)}
        by_mole["umol/L"] = by_mole["µmol/L"] = ("mg/dL", molar_mass / 10_000)
        if unit in by_mole:
            return by_mole[unit]
    return OTHER_UNIT.get(unit or "")
