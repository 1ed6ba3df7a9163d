"""Volumes decoded once, resampled where it is asked for, and kept as memory-mapped arrays beside their inventory."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medloom.errors import DataError, counted
from medloom.ingest.images.doubts import doubt
from medloom.ingest.images.inventory import line_of, made_of, names_of, write_inventory
from medloom.ingest.images.journal import Journal, files_below, write_journal
from medloom.ingest.source import Counted, Watch, unwatched
from medloom.modalities.image.reading.decoding import Pool, scan_of
from medloom.modalities.image.reading.dicom_header import Plane
from medloom.modalities.image.reading.scan import Refused, Scan, Wish
from medloom.modalities.image.reading.stacks import Stack, stacks
from medloom.modalities.image.stored import file_of

FORMAT = 2
KEPT = ("stored", "shape", "dtype", "geometry", "voxels")
"""What is known of a volume only once it is decoded."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is stored, and how."""

    kinds: tuple[str, ...]
    gaps: str
    window: tuple[float, float] | None
    spacing_mm: tuple[float, ...] | None
    size: tuple[int, ...] | None
    picture_size: tuple[int, ...] | None

    def wish(self, stack: Stack) -> Wish:
        """How this stack is to be read."""
        flat = len(stack.planes) == 1
        return Wish(
            2 if flat else 3,
            0,
            gaps="interpolate" if self.gaps == "interpolate" else "refuse",
            window=self.window,
            spacing_mm=None if flat else self.spacing_mm,
            size=self.picture_size if flat else self.size,
        )


def make_store(source: Path, to: Path, choice: Choice, processes: int, watch: Watch = unwatched) -> tuple[str, ...]:
    """Reads all DICOM below `source` into the store `to`; lines that say what was found. Raises DataError.

    Goes on where an earlier call was stopped, and reads again only what changed. The store's bytes do not depend on
    where it was stopped nor on the number of processes.
    """
    if to.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{to}: lies within {source}, and would be read as a part of it; give a folder beside it")
    to.mkdir(parents=True, exist_ok=True)
    _same_choice(to, choice)
    names = files_below(source, watch)
    if not names:
        raise DataError(f"{source}: holds no files")
    work = to / "work"
    work.mkdir(exist_ok=True)
    _same_files(work, names)
    pool = Pool(processes)
    try:
        journal = write_journal(source, names, work / "headers.jsonl", pool, watch)
        if not journal.series:
            why = "; ".join(sorted(journal.reasons)[:3])
            raise DataError(f"{source}: no DICOM image among {counted(len(names), 'file')} (files there {why})")
        lines = _volumes(source if source.is_dir() else source.parent, to, choice, journal, pool, watch)
    finally:
        pool.close()
    _finish(to, work, lines, journal)
    return tuple(_told(lines, journal))


def _same_choice(to: Path, choice: Choice) -> None:
    file = to / "ingest.json"
    now = json.dumps({"format": FORMAT, "kind": "images", **asdict(choice)}, indent=1)
    if file.exists():
        if file.read_text(encoding="utf-8") != now:
            raise DataError(f"{to}: was made with other options; give another folder, or the options in {file.name}")
        return
    if any(to.iterdir()):
        raise DataError(f"{to}: holds other files; give an empty folder")
    partial = to / "ingest.json.partial"
    partial.write_text(now, encoding="utf-8")
    partial.replace(file)


def _same_files(work: Path, names: list[str]) -> None:
    """Begins the headers anew where the source has other files than when it was stopped."""
    now = hashlib.blake2b(os.fsencode("\0".join(names)), digest_size=16).hexdigest()
    file = work / "files.txt"
    if not file.exists() or file.read_text(encoding="utf-8") != now:
        (work / "headers.jsonl").unlink(missing_ok=True)
        file.write_text(now, encoding="utf-8")


def _volumes(root: Path, to: Path, choice: Choice, journal: Journal, pool: Pool, watch: Watch) -> list[dict[str, Any]]:
    """The inventory's lines, after every volume that is asked for lies in the store."""
    done, lines = _done(to), []
    waiting: deque[dict[str, Any]] = deque()

    def requests() -> Iterator[Mapping[str, Any]]:
        for name, stack in _found(journal, pool, watch):
            line = {**line_of(stack, name), "made_of": made_of(stack, root.absolute())}
            lines.append(line)
            before = done.get(name)
            if before is not None and before["made_of"] == line["made_of"]:
                line.update({key: before[key] for key in KEPT})
                continue
            reason = _left_out(stack, choice)
            if reason is not None:
                line["problems"].append(reason)
                continue
            waiting.append(line)
            header = {**asdict(replace(stack.header, planes=()))}
            planes = [asdict(plane) for plane in stack.planes]
            yield {"do": "scan", "name": name, "wish": asdict(choice.wish(stack)), "stack": {"header": header, "planes": planes}}  # fmt: skip

    with open(to / "work" / "volumes.jsonl", "a", encoding="utf-8") as handle:
        for answer in pool.answers(requests()):
            line = waiting.popleft()  # answers come in the order of the requests
            if isinstance(answer, Refused):
                line["problems"].append(f"not stored: the files {answer}")
                continue
            scan = scan_of(answer)
            line.update(_kept(to, line["volume"], scan))
            handle.write(json.dumps(line) + "\n")
            handle.flush()
    lines.sort(key=lambda line: (line["patient"] or "", line["study"] or "", line["volume"]))
    doubt(lines, journal.births)
    return lines


