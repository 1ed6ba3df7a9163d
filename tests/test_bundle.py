"""Damaged, foreign, newer, half-written bundles; rows that do not fit; streams."""

from __future__ import annotations

import errno
import json
import shutil

import numpy as np
import pandas
import polars as pl
import pytest
import torch

import medloom
from medloom import bundle as bundles
from medloom.cli.predict import predict_file
from medloom.errors import BundleError, DataError
from medloom.run import Run, fit
from tests.cases.tables import table_binary, table_several


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("binary")
    return fit(table_binary(folder), folder / "run")


@pytest.fixture(scope="module")
def frame(run: Run) -> pl.DataFrame:
    return pl.read_csv(run.folder.parent / "cohort.csv")


@pytest.mark.parametrize("name", bundles.FILES)
def test_one_changed_byte_is_noticed(run, tmp_path, name):
    shutil.copytree(run.folder / "bundle", tmp_path / "b")
    path = tmp_path / "b" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleError, match=f"{name} was changed"):
        medloom.load(tmp_path / "b")


def test_a_newer_format_a_missing_file_and_no_bundle_are_named(run, tmp_path):
    shutil.copytree(run.folder / "bundle", tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    (tmp_path / "b" / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(BundleError, match="format 99.*update medloom"):
        medloom.load(tmp_path / "b")
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "b" / "card.json").unlink()
    with pytest.raises(BundleError, match=r"card.json is missing"):
        medloom.load(tmp_path / "b")
    with pytest.raises(BundleError, match="no bundle here"):
        medloom.load(tmp_path / "nowhere")
    (tmp_path / "b" / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="damaged"):
        medloom.load(tmp_path / "b")


@pytest.mark.parametrize("file", ["study.json", "weights.safetensors", "manifest.json"])
def test_a_full_disk_leaves_no_bundle_and_nothing_behind(run, tmp_path, monkeypatch, file):
    flush = bundles._flush

    def full(path):
        if path.name == file:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(path)

    monkeypatch.setattr(bundles, "_flush", full)
    with pytest.raises(BundleError, match="No space left"):
        run.bundle.save(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_saving_over_a_bundle_keeps_the_old_one_when_the_disk_is_full(run, tmp_path, monkeypatch):
    saved = run.bundle.save(tmp_path / "b")
    monkeypatch.setattr(
        bundles, "_flush", lambda path: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    )
    with pytest.raises(BundleError):
        medloom.load(saved).save(saved)
    assert medloom.load(saved).study.name == "case"
    (tmp_path / "mine").mkdir()
    with pytest.raises(BundleError, match="is no bundle"):
        medloom.load(saved).save(tmp_path / "mine")


def test_polars_pandas_and_arrow_frames_get_the_same_answers(run, frame):
    bundle = run.bundle
    expected = bundle.predict(frame)
    assert expected.columns == ["stay", "death", "death_probability"]
    assert bundle.predict(frame.to_pandas()).equals(expected)
    assert bundle.predict(frame.to_arrow()).equals(expected)
    assert isinstance(frame.to_pandas(), pandas.DataFrame)


def test_one_row_alone_is_answered_as_in_the_table(run, frame):
    bundle = run.bundle
    whole = bundle.predict(frame)["death_probability"]
    alone = [bundle.predict(frame[row])["death_probability"][0] for row in range(10)]
    np.testing.assert_allclose(alone, whole[:10], atol=1e-5)


def test_new_rows_need_no_patient_and_no_id(run, frame):
    answers = run.bundle.predict(frame.drop("stay", "patient", "died"))
    assert answers["row"].to_list()[:2] == ["1", "2"]
    np.testing.assert_array_equal(answers["death_probability"], run.bundle.predict(frame)["death_probability"])


def test_what_does_not_fit_is_refused_by_name(run, frame):
    bundle = run.bundle
    with pytest.raises(DataError, match="no column 'lactate'; did you mean 'lactat'"):
        bundle.predict(frame.rename({"lactate": "lactat"}))
    with pytest.raises(DataError, match="ward: category not among those learnt: 2 rows \\('s0000', 's0001'\\)"):
        bundle.predict(
            frame.with_columns(pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("x")).otherwise("ward").alias("ward"))
        )
    with pytest.raises(DataError, match="'age': 1 value is not numeric \\(rows 's0003'\\)"):
        old = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("old")).otherwise(pl.col("age").cast(pl.String))
        bundle.predict(frame.with_columns(old.alias("age")))
    with pytest.raises(DataError, match="found a list; expected a polars, pandas or Arrow table"):
        bundle.predict([1, 2])


