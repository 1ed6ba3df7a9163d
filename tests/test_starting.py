"""A study that begins with the weights of a bundle: what is taken, what is told, what is refused."""

from __future__ import annotations

import json

import polars as pl
import pytest
import torch

from medloom.bundle import load
from medloom.embedding import embed
from medloom.errors import BundleError, DataError, StudyError
from medloom.prepare import folds, read
from medloom.run import audit, fit
from medloom.starting import fingerprint, opened, with_findings
from medloom.study import make
from tests.cases.images import _image, _pictures, image_restore_2d
from tests.cases.tables import table_binary

QUICK = {"resamples": 100, "baselines": False, "explain": False}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The run that nobody labelled anything for."""
    folder = tmp_path_factory.mktemp("pretrained")
    study = image_restore_2d(folder)
    train = study.train.model_copy(update={"epochs": None, "steps": 4, "evaluations": 1})
    return fit(study.model_copy(update={"train": train}).within(folder), folder / "run")


def _classify(folder, start, train=None, **model):
    _pictures(folder, 36, (20, 24)).write_csv(folder / "cohort.csv")
    return make(
        {
            "name": "ill",
            "cohort": {"table": "cohort.csv", "row": "stay", "patient": "patient"},
            "inputs": {"scan": _image(2)},
            "targets": {"ill": {"task": "classify", "column": "blob"}},
            "model": {"start": str(start), **model},
            "train": {"steps": 4, "evaluations": 2, "batch": 8, "keep": "last", **(train or {})},
            "evaluate": QUICK,
        }
    ).within(folder)


def test_encoders_are_taken_frozen_and_told(begun, tmp_path):
    told = []
    study = _classify(tmp_path, begun.folder, {"freeze": 0.99})
    run = fit(study, tmp_path / "run", watch=lambda event: told.append(event.text))
    before, after = begun.bundle.network.state_dict(), run.bundle.network.state_dict()
    encoders = [name for name in after if name.startswith("encoders.")]
    assert encoders and all(torch.equal(before[name], after[name]) for name in encoders)
    assert not set(before).issuperset(after)
    sentence = f"of {len(encoders)} tensors of the encoders"
    assert any(sentence in text for text in told if text)
    assert f"{len(encoders)} {sentence}" in run.bundle.card["began_with"][0]
    assert run.bundle.card["parameters"] == sum(tensor.numel() for tensor in after.values())
    assert "began with" in run.report.read_text(encoding="utf-8")


def test_a_stopped_run_goes_on_to_the_same_bits(begun, tmp_path):
    train = {"steps": 8, "freeze": 0.4, "encoder_rate": 0.3, "level_decay": 0.5, "checkpoint_seconds": 1e-6}
    study = _classify(tmp_path, begun.folder / "bundle", train)
    whole = fit(study, tmp_path / "whole").bundle.network.state_dict()

    def stop(event):
        if event.kind == "score" and event.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(study, tmp_path / "stopped", watch=stop)
    again = fit(study, tmp_path / "stopped").bundle.network.state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    before = begun.bundle.network.state_dict()
    assert not torch.equal(before["encoders.input_scan.project.weight"], again["encoders.input_scan.project.weight"])


def test_other_weights_are_another_run(begun, tmp_path):
    study = _classify(tmp_path, begun.folder)
    start = opened(study)
    assert fingerprint(study, start) == fingerprint(study, start) is not None
    folder = tmp_path / "run"
    (folder / "work" / "x").mkdir(parents=True)
    (folder / "work" / "plan.json").write_text("{}")
    resolved, cohort, _ = read(study)
    from medloom.run import _identity

    record = {**_identity(resolved, cohort, "other"), "state": "training"}
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="weights that the networks begin with changed"):
        fit(study, folder)


def test_a_bundle_of_other_inputs_names_both(begun, tmp_path):
    study = table_binary(tmp_path)
    model = study.model.model_copy(update={"start": str(begun.folder)})
    with pytest.raises(BundleError, match=r"has the inputs scan \(image\), the study the inputs labs \(table\)"):
        fit(study.model_copy(update={"model": model}).within(tmp_path), tmp_path / "run")


def test_the_audit_says_whose_patients_taught_the_bundle(begun, tmp_path):
    study = _classify(tmp_path, begun.folder).model_copy(update={"seed": 1}).within(tmp_path)
    found = {one.kind: one for one in audit(study).findings}["taught-the-start"]
    split = pl.read_parquet(begun.folder / "split.parquet").filter(pl.col("part") != "test")
    assert found.severity == "severe" and 0 < found.value <= len(split)


def test_what_nothing_tells_is_declared_or_suspicious(begun, tmp_path):
    alone = load(begun.folder / "bundle").save(tmp_path / "alone")
    for declared, severity in ((False, "suspicious"), (True, "note")):
        study = _classify(tmp_path, alone, start_apart=declared)
        resolved, cohort, marks = read(study)
        from medloom.audit.finding import Audit

        kept = with_findings(Audit((), {}), opened(resolved), resolved, cohort, folds(resolved, cohort, marks))
        assert [one.severity for one in kept.findings] == [severity]


def test_rows_that_are_apart_are_proved_by_their_ids(begun, tmp_path):
    study = _classify(tmp_path, begun.folder)
    frame = pl.read_csv(tmp_path / "cohort.csv")
    frame = frame.with_columns(("other" + pl.col(name)).alias(name) for name in ("stay", "patient"))
    resolved, cohort, marks = read(study, frame)
    from medloom.audit.finding import Audit

    kept = with_findings(Audit((), {}), opened(resolved), resolved, cohort, folds(resolved, cohort, marks))
    assert kept.findings[0].severity == "note" and "nothing tells whose they are" in kept.findings[0].found


def test_weights_of_a_table_keep_the_scales_that_they_were_learnt_with(tmp_path):
    study = table_binary(tmp_path)
    quick = study.evaluate.model_copy(update=QUICK)
    study = study.model_copy(update={"evaluate": quick}).within(tmp_path)
    first = fit(study, tmp_path / "first")
    model = study.model.model_copy(update={"start": "first"})
    frame = pl.read_csv(tmp_path / "cohort.csv").with_columns(pl.col("lactate") * 2)
    again = fit(study.model_copy(update={"model": model}).within(tmp_path), tmp_path / "again", data=frame)
    assert again.bundle.modalities["labs"] == first.bundle.modalities["labs"]
    assert "heads" in again.bundle.card["began_with"][0]
    part = study.inputs["labs"].model_copy(update={"columns": dict(list(study.inputs["labs"].columns.items())[:2])})
    other = study.model_copy(update={"model": model, "inputs": {"labs": part}}).within(tmp_path)
    with pytest.raises(BundleError, match="asked for other columns"):
        fit(other, tmp_path / "other")


def test_options_of_a_beginning_need_one():
    raw = {
        "name": "x",
        "cohort": {"table": "t.csv", "independent_rows": True},
        "inputs": {"labs": {"modality": "table", "known_before_index": True}},
        "targets": {"y": {"task": "classify", "column": "y"}},
    }
    for section in ({"train": {"freeze": 0.1}}, {"train": {"encoder_rate": 0.1}}, {"model": {"start_apart": True}}):
        with pytest.raises(StudyError, match="start"):
            make({**raw, **section})


def test_embeddings_are_what_the_encoder_makes_of_a_whole_image(begun, tmp_path):
    frame = _pictures(tmp_path, 6, (16, 16)).drop("mask", "blob")
    frame = frame.with_columns(pl.when(pl.col("stay") == "s0003").then(None).otherwise(pl.col("image")).alias("image"))
    frame.write_csv(tmp_path / "new.csv")
    bundle = begun.bundle
    vectors = pl.concat(list(embed(bundle, tmp_path / "new.csv")))
    assert vectors.columns == ["stay", *(f"scan_{place:04d}" for place in range(8))]
    assert vectors["stay"].to_list() == frame["stay"].to_list()
    (_, feed), *_ = bundle.feeds(tmp_path / "new.csv")
    modality, source = feed.modalities["scan"], feed.sources["scan"]
    import numpy as np

    field = modality.batch(source, modality.view(source, np.arange(6), None))
    with torch.inference_mode():
        expected = bundle.network.encoders["input_scan"](field).pooled.numpy()
    found = vectors.drop("stay")
    assert found.row(3) == (None,) * 8
    np.testing.assert_allclose(np.delete(found.to_numpy(), 3, 0), np.delete(expected, 3, 0), atol=1e-6)
