"""What a user may hand in by mistake, through the whole path: named, exit code 2, no traceback, nothing lost."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from medloom.errors import DataError, MedloomError
from medloom.prepare import prepare, read
from medloom.run import fit
from medloom.study import Study
from tests.cases.made import TABLE, _cohort, _study

DEATH = {"death": {"task": "classify", "column": "died"}}


def _table(frame: pl.DataFrame, folder, targets=DEATH, inputs=None, **more) -> Study:
    frame.write_csv(folder / "cohort.csv")
    return _study(folder, inputs or {"labs": TABLE}, targets, **more)


def _refused(study: Study, match: str, kind: type[MedloomError] = DataError) -> None:
    with pytest.raises(kind, match=match):
        prepare(*read(study))


def test_target_constant(tmp_path):
    _refused(
        _table(_cohort(60).with_columns(died=pl.lit(1)), tmp_path), "targets.death: column 'died': only the class '1'"
    )


def test_target_all_missing(tmp_path):
    _refused(
        _table(_cohort(60).with_columns(died=pl.lit(None, pl.Int64)), tmp_path), "no known value in the training rows"
    )


def test_target_column_missing_and_input_column_missing_at_once(tmp_path):
    study = _table(_cohort(60).rename({"died": "dead", "age": "ages"}), tmp_path)
    with pytest.raises(DataError) as caught:
        read(study)
    assert "inputs.labs: columns: no column 'age' in the table; did you mean 'ages'" in str(caught.value)
    assert "targets.death: target: no column 'died'" in str(caught.value)


def test_target_absent_in_the_test_rows_is_told_and_not_a_crash(tmp_path):
    frame = _cohort(120)
    part = np.where(
        frame["died"].to_numpy() == 0, np.array(["train", "valid", "calibrate", "test"])[np.arange(120) % 4], "train"
    )
    part[:20] = "train"
    frame = frame.with_columns(pl.Series("fold", part.tolist()), patient=pl.col("stay"))
    run = fit(_table(frame, tmp_path, split={"by": "column", "column": "fold"}), tmp_path / "run")
    figure = run.metrics["targets"]["death"]["model"]["auroc"]
    assert figure["value"] is None and figure["note"].startswith("cannot be estimated")
    assert "cannot be estimated" in run.report.read_text()


def test_a_class_with_one_row_trains_and_is_said(tmp_path):
    frame = _cohort(120).with_columns(
        severity=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("fatal")).otherwise("severity")
    )
    study = _table(frame, tmp_path, {"severity": {"task": "classify", "column": "severity"}})
    prepared = prepare(*read(study))
    task = prepared.feed.tasks["severity"]
    assert task.counts[task.classes.index("fatal")] == 1


def test_a_class_that_no_training_row_has(tmp_path):
    frame = _cohort(60).with_columns(
        pl.Series("fold", ["train"] * 40 + ["test"] * 20), patient=pl.col("stay"),
        severity=pl.when(pl.int_range(pl.len()) == 50).then(pl.lit("fatal")).otherwise("severity"),
    )  # fmt: skip
    study = _table(
        frame,
        tmp_path,
        {"severity": {"task": "classify", "column": "severity"}},
        split={"by": "column", "column": "fold"},
    )
    _refused(study, "1 row has a class that no training row has \\('fatal'\\)")


def test_two_classes_of_which_none_is_plainly_asked_for(tmp_path):
    frame = _cohort(60).with_columns(sex=pl.Series(["f", "m"] * 30))
    _refused(
        _table(frame, tmp_path, {"sex": {"task": "classify", "column": "sex"}}),
        "say which one is asked for: positive = 'm'",
    )
    _refused(
        _table(frame, tmp_path, {"sex": {"task": "classify", "column": "sex", "positive": "w"}}),
        "no training row has the class 'w'",
    )


def test_a_label_that_is_not_0_or_1(tmp_path):
    frame = _cohort(60).with_columns(sepsis=pl.lit(2))
    _refused(
        _table(frame, tmp_path, {"l": {"task": "classify", "columns": ["died", "sepsis"]}}),
        "'sepsis': 60 values are neither 0 nor 1",
    )


def test_a_number_given_as_a_class(tmp_path):
    frame = pl.concat([_cohort(1200)]).with_columns(lab=pl.int_range(pl.len()) / 7)
    _refused(
        _table(frame, tmp_path, {"lab": {"task": "classify", "column": "lab"}}),
        "1200 different values; expected at most 1000",
    )


def test_infinities(tmp_path):
    frame = _cohort(60).with_columns(
        age=pl.when(pl.int_range(pl.len()) == 3).then(float("inf")).otherwise(pl.col("age"))
    )
    _refused(_table(frame, tmp_path), "'age': 1 value is infinite or beyond 1e\\+30 \\(rows 's0003'\\)")


def test_numbers_with_thousands_separators(tmp_path):
    frame = _cohort(60).with_columns(
        age=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("1,234")).otherwise(pl.col("age").cast(pl.String))
    )
    _refused(_table(frame, tmp_path), "'age': 1 value is written with thousands separators \\(rows 's0003'\\)")


def test_text_among_numbers_is_not_guessed(tmp_path):
    frame = _cohort(60).select(
        "stay",
        "patient",
        "died",
        age=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("?")).otherwise(pl.col("age").cast(pl.String)),
    )
    guessing = {"modality": "table", "known_before_index": True}
    _refused(
        _table(frame, tmp_path, inputs={"labs": guessing}), "98% of its values are numbers; name what means missing"
    )
    prepared = prepare(*read(_table(frame, tmp_path, inputs={"labs": {**guessing, "missing": ["?"]}})))
    assert np.isnan(prepared.feed.sources["labs"].packed.arrays["number"][4, 0])


def test_dates_are_not_read_as_numbers(tmp_path):
    frame = _cohort(60).select("stay", "patient", "died", born=pl.date(1950, 1, 1))
    frame.write_parquet(tmp_path / "cohort.parquet")
    study = _study(
        tmp_path,
        {"labs": {"modality": "table", "known_before_index": True}},
        DEATH,
        cohort={"table": "cohort.parquet", "row": "stay", "patient": "patient"},
    )
    _refused(study, "column 'born' holds dates; exclude it")


def test_a_column_all_missing_in_training_but_not_in_test(tmp_path):
    frame = _cohort(120)
    prepared = prepare(*read(_table(frame, tmp_path)))
    test = np.zeros(120, bool)
    test[prepared.fold.test] = True
    frame = frame.with_columns(age=pl.when(pl.Series(test)).then(pl.col("age")).otherwise(None))
    run = fit(_table(frame, tmp_path), tmp_path / "run")
    assert run.metrics["targets"]["death"]["model"]["auroc"]["value"] is not None
    assert run.predictions["death_probability"].is_finite().all()


def test_a_patient_with_a_thousand_rows_stays_in_one_fold(tmp_path):
    frame = pl.concat([_cohort(300), _cohort(1000, 5).with_columns(patient=pl.lit("big"))]).with_columns(
        stay=pl.int_range(pl.len())
    )
    prepared = prepare(*read(_table(frame, tmp_path)))
    sizes = [len(rows) for rows in prepared.fold.parts().values()]
    holders = [
        name for name, rows in prepared.fold.parts().items() if (prepared.cohort.patient_id.gather(rows) == "big").any()
    ]
    assert len(holders) == 1 and min(sizes) > 0


def test_ten_thousand_columns(tmp_path):
    random = np.random.default_rng(0)
    values = random.normal(size=(60, 10_000)).astype(np.float32)
    frame = pl.DataFrame(values, schema=[f"gene{i}" for i in range(10_000)]).with_columns(
        stay=pl.int_range(60), patient=pl.int_range(60), died=pl.Series((values[:, 0] > 0).astype(int))
    )
    frame.write_parquet(tmp_path / "cohort.parquet")
    study = _study(
        tmp_path, {"genes": {"modality": "table", "known_before_index": True, "hidden": [8]}}, DEATH,
        cohort={"table": "cohort.parquet", "row": "stay", "patient": "patient"}, evaluate={"resamples": 100, "baselines": False},
    )  # fmt: skip
    run = fit(study, tmp_path / "run")
    assert len(run.bundle.modalities["genes"].centre) == 10_000


def test_an_id_or_an_answer_given_as_input(tmp_path):
    leaking = {**TABLE, "columns": {"died": {"kind": "numeric"}}}
    _refused(
        _table(_cohort(60), tmp_path, inputs={"labs": leaking}), "columns 'died' hold ids, times, folds or answers"
    )


def test_answers_are_never_among_columns_that_were_left_out(tmp_path):
    study = _table(
        _cohort(60), tmp_path, inputs={"labs": {"modality": "table", "known_before_index": True, "exclude": ["ward"]}}
    )
    resolved, _, _ = read(study)
    assert set(resolved.inputs["labs"].columns) == {"lactate", "age", "sepsis", "severity"}


def test_too_few_patients(tmp_path):
    _refused(_table(_cohort(3), tmp_path), "too few|only the class|class that no training row")


def test_an_unknown_fold_name(tmp_path):
    frame = _cohort(60).with_columns(fold=pl.Series(["train", "tset"] * 30))
    _refused(_table(frame, tmp_path, split={"by": "column", "column": "fold"}), "holds 'tset'.*did you mean 'test'")


def test_a_patient_given_to_two_folds(tmp_path):
    frame = _cohort(60).with_columns(fold=pl.Series(["train", "test"] * 30), patient=pl.lit("p"))
    _refused(
        _table(frame, tmp_path, split={"by": "column", "column": "fold"}), "1 patient is in test and in another part"
    )


def test_input_known_only_after_the_index_time_is_absent(tmp_path):
    frame = _cohort(60).with_columns(index=pl.lit(10.0), drawn=pl.Series([5.0, 10.0, 15.0] * 20))
    timed = {name: value for name, value in TABLE.items() if name != "known_before_index"} | {"at": "drawn"}
    prepared = prepare(
        *read(
            _table(
                frame,
                tmp_path,
                inputs={"labs": timed},
                cohort={"table": "cohort.csv", "row": "stay", "patient": "patient", "at": "index"},
            )
        )
    )
    assert (prepared.feed.sources["labs"].unit > 0).tolist() == [True, False, False] * 20
    assert prepared.proof["index_time"]["labs"].startswith("proved: the newest value of each of 20 rows")


def _followed(folder, **columns) -> Study:
    frame = _cohort(60).with_columns(days=pl.int_range(60) % 20, dead=pl.int_range(60) % 2)
    target = {"task": "survive", "time": "days", "event": "dead", "horizons": [5, 15]}
    return _table(frame.with_columns(**columns), folder, {"death": target})


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"days": pl.int_range(60) - 1}, "targets.death: column 'days': 1 value is negative \\(rows 's0000'\\)"),
        ({"dead": pl.int_range(60) % 3}, "20 rows hold codes that mean neither the event nor censored \\('2'\\)"),
        ({"dead": pl.lit(0)}, "training rows are censored"),
        ({"days": pl.int_range(60) % 10}, "horizons: 15 lies beyond the longest follow-up of the training rows"),
        ({"days": pl.lit(None, pl.Int64)}, "60 values stand without 'dead', or are missing where it is known"),
        ({"days": pl.lit("a week")}, "60 values are not numeric"),
    ],
)
def test_follow_up_that_cannot_be(tmp_path, columns, says):
    _refused(_followed(tmp_path, **columns), says)


def test_a_follow_up_of_the_test_rows_that_ends_before_the_horizon_is_told_and_not_a_crash(tmp_path):
    part = pl.Series("fold", (["train"] * 3 + ["calibrate", "test"]) * 12)
    short = pl.when(part == "test").then(pl.int_range(60) % 4).otherwise(pl.int_range(60) % 20)
    frame = _cohort(60).with_columns(part, patient=pl.col("stay"), days=short, dead=pl.int_range(60) % 2)
    target = {"task": "survive", "time": "days", "event": "dead", "horizons": [2, 15]}
    run = fit(_table(frame, tmp_path, {"death": target}, split={"by": "column", "column": "fold"}), tmp_path / "run")
    figures = run.metrics["targets"]["death"]["model"]
    assert figures["brier_2"]["value"] is not None
    assert figures["auroc_15"]["value"] is None and figures["auroc_15"]["note"].startswith("cannot be estimated")


@pytest.mark.parametrize(
    ("column", "more", "says"),
    [
        ("ward", {}, "targets.y: column 'ward': 60 values are not numeric \\(rows 's0000', 's0001', .* and 55 more\\)"),
        ("lactate", {"loss": "poisson"}, "are negative or not whole, and poisson is for counts"),
        ("same", {}, "column 'same': only one value in the training rows"),
        ("empty", {}, "column 'empty': no known value in the training rows"),
    ],
)
def test_a_number_that_cannot_be_learnt(tmp_path, column, more, says):
    frame = _cohort(60).with_columns(same=pl.lit(3), empty=pl.lit(None, pl.Float64))
    inputs = {"labs": {**TABLE, "columns": {"age": {"kind": "numeric"}}}}
    _refused(_table(frame, tmp_path, {"y": {"task": "regress", "column": column, **more}}, inputs), says)


def test_too_few_calibration_rows_for_an_interval_are_told_and_not_a_crash(tmp_path):
    inputs = {"labs": {**TABLE, "columns": {"lactate": {"kind": "numeric"}}}}
    target = {"task": "regress", "column": "age", "coverage": 0.99}
    run = fit(_table(_cohort(60), tmp_path, {"y": target}, inputs), tmp_path / "run")
    assert run.predictions["y"].is_finite().all() and run.predictions["y_low"].is_nan().all()
    assert run.metrics["targets"]["y"]["model"]["coverage"]["value"] is None
    assert "too few calibration rows for 99 %" in run.report.read_text()


def _two_sites(folder, part: str, **more) -> Study:
    """Site "b" judges; `part` says where it holds one answer only."""
    frame = _cohort(160).with_columns(
        patient=pl.col("stay"), site=pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("b")).otherwise(pl.lit("a")),
        days=1 + pl.int_range(pl.len()) % 17,
    )  # fmt: skip
    frame = frame.with_columns(died=pl.when(pl.col("site") == part).then(0).otherwise(pl.col("died")))
    cohort = {"table": "cohort.csv", "row": "stay", "patient": "patient", "site": "site"}
    split = {"by": "site", "test_sites": ["b"], "valid": 0.1, "calibrate": 0.1}
    return _table(frame, folder, cohort=cohort, split=split, **more)


def test_a_site_with_one_class_is_told_where_it_judges_and_refused_where_it_teaches(tmp_path):
    run = fit(_two_sites(tmp_path, "b"), tmp_path / "run")
    figures = run.metrics["targets"]["death"]["model"]
    assert figures["auroc"]["value"] is None and figures["brier"]["value"] is not None
    _refused(_two_sites(tmp_path, "a"), "'died': only the class '0' in the training rows")


def test_a_site_without_an_event_is_told_where_it_judges_and_refused_where_it_teaches(tmp_path):
    death = {"death": {"task": "survive", "time": "days", "event": "died", "bins": 4}}
    run = fit(_two_sites(tmp_path, "b", targets=death), tmp_path / "run")
    figures = run.metrics["targets"]["death"]["model"]
    assert figures["harrell_concordance"]["value"] is None
    assert figures["harrell_concordance"]["note"].startswith("cannot be estimated")
    _refused(_two_sites(tmp_path, "a", targets=death), "training rows are censored; expected events after time 0")


def test_a_competing_event_that_nobody_named_is_refused(tmp_path):
    frame = _cohort(60).with_columns(days=pl.int_range(pl.len()) + 1, died=pl.int_range(pl.len()) % 4)
    named = {"task": "survive", "time": "days", "event": "died"}
    _refused(_table(frame, tmp_path, {"death": named}), "30 rows hold codes .*'2', '3'.*name them in event_values, competing_values")  # fmt: skip
    _refused(_table(frame, tmp_path, {"death": {**named, "competing_values": [2]}}), "15 rows hold codes .*\\('3'\\)")
    prepared = prepare(*read(_table(frame, tmp_path, {"death": {**named, "competing_values": [2, 3]}})))
    assert prepared.feed.tasks["death"].competing > 0
