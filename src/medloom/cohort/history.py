"""What a patient's earlier rows say: summaries of them as columns of each row.

A row sees those rows of its patient whose index time is before its own, and of values that become known later (an
answer) those that are known before its own index time. Rows are sorted once, and every summary is a running one: no
row is ever paired with another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from medloom import expression
from medloom.cohort.files import as_frame, canonical, header, read_columns, read_table
from medloom.cohort.times import Kind, read_times
from medloom.cohort_part import CohortPart, HistoryPart
from medloom.errors import DataError, some
from medloom.expression import Summary
from medloom.find import near

NAME = "history"
"""The name under which a frame of earlier rows is given, as `tables={"history": frame}`."""
PATIENT, TIME, OF_ROW, PLACE, VALUE = "__patient", "__time", "__of_row", "__place", "__value"
DAY = 86_400.0
_NUMERIC = ("max", "mean", "min", "sum")


def columns(part: HistoryPart) -> tuple[str, ...]:
    """Columns of earlier rows that the summaries need, each once."""
    read = [expression.summary(text).column for text in part.aggregate.values()]
    return tuple(dict.fromkeys([*(name for name in read if name), *part.known_at.values()]))


def with_history(
    part: CohortPart, frame: pl.DataFrame, earlier: pl.DataFrame | None = None, new: bool = True
) -> pl.DataFrame:
    """The frame with a column for each summary, in its own order of rows. Raises DataError.

    `earlier` holds rows before those of the frame; where it has one of the frame's own rows, the frame's counts. Other
    rows than those of the study (`new=False`) may bring the columns of the history themselves.
    """
    history = part.history
    if history is None:
        return frame
    there = [name for name in history.aggregate if name in frame.columns]
    if not new and earlier is None and len(there) == len(history.aggregate):
        return frame
    if there:
        raise DataError(f"cohort.history: the table has columns of the same name ({some(there)}); rename them")
    return frame.hstack(_summaries(part, frame, earlier))


def read_earlier(
    part: CohortPart, folder: Path, tables: Mapping[str, Any], text: frozenset[str], needed: bool
) -> pl.DataFrame | None:
    """The table of earlier rows: the one given, else the file that the study names. None where there is none.

    Where it is not `needed`, a file that is absent is left out.
    """
    if part.history is None:
        return None
    given = tables.get(NAME, folder / part.history.table if part.history.table else None)
    if given is None or (isinstance(given, Path) and not needed and NAME not in tables and not given.exists()):
        return None
    return read_table(Path(given), text) if isinstance(given, (str, Path)) else as_frame(given)


def of_file(part: CohortPart, path: Path, text: frozenset[str], earlier: pl.DataFrame | None) -> pl.DataFrame | None:
    """The history of every row of a table file that is too large to be read whole: only the columns it needs are.

    None where the study has no history, or the file brings it.
    """
    if part.history is None:
        return None
    have = header(path)
    if earlier is None and all(name in have for name in part.history.aggregate):
        return None
    wanted = [part.row, part.patient, part.at, *columns(part.history), *part.history.aggregate]
    held = read_columns(path, [name for name in have if name in wanted], text)
    return with_history(part, held, earlier, new=False).select(list(part.history.aggregate))


def _summaries(part: CohortPart, frame: pl.DataFrame, earlier: pl.DataFrame | None) -> pl.DataFrame:
    history = part.history
    assert history is not None
    summaries = {name: expression.summary(text) for name, text in history.aggregate.items()}
    rows = _rows(part, frame, earlier, history)
    at, kind = _times(rows, str(part.at), f"cohort.at {part.at!r}")
    patient = canonical(rows[str(part.patient)])
    if np.isnan(at).any() or patient.null_count():
        raise DataError("cohort.history: some rows have no patient or no index time; expected both in every row")
    found: dict[str, pl.Series] = {}
    for column in dict.fromkeys(summary.column for summary in summaries.values()):
        asked = {name: summary for name, summary in summaries.items() if summary.column == column}
        known = _known(history, rows, column, at, kind)
        answers = _running(asked, _values(rows, column, asked), patient, at, known, len(frame), kind)
        found |= {name: answers[name] for name in asked}
    return pl.DataFrame([found[name].alias(name) for name in summaries])


def _rows(part: CohortPart, frame: pl.DataFrame, earlier: pl.DataFrame | None, history: HistoryPart) -> pl.DataFrame:
    """The rows themselves, then the earlier ones; only the columns that are needed."""
    needed = [str(part.patient), str(part.at), *columns(history)]
    tables = [frame]
    if earlier is not None:
        tables = [_filled(part, frame, earlier, needed), _without(part, earlier, frame)]
    for name in needed:
        if not any(name in table.columns for table in tables) or any(
            name not in table.columns for table in tables if name in needed[:2]
        ):
            raise DataError(
                f"cohort.history: no column {name!r}; {near(name, frame.columns)} New rows may bring the columns "
                f"{some(list(history.aggregate))} themselves, or come with tables={{'{NAME}': earlier rows}}"
            )
    parts = [
        table.select(pl.col(name) if name in table.columns else pl.lit(None).alias(name) for name in needed)
        for table in tables
    ]
    if len(parts) == 1:
        return parts[0]
    alike = [
        name
        for name in needed
        if parts[0].schema[name] == parts[1].schema[name] or pl.Null in (parts[0].schema[name], parts[1].schema[name])
    ]
    as_text = [name for name in needed if name not in alike]
    parts = [one.with_columns(canonical(one[name]).alias(name) for name in as_text) for one in parts]
    return pl.concat(parts, how="vertical_relaxed")


def _filled(part: CohortPart, frame: pl.DataFrame, earlier: pl.DataFrame, needed: list[str]) -> pl.DataFrame:
    """The frame with columns that only the earlier rows have, for those of its rows that stand there too."""
    lacks = [name for name in needed if name not in frame.columns and name in earlier.columns]
    if not lacks or part.row is None or part.row not in earlier.columns or part.row not in frame.columns:
        return frame
    ids = canonical(earlier[part.row]).alias(PLACE)
    known = earlier.select(lacks).with_columns(ids).unique(PLACE, keep="last")
    own = pl.DataFrame([canonical(frame[part.row]).alias(PLACE)])
    return frame.hstack(own.join(known, on=PLACE, how="left", maintain_order="left").drop(PLACE))


def _without(part: CohortPart, earlier: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """The earlier rows that are not rows of the frame itself."""
    if part.row is None or part.row not in earlier.columns or part.row not in frame.columns:
        return earlier
    return earlier.filter(~canonical(earlier[part.row]).is_in(canonical(frame[part.row]).to_list()))


def _times(rows: pl.DataFrame, name: str, what: str) -> tuple[Float[np.ndarray, " rows"], Kind]:
    return read_times(rows[name], what, pl.int_range(1, len(rows) + 1, eager=True).cast(pl.String))


def _known(
    history: HistoryPart, rows: pl.DataFrame, column: str | None, at: Float[np.ndarray, " rows"], kind: Kind
) -> Float[np.ndarray, " rows"]:
    """When the value of each row is known: with the row, or later, as declared. NaN: never."""
    if column in history.known_after:
        return at + history.known_after[column] * (DAY if kind == "date" else 1.0)
    if column not in history.known_at:
        return at
    known, other = _times(rows, history.known_at[column], f"cohort.history.known_at {history.known_at[column]!r}")
    if other != kind and not np.isnan(known).all():
        raise DataError(
            f"cohort.history.known_at.{column}: holds {other}s, and the index time {kind}s; expected one kind"
        )
    return np.maximum(known, at)


def _values(rows: pl.DataFrame, column: str | None, asked: Mapping[str, Summary]) -> pl.Series:
    """The values that are summarised, numbers where a number is asked for."""
    if column is None:
        return pl.repeat(1.0, len(rows), eager=True)
    values = rows[column]
    numeric = [name for name, summary in asked.items() if summary.function in _NUMERIC]
    if values.dtype.is_float():
        return values.fill_nan(None)
    if not numeric or values.dtype.is_numeric():
        return values
    text = canonical(values.cast(pl.Int8)) if values.dtype == pl.Boolean else canonical(values)
    number = text.cast(pl.Float64, strict=False)
    if number.null_count() > text.null_count():
        raise DataError(
            f"cohort.history.{numeric[0]}: {asked[numeric[0]].function} needs numbers, and {column!r} holds none"
        )
    return number


def _running(
    asked: Mapping[str, Summary],
    values: pl.Series,
    patient: pl.Series,
    at: Float[np.ndarray, " rows"],
    known: Float[np.ndarray, " rows"],
    rows: int,
    kind: Kind,
) -> pl.DataFrame:
    """Summaries of what was known before each of the first `rows` rows.

    Each row stands twice in a patient's order: where it asks, at its index time, and where it is known. Of the same
    time the asking comes first, so that nothing of that time is seen.
    """
    count = len(values)
    asks = pl.DataFrame(
        {PATIENT: patient, TIME: at, OF_ROW: at, PLACE: np.arange(count)},
        schema_overrides={PLACE: pl.Int64},
    ).head(rows)
    asks = asks.with_columns(pl.lit(None, values.dtype).alias(VALUE), pl.lit(False).alias("tells"))
    tells = pl.DataFrame(
        {PATIENT: patient, TIME: known, OF_ROW: at, PLACE: np.arange(count)}, schema_overrides={PLACE: pl.Int64}
    )
    tells = tells.with_columns(values.alias(VALUE), pl.lit(True).alias("tells")).filter(pl.col(TIME).is_not_nan())
    order = pl.concat([asks, tells]).sort(PATIENT, TIME, "tells", OF_ROW, PLACE)
    summed = order.select(PLACE, "tells", *(_one(s, kind).over(PATIENT).alias(name) for name, s in asked.items()))
    return summed.filter(~pl.col("tells")).sort(PLACE).drop(PLACE, "tells")


def _one(summary: Summary, kind: Kind) -> pl.Expr:
    """One running summary within a patient. Missing values are passed over."""
    value, seen = pl.col(VALUE), pl.col(VALUE).is_not_null().cum_sum()
    match summary.function:
        case "count":
            return seen.cast(pl.Int64)
        case "since":
            newest = pl.when(pl.col("tells")).then(OF_ROW).forward_fill()
            return (pl.col(OF_ROW) - newest) / (DAY if kind == "date" else 1.0)
        case "max":
            return value.cum_max().forward_fill()
        case "min":
            return value.cum_min().forward_fill()
        case "sum":
            return pl.when(seen > 0).then(value.fill_null(0).cum_sum())
        case "mean":
            return pl.when(seen > 0).then(value.fill_null(0).cast(pl.Float64).cum_sum() / seen)
        case "first":
            return pl.when(seen > 0).then(value.drop_nulls().first())
    return value.forward_fill()
