"""A source of events into a store: read into runs, merged, finished. What was stopped goes on; the result is the same."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from medloom import __version__
from medloom.cohort.event_store import TICKS, finish_store, is_store, open_store
from medloom.cohort.times import Kind
from medloom.errors import DataError, counted
from medloom.ingest.clean import Rules
from medloom.ingest.code_units import Plan, plan, read_code_table
from medloom.ingest.merge import DAY_TICKS, Life, Merged, all_pairs, all_patients, merge
from medloom.ingest.runs import FILE_BITS, RUN_ROWS, Run, groups, kind_of_run, open_run, write_run
from medloom.ingest.source import AFTERWARDS, Block, Counted, EventOptions, Ingested, OpenedEvents, Watch, unwatched
from medloom.ingest.times import NO_TIME, kind_of, look_like_dates
from medloom.packed import Packer

_FULL = ("No space left", "File too large", "quota exceeded")
"""What libraries say of a full disk, or of a file that may not grow, where they give no number."""
UNFINISHED = ".ingest"
"""Folder inside the store that holds the runs until the store is finished."""
LISTED = "broken.csv"


@dataclass(frozen=True, slots=True)
class Reading:
    """All runs of a source, and what was counted while they were read."""

    runs: tuple[Run, ...]
    kind: Kind | None
    counts: Counter[str]
    broken: Counter[str]


def make_store(source: OpenedEvents, to: Path, options: EventOptions, watch: Watch = unwatched) -> Ingested:
    """The store of a source. Raises DataError where lines are refused, naming them in `broken.csv`; a second call goes on."""
    table = read_code_table(options.codes, options.conversions)
    identity = _identity(source, options)
    if is_store(to):
        return _already(to, identity)
    if to.is_file():
        raise DataError(f"{to} is a file; expected a folder to write")
    if to.is_dir() and any(to.iterdir()) and not (to / UNFINISHED).is_dir():
        raise DataError(f"{to} holds other files; give an empty folder, or one that does not exist yet")
    with _room(to):
        work = _begun(to, source, options)
        reading = _read(source, options, work, watch)
        _list_broken(to, source, reading.runs)
        _refuse_mixed_zones(reading, options)
        if not any(run.events for run in reading.runs):
            _refuse(_broken_words(reading.broken, reading, to, options) or [_nothing(to, source, reading)])
        pairs, places = all_pairs(reading.runs)
        decided = plan(pairs, table)
        _refuse(_broken_words(reading.broken, reading, to, options) + _unit_words(decided, options))
        patients = all_patients(reading.runs)
        packer = Packer(to)
        life = Life(options.birth, options.death, options.after_death == "broken")
        merged = merge(reading.runs, patients, places, decided, reading.kind, life, packer)
        late = _list_more(to, source, merged)
        _refuse(_broken_words(late, None, to, options))
        broken = reading.broken + late
        if not merged.per_patient.any():
            raise DataError(_nothing(to, source, reading))
        if not broken:
            (to / LISTED).unlink(missing_ok=True)
        kept = merged.per_patient > 0
        packer.add("offset", np.concatenate([[0], [0], np.cumsum(merged.per_patient[kept])]).astype(np.int64))
        codes = _codes(decided, merged, source)
        provenance = _provenance(source, options, identity, reading, decided, merged, broken)
        finish_store(to, packer, reading.kind, patients.filter(pl.Series(kept)), codes, provenance)
        shutil.rmtree(work)
    return Ingested(to, _words(to, provenance))


def _already(to: Path, identity: str) -> Ingested:
    """A store that is there: of this very source it is done, else it is kept and the call refused."""
    provenance = open_store(to).provenance()
    if provenance.get("identity") != identity:
        raise DataError(
            f"{to}: holds a store of another source, or made with other options; give another folder, or delete it"
        )
    shutil.rmtree(to / UNFINISHED, ignore_errors=True)
    return Ingested(to, ("finished already:", *_words(to, provenance)))


def _identity(source: OpenedEvents, options: EventOptions) -> str:
    """A digest of what is read and how, which two stores of one source share."""
    files = [(path.name, path.stat().st_size) for path in source.files]
    given = options.model_dump(mode="json")
    for name in ("codes", "conversions"):
        path = getattr(options, name)
        given[name] = None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps([source.kind, files, given, source.facts], sort_keys=True).encode()).hexdigest()


def _begun(to: Path, source: OpenedEvents, options: EventOptions) -> Path:
    """The folder of the runs: the one of an ingest that was stopped, where it read the same files in the same way."""
    work = to / UNFINISHED
    files = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in source.files]
    given = options.model_dump(mode="json", exclude=set(AFTERWARDS))
    begun = json.dumps([__version__, source.kind, files, given, dict(source.facts)], sort_keys=True)
    marker = work / "begun.json"
    if work.is_dir() and (not marker.is_file() or marker.read_text(encoding="utf-8") != begun):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    if not marker.is_file():
        marker.with_suffix(".partial").write_text(begun, encoding="utf-8")
        marker.with_suffix(".partial").replace(marker)
    return work


def _read(source: OpenedEvents, options: EventOptions, work: Path, watch: Watch) -> Reading:
    """All runs: those that are there, and the others read now."""
    done = work / "read.json"
    runs: list[Run] = []
    if done.is_file():
        number = json.loads(done.read_text(encoding="utf-8"))
        found = [open_run(work / f"run-{place:05d}") for place in range(number)]
        runs = [run for run in found if run is not None]
    else:
        kind: Kind | None = None
        newest = None if options.shifted_dates or source.shifted_dates else _newest(source.files)
        for place, blocks in enumerate(groups(source.blocks(), RUN_ROWS)):
            folder = work / f"run-{place:05d}"
            run = open_run(folder)
            if run is None:
                kind = kind or _kind(blocks, options, source)
                shutil.rmtree(folder, ignore_errors=True)
                run = write_run(folder, blocks, Rules(kind, options.time_format, options.zone, newest))
            kind = kind or kind_of_run(run)
            runs.append(run)
            watch(Counted("events read", sum(one.events for one in runs)))
        done.write_text(json.dumps(len(runs)), encoding="utf-8")
    counts: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for run in runs:
        counts.update(run.meta["counts"])
        broken.update(dict(run.broken().group_by("reason").len().rows()))
    timed = next((kind_of_run(run) for run in runs if run.meta["timed"]), None)
    return Reading(tuple(runs), timed, counts, broken)


def _kind(blocks: Sequence[Block], options: EventOptions, source: OpenedEvents) -> Kind | None:
    """Whether times are dates or numbers, as the first lines that have times say."""
    if options.time_format is not None or any(block.time_format is not None for block in blocks):
        return "date"
    for block in blocks:
        kind = kind_of(block.frame["time"])
        if kind == "number" and look_like_dates(block.frame["time"]):
            raise DataError(
                f"{source.files[block.file]}: times are numbers that look like days; say time_format=%Y%m%d (or %Y%m%d%H%M%S), or write them as YYYY-MM-DD"
            )
        if kind == "number" and options.zone is not None:
            raise DataError(f"{source.files[block.file]}: times are numbers, which have no zone; leave zone out")
        if kind is not None:
            return kind
    return None


def _newest(files: Sequence[Path]) -> int:
    """The latest time that an event can have: a day after the newest file was written, as its zone may be ahead."""
    return int(max(path.stat().st_mtime for path in files) * TICKS) + DAY_TICKS


def _refuse_mixed_zones(reading: Reading, options: EventOptions) -> None:
    zoned, local = reading.counts["times with a zone"], reading.counts["times without a zone"]
    if zoned and local and options.zone is None:
        raise DataError(
            f"{counted(zoned, 'time has', 'times have')} a zone and {local} have none, so that they cannot be put in order; "
            "say which zone the others are of, as zone=Europe/Berlin"
        )


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise DataError("\n".join(problems))


def _nothing(to: Path, source: OpenedEvents, reading: Reading) -> str:
    what = source.files[0] if len(source.files) == 1 else f"{source.files[0]} and {len(source.files) - 1} other files"
    counted = "".join(f"; {name}: {number:,}" for name, number in sorted(reading.counts.items())[:5])
    listed = f"{to / LISTED} lists what was left out" if reading.broken else "no line of it is of a kind that is read"
    return f"no event is left of {what}; {listed}{counted}"


def _broken_words(broken: Counter[str], reading: Reading | None, to: Path, options: EventOptions) -> list[str]:
    if not broken or options.broken == "skip":
        return []
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in sorted(broken.items()))
    what = counted(
        broken.total(),
        *(
            ("line cannot be read", "lines cannot be read")
            if reading is not None
            else ("event cannot be", "events cannot be")
        ),
    )
    asked = broken[NO_TIME] and "timeless" in type(options).model_fields
    facts = "; lines that have none because they are facts of the patient, such as sex, are kept with timeless=true"
    return [
        f"{what}: {reasons}. {to / LISTED} lists them all; mend them, or leave them out with "
        f"broken=skip{facts if asked else ''}"
    ]


def _unit_words(decided: Plan, options: EventOptions) -> list[str]:
    if not decided.problems or options.units == "apart":
        return []
    more = len(decided.problems) - 20
    return [
        "codes with values in units that cannot be brought together:",
        *(f"  {problem}" for problem in decided.problems[:20]),
        *([f"  and {more} more"] if more > 0 else []),
        "give conversions=FILE.csv (code, from, to, factor), or keep them apart with units=apart",
    ]


def _list_broken(to: Path, source: OpenedEvents, runs: Sequence[Run]) -> None:
    """`broken.csv`: every broken line with its file and what is wrong, and nothing of what stands in it."""
    partial = to / f"{LISTED}.partial"
    with open(partial, "w", encoding="utf-8") as handle:
        handle.write("file,line,reason\n")
        for run in runs:
            _append(handle, source, run.broken())
    partial.replace(to / LISTED)


def _list_more(to: Path, source: OpenedEvents, merged: Merged) -> Counter[str]:
    with open(to / LISTED, "a", encoding="utf-8") as handle:
        found: Counter[str] = Counter()
        for frame in merged.broken:
            _append(handle, source, frame)
            found.update(dict(frame.group_by("reason").len().rows()))
    return found


def _append(handle: Any, source: OpenedEvents, broken: pl.DataFrame) -> None:
    if not len(broken):
        return
    names = pl.Series([path.name for path in source.files], dtype=pl.String)
    frame = pl.DataFrame(
        {
            "file": names.gather(broken["line"] // (1 << FILE_BITS)),
            "line": broken["line"] % (1 << FILE_BITS),
            "reason": broken["reason"],
        }
    )
    handle.write(frame.write_csv(include_header=False))


def _codes(decided: Plan, merged: Merged, source: OpenedEvents) -> pl.DataFrame:
    said = [source.descriptions.get(code) for code in decided.codes.to_list()]
    described = {"description": pl.Series(said, dtype=pl.String)} if any(said) else {}
    return pl.DataFrame(
        {
            "code": decided.codes,
            "measured_in": decided.measured_in,
            "events": pl.Series(merged.events[1:], dtype=pl.UInt32),
            "patients": pl.Series(merged.patients[1:], dtype=pl.UInt32),
            "valued": pl.Series(merged.valued[1:], dtype=pl.UInt32),
            **described,
        }
    )


def _provenance(
    source: OpenedEvents, options: EventOptions, identity: str, reading: Reading, decided: Plan, merged: Merged,
    broken: Counter[str],
) -> dict[str, Any]:  # fmt: skip
    """What was read, and what was left out and why. The same for each ingest of one source with the same options."""
    names = decided.codes.to_list()
    impossible = {names[place - 1]: int(merged.impossible[place]) for place in np.flatnonzero(merged.impossible)}
    return {
        "medloom": __version__,
        "source": source.kind,
        **source.facts,
        "files": [{"name": path.name, "bytes": path.stat().st_size} for path in source.files],
        "options": {
            name: Path(value).name if name in ("codes", "conversions") and value else value
            for name, value in options.model_dump(mode="json").items()
        },
        "events": int(merged.events.sum()),
        "patients": int((merged.per_patient > 0).sum()),
        "codes": int((merged.events > 0).sum()),
        "first": _when(merged.first, reading.kind),
        "last": _when(merged.last, reading.kind),
        "broken": dict(sorted(broken.items())),
        "impossible": impossible,
        "converted": list(decided.converted),
        "apart": list(decided.problems),
        "counts": dict(sorted((reading.counts + merged.counts).items())),
        "identity": identity,
    }


def _when(ticks: int | None, kind: Kind | None) -> str | float | None:
    if ticks is None:
        return None
    if kind == "number":
        return ticks / TICKS
    return datetime.fromtimestamp(ticks // TICKS, UTC).strftime("%Y-%m-%d") if abs(ticks) < 10**17 else None


def _words(to: Path, provenance: dict[str, Any]) -> tuple[str, ...]:
    """The lines that a person reads after an ingest."""
    span = "" if provenance["first"] is None else f", {provenance['first']} to {provenance['last']}"
    lines = [
        f"{counted(provenance['events'], 'event')} of {counted(provenance['patients'], 'patient')}, {counted(provenance['codes'], 'code')}{span}"
    ]
    if provenance["broken"]:
        lines.append(f"broken lines left out, listed in {to / LISTED}:")
        lines += [f"  {number:,} {reason}" for reason, number in provenance["broken"].items()]
    if provenance["impossible"]:
        lines.append("impossible values left out:")
        lines += [f"  {number:,} of {code}" for code, number in _most(provenance["impossible"])]
    if provenance["converted"]:
        lines.append("values converted:")
        lines += [
            f"  {one['values']:,} of {one['code']} from {one['from']} to {one['to']}"
            for one in provenance["converted"][:20]
        ]
    if provenance["apart"]:
        lines.append("units kept apart:")
        lines += [f"  {text}" for text in provenance["apart"][:20]]
    lines += [f"{name}: {number:,}" for name, number in provenance["counts"].items()]
    if provenance.get("tables_absent"):
        lines.append(f"tables of the mapping that are not there: {', '.join(provenance['tables_absent'])}")
    if provenance.get("tried_on_real_data") is False:
        lines.append("this mapping was not tried on real data: look at what it made before you use it")
    return (*lines, f"store: {to}")


def _most(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20]


@contextmanager
def _room(to: Path) -> Iterator[None]:
    """A full disk in a sentence, whichever library met it."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not any(text in str(error) for text in _FULL) and getattr(error, "errno", None) not in full:
            raise
        raise DataError(
            f"{to}: no room left on the disk; make room and call again, and it goes on where it stopped"
        ) from error