def test_what_does_not_fit_is_named_in_a_column_if_asked(run, frame):
    bundle = run.bundle
    odd = frame.head(4).with_columns(
        pl.Series("age", ["40", "forty", "inf", "50"]), pl.Series("ward", ["medical", "medical", "medical", "moon"])
    )
    answers = bundle.predict(odd, problems="column")
    assert answers["problems"].to_list() == [
        None,
        "labs.age: not a number",
        "labs.age: infinite",
        "labs.ward: category not among those learnt",
    ]
    clean = bundle.predict(
        frame.head(4).with_columns(pl.Series("age", [40, None, None, 50]), pl.Series("ward", ["medical"] * 4))
    )
    np.testing.assert_array_equal(answers["death_probability"][:3], clean["death_probability"][:3])
    missing = bundle.predict(frame.head(2).drop("ward"), problems="column")
    assert missing["problems"].to_list() == ["labs.ward: column missing"] * 2


def test_range_is_refused_or_named(tmp_path):
    study = table_binary(tmp_path)
    raw = study.model_dump(mode="json")
    raw["inputs"]["labs"]["columns"]["age"]["range"] = [0, 120]
    bundle = fit(medloom.study.make(raw).within(tmp_path), tmp_path / "run").bundle
    row = pl.read_csv(tmp_path / "cohort.csv").head(1).with_columns(pl.lit(400).alias("age"))
    with pytest.raises(DataError, match="'age': 1 value is outside 0 to 120"):
        bundle.predict(row)
    assert bundle.predict(row, problems="column")["problems"][0] == "labs.age: outside its range"


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_files_of_any_size_stream_to_the_answers_of_the_whole(run, frame, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(bundles, "STREAM_ROWS", 50)
    source = tmp_path / "new.csv"
    frame.write_csv(source)
    assert predict_file(run.folder / "bundle", source, tmp_path / f"out{suffix}", "refuse", None) == len(frame)
    read = pl.read_parquet if suffix == ".parquet" else pl.read_csv
    out = read(tmp_path / f"out{suffix}")
    expected = run.bundle.predict(frame)
    assert out["stay"].to_list() == expected["stay"].to_list()
    np.testing.assert_allclose(out["death_probability"], expected["death_probability"], atol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.csv", f"out{suffix}"]


def test_numbers_of_rows_go_on_over_blocks(run, frame, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "STREAM_ROWS", 50)
    frame.drop("stay").write_csv(tmp_path / "new.csv")
    rows = pl.concat(list(run.bundle.stream(tmp_path / "new.csv")))["row"].to_list()
    assert rows == [str(number) for number in range(1, len(frame) + 1)]


def test_an_absent_input_is_answered_with_its_learnt_vector(tmp_path):
    run = fit(table_several(tmp_path), tmp_path / "run")
    frame = pl.read_csv(tmp_path / "cohort.csv").head(1)
    bundle = run.bundle
    given = bundle.predict(frame.with_columns(pl.lit(50).alias("age")))
    absent = bundle.predict(frame.with_columns(pl.lit(None, pl.Int64).alias("age")))
    with torch.no_grad():
        bundle.network.fusion.absent["input_person"].weight += 1.0
    moved = bundle.predict(frame.with_columns(pl.lit(None, pl.Int64).alias("age")))
    unmoved = bundle.predict(frame.with_columns(pl.lit(50).alias("age")))
    assert absent["death_probability"][0] != moved["death_probability"][0]
    assert given["death_probability"][0] == unmoved["death_probability"][0]
