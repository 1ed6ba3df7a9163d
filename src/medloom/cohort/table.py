"""Who: rows, patients, index times and sites of one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from medloom.cohort import criteria, event_cohort, history, joins, panel
from medloom.cohort.files import as_frame
from medloom.cohort.files import canonical as canonical
from medloom.cohort.formats import read_query
from medloom.cohort.stored import Table, blocks, in_memory, open_table
from medloom.cohort.times import Kind, read_times
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, counted, some
from medloom.find import near

LARGEST = 1e30
"""Numbers beyond it are no measurements, and float32 could not square them."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Rows of a study. `row` are their ids as text; `patient` are codes, equal for rows of one patient.

    `frame` is the table: a frame, or a file too large to be held, of which columns and blocks are read when asked for.
    `at` is the index time (seconds since 1970, or the number given), None where the study has none. `folder` is
    where files named by the study begin, `files` where paths that stand in the table begin; `tables` are frames passed
    in Python for inputs that have a table of their own. `flow` says how the rows became these. Where rows were made of a
    store of events, `stores` says which folder that is, by the name in the study: an input of that name reads the same
    one. `codes` says how many of its codes each set of the study holds.
    """

    frame: Table
    row: pl.Series
    patient_id: pl.Series
    patient: Int[np.ndarray, " rows"]
    at: Float[np.ndarray, " rows"] | None = None
    at_kind: Kind | None = None
    site: pl.Series | None = None
    folder: Path = Path()
    files: Path = Path()
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    flow: tuple[criteria.Step, ...] = ()
    stores: Mapping[str, Path] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)
    answered: Float[np.ndarray, " rows"] | None = None
    """When the answers of each row are known, NaN where that is not told; None where the study does not say."""
    record_id: pl.Series | None = None
    """Whose events each row sees, where `patient_id` is the person of several; None where it is the same."""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def record(self) -> pl.Series:
        """The id by which tables and stores of events know each row's patient."""
        return self.patient_id if self.record_id is None else self.record_id

    def take(self, rows: Int[np.ndarray, " some"]) -> Cohort:
        """The cohort of these rows, in this order, in memory. Of a file, rows that ascend are read on one way through it."""
        if isinstance(self.frame, pl.DataFrame) or not len(rows) or (np.diff(rows) <= 0).any():
            return self._of(in_memory(self.frame)[rows], rows)
        return self._of(pl.concat(in_memory(part.frame) for part in self.blocks(rows, 1 << 16)), rows)

    def blocks(self, rows: Int[np.ndarray, " some"], size: int, names: Sequence[str] | None = None) -> Iterator[Cohort]:
        """The cohorts of these rows, whose positions ascend, a block of the table at a time; of these columns, or all."""
        start = 0
        for block in blocks(self.frame, size, names):
            here = rows[slice(*np.searchsorted(rows, (start, start + len(block))))]
            if len(here):
                yield self._of(block if len(here) == len(block) else block[here - start], here)
            start += len(block)

    def holding(self, names: Sequence[str]) -> Cohort:
        """The same rows with these columns alone, in memory."""
        return replace(self, frame=self.frame.select(list(names)))

    def _of(self, frame: pl.DataFrame, rows: Int[np.ndarray, " some"]) -> Cohort:
        return replace(
            self,
            frame=frame,
            row=self.row.gather(rows),
            patient_id=self.patient_id.gather(rows),
            patient=self.patient[rows],
            at=None if self.at is None else self.at[rows],
            site=None if self.site is None else self.site.gather(rows),
            answered=None if self.answered is None else self.answered[rows],
            record_id=None if self.record_id is None else self.record_id.gather(rows),
        )

    def column(self, name: str, what: str) -> pl.Series:
        """A column of the table, or a DataError that names the nearest ones. `what` says who asks for it."""
        if name not in self.frame.columns:
            raise DataError(f"{what}: no column {name!r} in the table; {near(name, self.frame.columns)}")
        return self.frame[name]


