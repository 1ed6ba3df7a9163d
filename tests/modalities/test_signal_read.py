"""Records of every format come in with their own numbers, and broken ones are named and nothing is allocated."""

from __future__ import annotations

import struct
from pathlib import Path

import edfio
import numpy as np
import polars as pl
import pytest

from medloom.errors import DataError
from medloom.modalities.signal import Signal
from tests.modalities.signal_files import (
    LEADS,
    STARTED,
    cohort,
    options,
    source,
    trace,
    whole,
    write_edf,
    write_wfdb,
    wrsamp,
)


def read(folder: Path, record, **more) -> np.ndarray:
    return whole(source(options(**more), cohort(folder, [record])).packed, 1)


def refused(folder: Path, record, **more) -> str:
    with pytest.raises(DataError) as error:
        source(options(**more), cohort(folder, [record]))
    assert "'1'" in str(error.value)
    return str(error.value)


def test_wfdb_with_and_without_a_suffix(tmp_path):
    values = trace()
    header = write_wfdb(tmp_path, "one", values)
    for name in (header, tmp_path / "one", tmp_path / "one.dat"):
        np.testing.assert_allclose(read(tmp_path, name), values, atol=1e-4)


@pytest.mark.parametrize("fmt", ["16", "24", "32", "80", "212"])
def test_wfdb_formats(tmp_path, fmt):
    values = trace()
    write_wfdb(tmp_path, "one", values, fmt=[fmt] * 3)
    np.testing.assert_allclose(read(tmp_path, "one"), values, atol=2e-2 if fmt == "80" else 2e-3)


def test_wfdb_of_several_segments(tmp_path):
    values = trace(1000)
    write_wfdb(tmp_path, "a", values[:, :400])
    write_wfdb(tmp_path, "b", values[:, 400:])
    (tmp_path / "both.hea").write_text("both/2 3 100 1000\na 400\nb 600\n")
    np.testing.assert_allclose(read(tmp_path, "both"), values, atol=1e-4)
    (tmp_path / "b.dat").unlink()
    assert "signal files that are missing" in refused(tmp_path, "both")


def test_edf_and_bdf(tmp_path):
    values = trace()
    np.testing.assert_allclose(read(tmp_path, write_edf(tmp_path / "one.edf", values)), values, atol=2e-4)
    np.testing.assert_allclose(read(tmp_path, write_edf(tmp_path / "one.bdf", values)), values, atol=1e-6)
    got = source(options(), cohort(tmp_path, ["one.edf"])).packed
    assert np.isnan(got.arrays["starts"]).all()
    write_edf(tmp_path / "dated.edf", values, **STARTED)
    dated = source(options(), cohort(tmp_path, ["dated.edf"])).packed.arrays["starts"]
    assert dated[1] == np.datetime64("2024-03-01T08:30:00").astype("datetime64[s]").astype(float)


def test_edf_channels_of_different_rates_come_to_one(tmp_path):
    time = np.arange(4000) / 200
    slow = np.sin(2 * np.pi * 1.0 * time)
    write_edf(tmp_path / "one.edf", [slow, slow[::2], slow[::4]], (200, 100, 50))  # type: ignore[arg-type]
    got = read(tmp_path, "one.edf")
    assert got.shape == (3, 2000)
    for lead in got:
        np.testing.assert_allclose(lead[50:-50], slow[::2][50:-50], atol=5e-3)


def test_edf_with_gaps_has_unknown_samples_there(tmp_path):
    path = write_edf(tmp_path / "one.edf", trace(400, 1), names=("I",), annotations=[edfio.EdfAnnotation(0, None, "x")])
    raw = bytearray(path.read_bytes())
    raw[192:197] = b"EDF+D"
    count = int(raw[236:244])
    size = (len(raw) - 512 - 256) // count
    for block in range(2, count):  # the third block and those behind it begin two seconds later
        at = raw.index(f"+{block}\x14\x14".encode(), 768 + block * size)
        raw[at : at + 4] = f"+{block + 2}\x14\x14".encode()
    (tmp_path / "gap.edf").write_bytes(raw)
    got = read(tmp_path, "gap.edf", leads=("I",))
    assert got.shape == (1, 600)
    assert np.isnan(got[0, 200:400]).all() and np.isfinite(got[0, :200]).all() and np.isfinite(got[0, 400:]).all()
    np.testing.assert_allclose(got[0, 400:], trace(400, 1)[0, 200:], atol=2e-4)


