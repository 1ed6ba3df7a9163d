"""Estimators in the ways that people in notebooks use them: frames, patients, pipelines, folds, pickles, a run."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.impute import SimpleImputer
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from medloom.bundle import load
from medloom.errors import DataError
from medloom.estimators import MedloomClassifier, MedloomRegressor, MedloomSurvival


def ward(rows: int = 300, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Mixed columns with gaps, several rows a patient, and a class that age and smoking decide."""
    random = np.random.default_rng(seed)
    age, smoker = random.normal(60, 12, rows), random.choice(["never", "former", "current"], rows)
    score = (age - 60) / 8 + 2.0 * (smoker == "current") - 0.5
    frame = pd.DataFrame(
        {
            "age": np.where(random.random(rows) < 0.05, np.nan, age),
            "smoker": pd.Categorical(np.where(random.random(rows) < 0.05, None, smoker)),
            "emergency": random.random(rows) < 0.3,
            "asa": random.choice(["I", "II", "III"], rows),
            "patient": [f"p{i // 2}" for i in range(rows)],
        }
    )
    return frame, np.where(random.random(rows) < 1 / (1 + np.exp(-score)), "died", "alive")


def cohort(rows: int = 400, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Exponential times whose rate doubles with each unit of the first column; censored at random times."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 3))
    time, stop = random.exponential(12 * 2.0 ** -x[:, 0]), random.uniform(2, 40, rows)
    y = np.zeros(rows, dtype=[("event", bool), ("time", float)])
    y["event"], y["time"] = time <= stop, np.minimum(time, stop)
    return x, y


@pytest.fixture(scope="module")
def fitted() -> tuple[MedloomClassifier, pd.DataFrame, np.ndarray]:
    x, y = ward()
    return MedloomClassifier(epochs=15, patient="patient").fit(x, y), x, y


def test_a_frame_with_categories_gaps_and_patients(fitted: Any) -> None:
    model, x, _ = fitted
    assert list(model.classes_) == ["alive", "died"]
    assert list(model.feature_names_in_) == list(x.columns) and model.n_features_in_ == 5
    part = model.bundle_.study.inputs["table"]
    assert {n: c.kind for n, c in part.columns.items()} == {
        "age": "numeric", "smoker": "category", "emergency": "boolean", "asa": "category",
    }  # fmt: skip
    other, truth = ward(seed=1)
    assert roc_auc_score(truth == "died", model.predict_proba(other)[:, 1]) > 0.75
    assert set(model.predict(other)) == {"alive", "died"}


def test_polars_pandas_and_arrow_give_the_same_model(fitted: Any) -> None:
    model, x, y = fitted
    plain = x.assign(smoker=x["smoker"].astype(object).where(x["smoker"].notna(), None))
    for frame in (pl.from_pandas(x), pl.from_pandas(x).to_arrow(), plain):
        again = MedloomClassifier(epochs=15, patient="patient").fit(frame, y)
        np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(x))


def test_a_number_is_the_same_however_it_is_stored() -> None:
    x, y = cohort(60)
    x = x.astype(np.float16).astype(np.float64)
    answers = [
        MedloomRegressor(epochs=1).fit(x, y["time"]).predict(x.astype(kind)) for kind in ("<f8", ">f8", "f2", "g")
    ]
    whole = pd.DataFrame({"a": pd.array([1, None, 3] * 20, dtype="Int64"), "b": pd.array([True, None, False] * 20, dtype="boolean")})  # fmt: skip
    plain = pd.DataFrame({"a": [1.0, np.nan, 3.0] * 20, "b": pd.Series([True, None, False] * 20, dtype=object)})
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])
    model = MedloomRegressor(epochs=1).fit(whole, y["time"])
    np.testing.assert_array_equal(model.predict(plain), model.predict(whole))


