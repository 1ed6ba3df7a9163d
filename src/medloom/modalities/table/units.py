"""Conversion between units of measurement, by pint."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from medloom.errors import StudyError
from medloom.find import need


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
