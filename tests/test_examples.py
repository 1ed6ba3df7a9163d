"""Every example runs, on smaller data and a few steps; the plain recipe is what it says."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch

from medloom.run import fit
from medloom.study import read

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples")
    for study in EXAMPLES.glob("*.toml"):
        shutil.copy(study, path)
    spec = importlib.util.spec_from_file_location("make_data", EXAMPLES / "make_data.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(path / "data", 0.15)
    return path


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.toml")))
def test_an_example_runs(folder: Path, tmp_path: Path, name: str) -> None:
    budget = "train.epochs=1"
    run = fit(read(folder / name, [budget, "evaluate.resamples=100"]), tmp_path / "run")
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
