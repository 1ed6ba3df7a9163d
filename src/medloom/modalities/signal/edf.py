"""EDF, EDF+, BDF and BDF+ files, mapped and not loaded; annotations of the plus formats.

Source: Kemp et al., "A simple format for exchange of digitized polygraphic recordings", 1992; Kemp & Olivan,
"European data format 'plus'", 2003 (https://www.edfplus.info/specs).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from medloom.modalities.signal.recording import Recording, Refused

_FIXED = 256
_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
"""Bytes of each field of a channel: label, transducer, unit, least and most (physical, digital), filters, samples."""
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
MOST_GAP_SECONDS = 86_400.0
"""A longer gap between two blocks of a discontinuous file is taken for a broken file."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: its name and unit, samples in a data block, and the line from digital to physical values."""

    name: str
    unit: str
    samples: int
    gain: float
    offset: float
    first: int
    """The channel's first sample within a data block."""


@dataclass(frozen=True, slots=True)
class Edf:
    """A file whose header fits its size. `onset` is where each data block begins, in seconds."""

    path: Path
    channels: tuple[Channel, ...]
    annotations: tuple[Channel, ...]
    header_bytes: int
    blocks: int
    block_seconds: float
    width: int
    """Bytes of a sample: 2 in EDF, 3 in BDF."""
    starts: float | None
    gaps: bool

    @property
    def block_samples(self) -> int:
        """Samples of all channels in a data block."""
        return sum(channel.samples for channel in (*self.channels, *self.annotations))

    def raw(self) -> UInt8[np.ndarray, "blocks bytes"]:
        """All data blocks, mapped."""
        shape = (self.blocks, self.block_samples * self.width)
        return np.memmap(self.path, np.uint8, "r", self.header_bytes, shape)

    def onsets(self) -> Float[np.ndarray, " blocks"]:
        """When each data block begins, in seconds from the first one."""
        even = np.arange(self.blocks) * self.block_seconds
        if not self.gaps:
            return even
        channel = self.annotations[0]
        raw = self.raw()
        told = [next(_entries(_bytes_of(raw[b], channel, self.width)), None) for b in range(self.blocks)]
        if None in told:
            raise Refused("are discontinuous (EDF+D) and do not say when each data block begins; export them as EDF+C")
        onset = np.array([one[0] for one in told if one is not None]) - float(told[0][0])  # type: ignore[index]
        step = np.diff(onset)
        if (step < self.block_seconds * (1 - 1e-6)).any() or (step > MOST_GAP_SECONDS).any():
            raise Refused("have data blocks that overlap or are out of order; export them as EDF+C")
        return onset

    def recording(self) -> Recording:
        """The record; gaps of a discontinuous file are unknown samples."""
        onset = self.onsets()
        rates = tuple(channel.samples / self.block_seconds for channel in self.channels)
        raw = self.raw()
        begins = {
            count: np.round(onset * (count / self.block_seconds)).astype(np.int64)
            for count in {channel.samples for channel in self.channels}
        }

        def read(channels: Sequence[int], first: int, last: int) -> Float[np.ndarray, "channels samples"]:
            chosen = [self.channels[number] for number in channels]
            return _read(raw, chosen, begins[chosen[0].samples], self.width, first, last)

        return Recording(
            tuple(channel.name for channel in self.channels),
            tuple(channel.unit for channel in self.channels),
            rates,
            tuple(int(begins[channel.samples][-1]) + channel.samples for channel in self.channels),
            read,
            self.starts,
        )

    def notes(self) -> list[tuple[float, float, str]]:
        """Annotations as (begin and length in seconds from the record's beginning, text); length NaN where not given."""
        raw = self.raw()
        found = []
        first = self._first_onset(raw)
        for block in range(self.blocks):
            for channel in self.annotations:
                listed = _entries(_bytes_of(raw[block], channel, self.width))
                found += [(begin - first, length, text) for begin, length, texts in listed for text in texts if text]
        return found

    def _first_onset(self, raw: UInt8[np.ndarray, "blocks bytes"]) -> float:
        if not self.annotations:
            return 0.0
        entry = next(_entries(_bytes_of(raw[0], self.annotations[0], self.width)), None)
        return entry[0] if entry is not None else 0.0


def open_edf(path: Path) -> Edf:
    """Reads the header. Raises Refused where it is broken, or promises other than the file's size."""
    with open(path, "rb") as handle:
        fixed = handle.read(_FIXED)
        if len(fixed) < _FIXED or fixed[:8] not in (b"0       ", b"\xffBIOSEMI"):
            raise Refused("are not EDF or BDF files; copy or convert them again")
        count = _number(fixed[252:256], "number of channels")
        if not 0 < count <= 4_096 or _number(fixed[184:192], "length of the header") != _FIXED * (1 + count):
            raise Refused("have a header whose length does not fit its number of channels; copy or convert them again")
        described = handle.read(_FIXED * count)
    if len(described) < _FIXED * count:
        raise Refused("end within their header; copy them again")
    width = 2 if fixed[:1] == b"0" else 3
    channels = _channels(described, count)
    seconds = _real(fixed[244:252], "length of a data block")
    blocks = int(_real(fixed[236:244], "number of data blocks"))
    block_bytes = sum(channel.samples for channel in channels) * width
    stored = path.stat().st_size - _FIXED * (1 + count)
    if block_bytes < 1 or seconds < 0:
        raise Refused("have data blocks without samples or of negative length; correct their headers")
    blocks = stored // block_bytes if blocks == -1 else blocks
    if blocks < 1 or blocks * block_bytes > stored:
        raise Refused(
            "promise more samples than they hold, or none: they are truncated or their header is wrong; copy them again"
        )
    values = tuple(channel for channel in channels if channel.name not in _ANNOTATIONS)
    if seconds == 0 and values:
        raise Refused("have a sampling rate of zero (data blocks of no length); correct their headers")
    notes = tuple(channel for channel in channels if channel.name in _ANNOTATIONS)
    gaps = fixed[192:197] in (b"EDF+D", b"BDF+D") and bool(notes)
    return Edf(path, values, notes, _FIXED * (1 + count), blocks, seconds, width, _starts(fixed), gaps)


