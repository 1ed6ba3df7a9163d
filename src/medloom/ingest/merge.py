"""Runs merged into the arrays of a store: by patient, time, code and value, whatever the order of the lines was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Int, Shaped

from medloom.cohort.event_store import TICKS, TIMELESS
from medloom.cohort.times import Kind
from medloom.ingest.code_units import Plan
from medloom.ingest.runs import Run
from medloom.packed import Packer

MERGE_ROWS = 2_000_000
"""Events that are merged at a time; a patient with more is merged alone."""
BEFORE_BIRTH = "before the patient's birth"
AFTER_DEATH = "after the patient's death"
DAY_TICKS = 86_400 * TICKS


class Life(NamedTuple):
    """The codes of birth and death, and whether events after death are broken."""

    birth: str
    death: str
    after_death: bool


@dataclass(slots=True)
class Merged:
    """What the merging counted: events by patient and by code, what was left out, and the first and last time."""

    per_patient: Int[np.ndarray, " patients"]
    events: Int[np.ndarray, " codes"]
    patients: Int[np.ndarray, " codes"]
    valued: Int[np.ndarray, " codes"]
    impossible: Int[np.ndarray, " codes"]
    broken: list[pl.DataFrame] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    first: int | None = None
    last: int | None = None


def all_patients(runs: Sequence[Run]) -> pl.Series:
    """Every patient of the runs, sorted."""
    known = pl.Series("patient", [], pl.String)
    for run in runs:
        known = pl.concat([known, run.patients()["patient"]]).unique()
    return known.sort()


def all_pairs(runs: Sequence[Run]) -> tuple[pl.DataFrame, list[Int[np.ndarray, " pairs"]]]:
    """Every pair of code and unit, sorted, and the place there of each run's own pairs."""
    tables = [run.pairs() for run in runs]
    joined = pl.concat(tables).group_by("code", "unit").agg(pl.col("events").sum()).sort("code", "unit")
    numbered = joined.with_row_index("place")
    places = [
        table.join(numbered, on=["code", "unit"], how="left", maintain_order="left")["place"].cast(pl.Int64).to_numpy()
        for table in tables
    ]
    return joined, places


def merge(
    runs: Sequence[Run], patients: pl.Series, pairs: Sequence[Int[np.ndarray, " pairs"]], plan: Plan, kind: Kind | None,
    life: Life, packer: Packer,
) -> Merged:  # fmt: skip
    """Appends code, time and value of all events to `packer`."""
    size = len(plan.codes) + 1
    events, seen, valued, impossible = (np.zeros(size, np.int64) for _ in range(4))
    done = Merged(np.zeros(len(patients), np.int64), events, seen, valued, impossible)
    for first, stop, columns in _blocks(runs, patients, pairs):
        kept = _settled(columns, plan, kind, life, stop - first, done)
        code, time, value, unit = (kept[name].to_numpy() for name in ("code", "time", "value", "unit"))
        packer.add("code", code)
        packer.add("time", time)
        packer.add("value", value)
        done.per_patient[first:stop] = np.bincount(unit, minlength=stop - first)
        _count(done, code, value, unit, size, stop - first)
        _span(done, time)
    return done


def _number(codes: pl.Series, name: str) -> int:
    place = codes.index_of(name)
    return 0 if place is None else place + 1


