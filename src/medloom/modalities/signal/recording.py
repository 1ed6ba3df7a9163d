"""One record of a file as all formats give it: what its header says, and samples a block at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from medloom.modalities.signal.options import SignalOptions

Reader = Callable[[Sequence[int], int, int], Float[np.ndarray, "channels samples"]]
"""Samples `first:last` of some channels that have one rate, in their own units, NaN where unknown."""


class Refused(Exception):
    """Why one record cannot be used, as words that fit after "N records": "are truncated". Never holds a path."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A record whose header was read and found to fit its file.

    Each channel has a name, a unit ("" where the file says none), a rate and a number of samples. `starts` is when it
    begins, in seconds since 1970. `named` is false where the file has no names and channels go by their place.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    rate_hz: tuple[float, ...]
    samples: tuple[int, ...]
    read: Reader
    starts: float | None = None
    named: bool = True

    @property
    def seconds(self) -> float:
        """Length of the shortest channel."""
        return min(n / rate for n, rate in zip(self.samples, self.rate_hz, strict=True))


def open_recording(path: Path, options: SignalOptions) -> Recording:
    """A record from its path, by its suffix. Raises Refused; no samples are read except from text."""
    from medloom.modalities.signal import arrays, edf, tables, wfdb_records

    suffix = path.suffix.lower()
    if suffix not in (".edf", ".bdf", *arrays.SUFFIXES, *tables.SUFFIXES):
        recording = wfdb_records.open_record(path)
    elif not path.is_file():
        raise Refused("do not exist (paths are relative to the table's folder)")
    elif suffix in (".edf", ".bdf"):
        recording = edf.open_edf(path).recording()
    elif suffix in arrays.SUFFIXES:
        recording = arrays.open_array(path, options.file_rate_hz, options.samples_first)
    else:
        recording = tables.open_table(path, options.file_rate_hz)
    if not recording.names:
        raise Refused("have no channels")
    if min(recording.samples) < 1:
        raise Refused("have no samples")
    if not all(np.isfinite(rate) and rate > 0 for rate in recording.rate_hz):
        raise Refused("have a sampling rate of zero, or none that is a number; correct their headers")
    return recording
