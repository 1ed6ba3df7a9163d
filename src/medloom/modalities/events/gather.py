"""Events of a batch of rows, gathered at once, and made into what an encoder reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.cohort.ticks import TIMELESS
from medloom.modalities.events.pack import flat
from medloom.modalities.events.plain import OF_VALUES, Seen, counts, statistics
from medloom.modalities.events.summary import NORMAL_SCORES
from medloom.packed import Source

if TYPE_CHECKING:
    from medloom.batch import Field

LARGEST_SCALED = 10.0
"""Scaled values are clipped here, so that one slip of a decimal point does not outweigh all other events."""


BLOCK_POSITIONS = 16_384
"""Positions that are gathered at a time."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The events of some rows, in the order of row and time.

    `code` are vocabulary ids; `slot` places among the frequent codes, else −1. `raw` is NaN without a value or where
    values of the code are not read; `scaled` then is 0. `age` is NaN of timeless events; `oldest` the age of each row's
    oldest event.
    """

    row: Int[np.ndarray, " seen"]
    length: Int[np.ndarray, " rows"]
    code: Int[np.ndarray, " seen"]
    slot: Int[np.ndarray, " seen"]
    raw: Float[np.ndarray, " seen"]
    scaled: Float[np.ndarray, " seen"]
    age: Float[np.ndarray, " seen"]
    oldest: Float[np.ndarray, " rows"]

    @classmethod
    def of_nothing(cls) -> Gathered:
        """One row without events."""
        none, number = np.zeros(0, np.int64), np.zeros(0)
        return cls(none, np.zeros(1, np.int64), none, none, number, number, number, np.zeros(1))

    def seen(self, lookback: float | None, scaled: bool = True) -> Seen:
        """The events for statistics and grids, with values scaled or as measured."""
        value = np.where(np.isnan(self.raw), np.nan, self.scaled) if scaled else self.raw
        return Seen(self.row, self.slot, value, self.age, self.span(lookback) / 2)

    def span(self, lookback: float | None) -> Float[np.ndarray, " rows"]:
        """The time that each row looks back on: the look-back, or the age of its oldest event."""
        return self.oldest if lookback is None else np.full(len(self.oldest), lookback)


def seen_by(
    source: Source, rows: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " seen"], Int[np.ndarray, " seen"]]:
    """Positions of all events that these rows see, timeless ones first, and the row of each."""
    assert source.start is not None and source.stop is not None
    start = np.stack([source.along["fixed_start"][rows], source.start[rows]], axis=1).ravel()
    stop = np.stack([source.along["fixed_stop"][rows], source.stop[rows]], axis=1).ravel()
    where, part = flat(start, stop)
    return where, part // 2


def counted(source: Source, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """How many events each row sees."""
    assert source.start is not None and source.stop is not None
    fixed = source.along["fixed_stop"][rows] - source.along["fixed_start"][rows]
    return source.stop[rows] - source.start[rows] + fixed


def gather(source: Source, rows: Int[np.ndarray, " rows"], unit: float) -> Gathered:
    """The events of rows of a bound source; ages in units of `unit` ticks."""
    where, row = seen_by(source, rows)
    arrays, bound = source.packed.arrays, source.bound
    code, time = np.asarray(arrays["code"][where]), np.asarray(arrays["time"][where])
    value, scale = np.asarray(arrays["value"][where]).astype(np.float64), bound["scale"][code]
    has_value = ~np.isnan(value) & (scale > 0)
    with np.errstate(over="ignore"):
        scaled = np.divide(value - bound["centre"][code], scale, out=np.zeros_like(value), where=has_value)
    if "edges" in bound:
        bending = np.flatnonzero(has_value & (bound["count"][code] > 0))
        scaled[bending] = _bend(value[bending], code[bending], bound)
    timed = time != TIMELESS
    index_time = source.along["index_time"][rows]
    age = np.full(len(time), np.nan)
    age[timed] = np.maximum(index_time[row[timed]] - time[timed], 0) / unit
    oldest = np.zeros(len(rows))
    assert source.start is not None and source.stop is not None
    start, some = source.start[rows], source.stop[rows] > source.start[rows]
    oldest[some] = (index_time[some] - np.asarray(arrays["time"][start[some]])) / unit
    return Gathered(
        row,
        np.bincount(row, minlength=len(rows)).astype(np.int64),
        bound["id"][code],
        bound["slot"][code],
        np.where(has_value, value, np.nan),
        np.clip(scaled, -LARGEST_SCALED, LARGEST_SCALED),
        age,
        oldest,
    )


def bent(knots: Sequence[Sequence[float]], scale: Float[np.ndarray, " words"]) -> dict[str, np.ndarray]:
    """Tables of a curve for each word of the vocabulary, through its knots to normal scores; straight beyond them.

    "edges" and "scores" are "words levels", of which "count" are used; "slope" is that beyond the ends. Where several
    knots are one value, its score is the mean of theirs.
    """
    edges, scores = (np.full((len(knots), len(NORMAL_SCORES)), fill) for fill in (np.inf, 0.0))
    count = np.zeros(len(knots), np.int64)
    for word, of_word in enumerate(knots):
        if of_word:
            value, place = np.unique(np.array(of_word), return_inverse=True)
            count[word] = len(value)
            edges[word, : len(value)] = value
            scores[word, : len(value)] = np.bincount(place.ravel(), NORMAL_SCORES) / np.bincount(place.ravel())
    slope = np.divide(1.0, scale, out=np.zeros(len(scale)), where=scale > 0)
    return {"edges": edges, "scores": scores, "count": count, "slope": slope}


def _bend(
    value: Float[np.ndarray, " seen"], code: Int[np.ndarray, " seen"], bound: Mapping[str, np.ndarray]
) -> Float[np.ndarray, " seen"]:
    edges, scores, count = bound["edges"][code], bound["scores"][code], bound["count"][code]
    event = np.arange(len(value))
    above = (value[:, None] >= edges).sum(axis=1)
    inside = (above > 0) & (above < count)
    left, right = np.maximum(above - 1, 0), np.where(inside, above, np.maximum(above - 1, 0))
    width = np.where(inside, edges[event, right] - edges[event, left], 1.0)
    rise = np.where(inside, (scores[event, right] - scores[event, left]) / width, bound["slope"][code])
    with np.errstate(over="ignore"):
        return scores[event, left] + (value - edges[event, left]) * rise


def boxed(
    source: Source, rows: Int[np.ndarray, " rows"], unit: float
) -> tuple[Float[np.ndarray, "rows length"], Bool[np.ndarray, "rows length"], dict[str, np.ndarray]]:
    """Scaled values, where there are events, and what else there is of each, in boxes as long as the longest row.

    Gathered some rows at a time: what stays in the processor's cache is twice as fast.
    """
    length = counted(source, rows)
    longest = max(int(length.max(initial=0)), 1)
    valid = np.arange(longest) < length[:, None]
    kinds = {"value": np.float32, "code": np.int64, "has_value": bool, "has_time": bool, "age": np.float32, "gap": np.float32}  # fmt: skip
    boxes = {name: np.zeros(valid.shape, kind) for name, kind in kinds.items()}
    step = max(1, BLOCK_POSITIONS // longest)
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        for name, found in _box(source, rows[part], valid[part], unit).items():
            boxes[name][part] = found
    return boxes.pop("value"), valid, boxes


def _box(
    source: Source, rows: Int[np.ndarray, " rows"], valid: Bool[np.ndarray, "rows length"], unit: float
) -> dict[str, np.ndarray]:
    arrays, bound = source.packed.arrays, source.bound
    where = _positions(source, rows, valid.shape[1])
    where *= valid
    if not len(arrays["code"]):
        return {}
    code, time, value = (np.asarray(arrays[name])[where] for name in ("code", "time", "value"))
    code *= valid
    rate = bound["rate"][code]
    has_value = (value == value) & (rate > 0)
    with np.errstate(over="ignore", invalid="ignore"):
        value -= bound["middle"][code]
        value *= rate
    value[~has_value] = 0
    if "edges" in bound:
        bending = has_value & (bound["count"][code] > 0)
        raw = np.asarray(arrays["value"])[where[bending]].astype(np.float64)
        value[bending] = _bend(raw, code[bending], bound)
    timed = (time != TIMELESS) & valid
    # Where there is no time the difference is of no use, and goes.
    age = source.along["index_time"][rows][:, None] - time
    age *= timed
    gap = np.zeros_like(age)
    np.subtract(age[:, :-1], age[:, 1:], out=gap[:, 1:], where=timed[:, 1:] & timed[:, :-1])
    return {
        "value": np.clip(value, -LARGEST_SCALED, LARGEST_SCALED, out=value),
        "code": bound["id"][code],
        "has_value": has_value,
        "has_time": timed,
        "age": _log(age, unit),
        "gap": _log(gap, unit),
    }


def _positions(source: Source, rows: Int[np.ndarray, " rows"], longest: int) -> Int[np.ndarray, "rows longest"]:
    """Where the events of each row lie, timeless ones first; beyond the last one, anywhere."""
    assert source.start is not None
    start, fixed_start = source.start[rows][:, None], source.along["fixed_start"][rows][:, None]
    fixed = source.along["fixed_stop"][rows][:, None] - fixed_start
    place = np.arange(longest)
    if not fixed.any():
        return start + place
    return np.where(place < fixed, fixed_start + place, start + place - fixed)


def _log(ticks: Int[np.ndarray, "rows length"], unit: float) -> Float[np.ndarray, "rows length"]:
    """The logarithm of 1 and a time, in float32: seven digits of a time that is known to a millionth of it."""
    found = ticks.astype(np.float32)
    found *= np.float32(1 / unit)
    found += np.float32(1)
    return np.log(found, out=found)


def scaled_statistics(
    found: Gathered,
    lookback: float | None,
    has_values: Bool[np.ndarray, " slots"],
    usual: Float[np.ndarray, " slots"],
) -> dict[str, np.ndarray]:
    """The numbers of `plain` on scales of about one: "statistics", 0 where unknown, and "known", both "rows numbers".

    Counts are logarithms less their `usual` ones; slopes are changes over the look-back, times since a share of it.
    """
    rows, slots = len(found.length), len(has_values)
    seen = found.seen(lookback)
    span = np.maximum(found.span(lookback), 1e-9)[:, None]
    of_code = np.log1p(counts(seen.row, seen.slot, rows, slots)) - usual
    total = np.log1p(found.length)[:, None] - np.log1p(np.expm1(usual).sum())
    of_value = statistics(seen, slots)[:, has_values]
    of_value[..., OF_VALUES.index("slope")] *= span
    of_value[..., OF_VALUES.index("since")] /= span
    numbers = np.concatenate([total, of_code, of_value.reshape(rows, -1)], axis=1)
    known = ~np.isnan(numbers)
    numbers = np.clip(np.where(known, numbers, 0.0), -LARGEST_SCALED, LARGEST_SCALED)
    return {"statistics": numbers, "known": known}


def field_of(
    value: Float[np.ndarray, "rows ..."],
    present: Bool[np.ndarray, " rows"],
    valid: Bool[np.ndarray, "rows length"] | None,
    extra: Mapping[str, np.ndarray],
) -> Field:
    """Arrays as the tensors of a field; numbers are float32."""
    import torch

    from medloom.batch import Field

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float64 else array)

    boxes = {name: tensor(array) for name, array in extra.items()}
    held = None if valid is None else torch.from_numpy(valid)
    return Field(tensor(value), torch.from_numpy(present), held, boxes)
