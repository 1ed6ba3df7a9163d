"""Options of a forecast."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field as Key
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from medloom.parts import TargetPart

Level = Annotated[float, Key(gt=0, lt=1)]


class ForecastOptions(TargetPart):
    """Options of `task = "forecast"`."""

    task: Literal["forecast"] = "forecast"
    horizons: int = Key(4, ge=1, le=200, description="how many next values; as in cohort.panel")
    ahead: str = Key("ahead_", description="the columns with the values are this and the number of the horizon, from 1")
    last: str = Key("last", description="column with the newest known value: forecasts are made as changes from it")
    season: str | None = Key(
        None,
        description='columns with the values one season before are this and the number of the horizon ("last_season_" of a panel with season): for the seasonal baseline',
    )
    day_of_year: str | None = Key(
        None,
        description='column with the day of the year ("day_of_year" of a panel): for the baseline of the usual season',
    )
    series: str | None = Key(None, description="column with the series: the usual season is then that of each series")
    per: str | None = Key(
        None, description="column with the size of the population: changes are then of rates per 100,000"
    )
    transform: Literal["none", "log1p", "sqrt", "fourth_root"] = Key(
        "log1p", description="scale on which changes are learnt; all but none are for values of 0 and above"
    )
    quantiles: tuple[Level, ...] = Key(
        (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975),
        min_length=3,
        max_length=99,
        description="quantiles to forecast, rising, lying evenly about the median 0.5",
    )
    widths: Literal["scaled", "conformal", "learnt"] = Key(
        "scaled",
        description="how calibration rows, or rehearsals, widen or narrow intervals: scaled: by one factor at each horizon, with "
        "the least score; conformal: each interval by its own margin; learnt: not at all",
    )
    emphasis: float = Key(
        0.0,
        ge=0,
        le=1,
        description="0: every row counts alike in the loss; above: as the last value to this power, as the score in the unit of the value does with 1",
    )
    unit: str | None = Key(
        None,
        min_length=1,
        description='what the values are, as axes of reports call them: "admissions", "cases a week"',
    )
    name_series: bool = Key(
        False, description="the series are places or the like, whose names may stand in the report and the bundle"
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns with the answers."""
        return tuple(f"{self.ahead}{h}" for h in range(1, self.horizons + 1))

    @property
    def seasons(self) -> tuple[str, ...]:
        """The columns with the values one season before; none where the option is left out."""
        return () if self.season is None else tuple(f"{self.season}{h}" for h in range(1, self.horizons + 1))

    @model_validator(mode="after")
    def _even(self) -> Self:
        levels = list(self.quantiles)
        even = all(abs(a + b - 1) < 1e-9 for a, b in zip(levels, reversed(levels), strict=True))
        if levels != sorted(set(levels)) or len(levels) % 2 == 0 or not even:
            raise PydanticCustomError(
                "part", "quantiles must rise and lie evenly about 0.5, such as [0.025, 0.25, 0.5, 0.75, 0.975]"
            )
        if self.name_series and self.series is None:
            raise PydanticCustomError("part", "name_series goes with series, the column that names them")
        return self
