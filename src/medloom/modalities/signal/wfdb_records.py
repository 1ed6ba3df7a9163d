"""WFDB records: headers checked against the size of their signal files before samples are read.

Source: Moody, "WFDB Applications Guide" and header(5), https://physionet.org/physiotools/wag/header-5.htm.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from medloom import find
from medloom.modalities.signal.recording import Recording, Refused

SAMPLE_BYTES = {
    "8": 1.0,
    "16": 2.0,
    "24": 3.0,
    "32": 4.0,
    "61": 2.0,
    "80": 1.0,
    "160": 2.0,
    "212": 1.5,
    "310": 4 / 3,
    "311": 4 / 3,
}
"""Bytes of a sample in each format; compressed ones (508, 516, 524) have no fixed size."""
RATE_WORD = 2
"""Place of the rate in the first line of a header, after the record's name and the number of its signals."""
_BROKEN = (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, ZeroDivisionError, OverflowError)


def library() -> Any:
    """The package wfdb. Importing it warns of its own use of pandas, which no user can mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find.need("wfdb")


def stem(path: Path) -> Path:
    """The record's path without suffix: of a header, of a signal file beside it, or as WFDB names records."""
    if path.suffix.lower() in (".hea", ".dat", ".mat", ".atr") and not path.with_name(path.name + ".hea").is_file():
        return path.with_suffix("")
    return path


def open_record(path: Path) -> Recording:
    """The record of a header, of one segment or of several. Raises Refused."""
    record = stem(path)
    if not record.with_name(record.name + ".hea").is_file():
        raise Refused("do not exist (a path ends in .hea or has no suffix, and is relative to the table's folder)")
    wfdb = library()
    try:
        header = wfdb.rdheader(str(record), rd_segments=True)
    except (*_BROKEN, wfdb.io.header.HeaderSyntaxError) as error:
        raise Refused("have a broken WFDB header, or segments that are missing; copy them again") from error
    _check_rate(record.with_name(record.name + ".hea"))
    if not header.n_sig:
        return Recording((), (), (), (), lambda channels, first, last: np.zeros((0, 0)))
    segments = getattr(header, "segments", None)
    parts = [header] if segments is None else [part for part in segments if part is not None]
    for part in parts:
        _check_size(part, record.parent)
    described = header if segments is None else _widest(parts, header.n_sig)
    frames = described.samps_per_frame if segments is None else [1] * header.n_sig
    length = header.sig_len or (_length(header, record.parent) if segments is None else 0)
    at = header.base_datetime
    return Recording(
        tuple(str(name) for name in described.sig_name),
        tuple(str(unit or "mV") for unit in described.units),
        tuple(float(header.fs) * count for count in frames),
        tuple(int(length) * count for count in frames),
        _reader(wfdb, record, frames, segments is not None),
        None if at is None else at.replace(tzinfo=UTC).timestamp(),
    )


def _check_rate(path: Path) -> None:
    """Refuses a rate that is no positive number, for which the library would take 250 Hz."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    line = next((one for one in lines if one.strip() and not one.lstrip().startswith("#")), "")
    words = line.split()
    if len(words) <= RATE_WORD:
        return  # 250 Hz, as the format says
    try:
        rate = float(words[RATE_WORD].partition("/")[0].partition("(")[0])
    except ValueError:
        rate = math.nan
    if rate == 0:
        raise Refused("have a sampling rate of zero; correct their headers")
    if not (math.isfinite(rate) and rate > 0):
        raise Refused("have a sampling rate that is no positive number; correct their headers")


def _widest(parts: Sequence[Any], count: int) -> Any:
    """The segment that describes all channels: the layout, or the first one of equal segments."""
    for part in parts:
        if part.n_sig == count:
            if any(number != 1 for other in parts for number in other.samps_per_frame or ()):
                raise Refused("have segments with several samples a frame; convert them to single records")
            return part
    raise Refused("have segments whose channels do not fit their header; copy them again")


def _check_size(header: Any, folder: Path) -> None:
    """Refuses a header that promises more than its signal files hold. Layout segments have no file."""
    if not header.sig_len:
        return
    for name in dict.fromkeys(header.file_name or ()):
        if name == "~":
            continue
        own = [place for place, other in enumerate(header.file_name) if other == name]
        path = folder / name
        if not path.is_file():
            raise Refused("have signal files that are missing; copy them beside their headers")
        size = SAMPLE_BYTES.get(str(header.fmt[own[0]]))
        if size is None:
            continue
        samples = header.sig_len * sum(header.samps_per_frame[place] for place in own)
        if (header.byte_offset[own[0]] or 0) + int(samples * size) > path.stat().st_size:
            raise Refused(
                "promise more samples than their signal files hold: they are truncated or their header is wrong; copy them again"
            )


def _length(header: Any, folder: Path) -> int:
    """Frames of a record whose header does not say how many, from the size of its file."""
    size = SAMPLE_BYTES.get(str(header.fmt[0]))
    path = folder / header.file_name[0]
    if size is None or len(set(header.file_name)) > 1 or not path.is_file():
        raise Refused("do not say how many samples they have; correct their headers")
    return int((path.stat().st_size - (header.byte_offset[0] or 0)) / (size * sum(header.samps_per_frame)))


def _reader(wfdb: Any, record: Path, frames: Sequence[int], segmented: bool) -> Any:
    def read(channels: Sequence[int], first: int, last: int) -> Float[np.ndarray, "channels samples"]:
        count = frames[channels[0]]
        start, stop = first // count, -(-last // count)
        try:
            got = wfdb.rdrecord(
                str(record),
                sampfrom=start,
                sampto=stop,
                channels=list(channels),
                smooth_frames=segmented or max(frames) == 1,
            )
        except _BROKEN as error:
            raise Refused("are truncated or broken WFDB records; copy them again") from error
        if got.p_signal is not None:
            return np.ascontiguousarray(got.p_signal.T)
        return np.array([part[first - start * count : last - start * count] for part in got.e_p_signal])

    return read
