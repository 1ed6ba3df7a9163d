"""Windows of signals: where they lie, what alters them, what they are scaled by, and what is told of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom import fitted
from medloom.draw import Draw
from medloom.errors import DataError, StudyError
from medloom.modalities.signal import Signal
from medloom.modalities.signal.leads import spelt, unlike_einthoven
from medloom.modalities.signal.options import AugmentOptions
from medloom.modalities.signal.packing import gather
from medloom.modalities.signal.quality import quality
from medloom.modalities.signal.windows import covering_view, training_view
from medloom.modality import View
from medloom.study import make
from tests.modalities.signal_files import cohort, options, source, trace

SHORT = {"file_rate_hz": 100}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Four records of 5 to 50 seconds, longer than several tiles."""
    folder = tmp_path_factory.mktemp("records")
    for number, samples in enumerate((500, 1300, 2048, 5000)):
        np.save(folder / f"{number}.npy", trace(samples, seed=number))
    return folder


def prepared(folder, paths, **more):
    chosen = options(**SHORT, **more)
    got = source(chosen, cohort(folder, paths))
    rows = np.arange(len(paths))
    one = Signal.fit(chosen, [Signal.summarise(chosen, got, rows)])
    return one, one.bind(got)


ALL = [f"{number}.npy" for number in range(4)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4000), st.integers(1, 3000), st.integers(0, 3))
def test_a_gathered_window_is_a_slice_of_its_record(tmp_path_factory, start, length, number):
    samples = (500, 1300, 2048, 5000)[number]
    packed = _packed(tmp_path_factory)
    start = min(start, samples - 1)
    stop = min(start + length, samples)
    out, valid, holey = gather(packed, np.array([number + 1]), np.array([start]), np.array([stop]), length)
    expected = trace(samples, seed=number)[:, start:stop].astype(np.float32)
    np.testing.assert_array_equal(out[0, :, : stop - start], expected)
    assert not out[0, :, stop - start :].any() and valid.sum() == stop - start
    assert not holey[0]


_HELD: list = []


def _packed(tmp_path_factory):
    if not _HELD:
        folder = tmp_path_factory.mktemp("gathered")
        for number, samples in enumerate((500, 1300, 2048, 5000)):
            np.save(folder / f"{number}.npy", trace(samples, seed=number))
        _HELD.append(source(options(**SHORT), cohort(folder, ALL), folder / "store").packed)
    return _HELD[0]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 100), st.integers(1, 5000), st.integers(8, 400), st.data())
def test_windows_of_a_prediction_cover_every_sample_evenly(start, length, samples, data):
    stride = data.draw(st.integers(1, samples))
    view = covering_view(np.array([start]), np.array([start + length]), samples, stride, np.array([7]))
    first, last = view.at["first"], view.at["last"]
    seen = np.zeros(length, bool)
    for a, b in zip(first, last, strict=True):
        assert start <= a < b <= start + length and b - a <= samples
        seen[a - start : b - start] = True
    assert seen.all() and (np.diff(first) <= stride + 1).all() and (view.rows == 7).all()
    if length >= samples:
        assert (last - first == samples).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 100), st.integers(1, 3000))
def test_a_training_window_lies_within_what_a_row_sees(seed, start, length):
    rows = np.arange(20)
    low, high = np.full(20, start), np.full(20, start + length)
    view = training_view(low, high, 200, 3, AugmentOptions(), rows, Draw(seed, np.zeros(20, int)))
    first, last = view.at["first"], view.at["last"]
    assert (first >= start).all() and (last <= start + length).all()
    assert (last - first == min(length, 200)).all()


def test_training_windows_change_with_the_epoch_and_reach_both_ends(records):
    one, got = prepared(records, ALL)
    rows = np.zeros(2000, int)
    view = one.view(got, rows, Draw(0, np.arange(2000)))
    assert view.at["first"].min() == 0 and view.at["last"].max() == 500
    again = one.view(got, rows[:5], Draw(0, np.arange(5)))
    np.testing.assert_array_equal(again.at["first"], view.at["first"][:5])


