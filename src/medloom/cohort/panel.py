"""Rows of a forecast, made of a long table of series: one row a series and forecast date.

A row of the forecast date D sees values of times before D, in the version that was published before D. The first value
to forecast is that of D itself. All columns are made at once, by looking up arrays of (row, lag) among the versions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from medloom.cohort.files import canonical
from medloom.cohort.panel_values import Known, Lines, means_by, read_lines, rows_mean, scaled
from medloom.cohort.times import read_times
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, counted, some
from medloom.panel_part import PanelPart

YEAR_DAYS = 365.2425
PER = 100_000.0
"""Rates are told for so many."""
Columns = dict[str, np.ndarray | pl.Series]


@dataclass(frozen=True, slots=True)
class ForecastDates:
    """The rows: series, place of the forecast date on the grid, and its time."""

    series: Int[np.ndarray, " rows"]
    place: Int[np.ndarray, " rows"]
    date: Float[np.ndarray, " rows"]

    def take(self, kept: np.ndarray) -> ForecastDates:
        """Some of the rows."""
        return ForecastDates(self.series[kept], self.place[kept], self.date[kept])


def with_panel(part: CohortPart, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that the study's panel makes of a long table; the frame itself where there is no panel.

    Rows that were made before (without the long table's value column) are left as they are. Raises DataError.
    """
    panel = part.panel
    if panel is None or (panel.value not in frame.columns and "last" in frame.columns):
        return frame
    lines = read_lines(panel, frame)
    values = lines.numbers(panel.value)
    if panel.transform != "none" and (values < 0).any():
        wrong = (np.flatnonzero(values < 0) + 2).tolist()
        raise DataError(
            f"cohort.panel: column {panel.value!r}: {counted(len(wrong), 'value is', 'values are')} negative (lines {some(wrong)}); transform = "
            f'"{panel.transform}" is for values of 0 and above: mend them, or give transform = "none"'
        )
    lasting = _lasting(panel, lines)
    known = Known.of(lines, values)
    asked = _asked(panel, lines, values)
    seen, when = known.before(asked.series, asked.place[:, None] - np.arange(1, panel.lags + 1), asked.date)
    kept = ~np.isnan(seen).all(axis=1)
    asked, seen, when = asked.take(kept), seen[kept], when[kept]
    if not len(asked.series):
        raise DataError("cohort.panel: no forecast date has a known value before it; see start, end, lags and as_of")
    per = lasting[panel.per].to_numpy()[asked.series] / PER if panel.per else np.ones(len(asked.series))
    past = _Past(panel, lines, known, asked, per, seen, when)
    made: Columns = {**_names(part, panel, lines, asked), **past.columns(), **_calendar(panel, lines, asked)}
    more, newest = _covariates(panel, lines, asked)
    lasts: Columns = {name: of.gather(asked.series) for name, of in lasting.items() if name != panel.series}
    made = _beside(_beside(made, lasts), more)
    newest = np.fmax(newest, past.newest())
    made["newest"] = _moments(lines, newest)
    answers, answered = _answers(panel, lines, known, asked)
    return pl.DataFrame({**made, **answers, "answered": _moments(lines, answered)}).with_columns(
        pl.col(pl.Float64).fill_nan(None)
    )


def _asked(panel: PanelPart, lines: Lines, values: Float[np.ndarray, " lines"]) -> ForecastDates:
    """All forecast dates of all series: from `lags` steps after its first value to the step after its last one."""
    held = ~np.isnan(values)
    count = len(lines.names)
    first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(first, lines.series[held], lines.place[held])
    np.maximum.at(last, lines.series[held], lines.place[held])
    short = [lines.names[i] for i in np.flatnonzero((last < 0) | (last - first + 1 < panel.lags))]
    if short:
        raise DataError(
            f"cohort.panel: {counted(len(short), 'series is', 'series are')} shorter than lags = {panel.lags}; leave them out, or ask for fewer lags"
        )
    first, stop = first + panel.lags, last + 1
    begin, end = (_bound(lines, panel, name) for name in ("start", "end"))
    if begin is not None:
        first = np.maximum(first, lines.first_from(begin))
    if end is not None:
        stop = np.minimum(stop, lines.last_until(end))
    each = np.maximum(stop - first + 1, 0)
    series = np.repeat(np.arange(count), each)
    place = first[series] + np.arange(len(series)) - np.repeat(np.cumsum(each) - each, each)
    return ForecastDates(series, place, lines.time(place))


def _bound(lines: Lines, panel: PanelPart, name: str) -> float | None:
    text = getattr(panel, name)
    if text is None:
        return None
    found, kind = read_times(pl.Series([text]), f"cohort.panel.{name}", pl.Series(["1"]))
    if kind != lines.kind:
        raise DataError(f"cohort.panel.{name} is a {kind}, and the times of the table are {lines.kind}s")
    return float(found[0])


