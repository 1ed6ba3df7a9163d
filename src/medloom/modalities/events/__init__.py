"""Events of a patient's record: a long table of (patient, time, code, value), cut at each row's index time.

One patient is one unit, however many rows (index times) the cohort has of that patient. A row sees the newest events
strictly before its index time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

import numpy as np
from pydantic import BeforeValidator, model_validator
from pydantic import Field as Option
from pydantic_core import PydanticCustomError

from medloom.draw import Draw
from medloom.errors import DataError
from medloom.modalities.events.pack import cut, flat, pack_events, positions, union
from medloom.modalities.events.plain import counts, statistics
from medloom.modalities.events.summary import EventSummary, centre_and_scale, count_events, merge
from medloom.modality import Modality, Problem, View
from medloom.packed import Packed, Source
from medloom.parts import InputPart

if TYPE_CHECKING:
    import polars as pl
    from jaxtyping import Float, Int
    from torch import nn

    from medloom.batch import Field
    from medloom.cohort.table import Cohort
    from medloom.modalities.events.read import EventColumn

FEWEST_PATIENTS = 10
"""Codes of fewer training patients pool as rare: a bundle must not tell of single patients."""
PLAIN_CODES = 64
"""Codes of the most patients, whose counts and values the baselines see."""
LARGEST_SCALED = 10.0
"""Scaled values are clipped here, so that one slip of a decimal point does not outweigh all other events."""
RARE = 1
FIRST_CODE = 2
"""Vocabulary ids: 0 padding, 1 rare or unknown, then the codes."""
ROWS_AT_ONCE = 8_192
DAY_SECONDS = 86_400.0


class EventsOptions(InputPart):
    """The long table, which of its events a row sees, and the encoder."""

    proves_time: ClassVar[bool] = True

    modality: Literal["events"] = Option("events", description="kind of input")
    table: str = Option(
        min_length=1,
        description="the long table: CSV, TSV, Parquet or Arrow file, relative to the study file; a frame passed under this name goes before it",
    )
    patient: str = Option("patient", description="column of the long table with the patient, as in cohort.patient")
    time: str = Option(
        "time",
        description="column with the time, of the kind of cohort.at; a date without a time counts as the end of that day",
    )
    code: str = Option("code", description="column with what happened or was measured")
    value: Annotated[str, BeforeValidator(lambda value: "" if value is None else value)] = Option(
        "value",
        description='column with the number that was measured, empty where there is none; "": events have codes alone',
    )
    last: int = Option(256, ge=1, le=1_000_000, description="a row sees at most so many events, the newest ones")
    lookback: float | None = Option(
        None,
        gt=0,
        description="a row sees events at most so old: days where times are dates, else the unit of the times; left out: any age",
    )
    width: int = Option(64, ge=1, le=8192, description="width of the encoder's state and of the encoded row")
    code_width: int = Option(32, ge=1, le=8192, description="width of the embedding of a code")
    rnn: Literal["gru", "lstm"] = Option("gru", description="kind of recurrent network")

    @model_validator(mode="after")
    def _four_columns(self) -> Self:
        names = self.table_columns()
        if len(set(names)) < len(names):
            raise PydanticCustomError("column", "patient, time, code and value must be different columns")
        return self

    def table_columns(self) -> tuple[str, ...]:
        """Columns of the long table that are read."""
        return tuple(name for name in (self.patient, self.time, self.code, self.value) if name)


@dataclass(frozen=True, slots=True)
class Events(Modality):
    """Fitted state: the vocabulary, and centre and scale of each code's values.

    `codes` have the vocabulary ids from `FIRST_CODE` on, in alphabetical order, and hold no code of fewer than
    `FEWEST_PATIENTS` training patients. `scale` is 0 where fewer patients than that have a value of the code: its
    values are not read. `frequent` are ids of the codes of the most patients; `rare` says whether training rows saw
    codes that pool as rare, so that the network has learnt what a rare code means.
    """

    Options: ClassVar[type[InputPart]] = EventsOptions
    Summary: ClassVar[type] = EventSummary
    needs_patient: ClassVar[bool] = True

    options: EventsOptions
    kind: Literal["date", "number"] | None
    codes: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    frequent: tuple[int, ...]
    rare: bool

    @classmethod
    def keys(cls, options: InputPart, cohort: Cohort) -> pl.Series:
        """The patient of each row as text; null where the long table has no event of that patient."""
        from medloom.modalities.events.read import with_events

        return with_events(cast(EventsOptions, options), cohort)

    @classmethod
    def read(cls, options: InputPart, cohort: Cohort) -> EventColumn:
        """The events of these patients, one row of the cohort a patient. Raises DataError for what cannot be read."""
        from medloom.modalities.events.read import read_events

        return read_events(cast(EventsOptions, options), cohort)

    @classmethod
    def pack(cls, options: InputPart, columns: Iterable[EventColumn], store: Path | None) -> Packed:
        """All events as flat arrays; see `pack_events`."""
        return pack_events(columns, store)

    @classmethod
    def point(cls, options: InputPart, packed: Packed, cohort: Cohort, unit: Int[np.ndarray, " rows"]) -> Source:
        """Each row sees the newest `last` events strictly before its index time, and at most `lookback` old.

        Events are cut at cohort.at wherever it is given, whatever is declared. A row that sees none has unit 0.
        """
        from medloom.modalities.events.read import check_kind

        chosen = cast(EventsOptions, options)
        kind = packed.meta["kind"]
        check_kind(chosen, kind, cohort)
        unit = np.where(_known(chosen, cohort), unit, 0)
        lookback = None if chosen.lookback is None else chosen.lookback * _unit_of_time(kind)
        start, stop, index_time = cut(packed, unit, cohort.at, lookback, chosen.last)
        seen = stop > start
        newest = np.full(len(unit), np.nan)
        newest[seen] = packed.arrays["time"][stop[seen] - 1]
        start, stop, unit = (np.where(seen, array, 0) for array in (start, stop, unit))
        return Source(packed, unit, cohort.patient, start, stop, newest, {"index_time": index_time})

    @classmethod
    def summarise(cls, options: InputPart, source: Source, rows: Int[np.ndarray, " rows"]) -> EventSummary:
        """Counts of the events that these rows see. An event that several rows of its patient see counts once."""
        start, stop = union(*_ranges(source, rows))
        where, _ = flat(start, stop)
        arrays, meta = source.packed.arrays, source.packed.meta
        unit = np.searchsorted(np.asarray(arrays["offset"]), where, "right")
        return count_events(
            meta["kind"], meta["codes"], unit, np.asarray(arrays["code"][where]), np.asarray(arrays["value"][where])
        )

    @classmethod
    def fit(cls, options: InputPart, summaries: Sequence[Any]) -> Self:
        """The vocabulary and the scaling. Raises DataError where no training row sees an event."""
        chosen = cast(EventsOptions, options)
        summary = merge(summaries)
        if not summary.events.sum():
            raise DataError(
                f"{chosen.table}: no training row sees an event; expected events before the index time, "
                "of patients written as in the cohort ('007' and '7' differ)"
            )
        centre, scale = centre_and_scale(summary)
        scale = np.where(summary.valued >= FEWEST_PATIENTS, scale, 0.0)
        kept = np.flatnonzero(summary.patients >= FEWEST_PATIENTS)
        most = np.argsort(-summary.patients[kept], kind="stable")[:PLAIN_CODES]
        return cls(
            options=chosen,
            kind=cast(Any, summary.kind),
            codes=tuple(summary.codes[number] for number in kept.tolist()),
            centre=tuple(np.where(scale > 0, centre, 0.0)[kept].tolist()),
            scale=tuple(scale[kept].tolist()),
            frequent=tuple((np.sort(most) + FIRST_CODE).tolist()),
            rare=bool((summary.patients < FEWEST_PATIENTS).any()),
        )

    def bind(self, source: Source) -> Source:
        """Adds what each store code is to the fitted state: vocabulary id, centre and scale."""
        kind = source.packed.meta["kind"]
        if None not in (kind, self.kind) and kind != self.kind:
            raise DataError(
                f"{self.options.table}: {self.options.time!r} holds {kind}s; the model was trained on {self.kind}s"
            )
        vocabulary = {code: number for number, code in enumerate(self.codes, FIRST_CODE)}
        ids = np.array([0, *(vocabulary.get(code, RARE) for code in source.packed.meta["codes"])], np.int64)
        centre, scale = (np.array([0.0] * FIRST_CODE + list(numbers))[ids] for numbers in (self.centre, self.scale))
        return replace(source, bound={**source.bound, "id": ids, "centre": centre, "scale": scale})

    def view(
        self, source: Source, rows: Int[np.ndarray, " rows"], draw: Draw | None, focus: Sequence[Source] = ()
    ) -> View:
        """One view a row: everything that the row sees."""
        return View(rows)

    def batch(self, source: Source, view: View) -> Field:
        """Events from the left, oldest first, padded to the longest row; all "batch length".

        `value` is the scaled value, 0 where there is none; `extra` holds "code" (vocabulary ids), "has_value",
        "age" (log1p of the time to the index time) and "gap" (log1p of the time since the event before, 0 for the
        first), in days where times are dates.
        """
        import torch

        from medloom.batch import Field

        bound = self._bound(source).bound
        start, stop = _ranges(source, view.rows)
        where, valid = positions(start, stop)
        arrays = source.packed.arrays
        code, time = np.asarray(arrays["code"][where]), np.asarray(arrays["time"][where])
        value = np.asarray(arrays["value"][where]).astype(np.float64)
        centre, scale = bound["centre"][code], bound["scale"][code]
        has_value = ~np.isnan(value) & (scale > 0)
        with np.errstate(over="ignore"):
            scaled = np.divide(value - centre, scale, out=np.zeros_like(value), where=has_value)
        first = np.zeros(len(where), bool)
        length = stop - start
        first[(np.cumsum(length) - length)[length > 0]] = True
        unit_of_time = _unit_of_time(source.packed.meta["kind"])
        age = (np.repeat(bound["index_time"][view.rows], length) - time) / unit_of_time
        gap = np.where(first, 0.0, np.diff(time, prepend=0.0) / unit_of_time)
        flat_fields = {
            "value": np.clip(scaled, -LARGEST_SCALED, LARGEST_SCALED).astype(np.float32),
            "code": bound["id"][code],
            "has_value": has_value,
            "age": np.log1p(np.maximum(age, 0)).astype(np.float32),
            "gap": np.log1p(np.maximum(gap, 0)).astype(np.float32),
        }
        boxes = {name: torch.from_numpy(_boxed(numbers, valid)) for name, numbers in flat_fields.items()}
        return Field(boxes.pop("value"), torch.from_numpy(length > 0), torch.from_numpy(valid), boxes)

    def plain(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows features"]:
        """The number of events; of each frequent code the count, then last, mean, least and largest value.

        Values are as measured. All NaN in rows that see no event.
        """
        frequent = np.array(self.frequent, np.int64)
        scale = np.array([0.0] * FIRST_CODE + list(self.scale))
        slot, value_slot = (np.full(len(scale), -1, np.int64) for _ in range(2))
        valued = frequent[scale[frequent] > 0]
        slot[frequent] = np.arange(len(frequent))
        value_slot[valued] = np.arange(len(valued))
        ids = self._bound(source).bound["id"]
        blocks = [np.zeros((0, 1 + len(frequent) + 4 * len(valued)))]
        for start, where, row in _in_blocks(source, rows):
            size = len(start)
            code = ids[source.packed.arrays["code"][where]]
            value = np.asarray(source.packed.arrays["value"][where])
            total = np.bincount(row, minlength=size).astype(np.float64)[:, None]
            of_code = counts(row, slot[code], size, len(frequent))
            of_value = statistics(row, value_slot[code], value, size, len(valued))
            block = np.concatenate([total, of_code, of_value], axis=1)
            block[total[:, 0] == 0] = np.nan
            blocks.append(block)
        return np.concatenate(blocks)

    def encoder(self) -> nn.Module:
        """A recurrent network over the events; tokens and pooled have `options.width` features."""
        from medloom.modalities.events.encoder import EventsEncoder

        return EventsEncoder(
            FIRST_CODE + len(self.codes), self.options.code_width, self.options.width, self.options.rnn
        )

    def problems(self, source: Source, cohort: Cohort) -> list[Problem]:
        """Rows most of whose events have codes outside the vocabulary: likely another system of codes.

        Single rare codes are what training rows have too. Where these had none, one such event is enough.
        """
        ids = self._bound(source).bound["id"]
        found: list[Problem] = []
        done = 0
        for start, where, row in _in_blocks(source, np.arange(len(cohort))):
            outside = ids[source.packed.arrays["code"][where]] == RARE
            of_row, of_all = (np.bincount(part, minlength=len(start)) for part in (row[outside], row))
            unfit = 2 * of_row > of_all if self.rare else of_row > 0
            found += [
                Problem(
                    done + r,
                    f"{self.options.code}: {of_row[r]} of {of_all[r]} events have codes not among those learnt",
                )
                for r in np.flatnonzero(unfit).tolist()
            ]
            done += len(start)
        return found

    def _bound(self, source: Source) -> Source:
        return source if "id" in source.bound else self.bind(source)


def _known(options: EventsOptions, cohort: Cohort) -> Any:
    """Rows whose input was known before the index time, where `options.at` names a column that says when."""
    if options.at is None or cohort.at is None:
        return np.ones(len(cohort), bool)
    from medloom.cohort.times import read_times

    what = f"inputs: at {options.at!r}"
    time, kind = read_times(cohort.column(options.at, what), what, cohort.row)
    if kind != cohort.at_kind and not np.isnan(time).all():
        raise DataError(f"{what}: holds {kind}s and cohort.at holds {cohort.at_kind}s; expected one kind")
    return time < cohort.at


def _unit_of_time(kind: str | None) -> float:
    return DAY_SECONDS if kind == "date" else 1.0


def _ranges(
    source: Source, rows: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
    assert source.start is not None and source.stop is not None
    return source.start[rows], source.stop[rows]


def _in_blocks(source: Source, rows: Int[np.ndarray, " rows"]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows in blocks: their starts, the positions of all events they see, and the row of each within the block."""
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        start, stop = _ranges(source, rows[begin : begin + ROWS_AT_ONCE])
        where, row = flat(start, stop)
        yield start, where, row


def _boxed(numbers: np.ndarray, valid: np.ndarray) -> np.ndarray:
    box = np.zeros(valid.shape, numbers.dtype)
    box[valid] = numbers
    return box