def test_windows_are_scaled_by_median_and_spread_of_the_training_rows(records):
    one, got = prepared(records, ALL)
    values = np.concatenate([trace(n, seed=s)[:, :] for s, n in enumerate((500, 1300, 2048))], axis=1)
    np.testing.assert_allclose(one.centre, np.median(values, axis=1), atol=0.05)
    low, high = np.quantile(values, [0.25, 0.75], axis=1)
    np.testing.assert_allclose(one.scale, (high - low) / 1.349, rtol=0.05)
    value = one.batch(got, one.view(got, np.array([1]), None)).value[0].numpy()
    expected = (trace(1300, seed=1)[:, :200] - np.array(one.centre)[:, None]) / np.array(one.scale)[:, None]
    np.testing.assert_allclose(value, expected, atol=1e-4)


def test_scaled_alone_a_window_forgets_its_amplitude(tmp_path):
    np.save(tmp_path / "a.npy", trace())
    np.save(tmp_path / "b.npy", trace() * 7 + 3)
    one, got = prepared(tmp_path, ["a.npy", "b.npy"], scale="window")
    first, second = (one.batch(got, one.view(got, np.array([row]), None)).value for row in (0, 1))
    np.testing.assert_allclose(first, second, atol=1e-3)
    np.testing.assert_allclose(first.std(dim=2, correction=0), 1, atol=1e-4)
    kept, stays = prepared(tmp_path, ["a.npy", "b.npy"])
    wide = [float(kept.batch(stays, kept.view(stays, np.array([row]), None)).value.std()) for row in (0, 1)]
    assert wide[1] > 5 * wide[0]


def test_unknown_samples_are_zero_and_marked_where_no_lead_is_known(tmp_path):
    values = trace(600)
    values[0, 50:100] = np.nan
    values[:, 120:130] = np.nan
    np.save(tmp_path / "a.npy", values)
    one, got = prepared(tmp_path, ["a.npy"])
    field = one.batch(got, one.view(got, np.array([0]), None))
    assert not field.value[0, 0, 50:100].any() and field.value[0, 1, 50:100].any()
    assert field.valid[0, :120].all() and not field.valid[0, 120:130].any() and field.valid[0, 130:].all()
    assert np.isfinite(field.value.numpy()).all()


def test_a_row_whose_record_is_shorter_than_a_window_is_padded(records):
    one, got = prepared(records, ALL, window_seconds=8)
    field = one.batch(got, one.view(got, np.array([0]), None))
    assert field.value.shape == (1, 3, 800) and field.valid.sum() == 500 and not field.value[..., 500:].any()


def altered(one, got, rows, **augment):
    part = one.options.model_copy(update={"augment": AugmentOptions(**augment)})
    changed = Signal(part, one.centre, one.scale, {}, one.usual)
    epoch = np.zeros(len(rows), int)
    return changed.batch(got, changed.view(got, rows, Draw(3, epoch)))


def test_each_alteration_does_what_it_says_and_depends_on_the_row_alone(records):
    one, got = prepared(records, ALL)
    rows = np.arange(4)
    plain = altered(one, got, rows)
    scaled = altered(one, got, rows, scale=0.3)
    ratio = (scaled.value / plain.value).nanmedian(dim=2).values
    assert ((ratio - ratio[:, :1]).abs() < 1e-4).all() and (ratio[:, 0] - 1).abs().max() <= 0.3 and ratio.std() > 0
    noisy = altered(one, got, rows, noise=0.5).value - plain.value
    assert abs(float(noisy.std()) - 0.5) < 0.02 and abs(float(noisy.mean())) < 0.03
    wander = altered(one, got, rows, wander=0.8).value - plain.value
    assert (
        float(wander.abs().max()) <= 0.8 + 1e-4
        and float(wander.diff(dim=2).abs().max()) < 0.8 * 2 * np.pi * 0.5 / 100 + 1e-4
    )
    dropped = altered(one, got, np.tile(rows, 1), drop_leads=0.9)
    assert dropped.extra["lead"].any(dim=1).all() and not dropped.extra["lead"].all()
    assert not dropped.value[~dropped.extra["lead"]].any()
    masked = altered(one, got, rows, mask=0.5, crop=0.3)
    assert not masked.valid.all() and masked.valid.any(dim=1).all()
    assert not masked.value.transpose(1, 2)[~masked.valid].any()
    for augment in ({"noise": 0.5}, {"mask": 0.5, "crop": 0.2}, {"wander": 0.5, "scale": 0.2, "drop_leads": 0.5}):
        alone = altered(one, got, rows[2:3], **augment)
        np.testing.assert_array_equal(alone.value[0], altered(one, got, rows, **augment).value[2])