def _channels(described: bytes, count: int) -> list[Channel]:
    columns, at = [], 0
    for size in _FIELDS:
        columns.append([described[at + size * n : at + size * (n + 1)] for n in range(count)])
        at += size * count
    found, first = [], 0
    for n in range(count):
        name = columns[0][n].decode("latin-1").strip()
        samples = _number(columns[8][n], "number of samples")
        if samples < 0:
            raise Refused("have a channel with a negative number of samples; correct their headers")
        gain, offset = 1.0, 0.0
        if name not in _ANNOTATIONS:
            low, high, least, most = (_real(columns[place][n], "range of a channel") for place in (3, 4, 5, 6))
            if most == least or high == low:
                raise Refused("have a channel whose range is empty; correct their headers")
            gain = (high - low) / (most - least)
            offset = low - gain * least
        found.append(Channel(name, columns[2][n].decode("latin-1").strip(), samples, gain, offset, first))
        first += samples
    return found


def _number(field: bytes, what: str) -> int:
    value = _real(field, what)
    if value != int(value):
        raise Refused(f"have a header whose {what} is not a whole number; copy or convert them again")
    return int(value)


def _real(field: bytes, what: str) -> float:
    try:
        value = float(field.decode("ascii").strip())
    except (ValueError, UnicodeDecodeError) as error:
        raise Refused(f"have a header whose {what} is not a number; copy or convert them again") from error
    if not np.isfinite(value) or abs(value) > 2**53:
        raise Refused(f"have a header whose {what} is not a number; copy or convert them again")
    return value


def _starts(fixed: bytes) -> float | None:
    """Seconds since 1970; None where the date is unknown. Two-digit years from 85 on are of the last century."""
    try:
        day, month, year = (int(part) for part in fixed[168:176].decode("ascii").split("."))
        hour, minute, second = (int(part) for part in fixed[176:184].decode("ascii").split("."))
        at = datetime(year + (1900 if year >= 85 else 2000), month, day, hour, minute, second, tzinfo=UTC)
    except (ValueError, UnicodeDecodeError):
        return None
    # Anonymised files carry this date, which says nothing.
    return None if (day, month, year) == (1, 1, 85) else at.timestamp()


def _read(
    raw: UInt8[np.ndarray, "blocks bytes"],
    channels: Sequence[Channel],
    begins: Int[np.ndarray, " blocks"],
    width: int,
    first: int,
    last: int,
) -> Float[np.ndarray, "channels samples"]:
    """Samples `first:last` of channels with as many samples in a block, whose blocks begin at `begins`."""
    out = np.full((len(channels), last - first), np.nan)
    count = channels[0].samples
    start = max(int(np.searchsorted(begins, first, "right")) - 1, 0)
    stop = int(np.searchsorted(begins, last, "left"))
    if stop <= start:
        return out
    at = begins[start:stop, None] + np.arange(count) - first
    inside = (at >= 0) & (at < last - first)
    for place, channel in enumerate(channels):
        digital = _digital(raw[start:stop, channel.first * width : (channel.first + count) * width], width)
        out[place, at[inside]] = digital[inside] * channel.gain + channel.offset
    return out


def _digital(raw: UInt8[np.ndarray, "blocks bytes"], width: int) -> Int[np.ndarray, "blocks samples"]:
    """Little-endian whole numbers of 2 or 3 bytes."""
    parts = np.ascontiguousarray(raw)
    if width == 2:
        return parts.view("<i2").astype(np.int32)
    three = parts.reshape(len(parts), -1, 3).astype(np.int32)
    value = three[..., 0] | three[..., 1] << 8 | three[..., 2] << 16
    return value - ((value & 0x800000) << 1)


def _bytes_of(block: UInt8[np.ndarray, " bytes"], channel: Channel, width: int) -> bytes:
    return block[channel.first * width : (channel.first + channel.samples) * width].tobytes()


def _entries(raw: bytes) -> Iterator[tuple[float, float, list[str]]]:
    """Time-stamped lists of annotations: begin, length (NaN where there is none), and texts ("" for time keeping)."""
    for entry in raw.split(b"\x00"):
        stamp, *texts = entry.split(b"\x14")
        if not texts:
            continue
        begin, _, length = stamp.partition(b"\x15")
        try:
            yield float(begin), float(length) if length else float("nan"), [t.decode("utf-8") for t in texts[:-1]]
        except (ValueError, UnicodeDecodeError) as error:
            raise Refused("hold annotations that cannot be read; export them again") from error