def _blocks(
    runs: Sequence[Run], patients: pl.Series, pairs: Sequence[Int[np.ndarray, " pairs"]]
) -> Iterator[tuple[int, int, dict[str, Shaped[np.ndarray, " events"]]]]:
    """(first patient, the one after the last, columns) of so many patients as have about `MERGE_ROWS` events."""
    known = pl.Enum(patients)
    held = []
    total = np.zeros(len(patients), np.int64)
    for run in runs:
        own = run.patients()
        unit = own["patient"].cast(known).to_physical().cast(pl.Int32).to_numpy()
        total[unit] += own["events"].to_numpy()
        held.append((unit, np.concatenate([[0], np.cumsum(own["events"].to_numpy())]).astype(np.int32)))
    until = np.cumsum(total)
    first = 0
    while first < len(patients):
        before = int(until[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(until, before + MERGE_ROWS, "right")))
        stretches = [_stretch(run, *own, pair, first, stop) for run, own, pair in zip(runs, held, pairs, strict=True)]
        found = [one for one in stretches if one is not None]
        yield first, stop, {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        first = stop


def _stretch(
    run: Run,
    units: Int[np.ndarray, " local"],
    starts: Int[np.ndarray, " bounds"],
    pairs: Int[np.ndarray, " pairs"],
    first: int,
    stop: int,
) -> dict[str, Shaped[np.ndarray, " events"]] | None:
    """What a run holds of some patients: it is sorted by patient, so that this is one stretch of it."""
    low, high = np.searchsorted(units, [first, stop])
    begin, end = int(starts[low]), int(starts[high])
    if begin == end:
        return None
    return {
        "unit": np.repeat(units[low:high] - np.int32(first), np.diff(starts[low : high + 1])),
        "pair": pairs[run.stretch("pair", begin, end)],
        "time": run.stretch("time", begin, end),
        "value": run.stretch("value", begin, end),
        "line": run.stretch("line", begin, end),
    }


def _settled(
    columns: dict[str, Shaped[np.ndarray, " events"]],
    plan: Plan,
    kind: Kind | None,
    life: Life,
    patients: int,
    done: Merged,
) -> pl.DataFrame:
    """The events of a block of patients in their final codes and units, sorted, without those that are left out."""
    pair, unit, time = columns["pair"], columns["unit"], columns["time"]
    code = plan.code[pair]
    # What float32 cannot hold becomes infinite, and is counted as impossible below. Adding 0 makes −0 the same bytes as 0.
    with np.errstate(over="ignore"):
        value = (columns["value"] * plan.factor[pair] + plan.offset[pair] + 0.0).astype(np.float32)
    impossible = (value < plan.low[code]) | (value > plan.high[code]) | np.isinf(value)
    done.impossible += np.bincount(code[impossible], minlength=len(done.impossible))
    kept = ~impossible
    ends = (_number(plan.codes, life.birth), _number(plan.codes, life.death))
    if any(ends):
        kept &= _living(columns, code, kind, life, ends, patients, kept, done)
    frame = pl.DataFrame({"unit": unit, "time": time, "code": code, "value": value})
    frame = frame if kept.all() else frame.filter(pl.Series(kept))
    return frame.sort("unit", "time", "code", "value")


def _living(
    columns: dict[str, Shaped[np.ndarray, " events"]],
    code: Int[np.ndarray, " events"],
    kind: Kind | None,
    life: Life,
    ends: tuple[int, int],
    patients: int,
    kept: Bool[np.ndarray, " events"],
    done: Merged,
) -> Bool[np.ndarray, " events"]:
    """Which events are between birth and death, by the day where times are dates. The others are listed as broken."""
    unit, time, line = columns["unit"], columns["time"], columns["line"]
    timed = time != TIMELESS
    day = time // DAY_TICKS if kind == "date" else time
    inside = np.ones(len(time), bool)
    largest = np.iinfo(np.int64).max
    for number, reason, start, pick in (
        (ends[0], BEFORE_BIRTH, largest, np.minimum),
        (ends[1], AFTER_DEATH, -largest, np.maximum),
    ):
        if not number:
            continue
        mark = (code == number) & timed
        limit = np.full(patients, start)
        pick.at(limit, unit[mark], day[mark])
        known = limit[unit] != start
        wrong = timed & kept & inside & known & ((day < limit[unit]) if pick is np.minimum else (day > limit[unit]))
        if reason == AFTER_DEATH and not life.after_death:
            done.counts["events on a day after the patient's death, kept"] += int(wrong.sum())
        elif wrong.any():
            inside &= ~wrong
            listed = np.sort(line[wrong])
            done.broken.append(
                pl.DataFrame({"line": listed, "reason": pl.Series([reason]).new_from_index(0, len(listed))})
            )
    return inside


def _count(
    done: Merged, code: Int[np.ndarray, " events"], value: Shaped[np.ndarray, " events"],
    unit: Int[np.ndarray, " events"], size: int, patients: int,
) -> None:  # fmt: skip
    """Adds the events, values and patients of each code."""
    done.events += np.bincount(code, minlength=size)
    done.valued += np.bincount(code[~np.isnan(value)], minlength=size)
    key = unit.astype(np.int64) * size + code
    if patients * size <= 50_000_000:
        seen = np.zeros(patients * size, bool)
        seen[key] = True
        done.patients += seen.reshape(patients, size).sum(axis=0)
    else:
        done.patients += np.bincount(pl.Series(key).unique().to_numpy() % size, minlength=size)


def _span(done: Merged, time: Int[np.ndarray, " events"]) -> None:
    known = time[time != TIMELESS]
    if len(known):
        first, last = int(known.min()), int(known.max())
        done.first = first if done.first is None else min(done.first, first)
        done.last = last if done.last is None else max(done.last, last)
