"""Filters and resampling: what is left of each frequency, and that parts equal the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from medloom.errors import DataError
from medloom.modalities.signal.arrays import of_array
from medloom.modalities.signal.conditioning import Conditioner, Filters, conditioned
from tests.modalities.signal_files import cohort, options, source, trace, whole


def at_rate(values, from_hz, to_hz, filters, block):
    recording = of_array(values, (), from_hz)
    length, _, blocks = conditioned(recording, range(len(values)), [1.0] * len(values), filters, to_hz, block)
    out = np.concatenate(list(blocks), axis=1)
    assert out.shape[1] == length
    return out


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(100.0, 100.0), (100.0, 80.0), (100.0, 250.0), (173.61, 128.0), (500.0, 100.0)]),
    st.integers(200, 3000),
    st.sampled_from([Filters(), Filters(highpass_hz=2.0), Filters(notch_hz=20.0, lowpass_hz=30.0)]),
)
def test_blocks_together_equal_one_block(rates, block, filters):
    values = trace(6000, 2)
    parts, one = (at_rate(values, *rates, filters, size) for size in (block, 1 << 20))
    np.testing.assert_allclose(parts, one, atol=2e-5)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(500, 250), (250, 500), (360, 250), (173.61, 100)])
def test_resampling_keeps_slow_waves_in_time_and_size(from_hz, to_hz):
    time = np.arange(int(20 * from_hz)) / from_hz
    got = at_rate(np.sin(2 * np.pi * 3 * time)[None], from_hz, to_hz, Filters(), 4096)[0]
    expected = np.sin(2 * np.pi * 3 * np.arange(len(got)) / to_hz)
    np.testing.assert_allclose(got[200:-200], expected[200:-200], atol=5e-3)


def test_what_is_faster_than_half_the_new_rate_goes_and_does_not_come_back_as_an_alias():
    time = np.arange(10_000) / 500
    got = at_rate(np.sin(2 * np.pi * 90 * time)[None], 500, 100, Filters(), 4096)[0]
    assert np.abs(got[100:-100]).max() < 0.02


def test_resampling_equals_scipy_on_the_whole():
    values = trace(5000)
    got = at_rate(values, 100, 64, Filters(), 700)
    expected = signal.resample_poly(values, 16, 25, axis=1, padtype="edge")
    np.testing.assert_allclose(got, expected, atol=1e-9)


def test_filters_take_out_their_frequencies_and_shift_nothing():
    time = np.arange(10_000) / 500
    parts = {hertz: np.sin(2 * np.pi * hertz * time) for hertz in (0.1, 10, 50, 120)}
    mixed = sum(parts.values())[None]
    got = at_rate(mixed, 500, 500, Filters(50.0, 0.5, 60.0), 1 << 20)[0]
    inner = slice(2000, -2000)
    power = {
        hertz: float(np.dot(got[inner], wave[inner]) / np.dot(wave[inner], wave[inner]))
        for hertz, wave in parts.items()
    }
    assert abs(power[10] - 1) < 0.01 and max(abs(power[h]) for h in (0.1, 50, 120)) < 0.1
    lag = np.correlate(got[inner], parts[10][inner], "full").argmax() - (len(got[inner]) - 1)
    assert lag == 0


def test_filters_equal_scipy_on_the_whole():
    values = trace(4000)
    sections = signal.butter(2, 1.0, "highpass", fs=100, output="sos")
    got = at_rate(values, 100, 100, Filters(highpass_hz=1.0), 1 << 20)
    expected = signal.sosfiltfilt(sections, values, axis=1)
    np.testing.assert_allclose(got[:, 400:-400], expected[:, 400:-400], atol=1e-5)


def test_a_sample_depends_on_nothing_beyond_the_reach():
    way = Conditioner.between(Filters(highpass_hz=1.0, notch_hz=25.0), 100, 80)
    values = trace(6000, 1)
    later = values.copy()
    later[:, 3000:] += 10
    one, other = (at_rate(v, 100, 80, Filters(highpass_hz=1.0, notch_hz=25.0), 1 << 20) for v in (values, later))
    safe = (3000 - way.reach) * 80 // 100
    np.testing.assert_allclose(one[:, :safe], other[:, :safe], atol=1e-4)
    assert np.abs(one[:, safe:] - other[:, safe:]).max() > 1


def test_unknown_runs_stay_unknown_and_do_not_spread(tmp_path):
    values = trace(2000)
    values[1, 800:900] = np.nan
    np.save(tmp_path / "a.npy", values)
    got = whole(source(options(file_rate_hz=100, rate_hz=50, highpass_hz=0.5), cohort(tmp_path, ["a.npy"])).packed, 1)
    assert np.isnan(got[1, 400:450]).all() and np.isnan(got).sum() == 50


def test_a_frequency_that_a_record_does_not_hold_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", trace(500))
    with pytest.raises(DataError, match="too low for notch_hz"):
        source(options(file_rate_hz=100, notch_hz=60.0), cohort(tmp_path, ["a.npy"]))