def test_tables_arrays_and_lines(tmp_path):
    values = trace()
    frame = pl.DataFrame(dict(zip(("V1", "II", "I"), values[::-1], strict=True)))
    frame.write_csv(tmp_path / "one.csv")
    frame.write_parquet(tmp_path / "one.parquet")
    np.save(tmp_path / "one.npy", values)
    np.save(tmp_path / "turned.npy", values.T)
    np.savez_compressed(tmp_path / "one.npz", signal=values[::-1], leads=["V1", "II", "I"], rate_hz=100.0)
    (tmp_path / "one.txt").write_text("\n".join(str(v) for v in values[0]) + "\n")
    for name in ("one.csv", "one.parquet", "one.npy"):
        np.testing.assert_allclose(read(tmp_path, name, file_rate_hz=100), values, atol=1e-6)
    np.testing.assert_allclose(read(tmp_path, "one.npz"), values, atol=1e-6)
    np.testing.assert_allclose(read(tmp_path, "turned.npy", file_rate_hz=100, samples_first=True), values, atol=1e-6)
    np.testing.assert_allclose(read(tmp_path, "one.txt", file_rate_hz=100, leads=("I",)), values[:1], atol=1e-6)


def test_numbers_that_are_unknown_in_a_text_table_are_empty_or_nan(tmp_path):
    values = trace()
    values[1, 100:130], values[0, :5] = np.nan, np.nan
    np.savetxt(tmp_path / "numpy.csv", values.T, delimiter=",", header=",".join(LEADS), comments="")
    pl.DataFrame(dict(zip(LEADS, values, strict=True))).fill_nan(None).write_csv(tmp_path / "empty.csv")
    for name in ("numpy.csv", "empty.csv"):
        np.testing.assert_allclose(read(tmp_path, name, file_rate_hz=100), values, atol=1e-6)
    text = (tmp_path / "numpy.csv").read_text().replace("nan", "off", 1)
    (tmp_path / "words.csv").write_text(text)
    assert "not numbers" in refused(tmp_path, "words.csv", file_rate_hz=100)


def test_leads_by_name_in_order_with_aliases(tmp_path):
    values = trace()
    write_wfdb(tmp_path, "one", values, names=("v1", "MLII", "ECG I"))
    got = read(tmp_path, "one", aliases={"II": ["MLII"]})
    np.testing.assert_allclose(got, values[[2, 1, 0]], atol=1e-4)
    assert "no lead 'II'" in refused(tmp_path, "one") and "aliases" in refused(tmp_path, "one")


def test_missing_leads_are_an_error_or_absent(tmp_path):
    write_wfdb(tmp_path, "one", trace()[:2], names=("I", "V1"))
    assert "no lead 'II'" in refused(tmp_path, "one")
    chosen = options(missing_leads="absent")
    who = cohort(tmp_path, ["one"])
    got = source(chosen, who)
    assert got.packed.arrays["lead"][1].tolist() == [True, False, True]
    fitted = Signal(chosen, (0.0,) * 3, (1.0,) * 3, {}, ((0.0,) * 4,) * 3)
    field = fitted.batch(got, fitted.view(got, np.array([0]), None))
    assert field.extra["lead"][0].tolist() == [True, False, True] and not field.value[:, 1].any()
    assert [problem.text for problem in fitted.problems(got, who)] == ["record: leads II are missing"]


