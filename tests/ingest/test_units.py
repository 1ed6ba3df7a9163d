from __future__ import annotations

from pathlib import Path

import pint
import pytest

from medloom.errors import DataError
from medloom.ingest.code_units import read_code_table
from medloom.ingest.units import KNOWN, conversion, symbol

PINT = {
    "mm[Hg]": "millimeter_Hg", "cm[H2O]": "cmH2O", "Cel": "degC", "[degF]": "degF", "[lb_av]": "pound", "[oz_av]": "ounce",
    "[in_i]": "inch", "[ft_i]": "foot", "10*3/uL": "1e3/microliter", "10*6/uL": "1e6/microliter", "10*9/L": "1e9/liter",
    "10*12/L": "1e12/liter", "10*6/L": "1e6/liter", "/uL": "1/microliter", "/L": "1/liter", "/min": "1/minute", "/s": "1/second",
    "%": "percent", "d": "day", "h": "hour", "K": "kelvin",
}  # fmt: skip


REGISTRY = pint.UnitRegistry()


@pytest.mark.parametrize("one", sorted(KNOWN))
def test_factors_are_those_of_pint(one: str) -> None:
    registry = REGISTRY
    read = lambda name: PINT.get(name, name.replace("u", "micro") if name[0] == "u" else name.replace("/u", "/micro"))  # noqa: E731
    for other, unit in KNOWN.items():
        if unit.quantity != KNOWN[one].quantity:
            assert conversion(one, other) is None
            continue
        factor, offset = conversion(one, other)
        expected = registry.Quantity(7.0, registry.parse_expression(read(one)).units if " " not in one else one)
        scale = registry.parse_expression(read(one)).magnitude if one[0] in "1/" else 1.0
        target = registry.parse_expression(read(other))
        bottom = target.magnitude if other[0] in "1/" else 1.0
        assert factor * 7.0 + offset == pytest.approx(expected.to(target.units).magnitude * scale / bottom, rel=1e-6)


def test_units_as_people_write_them() -> None:
    written = ["mmHg", "MG/DL", "µmol/l", "mcg/mL", "°F", "deg C", "lbs", "K/uL", "bpm", "U/L", "", "M", "m"]
    known = ["mm[Hg]", "mg/dL", "umol/L", "ug/mL", "[degF]", "Cel", "[lb_av]", "10*3/uL", "/min", "U/L", "", "m", "m"]
    assert [symbol(one) for one in written] == known


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("code,low\nx,one\n", "values that are no numbers"),
        ("code,low,high\nx,5,1\n", "low is above high for 'x'"),
        ("code,low\nx,5\nx,6\n", "stand twice: 'x'"),
        ("code,lowest\nx,5\n", "has 'lowest'"),
        ("low,high\n1,2\n", "lacks 'code'"),
    ],
)
def test_mistakes_of_a_table_of_codes(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "codes.csv").write_text(text)
    with pytest.raises(DataError, match=why):
        read_code_table(tmp_path / "codes.csv", None)


def test_declared_conversions_go_both_ways_and_a_factor_is_needed(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("code,from,to,factor,offset\nhba1c,mmol/mol,%,0.0915,2.15\n,U/L,ukat/L,0.0167,\n")
    table = read_code_table(None, tmp_path / "c.csv")
    assert table.conversion("hba1c", "mmol/mol", "%") == (0.0915, 2.15)
    factor, offset = table.conversion("hba1c", "%", "mmol/mol")
    assert factor * 6.5 + offset == pytest.approx((6.5 - 2.15) / 0.0915)
    assert table.conversion("alt", "U/L", "ukat/L") == (0.0167, 0.0)
    assert table.conversion("other", "mmol/mol", "%") is None
    (tmp_path / "c.csv").write_text("from,to,factor\na,b,0\n")
    with pytest.raises(DataError, match="factor is empty or 0"):
        read_code_table(None, tmp_path / "c.csv")
