"""The `[cohort]` of a study file: the table of rows, what is joined to it, who is in, and when the index time is.

Nothing here imports torch or polars.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from medloom import expression
from medloom.errors import PATIENT, Noun
from medloom.event_parts import EventCohortPart
from medloom.panel_part import PanelPart
from medloom.strict import Name, Strict, readable


class CriterionPart(Strict):
    """Who is in the study, or out of it."""

    name: str = Field(min_length=1, max_length=200, description="what the criterion is called in the cohort flow")
    where: Annotated[str, readable(expression.condition)] = Field(
        description="condition on the row's columns: comparisons, in [..], is null, and, or, not, parentheses"
    )


class JoinPart(Strict):
    """Another table, whose columns become columns of the table of rows."""

    table: str = Field(description="table file, relative to the study file; in Python also a frame in `tables`")
    on: str | tuple[str, ...] = Field(description="column, or several, that both tables have")
    kind: Literal["one", "many"] = Field(
        "one", description="one: each key stands once in this table; many: several rows, summarised by aggregate"
    )
    aggregate: dict[str, Annotated[str, readable(expression.summary)]] = Field(
        {},
        description='for many: new column = "max(crp)", "count()", "last(hb) by date"; also min, mean, sum, first',
    )
    before: str | None = Field(
        None, description="for many: column with a time; only rows before the row's index time are summarised"
    )

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of `on`."""
        return (self.on,) if isinstance(self.on, str) else self.on

    @model_validator(mode="after")
    def _summarised(self) -> Self:
        if (self.kind == "many") != bool(self.aggregate):
            raise PydanticCustomError("join", 'aggregate goes with kind = "many", and kind = "many" needs it')
        if self.before is not None and self.kind == "one":
            raise PydanticCustomError("join", 'before goes with kind = "many"')
        if not self.keys:
            raise PydanticCustomError("join", "on names no column")
        for name, text in self.aggregate.items():
            found = expression.summary(text)
            if found.function == "since":
                raise PydanticCustomError("join", "{why}", {"why": f"{name}: since() goes with cohort.history"})
            if found.function in expression.ORDERED and found.by is None and self.before is None:
                raise PydanticCustomError(
                    "join", "{why}", {"why": f"{name}: {text} needs an order, as in {text} by date; or give before"}
                )
        return self


class HistoryPart(Strict):
    """Columns made of a patient's earlier rows: those with an index time before the row's own."""

    aggregate: dict[str, Annotated[str, readable(expression.summary)]] = Field(
        min_length=1,
        description='new column = "count()", "last(lactate)", "mean(died)", "since()" (time from the newest earlier row); also first, max, min, sum; first and last go by the index time',
    )
    known_after: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {},
        description="column = how long after its row's index time it is known (days where that is a date, else in its unit); an answer needs this or known_at",
    )
    known_at: dict[str, str] = Field({}, description="column = column with the time at which it is known")
    table: str | None = Field(
        None,
        description="file with more earlier rows, relative to the study file; in Python also tables={'history': frame}",
    )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        summaries = {name: expression.summary(text) for name, text in self.aggregate.items()}
        ordered = [name for name, one in summaries.items() if one.by is not None]
        if ordered:
            raise PydanticCustomError(
                "join", "{why}", {"why": f"{ordered[0]}: a history goes by the index time; take by out"}
            )
        twice = sorted(set(self.known_after) & set(self.known_at))
        if twice:
            raise PydanticCustomError("join", "{why}", {"why": f"{twice[0]!r} stands in known_after and in known_at"})
        read = {one.column for one in summaries.values()}
        unread = sorted({*self.known_after, *self.known_at} - read)
        if unread:
            raise PydanticCustomError(
                "join", "{why}", {"why": f"no summary reads {unread[0]!r}, of which a time is given"}
            )
        return self


