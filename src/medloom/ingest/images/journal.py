"""The headers of all files, one line each on disk: a stopped ingest goes on behind the last one, and memory stays flat."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medloom.errors import DataError, counted, some
from medloom.ingest.source import Counted, Watch, unwatched
from medloom.modalities.image.reading.decoding import Pool
from medloom.modalities.image.reading.dicom import browsers_note
from medloom.modalities.image.reading.dicom_header import Header, Plane
from medloom.modalities.image.reading.scan import Refused
from medloom.modalities.image.reading.worker import part_of

SYNC_EVERY = 500
A_BROWSERS_NOTE = Refused("are notes of a file browser (Thumbs.db, desktop.ini, .DS_Store), by their names")


@dataclass(slots=True)
class Journal:
    """Where the lines of each series begin in the file, and how many files were set apart for each reason.

    `broken` counts the images of a series that cannot be read, `births` holds digests of the dates of birth of a patient,
    `folders` the series whose images lie in a folder. Images that name no series are kept together by their folder.
    """

    file: Path
    series: dict[str, list[int]] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    births: dict[str, set[str]] = field(default_factory=dict)
    folders: dict[str, set[str]] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    files: int = 0

    def headers(self, series: str) -> list[Header]:
        """All headers of one series."""
        found = []
        with open(self.file, "rb") as handle:
            for offset in self.series[series]:
                handle.seek(offset)
                found.append(_header(json.loads(handle.readline())["header"]))
        return found

    def lost(self, series: str) -> int:
        """Images that cannot be read and are of this series, by their own word or because no other lies in their folder."""
        beside = (count for key, count in self.broken.items() if key != series and self.folders.get(key) == {series})
        return self.broken.get(series, 0) + sum(beside)

    def apart(self) -> Iterator[tuple[str, str]]:
        """(path below the source, reason) of each file that is no image or cannot be read."""
        with open(self.file, "rb") as handle:
            for line in handle:
                told = json.loads(line)
                if "refused" in told:
                    yield told["path"], told["refused"]

    def _note(self, told: dict[str, Any], offset: int) -> None:
        self.files += 1
        if "refused" in told:
            self.reasons[told["refused"]] = self.reasons.get(told["refused"], 0) + 1
            if told.get("series") is not None:
                key = told["series"] or _folder(told["path"])
                self.broken[key] = self.broken.get(key, 0) + 1
            return
        header, folder = told["header"], _folder(told["path"])
        key = header["series"] or folder
        self.series.setdefault(key, []).append(offset)
        self.folders.setdefault(folder, set()).add(key)
        if header["patient"] and header["birth"]:
            self.births.setdefault(header["patient"], set()).add(header["birth"])


def _folder(path: str) -> str:
    """A key that no series can have, whose identifiers are digits and dots."""
    return f"in {os.path.dirname(path)}"


def files_below(source: Path, watch: Watch = unwatched) -> list[str]:
    """All files below the source, sorted, as paths below it. Raises DataError where a folder cannot be opened.

    Links are not followed, so nothing leads out of it; pipes and devices, which may never end, are no files.
    """
    if source.is_file():
        return [source.name]
    found, closed = list[str](), list[str]()
    for above, _, names in os.walk(source, onerror=lambda error: closed.append(str(error.filename)), followlinks=False):
        inner = os.path.relpath(above, source)
        found += [os.path.normpath(os.path.join(inner, name)) for name in names if _regular(os.path.join(above, name))]
        watch(Counted("files found", len(found)))
    if closed:
        raise DataError(f"{source}: {counted(len(closed), 'folder')} cannot be opened ({some(sorted(closed))}); allow it, or move them away")  # fmt: skip
    return sorted(found)


def _regular(path: str) -> bool:
    return stat.S_ISREG(os.lstat(path).st_mode)


def write_journal(source: Path, names: Sequence[str], file: Path, pool: Pool, watch: Watch = unwatched) -> Journal:
    """Reads the headers of all files that the journal does not have yet, in order, and appends them."""
    journal = Journal(file)
    done = _known(journal)
    root = source if source.is_dir() else source.parent
    todo = names[done:]
    noted = [browsers_note(Path(name)) for name in todo]
    asked = (name for name, note in zip(todo, noted, strict=True) if not note)
    answers = pool.answers({"do": "headers", "path": str((root / name).absolute())} for name in asked)
    with open(file, "ab") as handle:
        for number, (name, note) in enumerate(zip(todo, noted, strict=True), start=1):
            answer = A_BROWSERS_NOTE if note else next(answers)
            told = (
                {"path": name, "refused": str(answer), "series": answer.series}
                if isinstance(answer, Refused)
                else {"path": name, **answer[0]}
            )
            offset = handle.tell()
            handle.write(json.dumps(told).encode() + b"\n")
            journal._note(told, offset)
            watch(Counted("headers read", done + number, len(names)))
            if number % SYNC_EVERY == 0:
                handle.flush()
    return journal


def _known(journal: Journal) -> int:
    """Takes up the whole lines of an earlier call and cuts off one that was being written."""
    if not journal.file.exists():
        return 0
    whole = 0
    with open(journal.file, "rb") as handle:
        for line in handle:
            if not line.endswith(b"\n"):
                break
            journal._note(json.loads(line), whole)
            whole += len(line)
    os.truncate(journal.file, whole)
    return journal.files


def _header(told: dict[str, Any]) -> Header:
    planes: tuple[Plane, ...] = tuple(part_of(Plane, one) for one in told["planes"])
    return Header(**{**told, "planes": planes})
