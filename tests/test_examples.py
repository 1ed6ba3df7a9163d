"""Every example runs, on smaller data and a few steps; the plain recipe is what it says."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from medloom.ingest.door import ingest
from medloom.run import fit
from medloom.study import read

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
QUICKER = {
    "follow-up.toml": ["targets.map.refine=2"],
    "brain-lesions.toml": ["evaluate.maps.methods=[]"],
    "influenza.toml": ["split.rehearsals=1"],
    "dengue.toml": ["split.rehearsals=1"],
    "chest-pneumonia.toml": ['evaluate.maps.methods=["grad_cam"]', "evaluate.maps.pictures=1"],
}


def loaded(name: str) -> Any:
    """A generator of the examples, which are no package."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_data() -> Any:
    return loaded("make_data")


@pytest.fixture(scope="module")
def folder(make_data: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples")
    for study in EXAMPLES.glob("*.toml"):
        shutil.copy(study, path)
    make_data.main(path / "data", 0.15)
    loaded("make_events").main(path / "data", 0.15)
    loaded("make_signals").main(path / "data", 0.1)
    loaded("make_outbreak").main(path / "data", 0.15)
    loaded("make_images").main(path / "data", 0.1)
    loaded("make_dicom").main(path / "data", 0.1)
    ingest(path / "data" / "ct-export", path / "data" / "ct", "dicom", {"processes": "1"})
    loaded("make_exports").main(path / "data" / "exports", 0.15)
    ingest(str(path / "data" / "exports" / "mimic-iv"), str(path / "data" / "kidney"))
    return path


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.toml")))
def test_an_example_runs(folder: Path, tmp_path: Path, name: str) -> None:
    budget = ["train.epochs=1", "train.threads=1", "evaluate.resamples=100", *QUICKER.get(name, [])]
    run = fit(read(folder / name, budget), tmp_path / "run")
    assert run.report.exists()
    assert all(target["model"][target["headline"]]["value"] is not None for target in run.metrics["targets"].values())


def test_the_plain_recipe_is_the_network_it_says(folder: Path, tmp_path: Path) -> None:
    study = read(folder / "first-model.toml", ["train.epochs=2"])
    run = fit(study, tmp_path / "run")
    bundle = run.bundle
    layers = [m for m in bundle.network.modules() if isinstance(m, torch.nn.Linear)]
    assert [layer.out_features for layer in layers] == [64, 64, 1]
    assert not {"name", "mrn", "heart_disease"} & set(bundle.study.inputs["clinic"].columns)
    counts = run.metrics["counts"]["parts"]
    assert counts["test"]["rows"] == 60 and counts["train"]["rows"] == 240
    assert study.train.optimizer == "rmsprop" and study.train.batch == 32
    assert "accuracy" in run.metrics["targets"]["heart_disease"]["model"]


@pytest.mark.parametrize("outcome", ["diabetes", "disease", "infection", "bleeding", "kidney_injury"])
def test_made_up_risks_are_those_that_are_written_down(make_data: Any, outcome: str) -> None:
    """A logistic regression finds the written log odds again, each within four standard errors of a Wald interval."""
    random = np.random.default_rng(5)
    make = {"diabetes": make_data.check_up, "disease": make_data.chest_pain}.get(outcome, make_data.operations)
    frame = make(20_000, random).fill_nan(None)
    levels = {"none": 0, "some": 1, "weekly": 2, "daily": 3, "I": 1, "II": 2, "III": 3, "IV": 4}
    yes = pl.lit("yes")
    derived = {
        "diabetes": {
            "family_history": pl.col("family_history") == yes,
            "activity": pl.col("activity").replace_strict(levels, default=None),
        },
        "disease": {
            "male": pl.col("sex") == pl.lit("male"),
            "typical": pl.col("chest_pain") == pl.lit("typical"),
            "angina": pl.col("angina") == yes,
        },
    }.get(outcome, {"asa": pl.col("asa").replace_strict(levels, default=None), "emergency": pl.col("emergency") == yes})
    effects = {"diabetes": make_data.DIABETES, "disease": make_data.HEART}.get(outcome) or make_data.SURGERY[outcome]
    truth = pl.col(outcome).cast(pl.String).is_in(["1", "present"]).alias("truth")
    known = frame.select(truth, *(derived.get(n, pl.col(n)).cast(pl.Float64).alias(n) for n in effects)).drop_nulls()
    x = known.drop("truth").to_numpy()
    scale = x.std(axis=0)
    z = (x - x.mean(axis=0)) / scale
    found = LogisticRegression(C=np.inf).fit(z, known["truth"].to_numpy())
    p = found.predict_proba(z)[:, 1]
    design = np.column_stack([np.ones(len(z)), z])
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]))))[1:] / scale
    assert (np.abs(found.coef_[0] / scale - np.array(list(effects.values()))) < 4 * error).all()
