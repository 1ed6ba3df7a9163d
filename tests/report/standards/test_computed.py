"""What whole runs say of the standards."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import polars as pl
import pytest

from medloom import fitted
from medloom.report.kept import NAME, opened
from medloom.report.standards.said import Computed
from medloom.run import evaluate, fit
from tests.cases.answers import classify_focal_noise, survive_table
from tests.cases.tables import table_binary, table_folds
from tests.report.standards.test_card import faults


def made(case, folder, **more):
    study = case(folder)
    return fit(study.model_copy(update=more).within(folder), folder / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made(table_binary, tmp_path_factory.mktemp("binary"))


@pytest.fixture(scope="module")
def elsewhere(run, tmp_path_factory):
    return evaluate(
        run.folder / "bundle", run.folder.parent / "cohort.csv", tmp_path_factory.mktemp("elsewhere") / "out"
    )


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    return made(table_folds, tmp_path_factory.mktemp("crossed"))


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    return made(classify_focal_noise, tmp_path_factory.mktemp("weighted"))


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    return made(survive_table, tmp_path_factory.mktemp("followed"))


ALL = ("run", "elsewhere", "crossed", "weighted", "followed")


@pytest.mark.parametrize("name", ALL)
def test_every_kind_of_run_makes_whole_files(name, request):
    one = request.getfixturevalue(name)
    assert faults(ElementTree.parse(one.folder / "model-card.xml").getroot()) == []
    assert (one.folder / "tripod.md").read_text().count("\n| ") == 52 + 2
    assert (one.folder / "probast.md").read_text().count("\n| ") == 34 + 2
    text = one.report.read_text()
    ids = set(re.findall(r'id="([^"]+)"', text))
    led = set(re.findall(r'href="#([^"]+)"', text))
    assert led <= ids and {"patients", "model-card", "tripod", "probast"} <= ids and "patients" in led


@pytest.mark.parametrize("name", ALL)
def test_no_row_and_no_patient_is_named(name, request):
    one = request.getfixturevalue(name)
    for file in ("tripod.md", "probast.md", "model-card.xml", NAME, "authors.toml"):
        assert not re.search(r"\b[sp]\d{4}\b", (one.folder / file).read_text()), file


def test_what_is_kept_comes_back_as_it_was(run):
    kept = opened(run.folder).said
    assert isinstance(kept, Computed)
    assert fitted.same(kept, fitted.load(Computed, json.loads(json.dumps(fitted.dump(kept)))))


def test_counts_and_figures_are_those_of_the_run(run):
    kept, metrics = opened(run.folder).said, run.metrics
    train = metrics["counts"]["parts"]["train"]
    assert f"{train['rows']} rows of {train['patients']} patients (train)" in kept.tripod["21"].text
    auroc = metrics["targets"]["death"]["model"]["auroc"]
    assert f"AUROC {auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})" in kept.tripod["23a"].text
    size = metrics["sample_size"]["death"][0]
    assert f"{size['needed']['patients']} patients needed" in kept.tripod["10"].text
    assert kept.probast["dev-4-1"].verdict == ("probably yes" if size["enough"] else "no")
    tests = metrics["counts"]["answers"]["death"]["test"]
    assert f"death {min(tests.values())}" in kept.probast["eval-4-2"].text
    assert kept.probast["eval-4-2"].verdict == "probably no"
    frame = pl.read_csv(run.folder.parent / "cohort.csv").join(
        pl.read_parquet(run.folder / "split.parquet"), left_on="stay", right_on="row"
    )
    gaps = frame.filter(pl.col("part") == "train")["lactate"].null_count()
    assert f"{gaps} with a missing number" in kept.tripod["11"].text


def test_what_was_declared_is_not_told_as_proved(run):
    kept = opened(run.folder).said
    assert kept.probast["dev-2-4"].verdict == "no information"
    assert kept.probast["eval-4-5"].verdict == "probably yes"
    assert "declared" in kept.tripod["9b"].text


def test_a_bundle_on_other_data_claims_no_development(elsewhere):
    kept = opened(elsewhere.folder).said
    for key in ("9a", "12a", "12b", "12c", "15", "22"):
        assert not kept.tripod[key].applies and "another run" in kept.tripod[key].text
    assert all(not said.applies for key, said in kept.probast.items() if key.startswith("dev"))
    assert kept.tripod["21"].applies and "sample_size" not in elsewhere.metrics
    assert "10" not in kept.tripod


def test_cross_validation_says_that_every_step_was_repeated(crossed, run):
    assert opened(crossed.folder).said.probast["eval-4-6"].verdict == "yes"
    assert opened(run.folder).said.probast["eval-4-6"].verdict == "not applicable"
    assert "Cross-validation in 3 folds" in opened(crossed.folder).said.tripod["12a"].text


def test_methods_against_imbalance_are_named_where_they_were_used(weighted, run):
    kept = opened(weighted.folder).said
    assert "death: class weights and focal loss" in kept.tripod["13"].text
    assert kept.probast["dev-4-4"].verdict == "yes" and kept.probast["eval-4-4"].verdict == "yes"
    assert not opened(run.folder).said.tripod["13"].applies


def test_times_to_an_event_have_theirs(followed):
    kept = opened(followed.folder).said
    assert "Riley" in kept.tripod["10"].text
    assert "event" in kept.tripod["21"].text


def test_texts_of_authors_reach_the_files_and_survive(run):
    authors = run.folder / "authors.toml"
    first = authors.read_text()
    figures, report = (run.folder / "metrics.json").read_bytes(), run.report.read_bytes()
    authors.write_text(
        first.replace('\n3a = ""', '\n3a = "Sepsis | on wards."').replace(
            'intended_use = ""', 'intended_use = "Triage."'
        )
    )
    again = fit(table_binary(run.folder.parent), run.folder)
    assert "| written by the authors | Sepsis / on wards. |" in (run.folder / "tripod.md").read_text()
    assert "<IntendedUseAndWorkflow>Triage.</IntendedUseAndWorkflow>" in (run.folder / "model-card.xml").read_text()
    assert "Sepsis" in authors.read_text()
    assert (again.folder / "metrics.json").read_bytes() == figures and run.report.read_bytes() == report
    authors.write_text(first)


def test_texts_beside_the_study_reach_the_report(tmp_path):
    study = table_binary(tmp_path)
    (tmp_path / "authors.toml").write_text('[tripod]\n17 = "Committee <4>."\n')
    one = fit(study, tmp_path / "run")
    assert "Committee &lt;4&gt;." in one.report.read_text()


def test_a_mistake_of_the_authors_is_said_before_training(tmp_path):
    study = table_binary(tmp_path)
    (tmp_path / "authors.toml").write_text('[tripod]\n170 = "x"\n')
    with pytest.raises(Exception, match=r"tripod.170: unknown key; did you mean '17'"):
        fit(study, tmp_path / "run")
    assert not (tmp_path / "run").exists()