def read_cohort(
    part: CohortPart,
    folder: Path,
    *,
    data: Any = None,
    text: frozenset[str] = frozenset(),
    tables: Mapping[str, Any] | None = None,
) -> Cohort:
    """The cohort of a study from its table or store of events, or from `data` (a frame or a path). Raises DataError.

    `text` names the columns of a CSV that must stay as they are written (categories, labels).
    """
    series = part.panel.series if part.panel else None
    ids = frozenset(name for name in (part.row, part.patient, part.person, part.site, series) if name)
    made: event_cohort.Made | None = None
    stores: dict[str, Path] = {}
    text = text | ids | criteria.text_columns(part) | {key for one in part.join.values() for key in one.keys}
    table: Table
    if part.events is not None and (data is None or event_cohort.is_folder_of_store(data)):
        stores = {part.events.name: folder / part.events.store if data is None else Path(data)}
        made = event_cohort.from_store(part, stores[part.events.name], folder, own=data is None, answered=True)
        table, files = made.frame, folder
    elif data is None and part.query is not None:
        table, files = as_frame(read_query(part.query, str(part.connection), folder)), folder
    elif data is None or isinstance(data, (str, Path)):
        if data is None and part.table is None:
            raise DataError("the study names no cohort.table; give one, or pass a frame as data")
        path = Path(data) if data is not None else folder / str(part.table)
        table, files = open_table(path, text), path.parent
    else:
        table, files = as_frame(data), folder
    named = {name: as_frame(given) for name, given in (tables or {}).items() if not isinstance(given, (str, Path))}
    if part.panel is not None:
        table = panel.with_panel(part, in_memory(table))
    if part.history is not None:
        earlier = history.read_earlier(part, folder, tables or {}, text, data is None)
        table = history.with_history(part, in_memory(table), earlier, data is None)
    if part.join:
        others = joins.read_tables(part, folder, tables or {}, text, data is None)
        table = joins.joined(part, in_memory(table), others, data is None)
    held, flow = criteria.flow(part, table)
    numbers = pl.int_range(1, len(table) + 1, eager=True).filter(held)
    kept = table if held.all() else table.filter(held)
    cohort = replace(make_cohort(part, kept, folder, named, numbers), files=files, flow=flow)
    return cohort if made is None else replace(cohort, flow=(*made.flow, *flow[1:]), stores=stores, codes=made.codes)


def make_cohort(
    part: CohortPart,
    frame: Table,
    folder: Path,
    tables: Mapping[str, pl.DataFrame],
    numbers: pl.Series | int = 1,
) -> Cohort:
    """The cohort of a frame: ids checked, times read. `numbers` are those of its rows in the table, or of the first

    one, for rows that have no id.
    """
    _columns_exist(part, frame, joins.lacking(part, folder, tables))
    if isinstance(numbers, int):
        numbers = pl.int_range(numbers, numbers + len(frame), eager=True)
    row = _row_ids(part, frame, numbers)
    record_id = _whose(part.patient, "patient", frame, row) if part.patient else row
    patient_id = _whose(part.person, "person", frame, row) if part.person else record_id
    at, kind = read_times(frame[part.at], f"cohort.at {part.at!r}", row) if part.at else (None, None)
    if at is not None and np.isnan(at).any():
        missing = row.gather(np.flatnonzero(np.isnan(at))).to_list()
        raise DataError(
            f"cohort.at: {counted(len(missing), 'row has', 'rows have')} no index time in {part.at!r} (rows {some(missing)})"
        )
    if kind == "date" and part.time_unit is not None:
        raise DataError(f"cohort.time_unit: {part.at!r} holds dates, which need no unit; take time_unit out")
    return Cohort(
        frame=frame,
        row=row,
        patient_id=patient_id,
        patient=patient_id.rank("dense").to_numpy().astype(np.int64) - 1,
        at=at,
        at_kind=kind,
        site=canonical(frame[part.site]) if part.site else None,
        folder=folder,
        files=folder,
        tables=tables,
        answered=_answered(part, frame, row, kind),
        record_id=record_id if part.person else None,
    )


def _whose(column: str, key: str, frame: Table, row: pl.Series) -> pl.Series:
    """The patient, or the person, of each row. Raises DataError for rows without."""
    found = canonical(frame[column])
    if found.null_count():
        missing = row.gather(found.is_null().arg_true()).to_list()
        raise DataError(
            f"cohort.{key}: {counted(len(missing), 'row has', 'rows have')} no {key} in {column!r} (rows {some(missing)})"
        )
    return found


def _answered(part: CohortPart, frame: Table, row: pl.Series, kind: Kind | None) -> Float[np.ndarray, " rows"] | None:
    if part.answered is None:
        return None
    times, found = read_times(frame[part.answered], f"cohort.answered {part.answered!r}", row)
    if found != kind and not np.isnan(times).all():
        raise DataError(f"cohort.answered: holds {found}s, and the index time {kind}s; expected one kind")
    return times


def _columns_exist(part: CohortPart, frame: Table, lacking: str) -> None:
    wanted = {key: getattr(part, key) for key in ("row", "patient", "person", "at", "site", "answered")}
    missing = {key: name for key, name in wanted.items() if name is not None and name not in frame.columns}
    if missing:
        raise DataError(
            "\n".join(
                f"cohort.{key}: no column {name!r} in the table; {lacking or near(name, frame.columns)}"
                for key, name in missing.items()
            )
        )


def _row_ids(part: CohortPart, frame: Table, numbers: pl.Series) -> pl.Series:
    if part.row is None:
        return numbers.cast(pl.String).alias("row")
    row = canonical(frame[part.row])
    if row.null_count():
        lines = (numbers.filter(row.is_null()) + 1).to_list()
        raise DataError(
            f"cohort.row: {counted(len(lines), 'row has', 'rows have')} no id in {part.row!r} (lines {some(lines)})"
        )
    repeated = row.filter(row.is_duplicated()).unique(maintain_order=True).to_list()
    if repeated:
        raise DataError(
            f"cohort.row: {len(repeated)} ids stand on several rows of {part.row!r} ({some(repeated)}); "
            "expected one row for each id. If this column names patients, give it as cohort.patient"
        )
    return row
