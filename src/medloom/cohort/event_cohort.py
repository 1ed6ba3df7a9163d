"""The table of a cohort made of a store of events: a row for each index time, with its columns and outcomes.

What an input may read of a row ends before its index time, and what answers it begins there: windows that say
otherwise are mistakes of the study. Everything is counted for all rows together; no patient is visited on its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool

from medloom.cohort.code_groups import CodeSets, mistake, read_groups, unfolded
from medloom.cohort.criteria import Step
from medloom.cohort.event_store import TICKS, EventStore, is_store, open_store
from medloom.cohort.files import canonical
from medloom.cohort.index_times import IndexTimes, asked, observed_until
from medloom.cohort.outcomes import Answered, Rows, answers, column
from medloom.cohort.set_events import occurrences
from medloom.cohort.windows import Occurrences, Seen, Spans
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, counted
from medloom.event_parts import (
    ANY,
    END_OF_DATA,
    LAST_EVENT,
    EventCohortPart,
    OutcomePart,
    WindowCriterionPart,
)
from medloom.event_set_part import in_order
from medloom.find import near
from medloom.window import WindowError


@dataclass(frozen=True, slots=True)
class Made:
    """The table, how its rows came to be, and how many codes of the store each set holds."""

    frame: pl.DataFrame
    flow: tuple[Step, ...]
    codes: Mapping[str, int]


def from_store(part: CohortPart, path: Path, folder: Path, *, own: bool, answered: bool) -> Made:
    """The rows that the study's rules make of a store. Raises DataError.

    `own` is the study's own store, in which every set has to hold a code; other stores may lack some. Where rows are
    not `answered`, as for predictions, there are no outcomes, and criteria that look ahead are not asked.
    """
    return of_store(with_groups(part, folder), open_store(path), own=own, answered=answered)


def of_store(part: CohortPart, store: EventStore, *, own: bool, answered: bool) -> Made:
    """The same of a store that is open."""
    events = part.events
    assert events is not None
    if store.kind is None:
        raise DataError(f"{store.folder}: no event has a time, so that there is no index time")
    held = held_codes(events, store, own)
    try:
        sets = occurrences(store, str(store.kind), {name: events.code_set(name) for name in held}, held)
        return _made(part, events, store, sets, own, answered, {name: int(one.sum()) for name, one in held.items()})
    except WindowError as error:
        raise DataError(f"cohort.events: {error}") from error


def with_groups(part: CohortPart, folder: Path) -> CohortPart:
    """The part with the codes of its table of groups in place of their names, so that it needs the table no more."""
    events = part.events
    if events is None or events.groups is None:
        return part
    groups = read_groups(folder / events.groups)
    sets = {}
    for name in events.sets:
        one = events.code_set(name)
        try:
            codes = None if one.codes is None else tuple(unfolded(one.patterns, groups))
            sets[name] = one.model_copy(update={"codes": codes})
        except DataError as error:
            raise DataError(f"cohort.events.sets.{name}: {error}") from error
    return part.model_copy(update={"events": events.model_copy(update={"sets": sets, "groups": None})})


def is_folder_of_store(data: object) -> bool:
    """Whether data given in place of a table are the folder of a store."""
    return isinstance(data, (str, Path)) and (is_store(Path(data)) or Path(data).is_dir())


def held_codes(part: EventCohortPart, store: EventStore, own: bool) -> dict[str, Bool[np.ndarray, " codes"]]:
    """Which codes of the store each set holds; place 0 is no code. Raises DataError with every mistake."""
    parts = {name: part.code_set(name) for name in dict.fromkeys((*part.sets, ANY))}
    patterns = {name: one.patterns for name, one in parts.items() if one.codes is not None}
    wrong = [f"{name}: {why}" for name, each in patterns.items() for one in each if (why := mistake(one))]
    if wrong:
        raise DataError("\n".join(f"cohort.events.sets.{line}" for line in wrong))
    codes = store.codes["code"].to_list()
    names = CodeSets.of(patterns).names(codes)
    held = {name: np.zeros(len(codes) + 1, bool) for name in parts}
    for place, each in enumerate(names, 1):
        for name in each:
            held[name][place] = True
    for name in in_order({name: one.names for name, one in parts.items()}):
        for of in parts[name].any_of or ():
            held[name] |= held[of]
    empty = [name for name, one in held.items() if not one.any()]
    if own and empty:
        said = ((name, near(patterns.get(name, ("",))[0].rpartition(":")[2], codes)) for name in empty)
        raise DataError(
            "\n".join(f"cohort.events.sets.{name}: the store has no code of this set; {hint}" for name, hint in said)
        )
    return held


def _made(
    part: CohortPart,
    events: EventCohortPart,
    store: EventStore,
    sets: Mapping[str, Occurrences],
    own: bool,
    answered: bool,
    codes: Mapping[str, int],
) -> Made:
    end = observed_until(store, events, sets, own)
    there, steps = _observed(events, asked(events.index, str(store.kind), sets, end), sets, end)
    rows = Rows(str(store.kind), there.unit, there.index, end[there.unit])
    rows, more = _chosen(events, rows, sets, answered)
    if not len(rows.unit):
        last = next(step for step in [*steps, *more] if not step.rows)
        raise DataError(f"cohort.events: no row is left after {last.name!r} ({last.why or 'no event of this set'})")
    frame = _frame(part, store, rows)
    frame = frame.hstack([column(name, one, rows, sets) for name, one in events.columns.items()])
    told = []
    for name, one in events.outcomes.items() if answered else ():
        for each in answers(name, one, rows, sets):
            frame = frame.hstack(list(each.columns))
            told.append(_told(each, one, frame, part))
    return Made(frame, (*steps, *more, *told), codes)


def _observed(
    part: EventCohortPart, found: IndexTimes, sets: Mapping[str, Occurrences], end: np.ndarray
) -> tuple[IndexTimes, list[Step]]:
    """The rows at whose index time the patient is still there and observed, with the steps on the way."""
    index = part.index
    steps = [_step(f"index times at {index.at!r}", _rule(part), found, 0, tells=True)]
    taken: list[tuple[str, str, np.ndarray]] = []
    if index.until is not None:
        why = f"the index time is at or after the next {index.until!r}"
        taken.append((f"before {index.until!r}", why, found.index < found.until))
    if part.ends is not None:
        gone = sets[part.ends].next_time(found.unit, np.full(len(found.unit), np.iinfo(np.int64).min + 1))
        why = f"the index time is at or after {part.ends!r}"
        taken.append((f"before {part.ends!r}", why, found.index < gone))
    why = f"the index time is after the end of observation ({part.observed_until})"
    taken.append(("observed at the index time", why, found.index <= end[found.unit]))
    held = np.ones(len(found.unit), bool)
    for name, why, keeps in taken:
        left, held = held & ~keeps, held & keeps
        steps.append(_step(name, why, found.take(held), int(left.sum())))
    return found.take(held), steps


def _rule(part: EventCohortPart) -> str:
    """The rule of index times in words."""
    index = part.index
    after = index.after if isinstance(index.after, tuple) else (index.after,)
    words = [f"{index.which} {index.at}", *([f"+ {', '.join(map(str, after))}"] if any(after) else [])]
    words += [f"every {index.every}"] if index.every is not None else []
    words += [f"until {index.until}"] if index.until is not None else []
    until = part.observed_until if part.observed_until in (LAST_EVENT, END_OF_DATA) else f"{part.observed_until}"
    return f"{' '.join(words)}; observed until {until}" + (f" or {part.ends}" if part.ends else "")


def _chosen(part: EventCohortPart, rows: Rows, sets: Mapping[str, Occurrences], ahead: bool) -> tuple[Rows, list[Step]]:
    """The rows that meet the criteria, with a step for each. What is not observed meets nothing for certain."""
    held = np.ones(len(rows.unit), bool)
    steps = []
    for kind, criteria in (("include", part.include), ("exclude", part.exclude)):
        for one in criteria:
            if one.looks_ahead and not ahead:
                continue
            meets, unknown = _meets(one, rows, sets)
            keeps = meets & ~unknown if kind == "include" else ~meets | unknown
            left, held = held & ~keeps, held & keeps
            why = f"not ({_said(one)})" if kind == "include" else _said(one)
            open_ = int((left & unknown).sum())
            steps.append(Step(one.name, why, int(held.sum()), _patients(rows.unit[held]), int(left.sum()), open_))
    return Rows(rows.kind, rows.unit[held], rows.index[held], rows.end[held]), steps


def _meets(one: WindowCriterionPart, rows: Rows, sets: Mapping[str, Occurrences]) -> tuple[np.ndarray, np.ndarray]:
    """Rows that meet a criterion, and those of which it is not known, as their window was not observed to its end."""
    spans = Spans.of(one.span, rows.kind, rows.unit, rows.index, sets)
    count = Seen.of(sets[one.of], spans.until(rows.end)).count
    least, most = one.bounds
    enough, few = count >= least, np.ones(len(count), bool) if most is None else count <= most
    certain = spans.observed(rows.end) | ~few | (enough if most is None else np.zeros(len(count), bool))
    return enough & few, ~certain


def _said(one: WindowCriterionPart) -> str:
    least, most = one.bounds
    many = f"at least {least}" if most is None else f"{least} to {most}" if least else f"at most {most}"
    return f"{many} of {one.of} in {one.window}" + (", which looks ahead" if one.looks_ahead else "")


def _frame(part: CohortPart, store: EventStore, rows: Rows) -> pl.DataFrame:
    """Row id, patient and index time. A row is its patient at its index time."""
    patient = canonical(store.patients).gather(rows.unit - 1).alias(str(part.patient))
    if rows.kind == "date":
        at = pl.Series(str(part.at), rows.index).cast(pl.Datetime("us"))
        text = at.dt.to_string("%Y-%m-%dT%H:%M:%S%.f")
    else:
        # Divided by NumPy: polars multiplies by the inverse, which makes 0.00009999999999999999 of 0.0001.
        at = pl.Series(str(part.at), rows.index / TICKS)
        text = canonical(at)
    row = pl.select((pl.lit(patient) + "@" + pl.lit(text)).alias(str(part.row))).to_series()
    return pl.DataFrame([row, patient, at])


def _told(each: Answered, one: OutcomePart, frame: pl.DataFrame, part: CohortPart) -> Step:
    """A step that leaves nobody out: how many rows have an answer, and why others have none."""
    open_ = "censored" if one.take == "time" else "left without an answer"
    words = [f"{counted(each.known, 'row')} with an answer", f"{each.unobserved:,} not observed to the end of {one.window}: {open_}"]  # fmt: skip
    if each.past:
        came = "after a competing event" if one.competing else "without such an event"
        words.append(f"{each.past:,} {came}")
    names = " and ".join(series.name for series in each.columns)
    return Step(f"outcome {names}", "; ".join(words), len(frame), frame[str(part.patient)].n_unique(), tells=True)


def _step(name: str, why: str, rows: IndexTimes, left_out: int, tells: bool = False) -> Step:
    return Step(name, why, len(rows.unit), _patients(rows.unit), left_out, tells=tells)


def _patients(unit: Sequence[int] | np.ndarray) -> int:
    return int(np.count_nonzero(np.bincount(unit))) if len(unit) else 0
