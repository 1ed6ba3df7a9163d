"""Annotations of records as answers: a table with a row for each window, labelled by what was annotated there."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medloom import find
from medloom.errors import DataError, some, those
from medloom.modalities.signal.recording import Refused

if TYPE_CHECKING:
    import polars as pl

    from medloom.modalities.signal.options import SignalOptions

IN_FILE = "file"
"""In place of the ending of an annotation file: annotations stand in the record itself (EDF+, BDF+)."""
_STATE = "("
"""What the texts of WFDB rhythm annotations begin with; each lasts until the next one."""


@dataclass(frozen=True, slots=True)
class Note:
    """One annotation: from where to where, in seconds from the record's beginning; both alike where it has no length."""

    start: float
    stop: float
    text: str


def windows_table(
    table: Path,
    column: str,
    annotations: str,
    seconds: float,
    stride: float | None = None,
    labels: Sequence[str] = (),
    otherwise: str | None = None,
    out: Path | None = None,
) -> pl.DataFrame:
    """A row for each whole window of each record of a table: its columns, `window`, `start_s`, `stop_s`, `label`, `share`.

    `annotations` is the ending of WFDB annotation files ("atr"), or "file" for those in EDF+ and BDF+. The label is the
    annotation that covers most of the window, and `share` how much of it; where none that lasts is there, the most
    frequent one without length. `labels` are the texts that count (all, where none are given); `otherwise` stands where
    there is none. Written to `out`, paths in the table become relative to it. Raises DataError.
    """
    import polars as pl

    from medloom.cohort.files import read_table
    from medloom.modalities.signal.options import SignalOptions

    if not seconds > 0 or (stride is not None and not stride > 0):
        raise DataError("seconds and stride are lengths of time above 0")
    options = SignalOptions(column=column, window_seconds=seconds, file_rate_hz=1.0)
    frame = read_table(table, frozenset([column]))
    if column not in frame.columns:
        raise DataError(f"{table}: no column {column!r}; {find.near(column, frame.columns)}")
    taken = [name for name in ("window", "start_s", "stop_s", "label", "share") if name in frame.columns]
    if taken:
        raise DataError(f"{table}: has columns {some(taken)}, which the table of windows adds; rename them")
    parts: list[pl.DataFrame] = []
    refused: dict[str, list[str]] = {}
    for number, row in enumerate(frame.iter_slices(1)):
        path = row[column][0]
        if path is None:
            continue
        try:
            found = _windows_of(table.parent / path, annotations, options, stride or seconds, labels, otherwise)
        except Refused as error:
            refused.setdefault(str(error), []).append(str(number + 1))
            continue
        where = os.path.relpath(table.parent / path, out.parent) if out is not None else path
        named = found.with_columns(pl.lit(where).alias(column), window=pl.lit(f"{number + 1}-") + found["window"])
        parts.append(row.drop(column).join(named, how="cross").select([*frame.columns, *found.columns]))
    if refused:
        lines = [
            f"column {column!r}: {those(len(rows), 'record', why)} (lines {some(rows)})"
            for why, rows in refused.items()
        ]
        raise DataError("\n".join(lines))
    if not sum(map(len, parts)):
        raise DataError(f"{table}: no record holds a window of {seconds:g} s")
    whole = pl.concat(parts)
    if out is not None:
        whole.write_csv(out)
    return whole


def notes(path: Path, annotations: str) -> list[Note]:
    """The annotations of a record, in order. Raises Refused."""
    if annotations == IN_FILE:
        from medloom.modalities.signal import edf

        if path.suffix.lower() not in (".edf", ".bdf") or not path.is_file():
            raise Refused('do not exist, or are no EDF+ or BDF+ files, where annotations = "file" is looked for')
        found = [
            Note(start, start + (length if np.isfinite(length) else 0.0), text)
            for start, length, text in edf.open_edf(path).notes()
        ]
        return sorted(found, key=lambda note: note.start)
    return _of_wfdb(path, annotations)


def _of_wfdb(path: Path, ending: str) -> list[Note]:
    from medloom.modalities.signal.wfdb_records import library, stem

    record = stem(path)
    if not record.with_name(f"{record.name}.{ending}").is_file():
        raise Refused(f"have no annotation file ending in .{ending}")
    wfdb = library()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library's own use of pandas
            read = wfdb.rdann(str(record), ending)
        header = wfdb.rdheader(str(record))
    except (OSError, ValueError, IndexError, KeyError, TypeError) as error:
        raise Refused("have annotation files that cannot be read; copy them again") from error
    rate = float(read.fs or header.fs or 0)
    if not rate:
        raise Refused("have a sampling rate of zero; correct their headers")
    texts = [str(aux).strip().rstrip("\x00") for aux in read.aux_note]
    at = [float(sample) / rate for sample in read.sample]
    changes = [place for place, text in enumerate(texts) if text.startswith(_STATE)]
    ends = [*(at[place] for place in changes[1:]), header.sig_len / rate][: len(changes)]
    found = [Note(at[p], end, texts[p]) for p, end in zip(changes, ends, strict=True)]
    beats = [
        Note(at[p], at[p], symbol) for p, symbol in enumerate(read.symbol) if symbol != "+" and p not in set(changes)
    ]
    return sorted(found + beats, key=lambda note: note.start)


def _windows_of(
    path: Path, annotations: str, options: SignalOptions, stride: float, labels: Sequence[str], otherwise: str | None
) -> pl.DataFrame:
    """Windows of one record with their labels."""
    import polars as pl

    from medloom.modalities.signal.recording import open_recording

    length = open_recording(path, options).seconds
    listed = [note for note in notes(path, annotations) if not labels or note.text in labels]
    count = max(0, int(np.floor((length - options.window_seconds) / stride + 1e-9)) + 1)
    start = np.arange(count) * stride
    stop = start + options.window_seconds
    names = sorted({note.text for note in listed})
    cover, points = np.zeros((count, len(names))), np.zeros((count, len(names)))
    for note in listed:
        place = names.index(note.text)
        first, last = np.searchsorted(stop, note.start, "right"), np.searchsorted(start, note.stop, "right")
        near = slice(int(first), int(last))
        if note.stop > note.start:
            cover[near, place] += np.minimum(stop[near], note.stop) - np.maximum(start[near], note.start)
        else:
            points[near, place] += 1
    lasts = cover.max(axis=1, initial=0.0) > 0
    best = np.where(lasts[:, None], cover, points)
    has = best.max(axis=1, initial=0.0) > 0
    chosen = best.argmax(axis=1) if names else np.zeros(count, np.int64)
    return pl.DataFrame(
        {
            "window": [str(number) for number in range(1, count + 1)],
            "start_s": start.round(6),
            "stop_s": stop.round(6),
            "label": pl.Series(
                [names[c] if h else otherwise for c, h in zip(chosen, has, strict=True)], dtype=pl.String
            ),
            "share": (cover.max(axis=1, initial=0.0) / options.window_seconds).clip(0, 1).round(4),
        }
    )