def _lasting(panel: PanelPart, lines: Lines) -> dict[str, pl.Series]:
    """What does not change of each series, one entry a series. Raises DataError where it does."""
    found = {}
    for name in dict.fromkeys([*panel.static, *([panel.per] if panel.per else [])]):
        number = name == panel.per
        column = pl.Series(lines.numbers(name)).fill_nan(None) if number else lines.frame[name]
        table = pl.DataFrame({"series": lines.series, "value": column}).drop_nulls("value")
        each = table.group_by("series").agg(pl.col("value").first(), pl.col("value").n_unique().alias("count"))
        several = [lines.names[i] for i in each.filter(pl.col("count") > 1)["series"].sort()]
        if several:
            raise DataError(
                f"cohort.panel: {name!r} changes within {counted(len(several), 'series', 'series')}; give it as a covariate"
            )
        whole = pl.DataFrame({"series": np.arange(len(lines.names))}).join(each, on="series", how="left")
        found[name] = whole.sort("series")["value"].alias(name)
        if number and not (found[name] > 0).fill_null(False).all():
            raise DataError(f"cohort.panel.per: {name!r} must be a number above 0 for every series")
    return found


@dataclass(frozen=True, slots=True)
class _Past:
    """The columns that come from the values of the series itself."""

    panel: PanelPart
    lines: Lines
    known: Known
    asked: ForecastDates
    per: Float[np.ndarray, " rows"]
    seen: Float[np.ndarray, "rows lags"]
    when: Float[np.ndarray, "rows lags"]

    def _scaled(self, value: Float[np.ndarray, "rows some"]) -> Float[np.ndarray, "rows some"]:
        return scaled(value / self.per[:, None], self.panel.transform)

    def columns(self) -> Columns:
        """The last value and its scaled level; changes from earlier values to it; means, peak and season around it."""
        rows = np.arange(len(self.seen))
        age = (~np.isnan(self.seen)).argmax(axis=1)
        last = self.seen[rows, age]
        lagged = self._scaled(self.seen)
        level = lagged[rows, age]
        made: Columns = {"last": last, "level": level, "age": age.astype(np.float64)}
        made |= {f"change_{k + 1}": level - lagged[:, k] for k in range(1, self.panel.lags)}
        longest = max([*self.panel.means, self.panel.season or 0, self.panel.lags])
        wide = self._scaled(self._before(np.arange(1, longest + 1)))
        made |= {f"mean_{w}": rows_mean(wide[:, :w]) - level for w in self.panel.means}
        made["peak"] = np.fmax.reduce(wide, axis=1) - level
        if self.panel.season is not None:
            made |= self._season(level)
        if self.panel.across:
            made |= self._across(level)
        return made

    def _before(self, lags: Int[np.ndarray, " some"]) -> Float[np.ndarray, "rows some"]:
        return self.known.before(self.asked.series, self.asked.place[:, None] - lags, self.asked.date)[0]

    def _season(self, level: Float[np.ndarray, " rows"]) -> Columns:
        """One season before: the values at the horizons, raw for the baseline, and their change since the last one."""
        assert self.panel.season is not None
        ahead = np.arange(self.panel.horizons)
        raw = self._before(self.panel.season - ahead) if self.panel.season >= self.panel.horizons else None
        if raw is None:
            raise DataError("cohort.panel: season must be at least as long as horizons")
        then = self._scaled(raw)
        before = self._scaled(self._before(np.array([self.panel.season + 1])))[:, 0]
        made: Columns = {f"last_season_{h + 1}": raw[:, h] for h in ahead}
        made |= {f"season_change_{h + 1}": then[:, h] - before for h in ahead}
        return made | {f"season_level_{h + 1}": then[:, h] - level for h in ahead}

    def _across(self, level: Float[np.ndarray, " rows"]) -> Columns:
        """Mean level and mean change over all series of the same forecast date."""
        lagged = self._scaled(self.seen)
        code = self.asked.place - self.asked.place.min()
        changes = [lagged[:, 0] - lagged[:, k] for k in range(1, lagged.shape[1])]
        means = means_by(code, [level, *changes])
        made: Columns = {f"across_change_{k + 2}": mean for k, mean in enumerate(means[1:])}
        return {"across_level": means[0], **made, "above_across": level - means[0]}

    def newest(self) -> Float[np.ndarray, " rows"]:
        """The latest time, and date of publication, of anything of the value that is seen."""
        places = self.lines.time(self.asked.place[:, None] - np.arange(1, self.panel.lags + 1))
        return np.fmax.reduce(np.where(np.isnan(self.seen), np.nan, np.fmax(places, self.when)), axis=1)


