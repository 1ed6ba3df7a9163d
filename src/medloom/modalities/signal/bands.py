"""The logarithmic power of a signal in bands of frequency, by Welch's method."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float

CLINICAL = (0.5, 4.0, 8.0, 13.0, 30.0, 70.0)
"""Edges in Hz of delta, theta, alpha, beta and gamma."""
FRAME_SECONDS = 2.0
SLOWEST_WAVES = 4
"""Waves of the slowest octave that a frame holds where the rate is none of an EEG."""
OCTAVES = 6
LEAST = 1e-12
BLOCK = 64
"""Windows at a time, which bounds memory."""


def edges_of(rate_hz: float) -> tuple[float, ...]:
    """Edges of the bands in Hz: the clinical ones from 60 Hz to 1 kHz, as far as half the rate; else octaves below it."""
    half = rate_hz / 2
    if 60 <= rate_hz <= 1000:
        return (*(edge for edge in CLINICAL if edge < half), half)
    return (*(half / 2**octave for octave in range(OCTAVES, 0, -1)), half)


def frame_size(samples: int, rate_hz: float) -> int:
    """Samples of one frame: two seconds for clinical bands, four waves of the slowest octave else; within the window."""
    seconds = FRAME_SECONDS if 60 <= rate_hz <= 1000 else SLOWEST_WAVES / edges_of(rate_hz)[0]
    return int(max(8, min(samples, round(seconds * rate_hz))))


def shares_of(size: int, rate_hz: float, edges: tuple[float, ...]) -> Float[np.ndarray, "frequencies bands"]:
    """What share of the power at each frequency of a frame belongs to each band. A band between two frequencies has the nearer one."""
    frequency = np.fft.rfftfreq(size, 1 / rate_hz)
    shares = np.zeros((len(frequency), len(edges) - 1))
    for band, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (frequency >= low) & ((frequency < high) | (high >= rate_hz / 2))
        if not inside.any():
            inside[np.abs(frequency - (low + high) / 2).argmin()] = True
        shares[inside, band] = 1.0 / inside.sum()
    return shares


def band_powers(
    windows: Float[np.ndarray, "windows channels samples"], rate_hz: float
) -> Float[np.ndarray, "windows powers"]:
    """The logarithm of the mean power in each band, band after band of channel after channel.

    Frames overlap by half, each less its mean, under a Hann window; no frame runs over the end of the window. NaN where
    a channel holds NaN. Source: Welch, IEEE Transactions on Audio and Electroacoustics 15, 1967.
    """
    samples = windows.shape[2]
    size = frame_size(samples, rate_hz)
    shares = shares_of(size, rate_hz, edges_of(rate_hz))
    taper = np.hanning(size + 1)[:-1]
    found = np.empty((len(windows), windows.shape[1], shares.shape[1]))
    for start in range(0, len(windows), BLOCK):
        part = windows[start : start + BLOCK].astype(np.float64)
        part = np.pad(part, ((0, 0), (0, 0), (0, max(size - samples, 0))))
        frames = np.lib.stride_tricks.sliding_window_view(part, size, axis=2)[:, :, :: max(size // 2, 1)]
        frames = (frames - frames.mean(3, keepdims=True)) * taper
        power = np.square(np.abs(np.fft.rfft(frames, axis=3))).mean(2) / np.square(taper).sum()
        found[start : start + BLOCK] = np.log(power @ shares + LEAST)
    return found.reshape(len(windows), windows.shape[1] * shares.shape[1])
