"""A folder of DICOM into a store: what is kept, that it goes on where it was stopped, and that studies read it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest

from medloom.cohort.table import make_cohort
from medloom.cohort_part import CohortPart
from medloom.errors import DataError, StudyError
from medloom.feed import pack
from medloom.ingest.door import ingest
from medloom.ingest.source import Counted
from medloom.modalities.image import Image, ImageOptions
from medloom.modalities.image.packing import Grids
from medloom.modalities.image.stored import file_of
from tests.modalities.dicom_files import image, save, series, uid

RNG = np.random.default_rng(10)
VOLUMES = {f"P{n}": RNG.integers(0, 900, (6, 5, 7), dtype=np.int16) for n in range(4)}


def archive(folder: Path) -> Path:
    for patient, volume in VOLUMES.items():
        series(folder / patient, volume, name=patient, PatientID=patient, PatientName="Doe^Jane")
    series(folder / "gap", VOLUMES["P0"], name="gap", order=[0, 1, 4, 5], PatientID="P0")
    series(folder / "dose", VOLUMES["P3"], name="dose", PatientID="P3", Modality="RTDOSE")
    series(folder / "scout", VOLUMES["P1"][:2], name="scout", PatientID="P1", SeriesDescription="3-plane localizer")
    save(image(VOLUMES["P2"][0], "picture", ImagePositionPatient=None, PatientID="P9", Modality="DX"), folder / "x")
    (folder / "notes.txt").write_text("Jane Doe, born on the first of May")
    for name in ("a/Thumbs.db", "DESKTOP.INI", "P0/.DS_Store"):
        (folder / name).parent.mkdir(exist_ok=True)
    (folder / "a/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 4096)
    (folder / "DESKTOP.INI").write_bytes(b"")
    (folder / "P0/.DS_Store").write_bytes(b"\x08\x00\x05\x00Bud1")
    return folder


def contents(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


def test_the_inventory_has_all_and_the_store_what_is_asked_for(tmp_path: Path) -> None:
    told: list[Counted] = []
    made = ingest(archive(tmp_path / "in"), tmp_path / "store", watch=told.append)
    assert made.lines[:2] == ("41 files, 8 series, 5 patients", "5 of 8 volumes and pictures stored")
    ends = [max((one for one in told if one.what == what), key=lambda one: one.done) for what in dict.fromkeys(one.what for one in told)]  # fmt: skip
    assert ends == [Counted("files found", 41), Counted("headers read", 41, 41), Counted("series put together and stored", 8, 8)]  # fmt: skip
    lines = {line["volume"]: line for line in pl.read_parquet(tmp_path / "store/inventory.parquet").to_dicts()}
    assert len(lines) == 8
    assert (lines[uid("dose")]["kind"], lines[uid("dose")]["stored"]) == ("dose", False)
    gap, scout = lines[uid("gap")], lines[uid("scout")]
    assert (gap["stored"], gap["problems"]) == (
        False,
        "not stored: the files miss 2 slices between the first and the last",
    )
    assert (scout["kind"], scout["stored"]) == ("localizer", False)
    whole = lines[uid("P3")]
    assert (whole["patient"], whole["spacing_mm"], whole["plane"], whole["dtype"]) == ("P3", "0.6 × 0.8 × 2.5", "axial", "int16")  # fmt: skip
    stored = np.fromfile(file_of(tmp_path / "store", uid("P3")), np.int16)
    np.testing.assert_array_equal(stored.reshape(7, 5, 6), VOLUMES["P3"].transpose(2, 1, 0))
    # A file browser's notes are known by name, whether empty, like a broken file of DICOM, or large.
    notes = "are notes of a file browser (Thumbs.db, desktop.ini, .DS_Store), by their names"
    apart = {"DESKTOP.INI": notes, "P0/.DS_Store": notes, "a/Thumbs.db": notes, "notes.txt": "are text and no images"}
    assert dict(pl.read_csv(tmp_path / "store/set_apart.csv").rows()) == apart
    assert sum(line.startswith("  3 files set apart: they are notes of") for line in made.lines) == 1
    # Names of patients are in the files and in nothing that was made of them.
    assert not [name for name, held in contents(tmp_path / "store").items() if b"Doe" in held]


def test_a_study_reads_the_store_by_patient_series_or_volume(tmp_path: Path) -> None:
    ingest(archive(tmp_path / "in"), tmp_path / "store", "dicom", {"spacing_mm": "1.2,0.8,2.5", "kinds": "original"})
    options = ImageOptions.model_validate(
        {"column": "scan", "dims": 3, "patch": [4, 4, 4], "levels": 2, "store": "store", "known_before_index": True}
    )

    def packed(*keys: str) -> Grids:
        frame = pl.DataFrame({"id": [f"r{n}" for n in range(len(keys))], "scan": keys})
        cohort = make_cohort(CohortPart(row="id", patient="id"), frame, tmp_path, {})
        return Grids(pack(Image, options, cohort).packed)

    grids = packed("P2", uid("P3"))
    assert grids.shapes[1:].tolist() == [[4, 5, 6], [4, 5, 6]]
    # Half as many columns over the same 4.2 mm: the spacing follows.
    np.testing.assert_allclose(grids.scan(1).spacing_mm, [4.2 / 4, 0.8, 2.5], rtol=1e-6)
    for key, says in (("P7", "are not in the inventory"), (uid("gap"), "were not stored"), (uid("study"), "several")):
        with pytest.raises(DataError, match=says):
            packed(key)


def test_killed_anywhere_and_called_again_gives_the_same_bytes(tmp_path: Path) -> None:
    source = archive(tmp_path / "in")
    ingest(source, tmp_path / "whole", "dicom", {"processes": "1"})
    code = f"from medloom.ingest.door import ingest; ingest({str(source)!r}, {str(tmp_path / 'killed')!r})"
    volumes = tmp_path / "killed" / "volumes"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None and not list(volumes.rglob("*.bin")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open(tmp_path / "killed/work/headers.jsonl", "ab") if (tmp_path / "killed/work").exists() else open(os.devnull, "wb") as handle:  # fmt: skip
        handle.write(b'{"path": "half a li')
    ingest(source, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    again = ingest(source, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert again.lines[1] == "5 of 8 volumes and pictures stored"


def test_names_that_are_no_text_and_things_that_are_no_files(tmp_path: Path) -> None:
    source = tmp_path / "in"
    series(source / "P0", VOLUMES["P0"], name="P0")
    os.rename(next((source / "P0").iterdir()), os.fsencode(str(source)) + b"/bad\xffname")
    with open(os.fsencode(str(source)) + b"/\xfewords", "wb") as handle:
        handle.write(b"words and nothing else")
    os.mkfifo(source / "pipe")
    os.symlink("/", source / "everything")
    made = ingest(source, tmp_path / "store")
    assert made.lines[:2] == ("7 files, 1 series, 1 patient", "1 of 1 volume or picture stored")
    assert "words,are text" in (tmp_path / "store/set_apart.csv").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series(tmp_path / "in/P0", VOLUMES["P0"], name="P0")
    scandir = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("P0"):
            raise PermissionError(13, "closed", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(DataError, match="1 folder cannot be opened .*P0"):
        ingest(tmp_path / "in", tmp_path / "store", "dicom")


def test_the_inventory_is_in_the_order_of_a_clinics_list(tmp_path: Path) -> None:
    for patient, number in (("P2", 1), ("P1", 10), ("P1", 2)):
        series(tmp_path / f"in/{patient}{number}", VOLUMES["P0"], name=f"{patient}{number}", PatientID=patient, SeriesNumber=number)  # fmt: skip
    ingest(tmp_path / "in", tmp_path / "store")
    lines = pl.read_csv(tmp_path / "store/inventory.csv")
    assert list(zip(lines["patient"], lines["series_number"], strict=True)) == [("P1", 2), ("P1", 10), ("P2", 1)]


def test_patients_and_volumes_in_doubt_are_named(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for name, patient, born in (
        ("a", "0012", "19600101"), ("b", "12", None), ("c", "ward/P7", None), ("d", "p-7", None),
        ("e", "P8", "19600101"), ("f", "P8", "19800202"), ("g", "Anonymous", None), ("h", "P9", "19600101"),
    ):  # fmt: skip
        issuer, _, number = patient.rpartition("/")
        volume = VOLUMES["P0"] + ord(name)
        whose = {"PatientID": number, "IssuerOfPatientID": issuer or None, "PatientBirthDate": born}
        series(source / name, volume, name=name, SeriesDescription=name, **whose)
    series(source / "i", VOLUMES["P0"] + ord("h"), name="again", SeriesDescription="i", PatientID="P10")
    # Of the last series one image is cut short, before it says of which series it is.
    cut = next((source / "i").iterdir())
    series(source / "j", VOLUMES["P1"], name="j", SeriesDescription="j", PatientID="P11")
    (source / "j" / "cut").write_bytes(cut.read_bytes()[:430])
    (source / "bundle.tar").write_bytes(b"\0" * 257 + b"ustar" + b"\0" * 250)
    ingest(source, tmp_path / "store")
    told = pl.read_csv(tmp_path / "store/inventory.csv", infer_schema_length=0)
    doubts = {line["description"]: (line["problems"] or "", line["copy_of"]) for line in told.to_dicts()}
    alike = "another PatientID is the same but for case, blanks, signs, leading zeros or its issuer"
    births = "its PatientID goes with several dates of birth"
    assert doubts == {
        **dict.fromkeys("abcd", (alike, None)), **dict.fromkeys("ef", (births, None)),
        "g": ("its PatientID is a word that may stand for several patients", None),
        "h": ("its voxels are those of a volume of another patient", uid("again")), "i": ("", None),
        "j": ("1 more image of its series cannot be read", None),
    }  # fmt: skip
    assert dict(zip(told["description"], told["patient"], strict=True))["a"] == "0012"
    assert 'bundle.tar,"are archives' in (tmp_path / "store/set_apart.csv").read_text(encoding="utf-8")
    assert not [name for name, held in contents(tmp_path / "store").items() if b"19600101" in held]


def test_images_without_a_series_are_put_together_by_folder(tmp_path: Path) -> None:
    for patient, first in (("P0", 0.0), ("P1", 15.0)):  # one on top of the other, in one space
        nobody = {"PatientID": None, "StudyInstanceUID": None, "SeriesInstanceUID": None}
        series(tmp_path / "in" / patient, VOLUMES[patient], name=patient, origin=(0, 0, first), **nobody)
        for path in (tmp_path / "in" / patient).iterdir():
            data = pydicom.dcmread(path)
            del data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID
            data.save_as(path)
    ingest(tmp_path / "in", tmp_path / "store")
    lines = pl.read_parquet(tmp_path / "store/inventory.parquet")
    assert lines["slices"].to_list() == [6, 6]
    assert lines["problems"].to_list() == ["no PatientID; no SeriesInstanceUID, put together by folder"] * 2
    # What a study may name does not depend on what else lies there.
    shutil.rmtree(tmp_path / "in/P0")
    ingest(tmp_path / "in", tmp_path / "alone")
    assert set(pl.read_parquet(tmp_path / "alone/inventory.parquet")["volume"]) < set(lines["volume"])


def test_new_files_are_taken_up(tmp_path: Path) -> None:
    source = archive(tmp_path / "in")
    ingest(source, tmp_path / "store")
    series(source / "gap", VOLUMES["P0"], name="gap", order=[2, 3], PatientID="P0")
    ingest(source, tmp_path / "store")
    ingest(source, tmp_path / "fresh")
    assert contents(tmp_path / "store") == contents(tmp_path / "fresh")
    assert pl.read_parquet(tmp_path / "store/inventory.parquet").filter(pl.col("stored")).height == 6


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    source = archive(tmp_path / "in")
    ingest(source, tmp_path / "store", "dicom", {"kinds": "picture"})
    with pytest.raises(DataError, match="other options"):
        ingest(source, tmp_path / "store", "dicom")
    with pytest.raises(DataError, match="holds other files"):
        ingest(source, Path(shutil.copytree(source / "P0", tmp_path / "full")), "dicom")
    with pytest.raises(DataError, match="lies within"):
        ingest(source, source / "store", "dicom")
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a").write_text("nothing but words here")
    with pytest.raises(DataError, match="no DICOM image among 1 file .*text"):
        ingest(tmp_path / "text", tmp_path / "other", "dicom")
    with pytest.raises(StudyError, match="two ways"):
        ingest(source, tmp_path / "other", "dicom", {"size": "8,8,8", "spacing_mm": "1,1,1"})
