"""Records as tiles of samples in one array, written a block at a time, and windows of them gathered again.

A tile holds `TILE` samples of all leads, one lead after another: a window is a few runs of memory for each lead, and a
record of any length is written as it is read. The last tile of a record is filled with unknown samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from medloom.errors import DataError, rows_named, some, those
from medloom.modalities.signal.conditioning import BLOCK_SAMPLES, Filters, conditioned
from medloom.modalities.signal.leads import factor, places
from medloom.modalities.signal.recording import Recording, Refused, open_recording
from medloom.packed import Packed, Packer

if TYPE_CHECKING:
    from medloom.modalities.signal.options import SignalOptions

TILE = 1024
UNKNOWN = np.int16(-32768)
STEPS = 32_767.0


@dataclass(frozen=True, slots=True)
class Column:
    """A block of records whose headers were read; None where one could not be and that is allowed."""

    recordings: tuple[Recording | None, ...]
    rows: tuple[str, ...]


def read_column(paths: Iterable[Path], rows: Iterable[str], options: SignalOptions) -> Column:
    """Opens the records of a block. Raises one DataError that names the rows of every kind of trouble."""
    found: list[Recording | None] = []
    refused: dict[str, list[str]] = {}
    rows = tuple(rows)
    for path, row in zip(paths, rows, strict=True):
        try:
            recording = open_recording(path, options)
            _place(recording, options)
            found.append(recording)
        except Refused as error:
            refused.setdefault(str(error), []).append(row)
            found.append(None)
    if refused and options.unreadable == "error":
        raise DataError(told(options.column, refused))
    return Column(tuple(found), rows)


def told(column: str, refused: dict[str, list[str]]) -> str:
    """A line for each reason: how many records, why, and which rows."""
    return "\n".join(
        f"column {column!r}: {those(len(rows), 'record', why)} ({rows_named(rows)})" for why, rows in refused.items()
    )


def _place(recording: Recording, options: SignalOptions) -> list[int]:
    """The channel of each lead. Raises Refused."""
    leads = options.leads or ()
    if not recording.named:
        if len(recording.names) != len(leads):
            raise Refused(
                f"have {len(recording.names)} channels without names; expected {len(leads)}, in the order of leads"
            )
        return list(range(len(leads)))
    found, twice = places(leads, options.aliases, recording.names)
    if twice:
        raise Refused(f"have two channels for lead {twice[0]!r}; rename one, or take out an alias")
    absent = [lead for lead, channel in zip(leads, found, strict=True) if channel < 0]
    if len(absent) == len(leads) or (absent and options.missing_leads == "error"):
        raise Refused(
            f"have no lead {some(absent)}, and have {some(recording.names)}; give aliases where names differ, or "
            'missing_leads = "absent"'
        )
    return found


def pack(columns: Iterable[Column], options: SignalOptions, store: Path | None) -> Packed:
    """All records at the study's rate. Raises one DataError for everything that could not be decoded."""
    writer = _Writer(Packer(store), options)
    for column in columns:
        for recording, row in zip(column.recordings, column.rows, strict=True):
            writer.add(recording, row)
    return writer.finish()


