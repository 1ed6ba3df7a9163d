"""Plain numbers of a signal by thousands of fixed convolutions: how often each is above a threshold, and how large it is.

Kernels are those of MiniRocket: the 84 of nine weights of which three are 2 and six are -1, at several dilations, on the
signal and on its differences. Beside the share of positive values, which MiniRocket keeps alone, stand the maximum, the
spread and the mean size of what each convolution gives: shares forget the amplitude, which tells much of an EEG.

Sources: Dempster, Schmidt & Webb, "MiniRocket: a very fast (almost) deterministic transform for time series
classification", KDD 2021 (kernels, dilations, biases); Tan et al., "MultiRocket", Data Mining and Knowledge Discovery 36,
2022 (differences, and more than the share of positive values).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.draw import generator

if TYPE_CHECKING:
    from torch import Tensor

TAPS, TWOS = 9, 3
KERNELS = 84
BIASES = 3
"""Thresholds of each convolution, at quantiles of what it gives on training windows."""
SIZES = 3
"""Numbers of each convolution that tell how large it is: maximum, spread, mean size."""
MOST_DILATIONS = 13
FEWEST_SAMPLES = 2 * TAPS
LOOKED_AT = 64
"""Training windows, at most, on which thresholds are set."""
VALUES_AT_ONCE = 2**14
"""Samples of one channel convolved together. Blocks are always full, so that a row's numbers do not depend on others."""
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Convolutions:
    """Fitted convolutions for windows of one shape. All fields are arrays; the first axis of most is signal, differences."""

    shape: Int[np.ndarray, "2"]
    """Channels and samples of a window."""
    dilation: Int[np.ndarray, " dilations"]
    heard: Bool[np.ndarray, "dilations kernels channels"]
    """The channels that each convolution sums over."""
    bias: Float[np.ndarray, "2 dilations kernels biases"]
    scale: Float[np.ndarray, "2 dilations kernels"]
    """The root mean square of what each convolution gives on training windows, never 0."""

    @classmethod
    def fit(cls, windows: Float[np.ndarray, "windows channels samples"], seed: int) -> Self:
        """Thresholds and scales from some of these windows, which are those of training rows; the seed says from which.

        `windows` holds no NaN: a sample that is missing is 0.
        """
        random = generator(seed, "signal convolutions")
        rows = np.sort(random.permutation(len(windows))[:LOOKED_AT])
        samples, channels = windows.shape[2], windows.shape[1]
        dilation = dilations_of(samples)
        heard = heard_of(random, len(dilation), channels)
        bias = np.zeros((2, len(dilation), KERNELS, BIASES), np.float32)
        scale = np.ones((2, len(dilation), KERNELS), np.float32)
        places = quantiles()
        if len(rows):
            for side, place, blocks in _outputs(windows[rows], dilation, heard):
                given = np.concatenate([block.numpy() for block in blocks])
                bias[side, place] = _thresholds(given, places)
                size = np.sqrt(np.square(given, dtype=np.float64).mean(axis=(0, 2)))
                scale[side, place] = np.where(size > 0, size, 1.0)
        return cls(np.array(windows.shape[1:]), dilation, heard, bias, scale)

    @property
    def width(self) -> int:
        """How many numbers each window has."""
        return 2 * len(self.dilation) * KERNELS * (BIASES + SIZES)

    def features(self, windows: Float[np.ndarray, "windows channels samples"]) -> Float[np.ndarray, "windows features"]:
        """The numbers of each window, float32: of each convolution the shares of positive values, then its sizes.

        Raises ValueError where windows have another shape than those of the fit.
        """
        if windows.shape[1:] != tuple(self.shape):
            raise ValueError(f"windows of shape {windows.shape[1:]}, fitted on {tuple(self.shape.tolist())}")
        found = np.empty((len(windows), 2, len(self.dilation), KERNELS * (BIASES + SIZES)), np.float32)
        for side, place, blocks in _outputs(windows, self.dilation, self.heard):
            start = 0
            for given in blocks:
                stop = start + len(given)
                found[start:stop, side, place] = _numbers(given, self.bias[side, place], self.scale[side, place])
                start = stop
        return found.reshape(len(windows), self.width)


def kernels() -> Float[np.ndarray, "kernels taps"]:
    """All kernels of nine weights of which three are 2 and the others -1; each sums to 0."""
    weights = np.full((KERNELS, TAPS), -1.0, np.float32)
    for row, twos in zip(weights, itertools.combinations(range(TAPS), TWOS), strict=True):
        row[list(twos)] = 2.0
    return weights