def test_the_seed_decides(fitted: Any) -> None:
    model, x, y = fitted
    other = clone(model).set_params(random_state=5).fit(x, y)
    assert not np.array_equal(other.predict_proba(x), model.predict_proba(x))
    drawn = [clone(model).set_params(random_state=np.random.RandomState(7)).fit(x, y) for _ in range(2)]
    np.testing.assert_array_equal(drawn[0].predict_proba(x), drawn[1].predict_proba(x))


@pytest.mark.parametrize("way", ["column", "groups"])
def test_no_patient_is_parted(tmp_path: Path, way: str) -> None:
    x, y = ward(120)
    model = MedloomClassifier(epochs=1, out=tmp_path / "run", valid=0.2, calibrate=0.2)
    if way == "column":
        model.set_params(patient="patient").fit(x, y)
    else:
        model.fit(x.drop(columns="patient"), y, groups=x["patient"])
    parts = pl.read_parquet(tmp_path / "run" / "split.parquet")["part"].to_numpy()
    of_patient = pd.Series(parts).groupby(x["patient"]).nunique()
    assert of_patient.max() == 1
    assert set(parts) == {"train", "valid", "calibrate"}
    assert "patient" not in model.bundle_.study.inputs["table"].columns


def test_a_run_without_judges_says_so_and_one_with_judges_has_figures(tmp_path: Path) -> None:
    x, y = ward(200)
    alone = MedloomClassifier(epochs=1, out=tmp_path / "alone", patient="patient").fit(x, y)
    assert alone.run_.metrics["targets"] == {}
    page = alone.run_.report.read_text()
    assert "nobody was held out" in page and "nothing is known of how good this network is" in page
    assert "No row judged" in alone.bundle_.card["judged"]
    assert copy.deepcopy(alone).run_ == alone.run_
    assert not any(type(value).__module__.startswith("medloom") for value in alone.__getstate__().values())
    judged = MedloomClassifier(epochs=1, out=tmp_path / "judged", patient="patient", test=0.3).fit(x, y)
    assert judged.run_.metrics["targets"]["answer"]["model"]["auroc"]["value"] is not None
    with pytest.raises(DataError, match="holds the run of another study"):
        MedloomClassifier(epochs=2, out=tmp_path / "alone", patient="patient").fit(x, y)


def test_a_pickle_holds_files_and_no_classes_and_answers_the_same(fitted: Any, tmp_path: Path) -> None:
    model, x, _ = fitted
    text = pickle.dumps(model)
    assert b"torch" not in text.replace(b'"torch"', b"") and b"medloom.bundle" not in text
    assert set(model.__getstate__()["_bundle_files"]) >= {"study.json", "weights.safetensors", "manifest.json"}
    for again in (pickle.loads(text), copy.deepcopy(model)):  # noqa: S301
        np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    model.bundle_.save(tmp_path / "bundle")
    assert load(tmp_path / "bundle").predict(x.drop(columns="patient"), problems="column").height == len(x)
    assert not hasattr(clone(model), "bundle_")
    assert not hasattr(copy.deepcopy(MedloomRegressor()), "bundle_")


def test_folds_grids_and_pipelines() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(SimpleImputer(), MedloomClassifier(epochs=8))
    assert cross_val_score(model, x[:300], y[:300], cv=2, scoring="roc_auc").min() > 0.95
    grid = GridSearchCV(MedloomClassifier(epochs=2), {"hidden": [(8,), (16, 8)]}, cv=2).fit(x[:200], y[:200])
    assert grid.best_params_["hidden"] in [(8,), (16, 8)]
    frame, answer = ward(160)
    through = make_pipeline(FunctionTransformer(), MedloomClassifier(epochs=2, patient="patient"))
    scores = cross_val_score(through, frame, answer, groups=frame["patient"], cv=GroupKFold(2))
    assert np.isfinite(scores).all()


def test_groups_reach_the_fit_by_metadata_routing() -> None:
    frame, answer = ward(120)
    x, groups = frame.drop(columns="patient"), frame["patient"].to_numpy()
    with sklearn.config_context(enable_metadata_routing=True):
        model = MedloomClassifier(epochs=1).set_fit_request(groups=True)
        grid = GridSearchCV(model, {"dropout": [0.0]}, cv=GroupKFold(2)).fit(x, answer, groups=groups)
    assert grid.best_estimator_.bundle_.study.cohort.patient == "patient"