def test_prediction_is_never_altered(records):
    one, got = prepared(records, ALL, augment={"noise": 5.0, "mask": 0.9, "drop_leads": 0.9})
    bare = Signal(options(**SHORT), one.centre, one.scale, {}, one.usual)
    view = one.view(got, np.arange(4), None)
    np.testing.assert_array_equal(one.batch(got, view).value, bare.batch(got, view).value)


def test_nothing_at_or_after_the_index_time_is_seen_even_through_filters(tmp_path):
    values = trace(3000)
    later = values.copy()
    later[:, 1500:] += 50 * np.random.default_rng(1).normal(size=(3, 1500))
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "b.npy", later)
    chosen = options(
        **SHORT, starts="begins", highpass_hz=0.7, notch_hz=20.0, lowpass_hz=30.0, rate_hz=80, known_before_index=False
    )
    times = {"begins": ["2024-01-01T10:00:00"] * 2, "when": ["2024-01-01T10:00:15"] * 2}
    who = cohort(tmp_path, ["a.npy", "b.npy"], at="when", **times)
    got = source(chosen, who)
    assert (got.newest < who.at).all() and (got.stop > 0).all() and (got.stop < 15 * 80).all()
    one = Signal(chosen, (0.0,) * 3, (1.0,) * 3, {}, ((0.0,) * 4,) * 3)
    view = one.view(got, np.array([0, 1]), None)
    field = one.batch(got, view)
    half = len(view.rows) // 2
    np.testing.assert_allclose(field.value[:half], field.value[half:], atol=5e-3)


def test_an_index_time_between_samples_cuts_before_it(tmp_path):
    np.save(tmp_path / "a.npy", trace(1000))
    chosen = options(**SHORT, starts="begins", known_before_index=False)
    begins = ["2024-01-01T10:00:00"] * 4 + [None]
    at = [f"2024-01-01T10:00:0{end}" for end in ("5", "5.004", "0", "9.999", "9")]
    who = cohort(tmp_path, ["a.npy"] * 4 + [None], at="when", begins=begins, when=at)
    got = source(chosen, who)
    assert got.stop.tolist() == [500, 501, 0, 1000, 0] and (got.unit > 0).tolist() == [True, True, False, True, False]


def test_records_without_a_beginning_are_named(tmp_path):
    np.save(tmp_path / "a.npy", trace(1000))
    who = cohort(tmp_path, ["a.npy"], at="when", when=["2024-01-01"])
    with pytest.raises(DataError, match="no time in the header"):
        source(options(**SHORT, starts="file"), who)


def test_segments_are_parts_of_a_record_and_must_lie_within_it(tmp_path):
    np.save(tmp_path / "a.npy", trace(1000))
    chosen = options(**SHORT, segment=("from_s", "to_s"))
    got = source(chosen, cohort(tmp_path, ["a.npy"] * 2, from_s=[0.5, 2.0], to_s=[3.0, 10.0]))
    assert got.start.tolist() == [50, 200] and got.stop.tolist() == [300, 1000]
    with pytest.raises(DataError, match="ends after the record"):
        source(chosen, cohort(tmp_path, ["a.npy"], from_s=[0.0], to_s=[11.0]))
    with pytest.raises(DataError, match="does not say where"):
        source(chosen, cohort(tmp_path, ["a.npy"], from_s=[None], to_s=[3.0]))


