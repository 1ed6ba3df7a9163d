"""Random convolutions as plain numbers, against convolutions of SciPy; powers in bands, against waves of known power."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.signal import convolve
from sklearn.linear_model import RidgeClassifier

from medloom import fitted
from medloom.modalities.signal import simple
from medloom.modalities.signal.bands import CLINICAL, band_powers, edges_of
from medloom.modalities.signal.convolutions import (
    BIASES,
    KERNELS,
    SIZES,
    Convolutions,
    dilations_of,
    kernels,
)
from medloom.modalities.signal.options import SignalOptions


def windows(rows: int, channels: int, samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, channels, samples)).astype(np.float32)


def test_kernels_are_all_different_and_sum_to_zero() -> None:
    found = kernels()
    assert found.shape == (84, 9) and len(np.unique(found, axis=0)) == 84
    assert (found.sum(axis=1) == 0).all()


def test_numbers_are_those_of_convolutions_done_one_by_one() -> None:
    held = windows(3, 2, 120)
    made = Convolutions.fit(windows(40, 2, 120, seed=1), 0)
    found = made.features(held).reshape(3, 2, len(made.dilation), KERNELS, BIASES + SIZES)
    place, kernel = len(made.dilation) - 1, 37
    stretched = np.zeros(8 * made.dilation[place] + 1)
    stretched[:: made.dilation[place]] = kernels()[kernel][::-1]
    for side, values in enumerate((held, np.diff(held, axis=2))):
        for row in range(3):
            given = convolve(values[row][made.heard[place, kernel]].sum(axis=0), stretched, mode="valid")
            unit = made.scale[side, place, kernel]
            largest = given.max() / unit
            wanted = [
                *(np.mean(given > bias) for bias in made.bias[side, place, kernel]),
                np.sign(largest) * np.log1p(abs(largest)),
                np.log(np.sqrt(np.mean(given**2)) / unit + 1e-3),
                np.log(np.abs(given).mean() / unit + 1e-3),
            ]
            np.testing.assert_allclose(found[row, side, place, kernel], wanted, rtol=1e-4, atol=1e-4)


def test_a_row_alone_has_the_same_numbers_to_the_bit() -> None:
    held = windows(30, 3, 700)
    made = Convolutions.fit(held, 0)
    np.testing.assert_array_equal(
        np.concatenate([made.features(held[i : i + 1]) for i in range(5)]), made.features(held)[:5]
    )


def test_the_seed_and_the_windows_alone_say_what_is_fitted() -> None:
    held = windows(100, 4, 90)
    one, same, other = (Convolutions.fit(held, seed) for seed in (0, 0, 1))
    arrays = fitted.arrays(one)
    assert all(np.array_equal(arrays[name], value) for name, value in fitted.arrays(same).items())
    assert not np.array_equal(one.heard, other.heard)
    again = fitted.from_arrays(Convolutions, arrays, {})
    np.testing.assert_array_equal(again.features(held[:4]), one.features(held[:4]))
    assert one.features(held).shape == (100, one.width)


@pytest.mark.parametrize("samples", [1, 5, 17, 18, 4097])
def test_windows_of_any_length(samples: int) -> None:
    held = windows(2, 1, samples)
    made = Convolutions.fit(held, 0)
    assert np.isfinite(made.features(held)).all()
    assert (np.diff(dilations_of(samples)) > 0).all()
    assert made.dilation[-1] * 8 + 1 <= max(samples / 2 + 1, 9)
    assert made.features(held[:0]).shape == (0, made.width)


def test_flat_windows_give_finite_numbers_and_others_are_refused() -> None:
    flat = np.zeros((4, 1, 50), np.float32)
    made = Convolutions.fit(flat, 0)
    assert np.isfinite(made.features(flat)).all() and np.isfinite(made.features(flat + 1e6)).all()
    with pytest.raises(ValueError, match="fitted on"):
        made.features(np.zeros((4, 2, 50), np.float32))


def test_amplitude_is_kept_which_shares_of_positive_values_forget() -> None:
    """A short burst in noise of random loudness: shares alone do not say whether the row is loud."""
    random = np.random.default_rng(0)
    label = np.arange(200) % 2
    held = (windows(200, 1, 200) * np.where(label, 1.6, 1.0)[:, None, None]).astype(np.float32)
    held *= random.uniform(0.95, 1.05, (200, 1, 1)).astype(np.float32)
    made = Convolutions.fit(held[:100], 0)
    found = made.features(held).reshape(200, -1, BIASES + SIZES)
    size = found[:, :, BIASES:].reshape(200, -1)
    model = RidgeClassifier(100.0).fit(size[:100], label[:100])
    assert model.score(size[100:], label[100:]) > 0.98


def test_powers_are_those_of_waves_of_known_frequency() -> None:
    rate_hz, seconds = 173.61, 24
    time = np.arange(int(rate_hz * seconds)) / rate_hz
    found = []
    for hz in (2.0, 6.0, 10.0, 20.0, 50.0):
        found.append(np.sqrt(2) * 3 * np.sin(2 * np.pi * hz * time))
    powers = band_powers(np.array(found)[:, None], rate_hz)
    assert powers.shape == (5, 6)
    assert (powers.argmax(axis=1) == np.arange(5)).all()
    # A frame is two seconds long, so a wave of variance 9 has 9 × 347 / 2 in all over the frequencies of its side.
    width = (np.array(CLINICAL[1:]) - np.array(CLINICAL[:-1])) * 2.0
    total = np.exp(powers[np.arange(5), np.arange(5)]) * width
    np.testing.assert_allclose(total, 9 * 347 / 2, rtol=0.1)


@pytest.mark.parametrize("rate_hz", [0.01, 1.0, 30.0, 60.0, 250.0, 8000.0])
def test_bands_rise_to_half_the_rate(rate_hz: float) -> None:
    edges = edges_of(rate_hz)
    assert (np.diff(edges) > 0).all() and edges[-1] == rate_hz / 2
    found = band_powers(windows(2, 3, 100), rate_hz)
    assert found.shape == (2, 3 * (len(edges) - 1)) and np.isfinite(found).all()


def test_a_shorter_window_than_a_frame_and_no_window_at_all() -> None:
    assert np.isfinite(band_powers(windows(1, 1, 3), 100.0)).all()
    assert band_powers(windows(0, 2, 50), 100.0).shape == (0, 10)


def test_windows_in_parts_are_the_means_over_their_parts() -> None:
    held = windows(4, 2, 101)
    made = simple.convolutions(simple.fit_convolutions(windows(20, 2, 101, seed=1), (1, 3)))
    there = np.ones((4, 2), bool)
    found = simple.features(["convolutions"], held, held, there[:, :, None] & (held == held), there, 50.0, made)
    thirds = np.stack([made[3].features(held[:, :, start : start + 33]) for start in (0, 33, 66)])
    np.testing.assert_allclose(found, np.concatenate([made[1].features(held), thirds.mean(axis=0)], axis=1), rtol=1e-5, atol=1e-6)  # fmt: skip
    assert found.shape[1] == simple.width(["convolutions"], 2, 50.0, made) == made[1].width + made[3].width
    alone = simple.features(["convolutions"], held[2:3], held[2:3], held[2:3] == held[2:3], there[:1], 50.0, made)
    assert np.array_equal(alone[0], found[2])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"convolution_parts": [1, 2, 2], "plain": ["convolutions"]}, "names something twice"),
        ({"convolution_parts": [2]}, "goes with plain"),
        ({"convolution_parts": [], "plain": ["convolutions"]}, "at least 1"),
    ],
)
def test_parts_that_cannot_be(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SignalOptions.model_validate({"modality": "signal", "column": "path", "window_seconds": 2, **options})