def test_three_classes_of_numbers() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 2))
    y = np.digitize(x[:, 0], [-0.5, 0.5]) * 10
    model = MedloomClassifier(epochs=20).fit(x, y)
    found = model.predict_proba(x)
    assert list(model.classes_) == [0, 10, 20]
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (model.predict(x) == y).mean() > 0.85
    np.testing.assert_array_equal(model.classes_[found.argmax(axis=1)], model.predict(x))


def test_numbers_with_intervals_that_hold_most_of_them() -> None:
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    parts = train_test_split(x, y, test_size=0.4, random_state=0)
    model = MedloomRegressor(epochs=60, calibrate=0.3, coverage=0.8).fit(parts[0], parts[2])
    assert r2_score(parts[3], model.predict(parts[1])) > 0.25
    low, high = model.predict_interval(parts[1]).T
    held = ((low <= parts[3]) & (parts[3] <= high)).mean()
    # 53 calibrate and 177 are held or not: two binomials, of which one is seven hundredths wide.
    assert 0.65 < held < 0.95
    assert (low <= model.predict(parts[1])).all()


def test_intervals_that_too_few_rows_calibrate_are_refused() -> None:
    x, y = load_diabetes(return_X_y=True)
    model = MedloomRegressor(epochs=1, coverage=0.99).fit(x[:100], y[:100])
    with pytest.raises(DataError, match=r"9 calibration rows are too few .* 0\.99"):
        model.predict_interval(x)


def test_counts_are_not_negative() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 2))
    model = MedloomRegressor(epochs=5, loss="poisson").fit(x, random.poisson(np.exp(x[:, 0])))
    assert (model.predict(x) >= 0).all()


def test_risks_follow_the_hazard_that_made_them() -> None:
    x, y = cohort()
    model = MedloomSurvival(epochs=60).fit(x, y)
    new, followed = cohort(seed=4)
    assert model.score(new, followed) > 0.65
    times = [0.0, 1.0, 5.0, 9.5, model.last_time_]
    risk = model.predict_risk(new, times)
    assert risk.shape == (len(new), 5) and (risk[:, 0] == 0).all()
    assert (np.diff(risk, axis=1) >= 0).all()
    truth = 1 - np.exp(-9.5 / (12 * 2.0 ** -new[:, 0]))
    assert np.abs(risk[:, 3] - truth).mean() < 0.12
    with pytest.raises(DataError, match="expected numbers from 0 to"):
        model.predict_risk(new, [model.last_time_ + 1])


def test_risk_at_the_edges_is_that_of_the_bundle_and_between_them_the_hazard_is_constant() -> None:
    x, y = cohort(200)
    model = MedloomSurvival(epochs=2, horizons=(5, 10)).fit(x, y)
    told = model.bundle_.predict(pl.DataFrame(x, schema=["x0", "x1", "x2"]))
    found = model.predict_risk(x, [5, 10])
    np.testing.assert_allclose(found, told.select("answer_risk_5", "answer_risk_10").to_numpy(), atol=1e-12)
    edges = np.array(model.bundle_.tasks["answer"].edges)
    middle = (edges[3] + edges[4]) / 2
    low, half, high = (1 - model.predict_risk(x, float(t))[:, 0] for t in (edges[3], middle, edges[4]))
    np.testing.assert_allclose(half, np.sqrt(low * high), rtol=1e-9)


@pytest.mark.parametrize("kind", ["pandas", "polars", "other names"])
def test_answers_of_survival_in_frames(kind: str) -> None:
    x, y = cohort(150)
    model = MedloomSurvival(epochs=2).fit(x, y)
    pair = {"time": y["time"], "event": y["event"]}
    if kind == "other names":
        pair = {"months": y["time"], "died": y["event"]}
    frame = pl.DataFrame(pair) if kind == "polars" else pd.DataFrame(pair)
    np.testing.assert_array_equal(MedloomSurvival(epochs=2).fit(x, frame).predict(x), model.predict(x))