def test_quality_tells_flat_clipped_noisy_and_unknown_leads():
    random = np.random.default_rng(0)
    time = np.arange(1000) / 100
    wave = np.sin(2 * np.pi * time)
    leads = np.stack([wave, np.zeros(1000), wave.clip(-0.6, 0.6), random.normal(size=1000), wave])
    known = np.ones((1, 5, 1000), bool)
    known[0, 4, :300] = False
    found = quality(np.where(known, leads[None], 0), known)[0]
    assert found[0].max() < 0.02
    assert found[1, 0] == 1 and found[1, 1] == 0
    clipped = np.mean(np.abs(wave) >= 0.6)
    assert abs(found[2, 1] - clipped) < 0.02
    assert abs(found[3, 2] - 2 / 3) < 0.05  # a difference of neighbours of white noise has twice its power
    assert abs(found[4, 3] - 0.3) < 1e-9


def test_leads_are_named_as_poor_only_where_training_rows_are_better(tmp_path):
    random = np.random.default_rng(3)
    wave = trace(1000)[0]
    for number in range(12):
        np.save(tmp_path / f"{number}.npy", np.stack([random.normal(size=1000), wave]))
    np.save(tmp_path / "swapped.npy", np.stack([wave, random.normal(size=1000)]))
    np.save(tmp_path / "flat.npy", np.stack([np.zeros(1000), wave]))
    chosen = options(leads=("I", "II"), file_rate_hz=100)
    who = cohort(tmp_path, [*(f"{number}.npy" for number in range(12)), "swapped.npy", "flat.npy"])
    got = source(chosen, who)
    fit = Signal.fit(chosen, [Signal.summarise(chosen, got, np.arange(12))])
    assert [(one.row, one.text) for one in fit.problems(got, who)] == [
        (12, "record: leads II are mostly noise"),
        (13, "record: leads I are flat"),
    ]


def test_what_rows_hold_names_poor_and_missing_leads(tmp_path):
    wave = trace(1000)[0]
    for number in range(8):
        np.savez(tmp_path / f"{number}.npz", signal=np.stack([wave, wave]), leads=["I", "II"], rate_hz=100.0)
    np.savez(tmp_path / "flat.npz", signal=np.stack([wave, np.zeros(1000)]), leads=["I", "II"], rate_hz=100.0)
    np.savez(tmp_path / "one.npz", signal=wave[None, :450], leads=["I"], rate_hz=100.0)
    chosen = options(leads=("I", "II"), missing_leads="absent")
    who = cohort(tmp_path, [*(f"{number}.npz" for number in range(8)), "flat.npz", "one.npz", None])
    got = source(chosen, who)
    held = Signal.fit(chosen, [Signal.summarise(chosen, got, np.arange(11))]).held(got, np.arange(1, 11))
    assert held.what == "seconds of signal" and held.each.tolist() == [10] * 8 + [5, 0]
    assert held.shares == (("lead II is missing", 0.1), ("lead II is flat", 0.1))


def test_limb_leads_that_do_not_add_up_are_told(tmp_path):
    one, three = trace(1000, 1)[0], trace(1000, 2)[1]
    np.savez(tmp_path / "good.npz", signal=np.stack([one, one + three, three]), leads=["I", "II", "III"], rate_hz=100.0)
    np.savez(tmp_path / "bad.npz", signal=np.stack([one + three, one, three]), leads=["I", "II", "III"], rate_hz=100.0)
    chosen = options(leads=("I", "II", "III"))
    who = cohort(tmp_path, ["good.npz", "bad.npz"])
    got = source(chosen, who)
    fit = Signal.fit(chosen, [Signal.summarise(chosen, got, np.arange(2))])
    told = fit.problems(got, who)
    assert [problem.row for problem in told] == [1] and "exchanged" in told[0].text
    assert unlike_einthoven(np.zeros((1, 1, 5)), ("I",)) is None