def _found(journal: Journal, pool: Pool, watch: Watch) -> Iterator[tuple[str, Stack]]:
    def digest(plane: Plane) -> str:
        (answer,) = pool.answers([{"do": "digest", "plane": asdict(plane)}])
        return "" if isinstance(answer, Refused) else str(answer[0]["digest"])

    times: Counter[str] = Counter()
    for number, series in enumerate(sorted(journal.series), start=1):
        watch(Counted("series put together and stored", number, len(journal.series)))
        found = stacks(journal.headers(series), digest)
        lost = journal.lost(series)
        notes = (f"{counted(lost, 'more image')} of its series cannot be read",) if lost else ()
        for name, stack in zip(names_of(found[0].header.series, found), found, strict=True):
            nameless = () if stack.header.series else ("no SeriesInstanceUID, put together by folder",)
            stack = replace(stack, problems=(*stack.problems, *notes, *nameless))
            times[name] += 1
            if times[name] > 1:  # the same number given to other images, as copied and anonymised files have it
                note = "its DICOM identifier is that of other images, too"
                stack = replace(stack, problems=(*stack.problems, note))
            yield (name if times[name] == 1 else f"{name}#{times[name]}"), stack


def _left_out(stack: Stack, choice: Choice) -> str | None:
    if stack.kind == "film":
        return "not stored: films (several frames, of which none tells its place in space) are no volumes"
    if stack.kind not in choice.kinds:
        return f"not stored: kind {stack.kind} was not asked for"
    if stack.refused is not None and not (len(stack.planes) == 1):
        fills = stack.refused.startswith(("miss ", "have slices at uneven")) and choice.gaps == "interpolate"
        return None if fills else f"not stored: the files {stack.refused}"
    return None


def _kept(to: Path, name: str, scan: Scan) -> dict[str, Any]:
    """Writes the voxels, whole or not at all, and gives what the inventory says of them."""
    file = file_of(to, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    held = np.ascontiguousarray(scan.values).reshape(-1).view(np.uint8).data
    with open(partial, "wb") as handle:
        handle.write(held)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(file)
    shape = list(scan.file_shape)
    affine = scan.affine.copy()
    for axis, raw, size in zip(scan.axes, scan.raw_shape, scan.values.shape[1:], strict=True):
        factor = raw / size
        affine[:3, 3] += scan.affine[:3, axis] * (factor - 1) / 2
        affine[:3, axis] = scan.affine[:3, axis] * factor
        shape[axis] = size
    geometry = {
        "shape": list(scan.values.shape),
        "dtype": scan.values.dtype.str,
        "file_shape": shape,
        "affine": affine.tolist(),
        "placed": scan.placed,
        "sized": scan.sized,
    }
    return {
        "stored": True,
        "shape": " × ".join(map(str, scan.values.shape)),
        "dtype": scan.values.dtype.name,
        "geometry": json.dumps(geometry),
        "voxels": hashlib.blake2b(held, digest_size=16).hexdigest(),
    }


def _done(to: Path) -> dict[str, dict[str, Any]]:
    """What lies in the store already: lines of this call's forerunner, or of a finished one."""
    done: dict[str, dict[str, Any]] = {}
    for file in (to / "volumes.jsonl", to / "work" / "volumes.jsonl"):
        for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # the line that was being written when the call was stopped
            if file_of(to, line["volume"]).exists():
                done[line["volume"]] = line
    return done


def _finish(to: Path, work: Path, lines: list[dict[str, Any]], journal: Journal) -> None:
    write_inventory(lines, to)
    # A file's name may hold bytes that are no text.
    with open(to / "set_apart.csv", "w", encoding="utf-8", errors="backslashreplace", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["file", "reason"])
        writer.writerows(journal.apart())
    partial = to / "volumes.jsonl.partial"
    stored = [line for line in lines if line["stored"]]
    partial.write_text("".join(json.dumps(line) + "\n" for line in stored), encoding="utf-8")
    partial.replace(to / "volumes.jsonl")
    for file in work.iterdir():
        file.unlink()
    work.rmdir()


def _told(lines: list[dict[str, Any]], journal: Journal) -> Iterator[str]:
    stored = sum(line["stored"] for line in lines)
    patients = len({line["patient"] for line in lines if line["patient"]})
    yield f"{counted(journal.files, 'file')}, {len(journal.series)} series, {counted(patients, 'patient')}"
    yield f"{stored} of {counted(len(lines), 'volume or picture', 'volumes and pictures')} stored"
    for reason, count in sorted(journal.reasons.items(), key=lambda one: -one[1])[:10]:
        yield f"  {counted(count, 'file')} set apart: {'of those that' if count == 1 else 'they'} {reason}"
    told: Counter[str] = Counter()
    for line in lines:
        told.update(line["problems"])
    for problem, count in told.most_common(10):
        yield f"  {counted(count, 'volume')}: {problem}"
    yield "inventory.csv has a line for each volume, set_apart.csv one for each file that is no image"
