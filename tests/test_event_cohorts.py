"""A study on a store of events from end to end: fit, then predict and evaluate on the store of another place."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import medloom
from medloom.cli.app import app
from medloom.cohort.event_store import open_store, ticks, times, write_store
from medloom.errors import DataError, StudyError
from medloom.prepare import read
from medloom.run import Run, evaluate, fit
from medloom.study import Study, make
from medloom.study_text import dump_toml
from tests.cases.events import cohort_of_events, visits


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("events")
    return fit(with_persons(folder), folder / "run")


def with_persons(folder: Path) -> Study:
    """The study with a table of persons, two patients of the store to each."""
    raw = cohort_of_events(folder).model_dump(mode="json", exclude_none=True)
    persons = pl.DataFrame({"patient": [f"p{n:04d}" for n in range(160)], "who": [n // 2 for n in range(160)]})
    persons.write_csv(folder / "persons.csv")
    raw["cohort"] |= {"person": "who", "join": {"persons": {"table": "persons.csv", "on": "patient"}}}
    raw["evaluate"]["explain"] = False
    return make(raw).within(folder)


def long(store: Path) -> pl.DataFrame:
    """The events of a store as a frame that `write_store` takes."""
    opened = open_store(store)
    arrays = opened.packed.arrays
    unit = pl.Series([i for i, n in enumerate((arrays["offset"][1:] - arrays["offset"][:-1]).tolist()) for _ in range(n)])  # fmt: skip
    return pl.DataFrame(
        {
            "patient": opened.patients.gather(unit - 1),
            "time": arrays["time"],
            "code": opened.codes["code"].gather(pl.Series(arrays["code"]) - 1),
            "value": arrays["value"],
        }
    )


def test_the_report_tells_who_was_left_out_and_what_was_not_observed(run: Run) -> None:
    text = html.unescape(run.report.read_text(encoding="utf-8"))
    steps = json.loads((run.folder / "metrics.json").read_text())["flow"]
    assert [step["name"] for step in steps][:3] == [
        "index times at 'visit'",
        "observed at the index time",
        "ill already",
    ]
    assert all(step["name"] in text for step in steps)
    told = next(step for step in steps if step["name"] == "outcome soon")
    known = sum(run.metrics["counts"]["answers"]["soon"][part][name] for part in ("train", "valid", "calibrate", "test") for name in ("0", "1"))  # fmt: skip
    assert told["why"].startswith(f"{known} rows with an answer") and known < told["rows"]


def test_the_index_time_is_proved_for_the_events(run: Run) -> None:
    assert run.metrics["split"]["index_time"]["record"].startswith("proved")


def test_a_bundle_answers_for_the_store_of_another_place(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder / "bundle", tmp_path / "bundle")
    visits(tmp_path / "far" / "their events", 30, 5)
    bundle = medloom.load(tmp_path / "bundle")
    answers = bundle.predict(tmp_path / "far" / "their events")
    shutil.copy(run.folder.parent / "persons.csv", tmp_path)
    rows = read(make({**bundle.study.model_dump(mode="json", exclude_none=True)}).within(tmp_path), tmp_path / "far" / "their events")  # fmt: skip
    assert answers["row"].to_list() == rows[1].row.to_list()
    # What lies beside it under the study's own name is not read.
    visits(tmp_path / "far" / "events", 30, 6)
    assert answers.equals(bundle.predict(tmp_path / "far" / "their events"))


def test_what_comes_at_or_after_the_index_time_changes_no_answer(run: Run, tmp_path: Path) -> None:
    visits(tmp_path / "store", 30, 5)
    whole = run.bundle.predict(tmp_path / "store")
    row, patient, at = whole["row"][7], *whole["row"][7].split("@")
    events = long(tmp_path / "store")
    cut = ticks(pl.Series([float(at)]).to_numpy())[0]
    later = (pl.col("patient") == patient) & (pl.col("time") >= cut) & (pl.col("code") != "visit")
    changed = events.with_columns(pl.when(later).then(pl.lit(99.0, pl.Float32)).otherwise("value").alias("value"))
    # The end of the record stays, or the row itself would not be observed.
    gone = changed.filter(~later | (pl.col("code") == "end"))
    assert times(events["time"].to_numpy()).max() > float(at)
    for name, frame in (("changed", changed), ("gone", gone)):
        write_store(tmp_path / name, frame, "number", {}, {})
        answers = run.bundle.predict(tmp_path / name)
        assert answers.filter(pl.col("row") == row).equals(whole.filter(pl.col("row") == row))


def test_a_bundle_is_judged_on_the_store_of_another_place(run: Run, tmp_path: Path) -> None:
    visits(tmp_path / "theirs", 80, 9)
    lacking = (
        rf"no column 'who' in the table; .*bring {tmp_path / 'persons.csv'} \(cohort.join.persons\), or .*--folder"
    )
    with pytest.raises(DataError, match=lacking):
        evaluate(run.folder / "bundle", tmp_path / "theirs", tmp_path / "out")
    elsewhere = evaluate(run.folder / "bundle", tmp_path / "theirs", tmp_path / "out", folder=run.folder.parent)
    assert 0 <= elsewhere.metrics["targets"]["soon"]["model"]["auroc"]["value"] <= 1
    assert elsewhere.predictions.height == elsewhere.metrics["counts"]["rows"]


def test_a_frame_of_rows_is_answered_like_any_table(run: Run) -> None:
    folder = run.folder.parent
    cohort = read(cohort_of_events(folder))[1]
    rows = pl.DataFrame(cohort.frame).drop("soon", "illness_time", "illness_event").head(9)
    whole = run.bundle.predict(folder / "events")
    assert_frame_equal(run.bundle.predict(rows, folder=folder), whole.head(9), abs_tol=1e-5)


def test_the_commands_take_a_store(run: Run, tmp_path: Path) -> None:
    visits(tmp_path / "theirs", 80, 9)
    out = tmp_path / "answers.csv"
    done = CliRunner().invoke(app, ["predict", str(run.folder / "bundle"), str(tmp_path / "theirs"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert pl.read_csv(out).columns[0] == "row"
    # Rows in a table of their own, the store and the persons where `--folder` says.
    cohort = read(with_persons(run.folder.parent))[1]
    pl.DataFrame(cohort.frame).drop("who").write_csv(tmp_path / "rows.csv")
    for words in (["predict", "answers"], ["evaluate", "judged"], ["recalibrate", "theirs"]):
        asked = [
            words[0],
            str(run.folder / "bundle"),
            str(tmp_path / "rows.csv"),
            "--out",
            str(tmp_path / words[1] / "x.csv"),
        ]
        lost = CliRunner().invoke(app, asked)
        assert lost.exit_code != 0 and not (tmp_path / words[1] / "x.csv").exists()
        done = CliRunner().invoke(app, [*asked, "--folder", str(run.folder.parent)])
        assert done.exit_code == 0 and (tmp_path / words[1] / "x.csv").exists(), done.output
    study = tmp_path / "study.toml"
    study.write_text(dump_toml(cohort_of_events(tmp_path)))
    done = CliRunner().invoke(app, ["check", str(study), "--data"])
    assert done.exit_code == 0, done.output
    assert "# set ill: 1 code of the store" in done.output and "# outcome soon" in done.output


def test_outcomes_are_never_inputs(tmp_path: Path) -> None:
    study = cohort_of_events(tmp_path)
    raw = study.model_dump(mode="json", exclude_none=True)
    raw["inputs"]["summary"]["columns"]["illness_time"] = {"kind": "numeric"}
    raw["targets"].pop("illness")
    with pytest.raises(DataError, match="'illness_time' hold ids, times, folds or answers"):
        read(make(raw).within(tmp_path))
    raw["inputs"]["summary"]["columns"] = {}
    resolved = read(make(raw).within(tmp_path))[0]
    assert set(resolved.inputs["summary"].columns) == {"lab", "age"}  # type: ignore[attr-defined]


def test_groups_travel_in_the_bundle(tmp_path: Path) -> None:
    study = cohort_of_events(tmp_path)
    raw = study.model_dump(mode="json", exclude_none=True)
    raw["cohort"]["events"] |= {"groups": "groups.csv"}
    raw["cohort"]["events"]["sets"]["ill"] = "group:infarct"
    (tmp_path / "groups.csv").write_text("code,group\nicd10:I21,infarct\n")
    resolved, cohort, _ = read(make(raw).within(tmp_path))
    events = resolved.cohort.events
    assert events is not None and events.groups is None and events.code_set("ill").codes == ("icd10:I21",)
    assert cohort.codes["ill"] == 1
    raw["cohort"]["events"]["sets"]["ill"] = "group:infarkt"
    with pytest.raises(DataError, match="sets.ill: no group 'infarkt'.*infarct"):
        read(make(raw).within(tmp_path))


def test_a_study_without_its_store_is_told_so(tmp_path: Path) -> None:
    study = cohort_of_events(tmp_path)
    shutil.rmtree(tmp_path / "events")
    with pytest.raises(DataError, match="no finished store of events"):
        read(study)
    with pytest.raises(StudyError):
        make({**study.model_dump(mode="json", exclude_none=True), "cohort": {"events": {}}})