def test_units_of_volts_are_converted_and_others_must_agree(tmp_path):
    values = trace()
    write_wfdb(tmp_path, "milli", values)
    write_wfdb(tmp_path, "micro", values * 1000, units=["uV"] * 3)
    write_wfdb(tmp_path, "pressure", values, units=["mmHg", "mV", "mV"])
    for name in ("milli", "micro"):
        np.testing.assert_allclose(read(tmp_path, name), values, atol=1e-4)
    with pytest.raises(DataError, match="another unit"):
        source(options(), cohort(tmp_path, ["milli", "pressure"]))


def test_leads_and_rate_are_completed_from_the_first_record(tmp_path):
    write_wfdb(tmp_path, "one", trace(), rate_hz=100)
    done = Signal.complete(options(leads=None, rate_hz=None), cohort(tmp_path, [None, "one"]), frozenset())
    assert done.leads == LEADS and done.rate_hz == 100


def test_a_header_that_promises_too_much_allocates_nothing(tmp_path):
    header = write_wfdb(tmp_path, "one", trace())
    text = header.read_text()
    header.write_text(text.replace(" 1000\n", " 1000000000000\n", 1))
    assert "promise more samples" in refused(tmp_path, "one")
    edf = bytearray(write_edf(tmp_path / "one.edf", trace()).read_bytes())
    edf[236:244] = b"99999999"
    (tmp_path / "one.edf").write_bytes(edf)
    assert "promise more samples" in refused(tmp_path, "one.edf")
    npy = bytearray()
    with open(tmp_path / "one.npy", "wb") as handle:
        np.lib.format.write_array_header_1_0(handle, {"descr": "<f8", "fortran_order": False, "shape": (3, 10**12)})
        handle.write(bytes(64))
    assert "truncated or broken" in refused(tmp_path, "one.npy", file_rate_hz=100)
    import zipfile

    npy = (tmp_path / "one.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.npz", "w") as archive:
        archive.writestr("signal.npy", npy)
    assert "promise more samples" in refused(tmp_path, "one.npz", file_rate_hz=100)


def test_truncated_and_broken_files_are_named(tmp_path):
    header = write_wfdb(tmp_path, "one", trace())
    (tmp_path / "one.dat").write_bytes((tmp_path / "one.dat").read_bytes()[:-100])
    assert "promise more samples" in refused(tmp_path, header)
    edf = write_edf(tmp_path / "one.edf", trace()).read_bytes()
    (tmp_path / "cut.edf").write_bytes(edf[:-50])
    assert "truncated" in refused(tmp_path, "cut.edf")
    (tmp_path / "short.edf").write_bytes(edf[:300])
    assert "end within their header" in refused(tmp_path, "short.edf")
    (tmp_path / "length.edf").write_bytes(edf[:184] + b"512     " + edf[192:])
    assert "length does not fit" in refused(tmp_path, "length.edf")
    (tmp_path / "other.edf").write_bytes(b"GIF89a" + bytes(600))
    assert "not EDF" in refused(tmp_path, "other.edf")
    (tmp_path / "bad.txt").write_text("1\nx\n3\n")
    assert "not numbers" in refused(tmp_path, "bad.txt", file_rate_hz=100, leads=("I",))
    (tmp_path / "bad.hea").write_text("nonsense\n")
    assert "broken WFDB header" in refused(tmp_path, "bad")
    assert "do not exist" in refused(tmp_path, "nowhere")
    assert "do not exist" in refused(tmp_path, "nowhere.edf")


def test_a_sampling_rate_of_zero_is_refused(tmp_path):
    header = write_wfdb(tmp_path, "one", trace())
    header.write_text(header.read_text().replace(" 100 1000", " 0 1000", 1))
    assert "sampling rate of zero" in refused(tmp_path, "one")
    edf = bytearray(write_edf(tmp_path / "one.edf", trace()).read_bytes())
    edf[244:252] = b"0       "
    (tmp_path / "one.edf").write_bytes(edf)
    assert "sampling rate of zero" in refused(tmp_path, "one.edf")
    np.savez(tmp_path / "one.npz", signal=trace(), rate_hz=0.0)
    assert "sampling rate of zero" in refused(tmp_path, "one.npz")


