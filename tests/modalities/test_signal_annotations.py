"""Tables of windows from WFDB and EDF+ annotations."""

from __future__ import annotations

import edfio
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from medloom.cli.app import app
from medloom.errors import DataError
from medloom.modalities.signal.annotations import windows_table
from tests.modalities.signal_files import quiet_wrann, trace, write_edf, write_wfdb


@pytest.fixture
def records(tmp_path):
    """Ten seconds: sinus rhythm, from 4.2 s on atrial fibrillation; beats in between."""
    write_wfdb(tmp_path, "a", trace(1000))
    quiet_wrann(
        "a",
        "atr",
        np.array([10, 100, 420, 700]),
        ["+", "N", "+", "V"],
        aux_note=["(N", "", "(AFIB", ""],
        write_dir=str(tmp_path),
    )
    pl.DataFrame({"patient": ["p", "q"], "ecg": ["a", None]}).write_csv(tmp_path / "records.csv")
    return tmp_path


def test_the_rhythm_that_covers_most_of_a_window_is_its_label(records):
    table = windows_table(records / "records.csv", "ecg", "atr", 2.0)
    assert table.columns == ["patient", "ecg", "window", "start_s", "stop_s", "label", "share"]
    assert table["window"].to_list() == ["1-1", "1-2", "1-3", "1-4", "1-5"]
    assert table["label"].to_list() == ["(N", "(N", "(AFIB", "(AFIB", "(AFIB"]
    np.testing.assert_allclose(table["share"], [0.95, 1.0, 0.9, 1.0, 1.0])


def test_only_labels_that_are_asked_for_count(records):
    table = windows_table(records / "records.csv", "ecg", "atr", 2.0, labels=["(AFIB"], otherwise="other")
    assert table["label"].to_list() == ["other", "other", "(AFIB", "(AFIB", "(AFIB"]
    beats = windows_table(records / "records.csv", "ecg", "atr", 1.0, labels=["N", "V"])
    assert [(n, label) for n, label in enumerate(beats["label"]) if label] == [(1, "N"), (7, "V")]


def test_windows_may_overlap_and_lie_within_the_record(records):
    table = windows_table(records / "records.csv", "ecg", "atr", 4.0, stride=1.0)
    assert table["start_s"].to_list() == [0, 1, 2, 3, 4, 5, 6] and table["stop_s"].max() == 10


def test_annotations_of_edf_plus(tmp_path):
    notes = [edfio.EdfAnnotation(2.0, 3.0, "seizure"), edfio.EdfAnnotation(8.5, None, "spike")]
    write_edf(tmp_path / "a.edf", trace(1000), annotations=notes)
    pl.DataFrame({"eeg": ["a.edf"]}).write_csv(tmp_path / "records.csv")
    table = windows_table(tmp_path / "records.csv", "eeg", "file", 2.0, otherwise="none")
    assert table["label"].to_list() == ["none", "seizure", "seizure", "none", "spike"]
    np.testing.assert_allclose(table["share"], [0, 1, 0.5, 0, 0])


def test_the_command_writes_paths_that_hold_from_where_the_table_is(records):
    out = records / "sub" / "windows.csv"
    out.parent.mkdir()
    words = ["windows", str(records / "records.csv"), "--column", "ecg", "--seconds", "2", "--out", str(out)]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0 and "5 windows of 1 record" in told.output and "(AFIB: 3" in told.output
    assert (out.parent / (pl.read_csv(out)["ecg"][0] + ".hea")).exists()


def test_what_cannot_be_read_is_named_by_its_line(records):
    pl.DataFrame({"ecg": ["a", "gone"]}).write_csv(records / "more.csv")
    with pytest.raises(DataError, match=r"do not exist .*lines '2'"):
        windows_table(records / "more.csv", "ecg", "atr", 2.0)
    with pytest.raises(DataError, match=r"no annotation file ending in \.qrs"):
        windows_table(records / "records.csv", "ecg", "qrs", 2.0)
    with pytest.raises(DataError, match="no record holds a window"):
        windows_table(records / "records.csv", "ecg", "atr", 200.0)
    with pytest.raises(DataError, match="no column 'egc'"):
        windows_table(records / "records.csv", "egc", "atr", 2.0)