class _Writer:
    """Appends records to the tiles, and keeps what is known of each."""

    def __init__(self, packer: Packer, options: SignalOptions) -> None:
        self._packer, self._options = packer, options
        self._leads = len(options.leads or ())
        self._kind = np.int16 if options.store == "int16" else np.float32
        self._first, self._length, self._starts = [0], [0], [np.nan]
        self._lead = [np.zeros(self._leads, bool)]
        self._gain = [np.ones(self._leads, np.float32)]
        self._tiles, self._reach, self._unreadable = 0, 0, 0
        self._units: dict[int, str] = {}
        self._refused: dict[str, list[str]] = {}
        packer.add("tiles", np.zeros((0, self._leads, TILE), self._kind))
        packer.add("holes", np.zeros(0, bool))

    def add(self, recording: Recording | None, row: str) -> None:
        lead, gain, length, tiles = np.zeros(self._leads, bool), np.ones(self._leads, np.float32), 0, 0
        try:
            if recording is not None:
                place = _place(recording, self._options)
                lead, gain = np.array(place) >= 0, self._gains(recording, place)
                length, tiles = self._write(recording, place, gain)
        except Refused as error:
            self._refused.setdefault(str(error), []).append(row)
            recording = None
        self._unreadable += recording is None
        self._first.append(self._tiles)
        self._length.append(length if recording is not None else 0)
        self._starts.append(np.nan if recording is None or recording.starts is None else recording.starts)
        self._lead.append(lead)
        self._gain.append(gain)
        self._tiles += tiles

    def _blocks(
        self, recording: Recording, place: list[int]
    ) -> tuple[int, Iterator[Float[np.ndarray, "leads samples"]]]:
        options = self._options
        filters = Filters(options.notch_hz, options.highpass_hz, options.lowpass_hz)
        length, reach, blocks = conditioned(
            recording, place, self._factors(recording, place), filters, float(options.rate_hz or 0), BLOCK_SAMPLES
        )
        self._reach = max(self._reach, reach)
        return length, blocks

    def _factors(self, recording: Recording, place: list[int]) -> list[float]:
        """What each lead is multiplied by. A lead that is in volts in one record and in something else in another is refused."""
        found = []
        for lead, channel in enumerate(place):
            unit = recording.units[channel].strip() if channel >= 0 else ""
            times = factor(unit, self._options.unit) if unit else 1.0
            now = self._options.unit if times is not None and unit else unit
            if unit and self._units.setdefault(lead, now) != now:
                raise Refused(
                    f"have lead {(self._options.leads or ())[lead]!r} in another unit than the records before them"
                )
            found.append(1.0 if times is None else times)
        return found

    def _gains(self, recording: Recording, place: list[int]) -> Float[np.ndarray, " leads"]:
        """The value of one step of each lead, where samples are whole numbers: from a first pass over the record."""
        most = np.zeros(self._leads)
        if self._options.store == "int16":
            for block in self._blocks(recording, place)[1]:
                most = np.fmax(most, np.nanmax(np.abs(np.where(np.isfinite(block), block, 0.0)), axis=1))
        return np.where(most > 0, most / STEPS, 1.0).astype(np.float32)

    def _write(self, recording: Recording, place: list[int], gain: Float[np.ndarray, " leads"]) -> tuple[int, int]:
        length, blocks = self._blocks(recording, place)
        written = 0
        for block in blocks:
            count = -(-block.shape[1] // TILE)
            known = np.isfinite(block)
            if self._kind is np.int16:
                whole = np.rint(np.where(known, block, 0.0) / gain[:, None]).clip(-STEPS, STEPS)
                values = np.where(known, whole, UNKNOWN).astype(np.int16)
            else:
                values = np.where(known, block, np.nan).astype(np.float32)
            padded = np.full((self._leads, count * TILE), UNKNOWN if self._kind is np.int16 else np.nan, self._kind)
            padded[:, : block.shape[1]] = values
            tiles = padded.reshape(self._leads, count, TILE).transpose(1, 0, 2)
            holes = np.zeros(count * TILE, bool)
            holes[: block.shape[1]] = ~known.all(axis=0)
            self._packer.add("tiles", tiles)
            self._packer.add("holes", np.asarray(holes.reshape(count, TILE).any(axis=1)))
            written += count
        return length, written

    def finish(self) -> Packed:
        if self._refused and self._options.unreadable == "error":
            raise DataError(told(self._options.column, self._refused))
        self._packer.add("first", np.array(self._first, np.int64))
        self._packer.add("length", np.array(self._length, np.int64))
        self._packer.add("starts", np.array(self._starts, np.float64))
        self._packer.add("lead", np.array(self._lead))
        self._packer.add("gain", np.array(self._gain))
        return self._packer.finish({"kind": "signal", "reach": self._reach, "unreadable": self._unreadable})


def gather(
    packed: Packed,
    unit: Int[np.ndarray, " views"],
    first: Int[np.ndarray, " views"],
    last: Int[np.ndarray, " views"],
    samples: int,
    scaling: tuple[Float[np.ndarray, "leads 1"], Float[np.ndarray, "leads 1"]] | None = None,
) -> tuple[Float[np.ndarray, "views leads samples"], Bool[np.ndarray, "views samples"], Bool[np.ndarray, " views"]]:
    """Samples `first:last` of each unit at the beginning of a window of so many samples; NaN where unknown, 0 behind.

    Also which positions lie within `first:last`, and which windows may hold unknown samples. Runs of memory are copied
    for each window: nothing else of a record is touched. With `scaling`, a centre is taken off each lead, and it is
    multiplied by a factor, while the window is in the processor's cache.
    """
    arrays = packed.arrays
    tiles, holes = np.asarray(arrays["tiles"]), np.asarray(arrays["holes"])
    whole = tiles.dtype == np.int16
    gain = np.asarray(arrays["gain"])
    held = last - first
    out = np.empty((len(unit), tiles.shape[1], samples), np.float32)
    holey = np.zeros(len(unit), bool)
    offset = (np.asarray(arrays["first"])[unit] + first // TILE).tolist()
    for view, (tile, within, count) in enumerate(zip(offset, (first % TILE).tolist(), held.tolist(), strict=True)):
        window = out[view]
        end = tile + -(-(within + count) // TILE)
        _copied(tiles[tile:end], within, window[:, :count])
        window[:, count:] = 0
        holey[view] = holes[tile:end].any()
        part = window[:, :count]
        if whole:
            unknown = part == UNKNOWN
            part *= gain[unit[view]][:, None]
            part[unknown] = np.nan
        if scaling is not None:
            part -= scaling[0]
            part *= scaling[1]
    return out, np.arange(samples) < held[:, None], holey


def _copied(
    tiles: Num[np.ndarray, "tiles leads tile"], within: int, window: Float[np.ndarray, "leads samples"]
) -> None:
    """Copies a run of samples that begins `within` the first of these tiles: the two ends, and all whole tiles at once."""
    leads, count = window.shape
    head = min(TILE - within, count)
    if not count:
        return
    window[:, :head] = tiles[0, :, within : within + head]
    full, rest = divmod(count - head, TILE)
    if full:
        # To split an axis never copies, so that this writes into the window.
        window[:, head : head + full * TILE].reshape(leads, full, TILE)[:] = tiles[1 : 1 + full].transpose(1, 0, 2)
    if rest:
        window[:, count - rest :] = tiles[1 + full, :, :rest]


def facts(packed: Packed) -> dict[str, Any]:
    """What of the packing a reader wants to see."""
    return {"records that could not be read": packed.meta["unreadable"]} if packed.meta["unreadable"] else {}
