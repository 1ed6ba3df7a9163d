"""The section `cohort.panel` of a study file: rows of a forecast made of a long table of series."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom.errors import Noun
from medloom.strict import Strict


class PanelPart(Strict):
    """Rows for forecasting, made of a long table of one or more series: one row a series and forecast date.

    A row sees what was known before its forecast date. A table of this section has one line a series and time (and,
    with as_of, one more whenever a value was revised).
    """

    series: str = Field(description="column with the series that a line belongs to: a place, a ward, a patient")
    time: str = Field(description="column with the time of the value: a date, or a number")
    value: str = Field(description="column with the value; empty where it is not known, or not yet")
    as_of: str | None = Field(
        None,
        description="column with the date on which the line was published; rows see only what was published before",
    )
    timely_before_vintages: bool = Field(
        False,
        description="declares that values older than the first as_of were known in time, as that first version has them",
    )
    step: Annotated[float, Field(gt=0)] | Literal["listed"] = Field(
        7.0,
        description="time between values: days where time is a date, else in its unit; listed: the times of the table are the steps, "
        "one after the other, for months and for weeks of which the last of a year is longer",
    )
    horizons: int = Field(
        4, ge=1, le=200, description="values to forecast: ahead_1 is that of the forecast date itself, the first unseen"
    )
    start: str | None = Field(None, description="first forecast date (YYYY-MM-DD, or a number)")
    end: str | None = Field(None, description="last forecast date")
    lags: int = Field(8, ge=2, le=1000, description="newest values that a row sees, as changes from the last one")
    means: tuple[Annotated[int, Field(ge=2, le=1000)], ...] = Field(
        (4,), description="windows, in values, whose mean a row sees, relative to the last value"
    )
    season: int | None = Field(
        None,
        ge=2,
        le=1000,
        description="values in a season, such as 52 weeks: rows see the same time one season before",
    )
    calendar: bool = Field(True, description="sine and cosine of the day of the year, where time is a date")
    across: bool = Field(False, description="level and changes of all series together, as known at the same date")
    transform: Literal["none", "log1p", "sqrt", "fourth_root"] = Field(
        "log1p", description="scale on which columns of the value are made; all but none are for values of 0 and above"
    )
    per: str | None = Field(
        None, description="column with the size of the series' population: the scale is then that of rates per 100,000"
    )
    static: tuple[str, ...] = Field((), description="columns that say something lasting of the series")
    covariates: tuple[str, ...] = Field((), description="columns of numbers that are seen as known before the date")
    covariate_lags: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (1, 2, 4), description="which of their values are seen, counted back from the forecast date"
    )
    covariate_means: tuple[Annotated[int, Field(ge=2, le=1000)], ...] = Field(
        (), description="windows, in values, whose mean is seen"
    )
    known_ahead: tuple[str, ...] = Field(
        (), description="columns of numbers known ahead (weather forecasts, holidays), seen at every horizon"
    )
    cluster: int = Field(
        1,
        ge=1,
        le=1000,
        description="forecast dates, one after the other, that stay together when rows are split and resampled",
    )

    @property
    def together(self) -> str:
        """What stays together where rows are split and resampled, as reports call it in place of patients."""
        return "forecast dates" if self.cluster == 1 else f"periods of {self.cluster} forecast dates"

    @property
    def unit(self) -> Noun:
        """What one of those, and several, are called in short."""
        return Noun("forecast date", "forecast dates") if self.cluster == 1 else Noun("period", "periods")

    @property
    def answers(self) -> tuple[str, ...]:
        """Names of the columns with the values to forecast."""
        return tuple(f"ahead_{h}" for h in range(1, self.horizons + 1))

    @property
    def aside(self) -> tuple[str, ...]:
        """Columns that are made for tasks and proofs and never read as input."""
        seasons = tuple(f"last_season_{h}" for h in range(1, self.horizons + 1)) if self.season else ()
        kept = (self.series, *([self.per] if self.per and self.per not in self.static else []))
        return (*self.answers, "last", *seasons, "newest", "answered", "day_of_year", *kept)

    def clash(self, cohort: Any) -> str | None:
        """What else of the section `cohort` does not go with a panel, in words; None where all does."""
        if cohort.history is not None or cohort.join or cohort.events is not None:
            return "panel makes all columns from its long table: take join, history and events out"
        if cohort.independent_rows or cohort.row is None or cohort.at is None:
            return "panel makes row, patient and at: give them names, or leave them out"
        return None if cohort.answered == "answered" else "panel makes the column answered: leave the key out"

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        named = (self.series, self.time, self.value, self.as_of, *self.static, *self.covariates, *self.known_ahead)
        twice = sorted({one for one in named if one is not None and named.count(one) > 1})
        if twice and twice != [self.series]:
            raise PydanticCustomError("panel", "{why}", {"why": f"column {twice[0]!r} stands in two places"})
        if self.timely_before_vintages and self.as_of is None:
            raise PydanticCustomError("panel", "timely_before_vintages goes with as_of")
        return self
