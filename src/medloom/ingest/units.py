"""Units as they are written, and conversions between those of which the factor depends on nothing but the units.

A conversion that depends on what was measured (mg/dL to mmol/L of glucose) is not here: a user declares it.
Source: UCUM, https://ucum.org/ucum, for symbols; factors follow from the definitions of the units.
"""

from __future__ import annotations

from typing import NamedTuple


class Unit(NamedTuple):
    """A unit as `base = value × factor + offset` of one quantity."""

    quantity: str
    factor: float
    offset: float = 0.0


_MASS = {"kg": 1e3, "g": 1.0, "mg": 1e-3, "ug": 1e-6, "ng": 1e-9, "pg": 1e-12}
_MOLES = {"mol": 1.0, "mmol": 1e-3, "umol": 1e-6, "nmol": 1e-9, "pmol": 1e-12}
_VOLUME = {"L": 1.0, "dL": 1e-1, "mL": 1e-3, "uL": 1e-6}
_COUNTS = {"10*3/uL": 1e9, "10*6/uL": 1e12, "10*9/L": 1e9, "10*12/L": 1e12, "/uL": 1e6, "10*6/L": 1e6, "/L": 1.0}


def _concentrations() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for volume, size in _VOLUME.items():
        found |= {f"{mass}/{volume}": Unit("mass a volume", weight / size) for mass, weight in _MASS.items()}
        found |= {f"{moles}/{volume}": Unit("moles a volume", many / size) for moles, many in _MOLES.items()}
    return found


KNOWN: dict[str, Unit] = {
    **_concentrations(),
    **{name: Unit("mass", factor) for name, factor in _MASS.items()},
    **{name: Unit("moles", factor) for name, factor in _MOLES.items()},
    **{name: Unit("volume", factor) for name, factor in _VOLUME.items()},
    **{name: Unit("particles a volume", factor) for name, factor in _COUNTS.items()},
    "[lb_av]": Unit("mass", 453.59237),
    "[oz_av]": Unit("mass", 28.349523125),
    "m": Unit("length", 1.0),
    "cm": Unit("length", 1e-2),
    "mm": Unit("length", 1e-3),
    "[in_i]": Unit("length", 0.0254),
    "[ft_i]": Unit("length", 0.3048),
    "mm[Hg]": Unit("pressure", 133.322387415),
    "cm[H2O]": Unit("pressure", 98.0665),
    "kPa": Unit("pressure", 1e3),
    "Pa": Unit("pressure", 1.0),
    "Cel": Unit("temperature", 1.0),
    "[degF]": Unit("temperature", 5 / 9, -160 / 9),
    "K": Unit("temperature", 1.0, -273.15),
    "s": Unit("duration", 1.0),
    "min": Unit("duration", 60.0),
    "h": Unit("duration", 3600.0),
    "d": Unit("duration", 86400.0),
    "/min": Unit("rate", 1 / 60),
    "/s": Unit("rate", 1.0),
    "%": Unit("share", 0.01),
}
"""Units by their UCUM symbol."""
_WRITTEN = {
    "mmhg": "mm[Hg]",
    "cmh2o": "cm[H2O]",
    "c": "Cel",
    "°c": "Cel",
    "degc": "Cel",
    "deg c": "Cel",
    "celsius": "Cel",
    "f": "[degF]",
    "°f": "[degF]",
    "degf": "[degF]",
    "deg f": "[degF]",
    "fahrenheit": "[degF]",
    "lb": "[lb_av]",
    "lbs": "[lb_av]",
    "pound": "[lb_av]",
    "pounds": "[lb_av]",
    "oz": "[oz_av]",
    "in": "[in_i]",
    "inch": "[in_i]",
    "inches": "[in_i]",
    "ft": "[ft_i]",
    "feet": "[ft_i]",
    "kilogram": "kg",
    "kilograms": "kg",
    "gram": "g",
    "grams": "g",
    "bpm": "/min",
    "beats/min": "/min",
    "beats/minute": "/min",
    "breaths/min": "/min",
    "breaths/minute": "/min",
    "{beats}/min": "/min",
    "insp/min": "/min",
    "percent": "%",
    "k/ul": "10*3/uL",
    "x10^3/ul": "10*3/uL",
    "10^3/ul": "10*3/uL",
    "thousand/ul": "10*3/uL",
    "10^9/l": "10*9/L",
    "x10^9/l": "10*9/L",
    "giga/l": "10*9/L",
    "m/ul": "10*6/uL",
    "x10^6/ul": "10*6/uL",
    "10^6/ul": "10*6/uL",
    "10^12/l": "10*12/L",
    "x10^12/l": "10*12/L",
    "sec": "s",
    "seconds": "s",
    "minutes": "min",
    "hr": "h",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
}
_BY_CASE = {name.lower(): name for name in KNOWN if sum(other.lower() == name.lower() for other in KNOWN) == 1}


def symbol(written: str) -> str:
    """The UCUM symbol of a unit where it is known, else the unit as it is written.

    >>> symbol("mmHg"), symbol("µg/ml"), symbol("MG/DL"), symbol("furlong")
    ('mm[Hg]', 'ug/mL', 'mg/dL', 'furlong')
    """
    text = written.strip().replace("µ", "u").replace("μ", "u").replace("mcg", "ug")
    if text in KNOWN:
        return text
    lower = text.lower()
    return _WRITTEN.get(lower) or _BY_CASE.get(lower) or written.strip()


def conversion(written: str, to: str) -> tuple[float, float] | None:
    """(factor, offset) of `to = written × factor + offset`; None where no conversion is known.

    >>> conversion("g/dL", "g/L"), conversion("mg/dL", "mmol/L")
    ((10.0, 0.0), None)
    """
    first, second = symbol(written), symbol(to)
    if first == second:
        return 1.0, 0.0
    one, other = KNOWN.get(first), KNOWN.get(second)
    if one is None or other is None or one.quantity != other.quantity:
        return None
    factor = one.factor / other.factor
    return float(f"{factor:.12g}"), float(f"{(one.offset - other.offset) / other.factor:.12g}")
