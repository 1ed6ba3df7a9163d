"""What a forecast reads of the rows: the values to come, the last one, and what its simple models need."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from medloom.cohort.panel_values import scaled
from medloom.cohort.table import Cohort, canonical
from medloom.errors import DataError
from medloom.tasks._forecast_options import ForecastOptions
from medloom.tasks._numbers import numbers, refuse

PER = 100_000.0
LEAST = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """One row a row; of the horizons NaN where a value is not known. `base` is on the scale of the transform."""

    base: Float[np.ndarray, " rows"]
    per: Float[np.ndarray, " rows"]
    day: Float[np.ndarray, " rows"]
    series: Float[np.ndarray, " rows"]
    time: Float[np.ndarray, " rows"]
    truth: Float[np.ndarray, "rows horizons"]
    season: Float[np.ndarray, "rows horizons"]

    def packed(self) -> Float[np.ndarray, "rows numbers"]:
        """All side by side, as marks hold it."""
        single = np.stack([self.base, self.per, self.day, self.series, self.time], axis=1)
        return np.concatenate([single, self.truth, self.season], axis=1)

    @classmethod
    def unpacked(cls, values: Float[np.ndarray, "rows numbers"]) -> Reading:
        """The inverse of `packed`."""
        horizons = (values.shape[1] - LEAST) // 2
        base, per, day, series, time = values[:, :LEAST].T
        truth, season = values[:, LEAST : LEAST + horizons], values[:, LEAST + horizons :]
        return cls(base, per, day, series, time, truth, season)

    def change(self, values: Float[np.ndarray, "rows horizons"], transform: str) -> Float[np.ndarray, "rows horizons"]:
        """Values of the horizons as changes from the base."""
        return scaled(values / self.per[:, None], transform) - self.base[:, None]


def base(options: ForecastOptions, cohort: Cohort) -> Float[np.ndarray, "rows 2"]:
    """The last value on the scale of the transform, and the population in 100,000 (1 where rates are not asked for)."""
    last = numbers(cohort, options.last, ())
    _not_negative(options, cohort, options.last, last)
    if options.per is None:
        per = np.ones(len(last))
    else:
        per = numbers(cohort, options.per, ()) / PER
        refuse(cohort, options.per, ~(per > 0), "are not above 0", "give the size of the population in every row")
    return np.stack([scaled(last / per, options.transform), per], axis=1)


def read(options: ForecastOptions, cohort: Cohort) -> tuple[Reading, tuple[str, ...]]:
    """Everything of all rows, and the names of the series. Raises DataError."""
    if options.last in options.columns:
        raise DataError(f"last = {options.last!r} is one of the answers")
    level = base(options, cohort)
    truth = np.stack([numbers(cohort, name, ()) for name in options.columns], axis=1)
    for name, column in zip(options.columns, truth.T, strict=True):
        _not_negative(options, cohort, name, column)
    season = np.full(truth.shape, np.nan)
    if options.seasons:
        season = np.stack([numbers(cohort, name, ()) for name in options.seasons], axis=1)
    nothing = np.full(len(cohort), np.nan)
    day = nothing if options.day_of_year is None else numbers(cohort, options.day_of_year, ())
    names: tuple[str, ...] = ()
    series = np.zeros(len(cohort))
    if options.series is not None:
        text = canonical(cohort.column(options.series, "series"))
        names = tuple(text.unique().drop_nulls().sort().to_list())
        codes = {name: series_code(name) for name in names}
        series = np.array([codes.get(name, -1.0) for name in text.to_list()])
    time = nothing if cohort.at is None else cohort.at
    truth = np.where(np.isnan(level[:, :1]), np.nan, truth)
    return Reading(level[:, 0], level[:, 1], day, series, time, truth, season), names


def series_code(name: str) -> float:
    """A number for a name that is the same in every table, and exact in float64."""
    return float(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big"))


def _not_negative(options: ForecastOptions, cohort: Cohort, name: str, values: np.ndarray) -> None:
    if options.transform != "none":
        refuse(cohort, name, values < 0, "are negative", 'mend them, or give transform = "none"')
