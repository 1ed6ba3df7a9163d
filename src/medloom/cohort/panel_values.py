"""The values of a long table of series, as they were known at any date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from medloom.cohort.files import canonical
from medloom.cohort.times import Kind, read_times
from medloom.errors import DataError, clause, counted, some
from medloom.find import near
from medloom.panel_part import PanelPart

DAY = 86_400.0
LONGEST_STEP, SHORTEST_STEP = 1.5, 0.5
"""Of steps that the table lists: how much longer and shorter than the usual one a step may be."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a long table, read and checked: series as codes, times as places on the grid of steps.

    `grid` holds the times of the first places; those behind them follow one another by `step`. Both are in the unit of
    `kind` (seconds for dates). A grid of equal steps needs no more than the time of its first place.
    """

    names: tuple[str, ...]
    series: Int[np.ndarray, " lines"]
    place: Int[np.ndarray, " lines"]
    known: Float[np.ndarray, " lines"]
    frame: pl.DataFrame
    grid: Float[np.ndarray, " places"]
    step: float
    kind: Kind

    def time(self, place: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """The times of places, also before and behind the grid."""
        inside = np.clip(place, 0, len(self.grid) - 1)
        return self.grid[inside] + (np.asarray(place) - inside) * self.step

    def first_from(self, time: float) -> int:
        """The first place from 0 on whose time is not before this one."""
        least, last = 1e-9, len(self.grid) - 1
        found = int(np.searchsorted(self.grid, time - least * self.step, side="left"))
        return found if found <= last else last + int(np.ceil((time - self.grid[-1]) / self.step - least))

    def last_until(self, time: float) -> int:
        """The last place whose time is not after this one; -1 where none is."""
        least, last = 1e-9, len(self.grid) - 1
        found = int(np.searchsorted(self.grid, time + least * self.step, side="right")) - 1
        return found if found < last else last + int(np.floor((time - self.grid[-1]) / self.step + least))

    def numbers(self, name: str) -> Float[np.ndarray, " lines"]:
        """A column as numbers, NaN where empty. Raises DataError for text and for infinities."""
        column = self.frame[name]
        text = canonical(column.cast(pl.Int8)) if column.dtype == pl.Boolean else canonical(column)
        found = text.cast(pl.Float64, strict=False)
        wrong = (found.is_null() & text.is_not_null()) | found.is_infinite().fill_null(False)
        if wrong.any():
            lines = (wrong.arg_true() + 2).to_list()
            raise DataError(
                f"cohort.panel: column {name!r} has {counted(len(lines), 'value')} that are no finite numbers (lines {some(lines)}); "
                "leave them empty where they are not known"
            )
        return found.fill_null(float("nan")).fill_nan(float("nan")).to_numpy()


def read_lines(part: PanelPart, frame: pl.DataFrame) -> Lines:
    """The lines of a table. Raises DataError for missing columns, times off the grid and lines that stand twice."""
    wanted = (part.series, part.time, part.value, part.as_of, part.per)
    for name in (*wanted, *part.static, *part.covariates, *part.known_ahead):
        if name is not None and name not in frame.columns:
            raise DataError(f"cohort.panel: no column {name!r} in the table; {near(name, frame.columns)}")
    lines = pl.int_range(2, len(frame) + 2, eager=True).cast(pl.String)
    text = canonical(frame[part.series])
    time, kind = read_times(frame[part.time], f"cohort.panel.time {part.time!r}", lines)
    _refuse(text.is_null().to_numpy() | np.isnan(time), "have no series or no time", "give both, or leave the line out")
    if not len(time):
        raise DataError("cohort.panel: the table has no lines")
    known = time
    if part.as_of is not None:
        known, found = read_times(frame[part.as_of], f"cohort.panel.as_of {part.as_of!r}", lines)
        _refuse(np.isnan(known), f"have no {part.as_of!r}", "say when each line was published")
        if found != kind:
            raise DataError(f"cohort.panel.as_of holds {found}s and time {kind}s; expected one kind")
    names = text.unique().sort().to_list()
    series = text.rank("dense").to_numpy().astype(np.int64) - 1
    place, grid, step = _listed(time, series, kind) if part.step == "listed" else _even(time, kind, float(part.step))
    order = np.lexsort((known, place, series))
    same = (np.diff(series[order]) == 0) & (np.diff(place[order]) == 0)
    if part.as_of is not None:
        same &= np.diff(known[order]) == 0
    twice = np.zeros(len(time), bool)
    twice[order[1:][same]] = True
    _refuse(twice, "repeat a series and time" + (" of the same as_of" if part.as_of else ""), "keep one of each")
    held = Lines(tuple(names), series, place, known, frame, grid, step, kind)
    return _timely(held) if part.timely_before_vintages else held


def _even(
    time: Float[np.ndarray, " lines"], kind: Kind, given: float
) -> tuple[Int[np.ndarray, " lines"], Float[np.ndarray, " places"], float]:
    """Places on a grid of equal steps, the time of its first place, and the step."""
    step = given * (DAY if kind == "date" else 1.0)
    place = np.round((time - time.min()) / step).astype(np.int64)
    _refuse(
        np.abs(time - time.min() - place * step) > 1e-6 * step,
        f"have a time that is not a whole number of steps ({given:g}) after the first one",
        'set step, or step = "listed" where the times of the table are themselves the steps, such as months, or weeks of which '
        "the last of a year is longer",
    )
    return place, time.min(keepdims=True), step


def _listed(
    time: Float[np.ndarray, " lines"], series: Int[np.ndarray, " lines"], kind: Kind
) -> tuple[Int[np.ndarray, " lines"], Float[np.ndarray, " places"], float]:
    """The same where each time of the table is a step after the one before; the step is the usual one of a series."""
    grid, place = np.unique(time, return_inverse=True)
    order = np.lexsort((time, series))
    own = np.diff(time[order])[(np.diff(series[order]) == 0) & (np.diff(time[order]) > 0)]
    if not len(own):
        raise DataError('cohort.panel: no series has two times; step = "listed" needs several')
    gap, step = np.diff(grid), float(np.median(own))
    unit, one = ("days", DAY) if kind == "date" else ("steps of the time", 1.0)
    for odd, why, remedy in (
        (gap < SHORTEST_STEP * step, "follows already after", "all series need the same times"),
        (gap > LONGEST_STEP * step, "follows only after", "add the lines between, with an empty value"),
    ):
        if odd.any():
            at = int(odd.argmax())
            line = int((place == at + 1).argmax()) + 2
            raise DataError(
                f'cohort.panel: step = "listed": the time of line {line} {why} {gap[at] / one:g} {unit}, where {step / one:g} are '
                f"usual ({counted(int(odd.sum()), 'such step')}); {remedy}"
            )
    return place.astype(np.int64), grid, step


def _timely(lines: Lines) -> Lines:
    """The first versions of values older than the first vintage count as known at their own time."""
    time = lines.time(lines.place)
    first = lines.known == lines.known.min()
    known = np.where(first & (time < lines.known), time, lines.known)
    return replace(lines, known=known)


def _refuse(wrong: Bool[np.ndarray, " lines"], what: str, remedy: str) -> None:
    if wrong.any():
        lines = (np.flatnonzero(wrong) + 2).tolist()
        raise DataError(f"cohort.panel: {clause(len(lines), 'line', what)} (lines {some(lines)}); {remedy}")


@dataclass(frozen=True, slots=True)
class Known:
    """One column of all lines, so that what was known of any series and place at any date is one look-up.

    `key` rises: it joins the cell (series and place) with the order of the dates of publication.
    """

    key: Int[np.ndarray, " versions"]
    value: Float[np.ndarray, " versions"]
    when: Float[np.ndarray, " versions"]
    dates: Float[np.ndarray, " dates"]
    places: int

    @classmethod
    def of(cls, lines: Lines, value: Float[np.ndarray, " lines"]) -> Known:
        """Versions that repeat the one before are left out, so that `when` is the date of the last change."""
        places = int(lines.place.max()) + 1
        cell = lines.series * places + lines.place
        order = np.lexsort((lines.known, cell))
        cell, number, when = cell[order], value[order], lines.known[order]
        same = (np.diff(cell) == 0) & ((np.diff(number) == 0) | (np.isnan(number[1:]) & np.isnan(number[:-1])))
        kept = np.concatenate([[True], ~same])
        dates = np.unique(when)
        key = cell[kept] * (len(dates) + 1) + np.searchsorted(dates, when[kept])
        return cls(key, number[kept], when[kept], dates, places)

    def before(
        self, series: Int[np.ndarray, " rows"], place: Int[np.ndarray, "rows some"], date: Float[np.ndarray, " rows"]
    ) -> tuple[Float[np.ndarray, "rows some"], Float[np.ndarray, "rows some"]]:
        """The values as they stood before each row's date, and the dates of those versions; NaN where none did."""
        return self._found(series, place, np.searchsorted(self.dates, date, side="left"))

    def newest(
        self, series: Int[np.ndarray, " rows"], place: Int[np.ndarray, "rows some"]
    ) -> tuple[Float[np.ndarray, "rows some"], Float[np.ndarray, "rows some"]]:
        """The values as they stand in the last version, and the dates of those."""
        return self._found(series, place, np.full(len(series), len(self.dates)))

    def _found(
        self, series: np.ndarray, place: np.ndarray, rank: np.ndarray
    ) -> tuple[Float[np.ndarray, "rows some"], Float[np.ndarray, "rows some"]]:
        inside = (place >= 0) & (place < self.places)
        cell = series[:, None] * self.places + np.clip(place, 0, self.places - 1)
        width = len(self.dates) + 1
        at = np.searchsorted(self.key, cell * width + rank[:, None], side="left") - 1
        found = inside & (at >= 0) & (self.key[np.maximum(at, 0)] // width == cell)
        at = np.maximum(at, 0)
        value = np.where(found, self.value[at], np.nan)
        return value, np.where(found & ~np.isnan(value), self.when[at], np.nan)


def scaled(value: Float[np.ndarray, "..."], transform: str) -> Float[np.ndarray, "..."]:
    """Values on the scale of a transform; NaN stays."""
    match transform:
        case "log1p":
            return np.log1p(value)
        case "sqrt":
            return np.sqrt(value)
        case "fourth_root":
            return np.sqrt(np.sqrt(value))
    return value


def unscaled(value: Float[np.ndarray, "..."], transform: str) -> Float[np.ndarray, "..."]:
    """The inverse of `scaled`; what lies below the least value is that value, 0."""
    if transform == "none":
        return value
    value = np.maximum(value, 0.0)
    match transform:
        case "log1p":
            return np.expm1(np.minimum(value, 700.0))
        case "sqrt":
            return value**2
    return value**4


def rows_mean(values: Float[np.ndarray, "rows some"]) -> Float[np.ndarray, " rows"]:
    """The mean of what is known in each row; NaN where nothing is."""
    count = (~np.isnan(values)).sum(axis=1)
    return np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)


def means_by(code: Int[np.ndarray, " rows"], columns: Sequence[np.ndarray]) -> list[Float[np.ndarray, " rows"]]:
    """Each column's mean over the rows of the same code, given back to each of them."""
    found = []
    for column in columns:
        known = ~np.isnan(column)
        total = np.bincount(code, np.where(known, column, 0.0))
        count = np.bincount(code, known)
        found.append(np.where(count > 0, total / np.maximum(count, 1), np.nan)[code])
    return found