def dilations_of(samples: int) -> Int[np.ndarray, " dilations"]:
    """Distances between weights, from 1 up to kernels that span half a window, evenly on a logarithmic scale."""
    largest = max((samples - 1) / 2 / (TAPS - 1), 1.0)
    return np.unique(np.geomspace(1, largest, MOST_DILATIONS).astype(np.int64))


def heard_of(
    random: np.random.Generator, dilations: int, channels: int
) -> Bool[np.ndarray, "dilations kernels channels"]:
    """Random channels for each convolution: one, or several, small groups as often as large ones."""
    order = random.random((dilations, KERNELS, channels)).argsort(axis=2).argsort(axis=2)
    most = np.log2(min(channels, TAPS) + 1)
    count = np.floor(2 ** (random.random((dilations, KERNELS, 1)) * most)).astype(np.int64)
    return order < np.clip(count, 1, channels)


def quantiles() -> Float[np.ndarray, "kernels biases"]:
    """Shares at which thresholds lie, spread evenly over all convolutions of a dilation by the golden ratio."""
    return (np.arange(1, KERNELS * BIASES + 1) * GOLDEN % 1).reshape(KERNELS, BIASES)


def _outputs(
    windows: Float[np.ndarray, "windows channels samples"],
    dilation: Int[np.ndarray, " dilations"],
    heard: Bool[np.ndarray, "dilations kernels channels"],
) -> Iterator[tuple[int, int, Iterator[Tensor]]]:
    """For the signal (0) and its differences (1), and for each dilation: blocks of [windows, kernels, places]."""
    import torch

    weight = torch.from_numpy(kernels())[:, None]
    whole = torch.from_numpy(np.ascontiguousarray(windows, np.float32))
    whole = torch.nn.functional.pad(whole, (0, max(FEWEST_SAMPLES - whole.shape[2], 0)))
    for side, values in enumerate((whole, whole.diff(dim=2))):
        for place, distance in enumerate(dilation.tolist()):
            listened = weight * torch.from_numpy(heard[place])[:, :, None]
            yield side, place, _convolved(values, listened, distance)


def _convolved(values: Tensor, weight: Tensor, dilation: int) -> Iterator[Tensor]:
    import torch

    size = max(1, VALUES_AT_ONCE // values.shape[2])
    for start in range(0, len(values), size):
        block = values[start : start + size]
        count = len(block)
        if count < size:
            block = torch.cat([block, block.new_zeros(size - count, *block.shape[1:])])
        yield torch.nn.functional.conv1d(block, weight, dilation=dilation)[:count]


def _thresholds(
    given: Float[np.ndarray, "windows kernels places"], shares: Float[np.ndarray, "kernels biases"]
) -> Float[np.ndarray, "kernels biases"]:
    """The quantiles of what each kernel gives, over about ten thousand places."""
    step = max(1, given.shape[0] * given.shape[2] // 10_000)
    ordered = np.sort(given.transpose(1, 0, 2).reshape(len(shares), -1)[:, ::step], axis=1)
    at = (shares * (ordered.shape[1] - 1)).astype(np.int64)
    return np.take_along_axis(ordered, at, axis=1)


def _numbers(
    given: Tensor, bias: Float[np.ndarray, "kernels biases"], scale: Float[np.ndarray, " kernels"]
) -> Float[np.ndarray, "windows numbers"]:
    """Shares above each threshold; maximum, spread and mean size on the scale of the training windows, as logarithms."""
    import torch

    above = torch.empty_like(given)
    places = given.shape[2]
    found = []
    for column in torch.from_numpy(bias).unbind(1):
        # Written as numbers at once: ten times as fast as comparing to booleans and counting them.
        torch.gt(given, column[:, None], out=above)
        found.append(above.sum(2) / places)
    unit = torch.from_numpy(scale)
    largest = given.amax(2) / unit
    found.append(largest.sign() * largest.abs().log1p())
    found.append(torch.log(torch.linalg.vector_norm(given, 2, dim=2) / unit / places**0.5 + 1e-3))
    found.append(torch.log(torch.abs(given, out=above).mean(2) / unit + 1e-3))
    return torch.stack(found, dim=2).flatten(1).numpy()