def test_columns_say_what_a_study_file_says() -> None:
    x, y = ward(200)
    said = {"age": {"kind": "numeric", "unit": "year", "range": [0, 120]}, "asa": {"kind": "ordinal", "order": ["I", "II", "III"]}}  # fmt: skip
    model = MedloomClassifier(epochs=1, patient="patient", columns=said).fit(x, y)
    part = model.bundle_.study.inputs["table"]
    assert part.columns["asa"].kind == "ordinal" and part.columns["age"].unit == "year"
    with pytest.raises(DataError, match=r"1 row does not fit \('3'\).*age"):
        model.predict(x.assign(age=[60.0, 50.0, 300.0, *[40.0] * 197]))


def test_a_category_that_is_new_is_answered(fitted: Any) -> None:
    model, x, _ = fitted
    new = x.astype({"smoker": object, "asa": object}).assign(smoker="pipe", asa="VI")
    assert np.isfinite(model.predict_proba(new)).all()
    np.testing.assert_array_equal(model.predict_proba(new), model.predict_proba(new.assign(smoker="hookah")))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"patient": "mrn"}, "no column 'mrn' in X"),
        ({"columns": {"aeg": {"kind": "numeric"}}}, "'aeg' not among the columns of X"),
        ({"columns": {"age": {"kind": "nmeric"}}}, "inputs.table.columns.age"),
        ({"epochs": -1}, "train.epochs"),
        ({"encoder": "forest"}, "inputs.table.encoder"),
        ({"threshold": 2.0}, "targets.answer.threshold"),
        ({"valid": 0.6, "calibrate": 0.5}, "leave under 5 %"),
    ],
)
def test_wrong_parameters_are_said_at_fit(change: dict[str, Any], sentence: str) -> None:
    x, y = ward(60)
    with pytest.raises(DataError, match=sentence.replace(".", r"\.")):
        MedloomClassifier(**{"epochs": 1, "patient": "patient", **change}).fit(x, y)


def test_wrong_data_are_said() -> None:
    x, y = ward(60)
    model = MedloomClassifier(epochs=1)
    with pytest.raises(ValueError, match="given twice"):
        clone(model).set_params(patient="patient").fit(x, y, groups=x["patient"])
    with pytest.raises(ValueError, match="60 rows of X and 59"):
        model.fit(x, y[:-1])
    with pytest.raises(ValueError, match="60 rows of X and 59 of y or groups"):
        model.fit(x, y, groups=range(59))
    with pytest.raises(ValueError, match="1 row has no patient"):
        model.fit(x, y, groups=[None, *range(59)])
    with pytest.raises(ValueError, match="empty values"):
        model.fit(x, np.array([None, *y[1:]], dtype=object))
    with pytest.raises(ValueError, match="columns named twice: 'age'"):
        model.fit(pd.concat([x, x[["age"]]], axis=1), y)
    with pytest.raises(ValueError, match="holds 'dict'; expected numbers, words or empty"):
        model.fit(x.assign(asa=[{}] * 60), y)
    with pytest.raises(ValueError, match="1 class"):
        model.fit(x, np.full(60, "alive"))


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        (np.arange(20.0), "structured array or a frame"),
        (pd.DataFrame({"a": [1.0] * 20, "b": [2.0] * 20}), "columns 'a', 'b'; expected event"),
        (pd.DataFrame({"event": [2] * 20, "time": [2.0] * 20}), "neither true nor false"),
        (pd.DataFrame({"event": [True] * 20, "time": [-2.0] * 20}), "not below 0"),
        (pd.DataFrame({"event": [False] * 20, "time": [2.0] * 20}), "all 16 training rows are censored"),
    ],
)
def test_wrong_answers_of_survival_are_said(y: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        MedloomSurvival(epochs=1).fit(np.random.default_rng(0).normal(size=(20, 2)), y)
