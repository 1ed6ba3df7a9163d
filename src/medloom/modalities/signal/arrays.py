"""Records in NumPy files: `.npy` stays on disk, of `.npz` the array named `signal` is read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from medloom.modalities.signal.recording import Recording, Refused

SUFFIXES = (".npy", ".npz")
MOST_DEFLATED = 1_032
"""Deflate makes nothing smaller than by this factor: what claims to grow by more is broken."""
_BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


def open_array(path: Path, rate_hz: float | None, samples_first: bool) -> Recording:
    """The record of a `.npy` or `.npz` file. `.npz` may also hold `rate_hz` and `leads`. Raises Refused."""
    names: tuple[str, ...] = ()
    try:
        if path.suffix.lower() == ".npy":
            values: Any = np.load(path, mmap_mode="r")
        else:
            _check_sizes(path)
            with np.load(path) as held:
                if "signal" not in held:
                    raise Refused("have no array named signal; save one with numpy.savez(path, signal=…)")
                values = held["signal"]
                names = tuple(str(name) for name in held["leads"]) if "leads" in held else ()
                rate_hz = float(held["rate_hz"]) if "rate_hz" in held else rate_hz
    except _BROKEN as error:
        raise Refused("are truncated or broken NumPy files; save them again") from error
    if values.dtype.kind not in "iufb" or values.ndim not in (1, 2):
        raise Refused(f"hold {values.ndim} axes of {values.dtype}; expected 1 or 2 axes of numbers")
    if rate_hz is None:
        raise Refused("do not say their sampling rate; give file_rate_hz")
    values = values[None] if values.ndim == 1 else values.T if samples_first else values
    if names and len(names) != len(values):
        raise Refused(f"have {len(values)} channels and {len(names)} leads; expected a name for each channel")
    return of_array(values, names, rate_hz)


def of_array(values: Shaped[np.ndarray, "channels samples"], names: Sequence[str], rate_hz: float) -> Recording:
    """A record of an array that is in memory, or mapped."""

    def read(channels: Sequence[int], first: int, last: int) -> Float[np.ndarray, "channels samples"]:
        return values[list(channels), first:last].astype(np.float64)

    count, samples = values.shape
    return Recording(
        tuple(names) or tuple(str(number) for number in range(1, count + 1)),
        ("",) * count,
        (rate_hz,) * count,
        (samples,) * count,
        read,
        named=bool(names),
    )


def _check_sizes(path: Path) -> None:
    """Refuses an archive whose arrays claim to be larger than what is stored of them, before any is allocated."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as handle:
                version = np.lib.format.read_magic(handle)
                reads = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = reads(handle)
                claimed = int(np.prod([int(side) for side in shape], dtype=object)) * dtype.itemsize
            if claimed > member.file_size or member.file_size > MOST_DEFLATED * member.compress_size + 1_024:
                raise Refused("promise more samples than they hold; save them again")
