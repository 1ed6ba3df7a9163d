"""What people in notebooks hold, arrays and frames, as the polars frame that a study reads."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Shaped

from medloom.cohort.files import as_frame
from medloom.errors import DataError, some


class InputError(DataError, ValueError):
    """Data or parameters that do not fit an estimator: a DataError that is also the ValueError that scikit-learn expects."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Features as a frame, and which of its columns hold categories by the type they came with."""

    frame: pl.DataFrame
    categories: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.frame)


def is_frame(x: Any) -> bool:
    """Whether `x` has named columns: a pandas, polars or Arrow table."""
    return type(x).__module__.split(".")[0] in ("pandas", "polars", "pyarrow") and hasattr(x, "columns")


def names_of(x: Any) -> list[str]:
    """Names of a table's columns, all different. Raises InputError."""
    names = [str(name) for name in (x.column_names if hasattr(x, "column_names") else x.columns)]
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise InputError(f"columns named twice: {some(repeated)}; give each its own name")
    return names


def rows_of(x: Any, names: Sequence[str]) -> Rows:
    """Features as a frame with these column names.

    `x` is a table, or an array "rows features" that scikit-learn has checked. Raises InputError for a column that holds neither
    numbers, words, dates nor empty values.
    """
    if not is_frame(x):
        columns = [_series(name, x[:, place]) for place, name in enumerate(names)]
        return Rows(pl.DataFrame(columns))
    if type(x).__module__.split(".")[0] == "pandas":
        return _of_pandas(x, names)
    frame = as_frame(x)
    kinds = zip(frame.columns, frame.dtypes, strict=True)
    return Rows(frame, frozenset(name for name, kind in kinds if kind in (pl.Categorical, pl.Enum)))


def _of_pandas(x: Any, names: Sequence[str]) -> Rows:
    """Column by column through numpy, so that pyarrow is not needed."""
    columns, categories = [], set()
    for place, name in enumerate(names):
        column = x.iloc[:, place]
        if str(column.dtype) == "category":
            categories.add(name)
        columns.append(_series(name, column.to_numpy(), column.isna().to_numpy()))
    return Rows(pl.DataFrame(columns), frozenset(categories))


def _series(
    name: str, values: Shaped[np.ndarray, " rows"], empty: Bool[np.ndarray, " rows"] | None = None
) -> pl.Series:
    """One column; of mixed objects numbers where all are numbers, words where all are numbers or words."""
    if values.dtype.kind in "biufmM":
        plain = values.astype(np.float64 if values.dtype.kind == "f" else values.dtype.newbyteorder("="))
        return pl.Series(name, plain)
    if values.dtype.kind == "U":
        return pl.Series(name, values.tolist(), pl.String)
    if empty is None:
        empty = np.array([value is None or (isinstance(value, float) and np.isnan(value)) for value in values], bool)
    known = [value for value, none in zip(values, empty, strict=True) if not none]
    held = iter(known)
    if all(isinstance(value, (bool, np.bool_)) for value in known):
        return pl.Series(name, [None if none else bool(next(held)) for none in empty], pl.Boolean)
    if all(isinstance(value, numbers.Real) for value in known):
        return pl.Series(name, [None if none else float(next(held)) for none in empty], pl.Float64)
    if all(isinstance(value, (str, numbers.Real)) for value in known):
        return pl.Series(name, [None if none else _word(next(held)) for none in empty], pl.String)
    strange = sorted({type(value).__name__ for value in known if not isinstance(value, (str, numbers.Real))})
    raise InputError(f"column {name!r} holds {some(strange)}; expected numbers, words or empty values")


def _word(value: Any) -> str:
    number = isinstance(value, numbers.Real) and str(value) not in ("True", "False")
    return str(int(value)) if number and float(value).is_integer() else str(value)


def free(name: str, taken: Sequence[str]) -> str:
    """The name, or the first of name_2, name_3, … that no column has."""
    names = (name, *(f"{name}_{number}" for number in range(2, len(taken) + 3)))
    return next(one for one in names if one not in taken)


def labels_of(classes: Shaped[np.ndarray, " classes"]) -> list[str]:
    """A different text for each class, as reports shall call it."""
    texts = [_word(value).strip() for value in classes.tolist()]
    return texts if len(set(texts)) == len(texts) and all(texts) else [f"class {i}" for i in range(len(texts))]


def followed(y: Any) -> tuple[Bool[np.ndarray, " rows"], Shaped[np.ndarray, " rows"]]:
    """Event and time of each row, from a structured array or a table with two columns.

    The columns are called event and time, or the one with truth values is the event. Raises InputError.
    """
    if is_frame(y):
        frame = rows_of(y, names_of(y)).frame
        pair: Mapping[str, np.ndarray] = {name: frame[name].to_numpy() for name in frame.columns}
    elif isinstance(y, np.ndarray) and y.dtype.names is not None:
        pair = {name: y[name] for name in y.dtype.names}
    else:
        raise InputError(
            f"y is a {type(y).__name__}; expected a structured array or a frame with two columns, event and time"
        )
    truths = [name for name, values in pair.items() if values.dtype.kind == "b"]
    event = "event" if "event" in pair else truths[0] if len(truths) == 1 else None
    rest = [name for name in pair if name != event]
    if len(pair) != 2 or event is None:
        raise InputError(f"y has the columns {some(list(pair))}; expected event (true or false) and time, and no other")
    return _happened(pair[event], event), _times(pair[rest[0]], rest[0])


def _happened(values: np.ndarray, name: str) -> Bool[np.ndarray, " rows"]:
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise InputError(f"y: column {name!r} holds values that are neither true nor false (1 or 0); mend them")
    return values.astype(bool)


def _times(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all() or (values < 0).any():
        raise InputError(
            f"y: column {name!r} holds values that are no times; expected numbers, not below 0, in every row"
        )
    return values.astype(np.float64)
