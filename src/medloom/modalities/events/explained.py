"""Events taken apart by their codes: which numbers are whose, codes of other rows put in place, the record of nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.cohort.ticks import TIMELESS
from medloom.modalities.events.gather import seen_by
from medloom.modalities.events.plain import OF_VALUES
from medloom.packed import Packed, Source
from medloom.told import Feature, Leaf, Neutral

if TYPE_CHECKING:
    from torch import nn

    from medloom.batch import Field
    from medloom.modalities.events import Events

RARE_CODES = "(rare codes)"
"""The part of all codes that are not in the vocabulary."""
ALL_EVENTS = "(number of events)"
"""The part of the number of all events: what it adds is told, but it cannot be exchanged by itself."""
WORDS = {
    "last": "last value", "mean": "mean value", "least": "lowest value", "greatest": "highest value",
    "first": "first value", "deviation": "standard deviation", "slope": "slope", "since": "time since a value",
    "early": "mean of the early half", "late": "mean of the late half",
}  # fmt: skip
ROWS_AT_ONCE = 8_192
RARE = 1


def names(events: Events) -> list[str]:
    """The part of each vocabulary id: nothing of padding, then rare codes, then each code."""
    return ["", RARE_CODES, *events.codes]


def features(events: Events) -> tuple[Feature, ...]:
    """What each plain number is of, in the order of `Events.plain` and of the statistics that encoders see."""
    every = names(events)
    frequent = [every[number] for number in events.frequent]
    valued = [frequent[slot] for slot in np.flatnonzero(events.valued()).tolist()]
    return (
        Feature(ALL_EVENTS),
        *(Feature(code, what="events") for code in frequent),
        *(Feature(code, what=WORDS[of]) for code in valued for of in OF_VALUES),
    )


def parts(events: Events, source: Source, rows: Int[np.ndarray, " rows"]) -> tuple[str, ...]:
    """The codes that these rows see, those that the most rows see first; rare ones are one part."""
    every = names(events)
    having = np.zeros(len(every), np.int64)
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        where, row = seen_by(source, rows[begin : begin + ROWS_AT_ONCE])
        code = source.bound["id"][np.asarray(source.packed.arrays["code"][where])]
        having += np.bincount(np.unique(row * len(every) + code) % len(every), minlength=len(every))
    order = np.argsort(-having, kind="stable")
    return tuple(every[number] for number in order.tolist() if having[number] and number)


def mixed(
    events: Events,
    source: Source,
    rows: Int[np.ndarray, " rows"],
    others: Int[np.ndarray, " rows"],
    moved: Collection[str],
) -> Source:
    """A source of these rows in which the events of some codes are those of `others`, at the same time before the index.

    Packed as any record is: by row and time, timeless events first, and of each kind the newest `last`. Events of one time
    keep the order that they have in their own record.
    """
    taken = np.array([name in moved for name in names(events)])
    own, given = _seen(source, rows, ~taken), _seen(source, others, taken)
    its = source.along["index_time"][others]
    # Without index times, a record without timed events has none: it goes by what it gets.
    index_time = np.where(source.along["index_time"][rows] == TIMELESS, its, source.along["index_time"][rows])
    shifted = np.where(given.time == TIMELESS, TIMELESS, given.time + (index_time - its)[given.row])
    whole = _Events(
        np.concatenate([own.row, given.row]),
        np.concatenate([own.place, given.place]),
        np.concatenate([own.time, shifted]),
        np.concatenate([own.code, given.code]),
        np.concatenate([own.value, given.value]),
    )
    return _packed(source, rows, index_time, whole, events.options.last)


@dataclass(frozen=True, slots=True)
class _Events:
    """Events of some rows: `place` counts the events of each row in its own record, `code` those of the store."""

    row: Int[np.ndarray, " seen"]
    place: Int[np.ndarray, " seen"]
    time: Int[np.ndarray, " seen"]
    code: Int[np.ndarray, " seen"]
    value: Float[np.ndarray, " seen"]


def _seen(source: Source, rows: Int[np.ndarray, " rows"], kept: Bool[np.ndarray, " vocabulary"]) -> _Events:
    """The events that these rows see, of some codes."""
    where, row = seen_by(source, rows)
    length = np.bincount(row, minlength=len(rows))
    place = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    code = np.asarray(source.packed.arrays["code"][where])
    held = np.flatnonzero(kept[source.bound["id"][code]])
    time, value = (np.asarray(source.packed.arrays[name][where[held]]) for name in ("time", "value"))
    return _Events(row[held], place[held], time, code[held], value)


def _packed(
    source: Source, rows: Int[np.ndarray, " rows"], index_time: Int[np.ndarray, " rows"], events: _Events, last: int
) -> Source:
    """These events as the packed records of as many patients as there are rows, each seen whole up to `last` events."""
    order = np.lexsort((events.place, events.time, events.row))
    count = len(rows)
    fixed = np.bincount(events.row[events.time == TIMELESS], minlength=count)
    stop = np.cumsum(np.bincount(events.row, minlength=count))
    begin = np.concatenate([[0], stop])[:-1]
    fixed_stop = begin + fixed
    arrays = {"code": events.code[order], "time": events.time[order], "value": events.value[order]}
    along = {
        "index_time": index_time,
        "fixed_start": np.maximum(begin, fixed_stop - last),
        "fixed_stop": fixed_stop,
    }
    return Source(
        Packed(arrays, source.packed.meta),
        np.where(stop > begin, np.arange(1, count + 1), 0),
        source.patient[rows],
        np.maximum(fixed_stop, stop - last),
        stop,
        None,
        source.bound,
        along,
    )


def neutral(events: Events, encoder: nn.Module, field: Field) -> Neutral:
    """Of bins and statistics, those of a record without events; of events one by one, as many events of nothing in particular.

    Such an event has the mean of all learnt codes and the centre of its values, at the time of the real one: how many
    events there are, and when, a path cannot change.
    """
    import torch

    from medloom.modalities.events.encoders.binned import Measured
    from medloom.modalities.events.encoders.sequence import Words

    every, nothing = names(events), events.of_nothing()
    read = [module for module in encoder.modules() if isinstance(module, Words | Measured)]
    seen = field.extra["code"].unique().tolist() if "code" in field.extra else []
    here = sorted({*(number for number in seen if number), *(events.frequent if nothing else ())}) or [RARE]
    parts = (*(every[number] for number in here), ALL_EVENTS)
    place = {part: at for at, part in enumerate(parts)}
    of_number = torch.tensor([[place[one.part] for one in features(events)]] if nothing else [[]])
    of_slot = torch.tensor([[[place[every[number]] for number in events.frequent]]] if nothing else [[[]]])
    leaves = [
        Leaf(name, torch.from_numpy(low), of_number if low.ndim == 2 else of_slot) for name, low in nothing.items()
    ]
    for module in read:
        if isinstance(module, Measured):
            leaves.append(Leaf(module, torch.zeros(1, 1, len(events.frequent)), of_slot))
        else:
            of_code = torch.zeros(len(every), dtype=torch.int64)
            of_code[here] = torch.arange(len(here))
            leaves.append(Leaf(module, module.unsaid(field), of_code[field.extra["code"]]))
    return Neutral(parts if "statistics" in nothing else parts[:-1], tuple(leaves))