class CohortPart(Strict):
    """Who: the table of rows, and which columns say what of them."""

    table: str | None = Field(
        None,
        description="CSV, TSV, Parquet, Arrow, Excel, SPSS, SAS or Stata file, relative to the study file; not given when a frame is passed in Python",
    )
    query: str | None = Field(None, description="SQL that gives the rows, in place of table; goes with connection")
    connection: str | None = Field(
        None,
        description="sqlite:///file.db, or env:NAME for a variable that holds a database's address: no password is kept",
    )
    row: str | None = Field(
        None, description="column with a unique id for each row; left out: the row's number, from 1"
    )
    patient: str | None = Field(None, description="column with the patient's id; rows of one patient stay in one fold")
    person: str | None = Field(
        None,
        description="column with the person, where several ids of patient are one: in eICU, whose patients are stays, uniquepid. Rows of one person stay in one fold; inputs with events of their own are still read by patient",
    )
    independent_rows: bool = Field(
        False, description="declares that every row is another patient, where there is no patient column"
    )
    at: str | None = Field(
        None,
        description="column with the index time (a date, a date-time, or a number): nothing at or after it is read as input",
    )
    time_unit: str | None = Field(
        None,
        min_length=1,
        description='what times that are numbers count, as reports say it after a number: "hours", "years"; dates need none',
    )
    site: str | None = Field(None, description="column with the hospital or device a row comes from")
    events: EventCohortPart | None = Field(
        None,
        description="rows made of a store of events, in place of table: index times, criteria, columns and outcomes by codes and windows. row, patient and at name their columns; left out: row, patient, at",
    )
    answered: str | None = Field(
        None,
        description="column with the time at which a row's answers are known; in a split by time, rows teach only if that is before the first row that judges",
    )
    panel: PanelPart | None = Field(
        None,
        description="makes the rows of a forecast from a long table of series; names row, patient (the cluster of forecast dates), at (the forecast date) and answered where they are left out",
    )
    join: dict[Name, JoinPart] = Field({}, description="other tables joined to this one, each by its name")
    history: HistoryPart | None = Field(None, description="columns made of the same patient's earlier rows")
    include: tuple[CriterionPart, ...] = Field(
        (), description="criteria that a row must meet, in order; missing values do not meet them"
    )
    exclude: tuple[CriterionPart, ...] = Field(
        (), description="criteria that a row must not meet, in order, after those of include"
    )

    @property
    def unit(self) -> Noun:
        """What those are called whom splits and intervals keep together."""
        return PATIENT if self.panel is None else self.panel.unit

    @model_validator(mode="before")
    @classmethod
    def _named_columns(cls, raw: Any) -> Any:
        """The columns that a cohort of events, or a panel, brings, where the study does not name them."""
        if not isinstance(raw, Mapping) or (raw.get("events") is None) == (raw.get("panel") is None):
            return raw
        if raw.get("panel") is not None:
            return {"row": "forecast", "patient": "dates", "at": "date", "answered": "answered", **raw}
        return {**raw, **{key: key for key in ("row", "patient", "at") if raw.get(key) is None}}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.events is None:
            return self
        if self.table or self.query or self.independent_rows:
            raise PydanticCustomError("part", "events makes the rows: take table, query and independent_rows out")
        own = [self.row, self.patient, self.at, *self.events.columns, *self.events.answers()]
        twice = sorted({str(name) for name in own if own.count(name) > 1})
        if twice:
            raise PydanticCustomError("part", "{why}", {"why": f"{twice[0]!r} is the name of several columns"})
        return self

    @model_validator(mode="after")
    def _patient_or_independent(self) -> Self:
        if (self.patient is None) != self.independent_rows:
            found = "both" if self.patient else "neither"
            raise PydanticCustomError(
                "patient",
                'found {found} of patient and independent_rows; expected patient = "<column>", or '
                "independent_rows = true where every row is another patient",
                {"found": found},
            )
        if self.person is not None and self.patient is None:
            raise PydanticCustomError("part", "person says which patients are one: give cohort.patient")
        if (self.query is None) != (self.connection is None) or (self.query and self.table):
            raise PydanticCustomError("join", "query goes with connection, and takes the place of table")
        if self.connection and not re.fullmatch(r"sqlite:///.+|env:[A-Za-z_]\w*", self.connection):
            raise PydanticCustomError(
                "join",
                "connection is neither sqlite:///file.db nor env:NAME; an address with a password belongs in NAME",
            )
        if self.history is not None and (self.at is None or self.patient is None):
            raise PydanticCustomError(
                "join", "history reads earlier rows of the same patient: give cohort.at and cohort.patient"
            )
        if self.panel is not None and (wrong := self.panel.clash(self)) is not None:
            raise PydanticCustomError("join", "{why}", {"why": wrong})
        if self.time_unit is not None and self.at is None:
            raise PydanticCustomError("join", "time_unit says what index times count: give cohort.at")
        if self.answered is not None and self.at is None:
            raise PydanticCustomError("join", "answered is compared with the index time: give cohort.at")
        timed = [name for name, one in self.join.items() if one.before is not None]
        if timed and self.at is None:
            raise PydanticCustomError(
                "join", "{why}", {"why": f"join.{timed[0]}.before is compared with the index time: give cohort.at"}
            )
        return self