@pytest.mark.parametrize("rate", ["-5", "fast", "nan", "inf", "-5/100(0)"])
def test_a_sampling_rate_that_is_no_positive_number_is_refused(tmp_path, rate):
    header = write_wfdb(tmp_path, "one", trace())
    header.write_text(header.read_text().replace(" 100 1000", f" {rate} 1000", 1))
    assert "header" in refused(tmp_path, "one")
    edf = bytearray(write_edf(tmp_path / "one.edf", trace()).read_bytes())
    edf[244:252] = f"{rate[:8]:<8}".encode()
    (tmp_path / "one.edf").write_bytes(edf)
    assert "header" in refused(tmp_path, "one.edf")


def test_files_that_do_not_say_their_rate_need_it(tmp_path):
    np.save(tmp_path / "one.npy", trace())
    assert "file_rate_hz" in refused(tmp_path, "one.npy")


def test_two_channels_for_one_lead_are_refused(tmp_path):
    frame = pl.DataFrame({"I": [0.0] * 300, "ecg i": [1.0] * 300, "II": [0.0] * 300, "V1": [0.0] * 300})
    frame.write_csv(tmp_path / "one.csv")
    assert "two channels" in refused(tmp_path, "one.csv", file_rate_hz=100)


def test_unreadable_records_may_be_absent_and_are_told(tmp_path):
    write_wfdb(tmp_path, "one", trace())
    (tmp_path / "bad.edf").write_bytes(b"x" * 900)
    chosen, who = options(unreadable="absent"), cohort(tmp_path, ["one", "bad.edf", None])
    got = source(chosen, who)
    fitted = Signal(chosen, (0.0,) * 3, (1.0,) * 3, {}, ((0.0,) * 4,) * 3)
    assert (got.unit > 0).tolist() == [True, False, False]
    assert fitted.batch(got, fitted.view(got, np.arange(3), None)).present.unique().tolist() == [False, True]
    assert [problem.row for problem in fitted.problems(got, who)] == [1]


def test_unknown_samples_of_wfdb_stay_unknown(tmp_path):
    values = trace()
    values[1, 300:400] = np.nan
    write_wfdb(tmp_path, "one", values)
    got = read(tmp_path, "one")
    assert np.isnan(got[1, 300:400]).all() and np.isnan(got).sum() == 100
    assert not np.isnan(read(tmp_path, "one", store="int16")[[0, 2]]).any()
    assert np.isnan(read(tmp_path, "one", store="int16")[1]).sum() == 100


def test_whole_numbers_are_half_the_size_and_close(tmp_path):
    values = trace()
    write_wfdb(tmp_path, "one", values)
    packed = source(options(store="int16"), cohort(tmp_path, ["one"])).packed
    assert packed.arrays["tiles"].dtype == np.int16
    np.testing.assert_allclose(whole(packed, 1), values, atol=np.abs(values).max() / 30_000 + 1e-4)


def test_bdf_of_three_bytes_keeps_the_sign(tmp_path):
    from medloom.modalities.signal.edf import _digital

    raw = b"".join(struct.pack("<i", value)[:3] for value in (-1, 0, 1, -8_388_608, 8_388_607))
    assert _digital(np.frombuffer(raw, np.uint8)[None], 3)[0].tolist() == [-1, 0, 1, -8_388_608, 8_388_607]


def test_a_wfdb_record_with_several_samples_a_frame(tmp_path):
    fast, slow = trace(1000, 1)[0], trace(500, 1)[0]
    digital = [(fast * 1000).astype(np.int64), (slow * 1000).astype(np.int64)]
    wrsamp(
        "frames", fs=50, sig_name=["I", "II"], units=["mV", "mV"], fmt=["16", "16"], e_d_signal=digital,
        samps_per_frame=[2, 1], adc_gain=[1000.0, 1000.0], baseline=[0, 0], write_dir=str(tmp_path),
    )  # fmt: skip
    got = read(tmp_path, "frames", leads=("I", "II"))
    assert got.shape == (2, 1000)
    np.testing.assert_allclose(got[0], fast, atol=2e-3)
