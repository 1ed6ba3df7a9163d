"""Events of a patient's record: a long table of (patient, time, code, value), cut at each row's index time.

One patient is one unit, however many rows (index times) the cohort has of that patient. A row sees the newest events
strictly before its index time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np

from medloom.cohort.ticks import TICKS, ticks, times
from medloom.draw import Draw
from medloom.errors import DataError
from medloom.modalities.events import explained
from medloom.modalities.events.bins import grid
from medloom.modalities.events.gather import (
    Gathered,
    bent,
    boxed,
    counted,
    field_of,
    gather,
    scaled_statistics,
    seen_by,
)
from medloom.modalities.events.options import BINNED, EventsOptions
from medloom.modalities.events.pack import cut, flat, pack_events, union
from medloom.modalities.events.plain import OF_VALUES, counts, statistics
from medloom.modalities.events.summary import EventSummary, centre_and_scale, count_events, knots, merge
from medloom.modalities.events.units import of_names, refuse_others
from medloom.modality import Lengths, Modality, Stored, View
from medloom.packed import Packed, Source
from medloom.parts import InputPart
from medloom.told import Feature, Held, Neutral, Problem, Trace

if TYPE_CHECKING:
    import polars as pl
    from jaxtyping import Bool, Float, Int
    from torch import nn

    from medloom.batch import Field
    from medloom.cohort.table import Cohort
    from medloom.modalities.events.read import EventColumn

FEWEST_PATIENTS = 10
"""Codes of fewer training patients pool as rare: a bundle must not tell of single patients."""
FEWEST_BENT = 100
"""Training patients with values whose quantiles are kept: beyond the outermost lie the values of two or more."""
PLAIN_CODES = 64
"""Codes of the most patients: what baselines, grids and statistics see."""
MOST_TRACES = 6
"""Codes that a timeline draws."""
RARE = 1
FIRST_CODE = 2
"""Vocabulary ids: 0 padding, 1 rare or unknown, then the codes."""
ROWS_AT_ONCE = 8_192
MADE = "made "
KEPT_BYTES = 256 << 20
"""Bins and statistics of all rows are made once where they take no more than this."""
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Events(Modality):
    """Fitted state: the vocabulary, and centre and scale of each code's values.

    `codes` have the vocabulary ids from `FIRST_CODE` on, in alphabetical order, and hold no code of fewer than
    `FEWEST_PATIENTS` training patients. `scale` is 0 where fewer patients than that have a value of the code: its
    values are not read. `knots` are quantiles of the values at `summary.LEVELS`, none where values are scaled by centre
    and scale alone. `usual` counts the events of a patient who has the code. `frequent` are ids of the codes of the most patients; `rare` says whether training rows saw
    codes that pool as rare, so that the network has learnt what a rare code means. `measured_in` are units, and
    `described` what codes are called, where known.
    """

    Options: ClassVar[type[InputPart]] = EventsOptions
    Summary: ClassVar[type] = EventSummary
    needs_patient: ClassVar[bool] = True
    part_word: ClassVar[str] = "code"
    rest_as_one: ClassVar[bool] = True
    read_block: ClassVar[int] = 1 << 20
    """The long table is gone through once for so many patients."""

    options: EventsOptions
    kind: Literal["date", "number"] | None
    codes: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    knots: tuple[tuple[float, ...], ...]
    usual: tuple[float, ...]
    frequent: tuple[int, ...]
    rare: bool
    measured_in: Mapping[str, str] = field(default_factory=dict)
    described: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def complete(cls, options: InputPart, cohort: Cohort, taken: frozenset[str]) -> InputPart:
        """The options with the members of the groups that a table names."""
        from medloom.modalities.events.groups import with_members

        return with_members(cast(EventsOptions, options), cohort.folder)

    @classmethod
    def stored(cls, options: InputPart, cohort: Cohort) -> Stored | None:
        """The store that `table` names, unless a frame is passed in its place."""
        from medloom.modalities.events.read import passed
        from medloom.modalities.events.store import stored

        chosen = cast(EventsOptions, options)
        return stored(chosen, cohort) if chosen.is_store and passed(chosen, cohort) is None else None

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

        Events are cut at cohort.at wherever it is given, whatever is declared. Timeless events are seen beside them.
        A row that sees none has unit 0.
        """
        from medloom.modalities.events.read import check_kind

        chosen = cast(EventsOptions, options)
        kind = packed.meta["kind"]
        check_kind(chosen, kind, cohort)
        unit = np.where(_known(chosen, cohort), unit, 0)
        lookback = None if chosen.lookback is None else round(chosen.lookback * _ticks_of_unit(kind))
        found = cut(packed, unit, None if cohort.at is None else ticks(cohort.at), lookback, chosen.last)
        timed, fixed = found.stop > found.start, found.fixed_stop > found.fixed_start
        newest = np.where(fixed, -np.inf, np.nan)
        newest[timed] = times(np.asarray(packed.arrays["time"][found.stop[timed] - 1]))
        seen = timed | fixed
        start, stop, fixed_start, fixed_stop, unit = (
            np.where(seen, array, 0) for array in (found.start, found.stop, found.fixed_start, found.fixed_stop, unit)
        )
        along = {
            "index_time": found.index_time,
            "fixed_start": fixed_start,
            "fixed_stop": fixed_stop,
            "shortened": found.shortened,
        }
        bound: dict[str, Any] = {}
        if chosen.groups is not None or chosen.members:
            from medloom.modalities.events.groups import first_of_name, names_of

            bound["names"] = names_of(chosen, packed.meta["codes"])
            bound["first"] = first_of_name(bound["names"])
        return Source(packed, unit, cohort.patient, start, stop, newest, bound, along)

    @classmethod
    def summarise(cls, options: InputPart, source: Source, rows: Int[np.ndarray, " rows"]) -> EventSummary:
        """Counts of the events that these rows see. An event that several rows of its patient see counts once."""
        start, stop = union(*_ranges(source, rows))
        where, _ = flat(start, stop)
        arrays, meta = source.packed.arrays, source.packed.meta
        unit = np.searchsorted(np.asarray(arrays["offset"]), where, "right")
        code, names = np.asarray(arrays["code"][where]), source.bound.get("names", meta["codes"])
        code = source.bound["first"][code] if "first" in source.bound else code
        counted = count_events(meta["kind"], names, unit, code, np.asarray(arrays["value"][where]))
        units, said = (of_names(names, meta["codes"], meta.get(of, {})) for of in ("units", "descriptions"))
        return replace(counted, units=units, descriptions=said)

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
        kept_codes = tuple(summary.codes[number] for number in kept.tolist())
        return cls(
            options=chosen,
            kind=cast(Any, summary.kind),
            codes=kept_codes,
            centre=tuple(np.where(scale > 0, centre, 0.0)[kept].tolist()),
            scale=tuple(scale[kept].tolist()),
            knots=_knots(chosen, summary, kept),
            usual=tuple((summary.events[kept] / summary.patients[kept]).tolist()),
            frequent=tuple((np.sort(most) + FIRST_CODE).tolist()),
            rare=bool((summary.patients < FEWEST_PATIENTS).any()),
            measured_in={code: summary.units[code] for code in kept_codes if code in summary.units},
            described={code: summary.descriptions[code] for code in kept_codes if code in summary.descriptions},
        )

    def bind(self, source: Source) -> Source:
        """Adds what each store code is to the fitted state: vocabulary id, centre, scale, and place among the frequent."""
        meta = source.packed.meta
        # A bundle may be given another store than that of its study.
        kind, where = meta["kind"], meta.get("folder", self.options.table)
        if None not in (kind, self.kind) and kind != self.kind:
            raise DataError(f"{where}: {self.options.time!r} holds {kind}s; the model was trained on {self.kind}s")
        vocabulary = {code: number for number, code in enumerate(self.codes, FIRST_CODE)}
        names = source.bound.get("names", meta["codes"])
        refuse_others(where, of_names(names, meta["codes"], meta.get("units", {})), self.measured_in)
        ids = np.array([0, *(vocabulary.get(name, RARE) for name in names)], np.int64)
        centre, scale = (np.array([0.0] * FIRST_CODE + list(numbers))[ids] for numbers in (self.centre, self.scale))
        slot = np.full(FIRST_CODE + len(self.codes), -1, np.int64)
        slot[list(self.frequent)] = np.arange(len(self.frequent))
        rate = np.divide(1.0, scale, out=np.zeros(len(scale)), where=scale > 0).astype(np.float32)
        found = {"id": ids, "centre": centre, "scale": scale, "slot": slot[ids], "rate": rate}
        found["middle"] = centre.astype(np.float32)
        if any(self.knots):
            bends = bent(((), (), *self.knots), np.array([0.0, 0.0, *self.scale]))
            found |= {name: table[ids] for name, table in bends.items()}
        along = {name: values for name, values in source.along.items() if not name.startswith(MADE)}
        bound = replace(source, bound={**source.bound, **found}, along=along)
        return replace(bound, along={**along, **self._made(bound)})

    def view(
        self, source: Source, rows: Int[np.ndarray, " rows"], draw: Draw | None, focus: Sequence[Source] = ()
    ) -> View:
        """One view a row: everything that the row sees."""
        return View(rows)

    def lengths(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Lengths:
        """Events that each row sees, or bins: what bounds memory."""
        chosen = self.options
        if chosen.encoder in BINNED or chosen.encoder == "statistics":
            return Lengths(np.full(len(rows), max(1, chosen.bins)), 0, chosen.budget)
        return Lengths(counted(source, rows), chosen.bucket, chosen.budget)

    def batch(self, source: Source, view: View) -> Field:
        """What the encoder reads of each row: its events, or bins of time, and summary statistics where it asks.

        Events stand from the left, oldest first, padded to the longest row; all "batch length". `value` is the scaled
        value, 0 where there is none; `extra` holds "code" (vocabulary ids), "has_value", "has_time", "age" (log1p of
        the time to the index time) and "gap" (log1p of the time since the event before, 0 for the first), in days
        where times are dates; both are 0 of timeless events. A grid has `value` "batch bins slots", the newest scaled
        value of each frequent code, and in `extra` "count" (log1p) and "since" (time since it was measured, as a share
        of the look-back). "statistics" and "known" are "batch numbers".
        """
        source = self._bound(source)
        rows, present = view.rows, counted(source, view.rows) > 0
        read = self._of_rows(source, rows)
        if self.options.encoder == "statistics":
            return field_of(np.zeros((len(rows), 0), np.float32), present, None, read)
        if self.options.encoder in BINNED:
            value = read.pop("value")
            return field_of(value, present, np.ones(value.shape[:2], bool), read)
        value, valid, boxes = boxed(source, rows, self._unit(source))
        return field_of(value, present, valid, {**read, **boxes})

    def plain(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows features"]:
        """The number of events; of each frequent code the count, then of those with values the ten of `OF_VALUES`.

        Values are as measured, times in days where times are dates. All NaN in rows that see no event.
        """
        source = self._bound(source)
        valued = np.flatnonzero(self.valued())
        size = len(self.frequent)
        blocks = [np.zeros((0, 1 + size + len(OF_VALUES) * len(valued)))]
        for begin in range(0, len(rows), ROWS_AT_ONCE):
            found = gather(source, rows[begin : begin + ROWS_AT_ONCE], self._unit(source))
            seen = found.seen(self.options.lookback, scaled=False)
            of_value = statistics(seen, size)[:, valued].reshape(len(found.length), -1)
            total = found.length.astype(np.float64)[:, None]
            block = np.concatenate([total, counts(seen.row, seen.slot, len(total), size), of_value], axis=1)
            block[total[:, 0] == 0] = np.nan
            blocks.append(block)
        return np.concatenate(blocks)

    def features(self) -> tuple[Feature, ...]:
        return explained.features(self)

    def called(self, part: str) -> str:
        return self.described.get(part, "")

    def parts(self, source: Source, rows: Int[np.ndarray, " rows"]) -> tuple[str, ...]:
        return explained.parts(self, self._bound(source), rows)

    def mixed(
        self, source: Source, rows: Int[np.ndarray, " rows"], others: Int[np.ndarray, " rows"], parts: Collection[str]
    ) -> Source:
        return explained.mixed(self, self._bound(source), rows, others, parts)

    def neutral(self, encoder: nn.Module, field: Field) -> Neutral:
        return explained.neutral(self, encoder, field)

    def encoder(self) -> nn.Module:
        """The network that the options name; pooled, and tokens where it has them, have `options.width` features."""
        from medloom.modalities.events.encoders import encoder

        return encoder(self.options, FIRST_CODE + len(self.codes), len(self.frequent), self._numbers())

    def problems(self, source: Source, cohort: Cohort) -> list[Problem]:
        """Rows most of whose events have codes outside the vocabulary: likely another system of codes.

        Single rare codes are what training rows have too. Where these had none, one such event is enough.
        """
        ids = self._bound(source).bound["id"]
        found: list[Problem] = []
        for begin in range(0, len(cohort), ROWS_AT_ONCE):
            rows = np.arange(begin, min(begin + ROWS_AT_ONCE, len(cohort)))
            where, row = seen_by(source, rows)
            outside = ids[source.packed.arrays["code"][where]] == RARE
            of_row, of_all = (np.bincount(part, minlength=len(rows)) for part in (row[outside], row))
            unfit = 2 * of_row > of_all if self.rare else of_row > 0
            found += [
                Problem(
                    begin + r,
                    f"{self.options.code}: {of_row[r]} of {of_all[r]} events have codes not among those learnt",
                )
                for r in np.flatnonzero(unfit).tolist()
            ]
        return found

    def held(self, source: Source, rows: Int[np.ndarray, " rows"]) -> Held:
        """Events before the index time of each row, and the share of rows with each frequent code."""
        source = self._bound(source)
        size, having = len(self.frequent), np.zeros(len(self.frequent))
        for begin in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[begin : begin + ROWS_AT_ONCE]
            where, row = seen_by(source, part)
            slot = source.bound["slot"][np.asarray(source.packed.arrays["code"][where])]
            having += (counts(row, slot, len(part), size) > 0).sum(axis=0)
        names = [self.codes[number - FIRST_CODE] for number in self.frequent]
        share = having / max(len(rows), 1)
        order = np.argsort(-share, kind="stable").tolist()
        parts = tuple((names[place], float(share[place])) for place in order)
        shortened = float(source.along["shortened"][rows].mean()) if len(rows) else 0.0
        more = (
            f"{shortened:.1%} of the rows have more than the newest {self.options.last:,} that are seen (last = {self.options.last}): "
            "what is older is left out, and with it what was noted only at the beginning."
        )
        return Held("events", counted(source, rows), parts, more if shortened else "")

    def timeline(self, source: Source, row: int) -> tuple[Trace, ...]:
        """Values of the frequent codes that this row has the most of, by their age."""
        found = gather(self._bound(source), np.array([row]), self._unit(source))
        kept = (found.slot >= 0) & ~np.isnan(found.raw) & ~np.isnan(found.age)
        count = np.bincount(found.slot[kept], minlength=len(self.frequent))
        most = [slot for slot in np.argsort(-count, kind="stable")[:MOST_TRACES].tolist() if count[slot]]
        names = {slot: self.codes[self.frequent[slot] - FIRST_CODE] for slot in most}
        return tuple(
            Trace(
                names[slot],
                tuple(found.age[kept & (found.slot == slot)].tolist()),
                tuple(found.raw[kept & (found.slot == slot)].tolist()),
                unit=self.measured_in.get(names[slot], ""),
            )
            for slot in most
        )

    def describe(self) -> Mapping[str, str]:
        """How many codes were learnt, and how many of them have values."""
        valued = sum(scale > 0 for scale in self.scale)
        return {"codes": str(len(self.codes)), "of them with values": str(valued), "encoder": self.options.encoder}

    def _bound(self, source: Source) -> Source:
        return source if "id" in source.bound else self.bind(source)

    def _made(self, source: Source) -> dict[str, np.ndarray]:
        """Bins and statistics of all rows, made once where they are small; nothing where they are large."""
        bins = 3 * self.options.bins * len(self.frequent) if self.options.encoder in BINNED else 0
        numbers = 2 * self._numbers() if self.options.statistics else 0
        rows = np.arange(len(source.unit))
        if not bins + numbers or 4 * len(rows) * (bins + numbers) > KEPT_BYTES:
            return {}
        starts = range(0, max(len(rows), 1), ROWS_AT_ONCE)
        blocks = [self._of_rows(source, rows[begin : begin + ROWS_AT_ONCE]) for begin in starts]
        return {MADE + name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def _of_rows(self, source: Source, rows: Int[np.ndarray, " rows"]) -> dict[str, np.ndarray]:
        """What the encoder reads of rows beside single events: bins, and statistics. Each row's is its own alone."""
        kept = {name.removeprefix(MADE): values[rows] for name, values in source.along.items() if name.startswith(MADE)}
        if kept or not (self.options.encoder in BINNED or self.options.statistics):
            return kept
        return self._read(gather(source, rows, self._unit(source)))

    def of_nothing(self) -> dict[str, np.ndarray]:
        """The bins and the statistics of one row without events, where the encoder reads them."""
        return self._read(Gathered.of_nothing())

    def _read(self, found: Gathered) -> dict[str, np.ndarray]:
        read: dict[str, np.ndarray] = {}
        if self.options.statistics:
            read |= scaled_statistics(found, self.options.lookback, self.valued(), np.log1p(self._usual()))
        if self.options.encoder in BINNED:
            assert self.options.bin is not None
            value, count, since = grid(
                found.seen(self.options.lookback), self.options.bins, self.options.bin, self.valued()
            )
            read |= {"value": value, "count": np.log1p(count), "since": since / self.options.bins}
        return {name: values.astype(np.float32) for name, values in read.items()}

    def _numbers(self) -> int:
        """Summary statistics of a row."""
        return 1 + len(self.frequent) + len(OF_VALUES) * int(self.valued().sum())

    def _unit(self, source: Source) -> float:
        return float(_ticks_of_unit(source.packed.meta["kind"]))

    def valued(self) -> Bool[np.ndarray, " slots"]:
        """Which of the frequent codes have values that are read."""
        return np.array(self.scale)[np.array(self.frequent, np.int64) - FIRST_CODE] > 0

    def _usual(self) -> Float[np.ndarray, " slots"]:
        """Events of each frequent code that patients who have it usually have."""
        return np.array(self.usual)[np.array(self.frequent, np.int64) - FIRST_CODE]


def _knots(
    options: EventsOptions, summary: EventSummary, kept: Int[np.ndarray, " kept"]
) -> tuple[tuple[float, ...], ...]:
    """Quantiles of the codes of enough patients, where the study asks for them."""
    if options.scale == "robust":
        return ((),) * len(kept)
    found, enough = knots(summary), summary.valued >= FEWEST_BENT
    return tuple(tuple(found[code].tolist()) if enough[code] else () for code in kept.tolist())


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


def _ticks_of_unit(kind: str | None) -> int:
    """Ticks of the unit in which ages are told: a day of dates, 1 of numbers."""
    return TICKS * (DAY_SECONDS if kind == "date" else 1)


def _ranges(
    source: Source, rows: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " ranges"], Int[np.ndarray, " ranges"]]:
    """Starts and stops of what these rows see, timed and timeless."""
    assert source.start is not None and source.stop is not None
    fixed_start, fixed_stop = source.along["fixed_start"][rows], source.along["fixed_stop"][rows]
    return np.concatenate([source.start[rows], fixed_start]), np.concatenate([source.stop[rows], fixed_stop])