def test_copies_that_are_shifted_or_rescaled_lie_close_together(tmp_path):
    random = np.random.default_rng(2)
    names = []
    for number in range(30):
        power = random.uniform(0.2, 3, 8)
        time = np.arange(2000) / 100
        waves = [
            p * np.sin(2 * np.pi * f * time + random.uniform(0, 6)) for p, f in zip(power, range(1, 16, 2), strict=True)
        ]
        values = np.stack([np.sum(waves, axis=0) + random.normal(0, 0.1, 2000) for _ in range(3)])
        if number == 29:
            values = 3 * np.roll(np.load(tmp_path / "0.npy"), 37, axis=1)
        names.append(f"{number}.npy")
        np.save(tmp_path / names[-1], values)
    one, got = prepared(tmp_path, names)
    features = one.fingerprint(got, np.arange(30))
    distance = np.linalg.norm(features - features[29], axis=1)[:29]
    assert distance.argmin() == 0 and distance[0] < 0.5 * np.sort(distance)[1]


def test_plain_numbers_are_named_by_lead_and_missing_where_the_input_is(records):
    one, got = prepared(records, [*ALL, None])
    numbers = one.plain(got, np.arange(5))
    assert len(one.features()) == numbers.shape[1] and {part.part for part in one.features()} == {"I", "II", "V1"}
    assert np.isnan(numbers[4]).all() and np.isfinite(numbers[:4]).all()
    np.testing.assert_array_equal(one.plain(got, np.array([2])), numbers[2:3])


def test_exchanged_leads_are_those_of_the_other_row(records):
    one, got = prepared(records, ALL)
    field = one.batch(got, View(np.array([1, 2]), {"first": np.array([0, 0]), "last": np.array([200, 200])}))
    other = one.batch(got, View(np.array([2, 1]), {"first": np.array([0, 0]), "last": np.array([200, 200])}))
    mixed = one.exchanged(field, other, {"II"})
    np.testing.assert_array_equal(mixed.value[:, 1], other.value[:, 1])
    np.testing.assert_array_equal(mixed.value[:, [0, 2]], field.value[:, [0, 2]])


def test_fitted_state_is_json_and_restores(records):
    one, _ = prepared(records, ALL)
    assert fitted.same(fitted.load(Signal, fitted.dump(one)), one)


def test_training_rows_without_samples_are_told(tmp_path):
    chosen = options(**SHORT)
    got = source(chosen, cohort(tmp_path, [None, None]))
    with pytest.raises(DataError, match="no samples of lead"):
        Signal.fit(chosen, [Signal.summarise(chosen, got, np.arange(2))])


@pytest.mark.parametrize(
    ("name", "same"),
    [("ECG lead II", "lead ii"), (" ii ", "II"), ("EEG Fp1-REF", "fp1"), ("eeg  C3", "C3"), ("Lead", "lead")],
)
def test_names_are_compared_as_they_are_meant(name, same):
    assert spelt(name) == spelt(same)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"highpass_hz": 40, "lowpass_hz": 30}, "below lowpass_hz"),
        ({"stride_seconds": 5}, "leave gaps"),
        ({"leads": ["I", "ECG I"]}, "named twice"),
        ({"aliases": {"V9": ["X"]}}, "none of the leads"),
        ({"rate_hz": 1}, "fewer than 8 samples"),
        ({"plain": ["bands", "bands"]}, "twice"),
    ],
)
def test_options_that_do_not_go_together_are_told(more, words):
    part = {"modality": "signal", "column": "r", "leads": ["I", "II"], "rate_hz": 50, "window_seconds": 4, "known_before_index": True}  # fmt: skip
    study = {
        "name": "x", "cohort": {"table": "t.csv", "independent_rows": True},
        "inputs": {"ecg": {**part, **more}}, "targets": {"y": {"task": "classify", "column": "y"}},
    }  # fmt: skip
    with pytest.raises(StudyError, match=words):
        make(study)
