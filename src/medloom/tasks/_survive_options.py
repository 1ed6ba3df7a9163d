"""Options of survival, and its two columns read: how long each row was followed, and what ended that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field as Key
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from medloom.errors import DataError, counted, some
from medloom.parts import TargetPart

if TYPE_CHECKING:
    from medloom.cohort.table import Cohort

HAPPENED = ("1", "true", "yes")
CENSORED = ("0", "false", "no")


class SurviveOptions(TargetPart):
    """Options of `task = "survive"`."""

    task: Literal["survive"] = "survive"
    time: str = Key(description="column with how long each row was followed, from its index time; empty where unknown")
    event: str = Key(description="column that says whether that time ended with the event (1) or is censored (0)")
    event_values: tuple[str | float, ...] = Key(
        (), description="values of event that mean it happened; left out: 1, true and yes"
    )
    censored_values: tuple[str | float, ...] = Key(
        (),
        description="values of event that mean censored; left out: 0, false and no. Naming a competing event here takes those rows as if they could still have the event",
    )
    competing_values: tuple[str | float, ...] = Key(
        (),
        description="values of event that mean another event came first, after which this one cannot come (death of another cause); risks are then cumulative incidences. Several are taken together",
    )
    missing: tuple[str | float, ...] = Key((), description="values of either column that mean unknown")
    horizons: tuple[Annotated[float, Key(gt=0)], ...] = Key(
        (),
        description="times, rising, by which the risk is told, in the unit of time; left out: the quartiles of the event times of the training rows",
    )
    unit: str | None = Key(
        None,
        min_length=1,
        description='what time counts, as reports say it after a number: "days", "years"; left out: the name of its column',
    )
    bins: int = Key(
        30, ge=2, le=500, description="intervals of time, at most; each has about as many events of training rows"
    )
    hazards: Literal["free", "proportional"] = Key(
        "free",
        description="free: what the inputs say may differ between intervals of time; proportional: it multiplies the hazard by the same at all times, as in Cox's model, which needs fewer events",
    )
    calibration: Literal["temperature", "none"] = Key(
        "temperature", description="temperature scaling of the hazards on calibration rows"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.horizons) != sorted(set(self.horizons)):
            raise PydanticCustomError("part", "horizons needs rising times, all different")
        words = [{_word(v) for v in part} for part in (self.event_values, self.censored_values, self.competing_values)]
        if sum(map(len, words)) != len(set().union(*words)) or self.time == self.event:
            raise PydanticCustomError(
                "part", "time and event, event_values, censored_values and competing_values must differ"
            )
        return self


def events(options: SurviveOptions, cohort: Cohort) -> np.ndarray:
    """1 where the event happened, 2 where a competing one did, 0 where the row is censored, NaN where none is known."""
    from medloom.tasks._numbers import known

    text = known(cohort, options.event, options.missing).str.to_lowercase()
    happened = [_word(value) for value in options.event_values]
    censored = [_word(value) for value in options.censored_values]
    competing = [_word(value) for value in options.competing_values]
    happened = happened or [word for word in HAPPENED if word not in (*censored, *competing)]
    censored = censored or [word for word in CENSORED if word not in (*happened, *competing)]
    other = text.filter(~text.is_in([*happened, *censored, *competing]) & text.is_not_null())
    if len(other):
        codes = other.unique().sort().to_list()
        raise DataError(
            f"column {options.event!r}: {counted(len(other), 'row holds', 'rows hold')} codes that mean neither the event nor censored "
            f"({some(codes)}); name them in event_values, competing_values or censored_values, or leave time and "
            "event empty there"
        )
    result = np.full(len(cohort), np.nan)
    for code, words in ((1.0, happened), (0.0, censored), (2.0, competing)):
        result[text.is_in(words).fill_null(False).to_numpy()] = code
    return result


def chosen_horizons(options: SurviveOptions, ended: np.ndarray, followed: float) -> tuple[float, ...]:
    """The asked horizons, or quartiles of the rising event times; each at most the longest follow-up."""
    if options.horizons:
        late = [horizon for horizon in options.horizons if horizon > followed]
        if late:
            raise DataError(
                f"horizons: {', '.join(map(horizon_name, late))} lies beyond the longest follow-up of the training rows; "
                f"expected at most {horizon_name(followed)} in column {options.time!r}"
            )
        return options.horizons
    quartiles = np.unique(np.quantile(ended, [0.25, 0.5, 0.75], method="inverted_cdf"))
    quartiles = quartiles[quartiles > 0]
    return tuple((quartiles if len(quartiles) else ended[-1:]).tolist())


def horizon_name(horizon: float) -> str:
    """A time as it stands in names of columns and figures."""
    return f"{horizon:.12g}"


def _word(value: str | float) -> str:
    return (f"{value:g}" if isinstance(value, float) else str(value)).lower()