def _covariates(panel: PanelPart, lines: Lines, asked: ForecastDates) -> tuple[Columns, Float[np.ndarray, " rows"]]:
    """Columns of what goes with the series: as known before the date, and ahead where that is declared known."""
    made: Columns = {}
    newest = np.full(len(asked.series), np.nan)
    longest = max([*panel.covariate_lags, *panel.covariate_means], default=1)
    lags = np.arange(1, longest + 1)
    for name in panel.covariates:
        held = Known.of(lines, lines.numbers(name))
        seen, when = held.before(asked.series, asked.place[:, None] - lags, asked.date)
        made |= {f"{name}_lag_{k}": seen[:, k - 1] for k in panel.covariate_lags}
        made |= {f"{name}_mean_{w}": rows_mean(seen[:, :w]) for w in panel.covariate_means}
        times = np.where(np.isnan(seen), np.nan, np.fmax(lines.time(asked.place[:, None] - lags), when))
        newest = np.fmax(newest, np.fmax.reduce(times, axis=1))
    ahead = np.arange(panel.horizons)
    for name in panel.known_ahead:
        held = Known.of(lines, lines.numbers(name))
        places = asked.place[:, None] + ahead
        seen = held.newest(asked.series, places)[0] if panel.as_of is None else held.before(asked.series, places, asked.date)[0]  # fmt: skip
        lacks = np.isnan(seen).any(axis=1)
        if lacks.any():
            ids = [_id(lines, asked, row) for row in np.flatnonzero(lacks)[:5]]
            raise DataError(
                f"cohort.panel.known_ahead: {name!r} is not known at all {panel.horizons} horizons of {counted(int(lacks.sum()), 'row')} "
                f"({some(ids)}); add its future values to the table, on lines with an empty {panel.value!r}, or set end"
            )
        made |= {f"{name}_ahead_{h + 1}": seen[:, h] for h in ahead}
    return made, newest


def _answers(
    panel: PanelPart, lines: Lines, known: Known, asked: ForecastDates
) -> tuple[Columns, Float[np.ndarray, " rows"]]:
    """The values at the horizons as they stand now, null where not yet observed; and when the last of them was known."""
    places = asked.place[:, None] + np.arange(panel.horizons)
    value, when = known.newest(asked.series, places)
    times = np.where(np.isnan(value), np.nan, np.fmax(lines.time(places), when))
    return dict(zip(panel.answers, value.T, strict=True)), np.fmax.reduce(times, axis=1)


def _names(part: CohortPart, panel: PanelPart, lines: Lines, asked: ForecastDates) -> Columns:
    """Row ids, clusters of forecast dates, forecast dates and series."""
    dates = _moments(lines, asked.date)
    names = pl.Series(lines.names).gather(asked.series)
    # Counted from a fixed day, so that other data have the same clusters; a single date stands for itself.
    step = np.floor(asked.date / lines.step + 1e-9)
    number = np.floor(step / panel.cluster) if panel.cluster > 1 or panel.step != "listed" else asked.date
    distinct, place = np.unique(number, return_inverse=True)
    return {
        str(part.row): _ids(names, dates),
        str(part.patient): pl.Series([f"dates {one:.12g}" for one in distinct]).gather(place),
        str(part.at): dates,
        panel.series: names,
    }


def _ids(names: pl.Series, dates: pl.Series) -> pl.Series:
    text = dates.dt.strftime("%Y-%m-%d") if dates.dtype.is_temporal() else canonical(dates)
    return names + " " + text


def _id(lines: Lines, asked: ForecastDates, row: int) -> str:
    one = asked.take(np.array([row]))
    return str(_ids(pl.Series([lines.names[int(one.series[0])]]), _moments(lines, one.date))[0])


def _moments(lines: Lines, times: Float[np.ndarray, " rows"]) -> pl.Series:
    """Times as the table has them: date-times, or numbers."""
    if lines.kind == "number":
        return pl.Series(times).fill_nan(None)
    micro = pl.Series(times).fill_nan(None) * 1e6
    return micro.cast(pl.Int64).cast(pl.Datetime("us"))


def _calendar(panel: PanelPart, lines: Lines, asked: ForecastDates) -> Columns:
    """The day of the year of the forecast date, from 0 to 1, and its first two waves."""
    if lines.kind == "number" or not panel.calendar:
        return {}
    days = _moments(lines, asked.date).dt.ordinal_day().to_numpy().astype(np.float64) - 1
    turn = 2 * np.pi * days / YEAR_DAYS
    waves = {
        f"year_{name}_{k}": wave(k * turn) for k in (1, 2) for name, wave in (("sine", np.sin), ("cosine", np.cos))
    }
    return {"day_of_year": days, **waves}


def _beside(made: Columns, more: Columns) -> Columns:
    twice = sorted({*made} & {*more} | {"newest", "answered"} & {*more})
    if twice:
        raise DataError(f"cohort.panel makes two columns {some(twice)}; rename the table's own")
    return {**made, **more}
