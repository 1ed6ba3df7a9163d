"""Samples of a record at the study's rate, filtered, a block at a time: any part equals that part of the whole.

Filters run forwards and backwards, so that they shift nothing. Each block is computed with as much on both sides as
filters take to forget (`REMEMBERED`), and that is cut off again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from medloom.modalities.signal.recording import Reader, Refused

BLOCK_SAMPLES = 1 << 17
"""Samples of each lead that are computed at a time."""
REMEMBERED = 1e-6
"""What is left of a filter's response where it is cut off."""
NOTCH_QUALITY = 30.0
ORDER = 2
HALF_WIDTH = 10
"""Half the length of the filter against aliases, in samples of the slower rate."""
LARGEST_RATIO = 2_000


@dataclass(frozen=True, slots=True)
class Filters:
    """Which frequencies are taken out, in Hz; None: not at all."""

    notch_hz: float | None = None
    highpass_hz: float | None = None
    lowpass_hz: float | None = None

    def sections(self, rate_hz: float) -> Float[np.ndarray, "sections 6"]:
        """Second-order sections at this rate. Frequencies that it does not hold are refused, a low-pass above them is none.

        Source: Butterworth of order 2 (4 in both directions); the notch has a quality of 30.
        """
        from scipy import signal

        half = rate_hz / 2
        found = [np.zeros((0, 6))]
        for name, edge in (("notch_hz", self.notch_hz), ("highpass_hz", self.highpass_hz)):
            if edge is not None and edge >= half:
                raise Refused(
                    f"have a rate too low for {name}; it must be below half the sampling rate of every record"
                )
        if self.notch_hz is not None:
            found.append(signal.tf2sos(*signal.iirnotch(self.notch_hz, NOTCH_QUALITY, rate_hz)))
        if self.highpass_hz is not None:
            found.append(signal.butter(ORDER, self.highpass_hz, "highpass", fs=rate_hz, output="sos"))
        if self.lowpass_hz is not None and self.lowpass_hz < half:
            found.append(signal.butter(ORDER, self.lowpass_hz, "lowpass", fs=rate_hz, output="sos"))
        return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class Conditioner:
    """What is done to channels of one rate: filters first, then `up`/`down` times as many samples."""

    sections: Float[np.ndarray, "sections 6"]
    up: int
    down: int

    @classmethod
    def between(cls, filters: Filters, from_hz: float, to_hz: float) -> Conditioner:
        """From the rate of a file to that of the study. Raises Refused."""
        ratio = Fraction(to_hz / from_hz).limit_denominator(LARGEST_RATIO)
        if not ratio or abs(float(ratio) * from_hz / to_hz - 1) > 1e-4:
            raise Refused("have a rate too far from rate_hz to be resampled; choose one closer to theirs")
        return cls(filters.sections(from_hz), ratio.numerator, ratio.denominator)

    @property
    def reach(self) -> int:
        """Samples of the file on either side of a sample that it depends on."""
        settling = 0
        for section in self.sections:
            pole = np.abs(np.roots(section[3:])).max()
            settling += int(np.ceil(np.log(REMEMBERED) / np.log(min(max(pole, 1e-3), 1 - 1e-9))))
        resampled = self.up != self.down
        return settling + (HALF_WIDTH * max(self.up, self.down) // self.up + 2 if resampled else 0)

    def length(self, samples: int) -> int:
        """Samples that come of so many of the file."""
        return -(-samples * self.up // self.down)

    def part(
        self, read: Reader, channels: Sequence[int], samples: int, start: int, stop: int
    ) -> Float[np.ndarray, "channels samples"]:
        """Samples `start:stop` at the study's rate of channels that have `samples` in the file."""
        low = max(0, (start * self.down // self.up - self.reach) // self.down * self.down)
        high = min(samples, -(-stop * self.down // self.up) + self.reach)
        values = np.asarray(read(channels, low, high), np.float64)
        if values.shape[1] != high - low:
            raise Refused("end before their header says; copy them again")
        first = low * self.up // self.down
        changed = self._changed(values)
        return changed[:, start - first : stop - first]

    def _changed(self, values: Float[np.ndarray, "channels samples"]) -> Float[np.ndarray, "channels samples"]:
        from scipy import signal

        if not len(self.sections) and self.up == self.down:
            return values
        unknown = ~np.isfinite(values)
        values = filled(values, unknown) if unknown.any() else values
        if len(self.sections) and values.shape[1] > 1:
            ends = min(3 * (2 * len(self.sections) + 1) + 3 * self.reach // 4, values.shape[1] - 1)
            values = signal.sosfiltfilt(self.sections, values, axis=1, padlen=ends)
        if self.up != self.down:
            values = signal.resample_poly(values, self.up, self.down, axis=1, padtype="edge")
            nearest = np.minimum(np.arange(values.shape[1]) * self.down // self.up, unknown.shape[1] - 1)
            unknown = unknown[:, nearest]
        values[unknown] = np.nan
        return values


def filled(
    values: Float[np.ndarray, "channels samples"], unknown: Bool[np.ndarray, "channels samples"]
) -> Float[np.ndarray, "channels samples"]:
    """Straight lines over unknown samples, so that filters can run; where all are unknown, 0."""
    out = values.copy()
    for channel in np.flatnonzero(unknown.any(axis=1)).tolist():
        known = np.flatnonzero(~unknown[channel])
        gaps = np.flatnonzero(unknown[channel])
        out[channel, gaps] = np.interp(gaps, known, values[channel, known]) if len(known) else 0.0
    return out


def conditioned(
    recording: Any, place: Sequence[int], factor: Sequence[float], filters: Filters, rate_hz: float, block: int
) -> tuple[int, int, Iterator[Float[np.ndarray, "leads samples"]]]:
    """Samples of all leads, how far each depends on others (in samples), and the blocks one after another.

    `place` is the channel of each lead, -1 where it is absent (zeros); `factor` what its values are multiplied by.
    """
    groups: dict[tuple[float, int], list[int]] = {}
    for lead, channel in enumerate(place):
        if channel >= 0:
            groups.setdefault((recording.rate_hz[channel], recording.samples[channel]), []).append(lead)
    ways = {key: Conditioner.between(filters, key[0], rate_hz) for key in groups}
    length = min(way.length(samples) for (_, samples), way in ways.items())
    reach = max(-(-way.reach * way.up // way.down) for way in ways.values())

    def blocks() -> Iterator[Float[np.ndarray, "leads samples"]]:
        for start in range(0, length, block):
            stop = min(start + block, length)
            out = np.zeros((len(place), stop - start))
            for key, leads in groups.items():
                part = ways[key].part(recording.read, [place[lead] for lead in leads], key[1], start, stop)
                out[leads] = part * np.array([factor[lead] for lead in leads])[:, None]
            yield out

    return length, reach, blocks()
