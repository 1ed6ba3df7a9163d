"""Who is in the study: inclusion and exclusion in their order, and the flow of rows and patients through them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from medloom import expression
from medloom.cohort.stored import Table
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, counted
from medloom.expression import Both, Column, Compare, Condition, Either, In, IsNull, Not, Value
from medloom.find import near


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the cohort flow: how many rows and patients are left after it, and how many rows it took away.

    `unknown` are those of the rows taken away whose columns are missing, so that the condition has no answer.
    """

    name: str
    why: str
    rows: int
    patients: int
    left_out: int = 0
    unknown: int = 0
    tells: bool = False
    """Whether `why` is worth saying even where nobody was left out."""

    @property
    def reason(self) -> str:
        """What is to be said of the step: why rows were left out, or what it did; nothing where it did nothing."""
        return self.why if self.left_out or self.tells else ""

    def plain(self) -> dict[str, str | int]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def text_columns(part: CohortPart) -> frozenset[str]:
    """Columns of a CSV that conditions compare with text."""
    conditions = [expression.condition(one.where) for one in (*part.include, *part.exclude)]
    return frozenset(name for one in conditions for name in expression.text_columns(one))


def flow(part: CohortPart, frame: Table) -> tuple[pl.Series, tuple[Step, ...]]:
    """Which rows of the table are in the study, and every step on the way. Raises one DataError with all mistakes.

    Inclusion comes before exclusion. A row is left out by an inclusion that it does not meet, also where missing
    values leave that open, and by an exclusion that it meets for certain.
    """
    held = pl.repeat(True, len(frame), eager=True)
    patient = frame[part.patient] if part.patient in frame.columns else None
    steps = [Step("in the table", "", len(frame), _patients(patient, held))]
    mistakes: list[str] = []
    for kind, criteria in (("include", part.include), ("exclude", part.exclude)):
        for one in criteria:
            try:
                meets = frame.select(compiled(expression.condition(one.where), frame).alias("meets")).to_series()
            except DataError as error:
                mistakes.append(f"cohort.{kind} {one.name!r}: {error}")
                continue
            keeps = meets.fill_null(False) if kind == "include" else ~meets.fill_null(False)
            left, unknown = held & ~keeps, held & meets.is_null() & ~keeps
            held = held & keeps
            why = f"{'not ' if kind == 'include' else ''}({one.where})"
            steps.append(
                Step(one.name, why, int(held.sum()), _patients(patient, held), int(left.sum()), int(unknown.sum()))
            )
    if mistakes:
        raise DataError("\n".join(mistakes))
    if not held.any():
        emptied = next(step for step in steps if not step.rows)
        raise DataError(
            f"cohort: no row is left after {emptied.name!r}, which took the last {counted(emptied.left_out, 'row')}"
        )
    return held, tuple(steps)


def _patients(patient: pl.Series | None, held: pl.Series) -> int:
    return int(held.sum()) if patient is None else patient.filter(held).n_unique()


def compiled(of: Condition, frame: Table) -> pl.Expr:
    """The condition on these columns, for polars. Raises DataError for columns that are not there or of another kind."""
    match of:
        case Not(inner):
            return ~compiled(inner, frame)
        case Both(left, right):
            return compiled(left, frame) & compiled(right, frame)
        case Either(left, right):
            return compiled(left, frame) | compiled(right, frame)
        case IsNull(Column(name)):
            missing = _column(name, frame).is_null()
            return missing | pl.col(name).is_nan() if frame.schema[name].is_float() else missing
        case In(Column(name), values):
            return _column(name, frame).is_in([_stored(_literal(value, name, frame), name, frame) for value in values])
        case Compare(Column(name), operator, Column(other)):
            left_kind, right_kind = _kind(name, frame), _kind(other, frame)
            if left_kind != right_kind:
                raise DataError(
                    f"column {name!r} holds {left_kind} and {other!r} {right_kind}; they cannot be compared"
                )
            return _compared(_column(name, frame), operator, _column(other, frame))
        case Compare(Column(name), operator, value) if not isinstance(value, Column):
            return _compared(_column(name, frame), operator, pl.lit(_literal(value, name, frame)))
    raise TypeError(f"not a condition: {of!r}")


def _column(name: str, frame: Table) -> pl.Expr:
    if name not in frame.columns:
        raise DataError(f"no column {name!r} in the table; {near(name, frame.columns)}")
    return pl.col(name).fill_nan(None) if frame.schema[name].is_float() else pl.col(name)


def _kind(name: str, frame: Table) -> str:
    _column(name, frame)
    kind = frame.schema[name]
    if kind.is_numeric():
        return "numbers"
    if kind.is_temporal():
        return "times"
    return "true and false" if kind == pl.Boolean else "text"


def _literal(value: Value, name: str, frame: Table) -> object:
    """The value as the column's own kind; a text as a time where the column holds times."""
    kind = _kind(name, frame)
    fits = {"numbers": float, "times": str, "true and false": bool, "text": str}[kind]
    if frame.schema[name] == pl.Null:
        return None
    if not isinstance(value, fits) or (isinstance(value, bool) and fits is not bool):
        hint = " (text stands in quotes)" if kind == "text" else ""
        raise DataError(f"column {name!r} holds {kind}, and is compared with {value!r}{hint}")
    if kind != "times":
        return value
    time = pl.Series([value]).str.to_datetime(strict=False, time_unit="us")[0] if len(str(value)) > 10 else None
    time = time or pl.Series([value]).str.to_date("%Y-%m-%d", strict=False)[0]
    if time is None:
        raise DataError(f"column {name!r} holds times, and is compared with {value!r}; expected 'YYYY-MM-DD'")
    return time


def _stored(value: object, name: str, frame: Table) -> object:
    """The value as a column of short numbers holds it: a list of values is not rounded to them by itself."""
    return float(np.float32(value)) if frame.schema[name] == pl.Float32 and isinstance(value, float) else value


def _compared(left: pl.Expr, operator: str, right: pl.Expr) -> pl.Expr:
    match operator:
        case "==":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case _:
            return left >= right
