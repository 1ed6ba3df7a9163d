"""Words as mean answers: against a plain loop, and never a row's own answer or its patient's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from medloom.bundle import load
from medloom.errors import DataError
from medloom.feed import fit_inputs, pack, with_outcomes
from medloom.modalities.table import Table
from medloom.modality import Marks
from medloom.prepare import prepare, read
from medloom.run import fit
from medloom.study import make
from medloom.tasks.classify import ClassifyOptions
from medloom.tasks.regress import RegressOptions
from tests.cases.made import SMALL
from tests.modalities.table_rows import cohort_of, options_of

ROWS = 400
X = {"x": {"kind": "numeric"}}


def drawn(seed: int = 0) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    ward = random.choice(["a", "b", "c", "rare"], ROWS, p=[0.5, 0.3, 0.19, 0.01])
    word = np.where(random.random(ROWS) < 0.1, None, ward)
    answer = (random.random(ROWS) < np.where(ward == "a", 0.8, 0.2)).astype(int)
    return {"ward": word, "x": random.normal(size=ROWS)}, answer, random.integers(0, 150, ROWS)


def told(options: Any, columns: dict[str, Any], marks: Marks, patient: np.ndarray, rows: np.ndarray, task: Any = None):
    cohort = replace(cohort_of(columns), patient=patient)
    source = pack(Table, options, cohort)
    task = task or ClassifyOptions(column="y")
    return with_outcomes({"t": options}, {"t": source}, {"y": task}, {"y": marks}, rows, 0)["t"]


def classes(answer: np.ndarray) -> Marks:
    return Marks(answer, answer >= 0, ("no", "yes"))


def test_training_rows_are_coded_by_the_other_parts_and_others_by_all_training_rows():
    columns, answer, patient = drawn()
    options = options_of({"ward": {"kind": "category", "encoding": "target", "smoothing": 5.0}, **X})
    rows = np.arange(300)
    source = told(options, columns, classes(answer), patient, rows)
    table = fit_inputs({"t": options}, {"t": source}, rows)["t"]
    coded = table.bind(source).bound["coded"][1:, 0]
    fold = source.bound["outcomes"].fold
    words = np.array([w or "" for w in columns["ward"]])
    assert set(fold) == set(range(5)) and all(len(set(fold[patient[:300] == p])) == 1 for p in set(patient[:300]))

    def by_hand(word: str, among: np.ndarray) -> float:
        prior = answer[among].mean()
        own = among[words[among] == word]
        return (answer[own].sum() + 5 * prior) / (len(own) + 5) if len(set(patient[own])) >= 10 else prior

    for row in [*range(0, 300, 7), *range(300, 400, 7)]:
        among = rows[fold != fold[row]] if row < 300 else rows
        assert coded[row] == pytest.approx(by_hand(words[row], among), abs=1e-12)
    assert table.vocabulary == () and (np.diff(coded[300:]) != 0).any()
    np.testing.assert_array_equal(table.plain(table.bind(source), np.arange(300))[:, 1], coded[:300])


def test_no_row_sees_its_own_answer_or_that_of_its_patient():
    columns, answer, patient = drawn()
    options = options_of({"ward": {"kind": "category", "encoding": "both"}, **X})
    rows = np.arange(ROWS)

    def coded(answers: np.ndarray) -> np.ndarray:
        source = told(options, columns, classes(answers), patient, rows)
        return fit_inputs({"t": options}, {"t": source}, rows)["t"].bind(source).bound["coded"][1:, 0]

    first = coded(answer)
    changed = answer.copy()
    changed[patient == patient[0]] = 1 - changed[patient == patient[0]]
    second = coded(changed)
    assert (first[patient == patient[0]] == second[patient == patient[0]]).all()
    assert (first != second).any()


def test_codes_are_drawn_to_their_wider_group():
    first = ["250.43"] * 40 + ["250.7"] * 12 + ["428"] * 40
    answer = np.array([1] * 30 + [0] * 10 + [1] * 12 + [0] * 40)
    dx = {
        "kind": "code",
        "system": "icd9",
        "columns": ["d1", "d2"],
        "primary": "d1",
        "encoding": "target",
        "smoothing": 4.0,
    }
    options = options_of({"dx": dx})
    rows = np.arange(92)
    source = told(options, {"d1": first, "d2": [None] * 92}, classes(answer), rows, rows)
    table = fit_inputs({"t": options}, {"t": source}, rows)["t"]
    new = cohort_of({"d1": ["250.7", "250.1", None, "999"], "d2": ["428", None, "428", "250.43"]})
    coded = table.bind(pack(Table, options, new)).bound["coded"][1:]
    prior = 42 / 92
    chapter = (42 + 4 * prior) / 56
    category = (42 + 4 * chapter) / 56
    leaf = (12 + 4 * category) / 16
    heart = (0 + 4 * ((0 + 4 * prior) / 44)) / 44
    diabetes = (30 + 4 * category) / 44
    np.testing.assert_allclose(
        coded,
        [[(leaf + heart) / 2, leaf], [category, category], [heart, np.nan], [(prior + diabetes) / 2, prior]],
    )


def test_each_class_number_or_event_is_an_outcome():
    columns, _, patient = drawn()
    options = options_of({"ward": {"kind": "category", "encoding": "target"}, **X})
    rows = np.arange(ROWS)
    three = Marks(rows % 3, rows >= 0, ("a", "b", "c"))
    source = told(options, columns, three, patient, rows)
    assert source.bound["outcomes"].values.shape == (ROWS, 3)
    assert fit_inputs({"t": options}, {"t": source}, rows)["t"].bind(source).bound["value"].shape[1] == 4
    values = np.where(rows % 5 == 0, np.nan, rows * 1.5)
    source = told(options, columns, Marks(values, ~np.isnan(values)), patient, rows, RegressOptions(column="y"))
    table = fit_inputs({"t": options}, {"t": source}, rows)["t"]
    assert np.isfinite(table.bind(source).bound["coded"]).all()
    assert table.codings[0].prior[0] == pytest.approx(np.nanmean(values), rel=1e-4)


def test_where_no_target_says_a_number_it_is_told():
    columns, _, _ = drawn()
    options = options_of({"ward": {"kind": "category", "encoding": "target"}, **X})
    source = pack(Table, options, cohort_of(columns))
    with pytest.raises(DataError, match="no target of the study has answers that are numbers"):
        with_outcomes({"t": options}, {"t": source}, {}, {}, np.arange(ROWS), 0)


def study_of(folder: Any, **column: Any) -> Any:
    columns, answer, patient = drawn(1)
    part = np.array(["train", "train", "train", "valid", "calibrate", "test"])[patient % 6]
    frame = pl.DataFrame({**columns, "died": answer, "patient": patient, "part": part}, strict=False)
    frame = frame.with_columns(codes=pl.when(frame["ward"] == "a").then(pl.lit("250.1;428")).otherwise(pl.lit("401")))
    frame.write_csv(folder / "cohort.csv")
    codes = {"kind": "code", "system": "icd9", "separator": ";", "encoding": "both"}
    table = {"modality": "table", "known_before_index": True, "encoder": "tabm", "hidden": [8], "members": 2,
             "columns": {"ward": {"kind": "category", "encoding": "both"}, "x": {"kind": "numeric"}, "codes": codes}}  # fmt: skip
    study = {"name": "coded", "cohort": {"table": "cohort.csv", "patient": "patient"}, "inputs": {"t": table},
             "targets": {"death": {"task": "classify", "column": "died"}}, "train": SMALL,
             "split": {"by": "column", "column": "part"}, "evaluate": {"resamples": 100}}  # fmt: skip
    return make(study).within(folder), frame


def test_law_1_answers_of_other_rows_move_nothing(tmp_path):
    study, frame = study_of(tmp_path)
    one = prepare(*read(study)).feed.modalities["t"]
    for part, same in (("test", True), ("calibrate", True), ("valid", True), ("train", False)):
        changed = frame.with_columns(died=pl.when(pl.col("part") == part).then(1 - pl.col("died")).otherwise("died"))
        assert (prepare(*read(study, changed)).feed.modalities["t"] == one) is same, part


def test_through_fit_bundle_and_prediction(tmp_path):
    study, frame = study_of(tmp_path)
    run = fit(study, tmp_path / "run")
    again = load(tmp_path / "run" / "bundle")
    table = again.modalities["t"]
    assert [coding.prior for coding in table.codings] and "columns as mean answers, out of fold" in table.describe()
    judged = run.predictions
    held = again.predict(frame, problems="column").filter(pl.col("row").is_in(judged["row"].to_list()))
    assert len(held) == len(judged)
    np.testing.assert_allclose(held["death_probability"], judged["death_probability"], atol=1e-6)
    assert run.metrics["targets"]["death"]["model"]["auroc"]["value"] > 0.6
