"""Simple numbers of windows: for the baselines, for explanations and for finding copies."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom import fitted
from medloom.errors import counted
from medloom.modalities.signal.leads import unlike_einthoven
from medloom.modalities.signal.quality import QUALITY, STATISTICS, quality, statistics
from medloom.told import Feature

Stored = tuple[str, tuple[int, ...], str]
"""An array as JSON: type, shape, bytes in base64."""
SPECTRUM = 16
"""Bands of the shares of power by which copies are found, each as wide as the one before times a factor."""


def features(
    kinds: Sequence[str],
    value: Float[np.ndarray, "views leads samples"],
    raw: Float[np.ndarray, "views leads samples"],
    known: Bool[np.ndarray, "views leads samples"],
    lead: Bool[np.ndarray, "views leads"],
    rate_hz: float,
    made: Any,
) -> Float[np.ndarray, "views features"]:
    """What is asked for, in the order of `kinds`: of scaled windows, quality of raw ones; NaN in leads that are absent."""
    parts = []
    for kind in kinds:
        if kind == "convolutions":
            parts += [_of_parts(one, value, count) for count, one in made.items()]
            continue
        if kind == "bands":
            from medloom.modalities.signal.bands import band_powers

            numbers = band_powers(value, rate_hz).reshape(*lead.shape, -1)
        else:
            numbers = quality(raw, known) if kind == "quality" else statistics(value, known)
        parts.append(np.where(lead[:, :, None], numbers, np.nan).reshape(len(value), -1))
    return np.concatenate(parts, axis=1)


def width(kinds: Sequence[str], leads: int, rate_hz: float, made: Any) -> int:
    """How many numbers `features` gives."""
    samples = max((count * int(one.shape[1]) for count, one in made.items()), default=64)
    none = np.zeros((1, leads, samples), np.float32)
    there = np.ones((1, leads), bool)
    return features(kinds, none, none, none == 0, there, rate_hz, made).shape[1]


def parts(kinds: Sequence[str], leads: Sequence[str], rate_hz: float) -> tuple[Feature, ...]:
    """The lead of each number that `features` gives; nothing where some are of all leads together."""
    if "convolutions" in kinds:
        return ()
    from medloom.modalities.signal.bands import edges_of

    counts = {"statistics": len(STATISTICS), "quality": len(QUALITY), "bands": len(edges_of(rate_hz)) - 1}
    return tuple(Feature(lead) for kind in kinds for lead in leads for _ in range(counts[kind]))


def row_means(
    numbers: Float[np.ndarray, "views features"],
    of: Int[np.ndarray, " views"],
    rows: Int[np.ndarray, " rows"],
    there: Bool[np.ndarray, " rows"],
) -> Float[np.ndarray, "rows features"]:
    """Means over the windows of each row, which stand side by side in the order of `rows`; NaN in rows without input."""
    first = np.flatnonzero(np.diff(of, prepend=of[0] - 1)) if len(of) else np.zeros(0, np.int64)
    count = np.diff(np.append(first, len(of)))
    if len(first) != len(rows):
        raise ValueError(f"found windows of {counted(len(first), 'row')}; expected {len(rows)}, each once")
    means = np.add.reduceat(numbers, first, axis=0) / count[:, None] if len(first) else numbers
    return np.where(there[:, None], means, np.nan)


def spectrum(value: Float[np.ndarray, "views leads samples"]) -> Float[np.ndarray, "views features"]:
    """Logarithm of the share of power in bands that widen with frequency, of each lead."""
    samples = value.shape[2]
    off = value - value.mean(axis=2, keepdims=True)
    power = np.square(np.abs(np.fft.rfft(off * np.hanning(samples), axis=2)))[:, :, 1:]
    edges = np.unique(np.geomspace(1, power.shape[2], SPECTRUM + 1).round().astype(np.int64))
    bands = np.add.reduceat(power, edges[:-1] - 1, axis=2)
    share = bands / np.maximum(bands.sum(axis=2, keepdims=True), 1e-12)
    return np.log(share + 1e-9).reshape(len(value), -1)


def einthoven(
    windows: Float[np.ndarray, "views leads samples"],
    leads: Sequence[str],
    of: Int[np.ndarray, " views"],
    rows: Int[np.ndarray, " rows"],
) -> Float[np.ndarray, " rows"] | None:
    """How far lead II is from I + III in each row; None without these leads."""
    off = unlike_einthoven(windows, leads)
    return None if off is None else row_means(off[:, None], of, rows, np.ones(len(rows), bool))[:, 0]


def fit_convolutions(
    windows: Float[np.ndarray, "windows leads samples"], parts: Sequence[int] = (1,)
) -> Mapping[str, Stored]:
    """Random convolutions fitted on training windows cut into so many parts, for each of these counts; as JSON."""
    from medloom.modalities.signal.convolutions import Convolutions

    made = {count: fitted.arrays(Convolutions.fit(cut(windows, count), 0)) for count in parts}
    return {f"{count}/{name}": stored(array) for count in parts for name, array in sorted(made[count].items())}


def convolutions(state: Mapping[str, Stored]) -> Mapping[int, Any]:
    """The inverse of `fit_convolutions`: by the number of parts that windows are cut into."""
    if not state:
        return {}
    from medloom.modalities.signal.convolutions import Convolutions

    arrays = {name: array_of(one) for name, one in state.items()}
    counts = dict.fromkeys(int(name.partition("/")[0]) for name in state)
    return {count: fitted.from_arrays(Convolutions, fitted.below(arrays, f"{count}/"), {}) for count in counts}


def cut(windows: Float[np.ndarray, "windows leads samples"], parts: int) -> Float[np.ndarray, "pieces leads fewer"]:
    """Windows in parts of equal length, those of a window side by side; what is left over at the end is not seen."""
    size = windows.shape[2] // parts
    pieces = windows[:, :, : size * parts].reshape(*windows.shape[:2], parts, size)
    return np.ascontiguousarray(pieces.swapaxes(1, 2)).reshape(-1, windows.shape[1], size)


def _of_parts(
    made: Any, value: Float[np.ndarray, "views leads samples"], parts: int
) -> Float[np.ndarray, "views features"]:
    """The mean over the parts of each window of what random convolutions say of them."""
    found = np.asarray(made.features(cut(value, parts)), np.float64)
    return found if parts == 1 else found.reshape(len(value), parts, -1).mean(axis=1)


def stored(array: np.ndarray) -> Stored:
    """An array as JSON values, bit for bit."""
    plain = np.ascontiguousarray(array)
    return plain.dtype.str, plain.shape, base64.b64encode(plain.tobytes()).decode("ascii")


def array_of(one: Stored) -> np.ndarray:
    """The inverse of `stored`."""
    kind, shape, text = one
    return np.frombuffer(base64.b64decode(text), np.dtype(kind)).reshape(shape).copy()
