"""One unit a code: which unit each code's values get, by what factor, and which values are impossible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from medloom.cohort.files import read_table
from medloom.errors import DataError, counted, some
from medloom.ingest.runs import NO_VALUE
from medloom.ingest.units import conversion, symbol


@dataclass(frozen=True, slots=True)
class CodeTable:
    """What a user says of codes: the unit that values shall have, the lowest and highest that is possible."""

    unit: Mapping[str, str] = field(default_factory=dict)
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)
    conversions: Mapping[tuple[str, str, str], tuple[float, float]] = field(default_factory=dict)
    """(code or "", from, to) → (factor, offset)."""

    def conversion(self, code: str, written: str, to: str) -> tuple[float, float] | None:
        """The declared conversion of this code, then the one declared of all codes, then the known one."""
        one, other = symbol(written), symbol(to)
        for name in (code, ""):
            if (name, one, other) in self.conversions:
                return self.conversions[name, one, other]
            if (name, other, one) in self.conversions:
                factor, offset = self.conversions[name, other, one]
                return 1 / factor, -offset / factor
        return conversion(written, to)


def read_code_table(codes: Path | None, conversions: Path | None) -> CodeTable:
    """The two tables that a user may give. Raises DataError naming every mistake in them."""
    unit: dict[str, str] = {}
    limits: dict[str, dict[str, float]] = {"low": {}, "high": {}}
    if codes is not None:
        frame = _table(codes, ("code",), ("unit", "low", "high"))
        numbers = {name: _numbers(frame, name, codes) for name in limits}
        repeated = frame["code"].filter(frame["code"].is_duplicated()).unique().to_list()
        if repeated:
            raise DataError(f"{codes}: codes that stand twice: {some(repeated)}; give each one line")
        for place, code in enumerate(frame["code"].to_list()):
            unit |= {code: frame["unit"][place]} if frame["unit"][place] else {}
            for name, given in numbers.items():
                limits[name] |= {code: given[place]} if given[place] is not None else {}
        crossed = [c for c in limits["low"] if limits["low"][c] > limits["high"].get(c, np.inf)]
        if crossed:
            raise DataError(f"{codes}: low is above high for {some(crossed)}")
    declared: dict[tuple[str, str, str], tuple[float, float]] = {}
    if conversions is not None:
        frame = _table(conversions, ("from", "to", "factor"), ("code", "offset"))
        factor, offset = (_numbers(frame, name, conversions) for name in ("factor", "offset"))
        if any(one is None or one == 0 for one in factor):
            raise DataError(f"{conversions}: factor is empty or 0 in a line; expected to = from × factor + offset")
        for place, (code, one, other) in enumerate(frame.select("code", "from", "to").rows()):
            declared[code or "", symbol(one), symbol(other)] = (float(factor[place] or 0), float(offset[place] or 0))
    return CodeTable(unit, limits["low"], limits["high"], declared)


def _table(path: Path, needed: Sequence[str], also: Sequence[str]) -> pl.DataFrame:
    known = (*needed, *also)
    frame = read_table(path, frozenset(known))
    missing = [name for name in needed if name not in frame.columns]
    strange = [name for name in frame.columns if name not in known]
    if missing or strange:
        what = " and ".join(
            [*([f"lacks {some(missing)}"] if missing else []), *([f"has {some(strange)}"] if strange else [])]
        )
        raise DataError(f"{path}: {what}; expected the columns {', '.join(needed)}, and if wanted {', '.join(also)}")
    blank = [pl.lit(None, pl.String).alias(name) for name in also if name not in frame.columns]
    frame = frame.with_columns(blank).with_columns(pl.col(name).cast(pl.String).str.strip_chars() for name in known)
    return frame.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)) for name in known)


def _numbers(frame: pl.DataFrame, name: str, path: Path) -> list[float | None]:
    number = frame[name].cast(pl.Float64, strict=False)
    if (number.is_null() & frame[name].is_not_null()).any():
        raise DataError(f"{path}: column {name!r} has values that are no numbers")
    return number.to_list()


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of each pair of code and unit: its final code, and `value × factor + offset` in the code's unit."""

    codes: pl.Series
    measured_in: pl.Series
    code: Int[np.ndarray, " pairs"]
    factor: Float[np.ndarray, " pairs"]
    offset: Float[np.ndarray, " pairs"]
    low: Float[np.ndarray, " codes"]
    high: Float[np.ndarray, " codes"]
    converted: tuple[Mapping[str, object], ...]
    problems: tuple[str, ...]
    """Units that could not be brought together: what `units = "refuse"` refuses."""


def plan(pairs: pl.DataFrame, table: CodeTable) -> Plan:
    """One unit a code: the declared one, else that of most values. `pairs` has code, unit and events, sorted.

    Units without a known conversion stay apart as `code [unit]`.
    """
    final: list[str] = []
    factors = np.ones(len(pairs))
    offsets = np.zeros(len(pairs))
    units: dict[str, str] = {}
    converted: list[Mapping[str, object]] = []
    problems: list[str] = []
    chosen = _chosen(pairs, table)
    for place, (code, unit, events) in enumerate(pairs.select("code", "unit", "events").rows()):
        wanted = chosen.get(code, "")
        if unit == NO_VALUE:
            final.append(code)
            continue
        how = table.conversion(code, unit, wanted) if unit and wanted else (1.0, 0.0) if unit == wanted else None
        if how is None:
            apart = f"{code} [{unit or 'no unit'}]"
            final.append(apart)
            units[apart] = unit
            problems.append(
                f"{apart}: {counted(events, 'value')}, no conversion to {wanted or 'a value without unit'} is known"
            )
            continue
        final.append(code)
        units[code] = wanted
        factors[place], offsets[place] = how
        if how != (1.0, 0.0):
            converted.append(
                {"code": code, "from": unit, "to": wanted, "factor": how[0], "offset": how[1], "values": events}
            )
    codes = pl.Series("code", final, pl.String).unique().sort()
    names = codes.to_list()
    number = {name: place for place, name in enumerate(names, 1)}
    measured = pl.Series("measured_in", [units.get(name) or None for name in names], pl.String)
    low = np.array([-np.inf, *(table.low.get(name, -np.inf) for name in names)])
    high = np.array([np.inf, *(table.high.get(name, np.inf) for name in names)])
    code_of = np.array([number[name] for name in final], np.int32)
    return Plan(codes, measured, code_of, factors, offsets, low, high, tuple(converted), tuple(problems))


def _chosen(pairs: pl.DataFrame, table: CodeTable) -> dict[str, str]:
    """The unit of each code that has values: the declared one, else the one of most values, the first by name of equals."""
    valued = pairs.filter(pl.col("unit") != NO_VALUE)
    # A value without a unit says nothing of which unit the others should have.
    ranked = valued.sort(pl.col("unit") == "", -pl.col("events"), "unit")
    most = ranked.group_by("code", maintain_order=True).first()
    return {**dict(most.select("code", "unit").rows()), **table.unit}
