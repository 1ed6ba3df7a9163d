"""The benchmark of visits: the store that it makes, the rows it asks of, and its figures against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import pbc2
from medloom.prepare import read


def table(patients: int) -> pl.DataFrame:
    """Visits as the file has them, of made-up patients, some values not known."""
    random = np.random.default_rng(3)
    rows = []
    for number in range(patients):
        level, years = random.normal(), random.uniform(1, 13)
        dies = random.random() < 0.3 + 0.4 * (level > 0)
        status = "dead" if dies else ("transplanted" if number % 9 == 0 else "alive")
        for year in np.arange(0, years, 1.0):
            values = {name: float(np.exp(level + random.normal(0, 0.2))) for name in (*pbc2.LOGS, "albumin")}
            signs = {name: random.choice(["Yes", "No"]) for name in pbc2.SIGNS}
            rows.append(
                {"id": number, "years": years, "status": status, "drug": random.choice(["D-penicil", "placebo"]), "age": 40.0 + number % 30, "sex": "female" if number % 8 else "male", "year": float(year), **values, **signs, "edema": "No edema", "histologic": number % 4 + 1}
            )  # fmt: skip
    frame = pl.DataFrame(rows)
    return frame.with_columns(pl.when(pl.col("year") == 1).then(None).otherwise("serChol").alias("serChol"))


def test_every_visit_is_a_row_with_its_last_values_and_what_followed(tmp_path: Path) -> None:
    visits = table(20)
    visits.write_csv(tmp_path / "pbc2.csv", null_value="NA")
    pbc2.write(tmp_path / "pbc2.csv", tmp_path / "visits")
    cohort = read(pbc2.study(("cox",), {}).within(tmp_path))[1]
    found = pl.DataFrame(cohort.frame).with_columns(pl.col("patient").cast(pl.Int64)).sort("patient", "at")
    asked = visits.filter(pl.col("year") + 0.0001 < pl.col("years")).sort("id", "year")
    assert found["patient"].to_list() == asked["id"].to_list()
    np.testing.assert_allclose(found["serBilir"].to_numpy(), np.log(asked["serBilir"].to_numpy()), rtol=1e-5)
    followed = (asked["years"] - asked["year"] - 0.0001).to_numpy()
    np.testing.assert_allclose(found["death_time"].to_numpy(), followed, atol=2e-6)
    assert found["death_event"].to_list() == (asked["status"] == "dead").cast(pl.Int64).to_list()
    known = asked.select(pl.col("serChol").forward_fill().over("id")).to_series().log()
    np.testing.assert_allclose(found["serChol"].to_numpy(), known.to_numpy(), rtol=1e-5)


def test_it_runs_from_the_file_to_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("REPOSITORY", tmp_path), ("FOLDS", 2), ("TRAIN", {"steps": 3}), ("RESAMPLES", 20)):
        monkeypatch.setattr(pbc2, name, value)
    (tmp_path / "progression-pbc2").mkdir()
    table(60).write_csv(tmp_path / "progression-pbc2" / "pbc2.csv", null_value="NA")
    found = pbc2.run(tmp_path)
    assert len(found) == len(pbc2.HORIZONS)
    assert all(one.low is not None and one.high is not None and one.low <= one.value <= one.high for one in found)
    assert pbc2.run(tmp_path / "elsewhere") == []


def test_the_figure_without_censoring_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    folds = []
    expected = []
    for _ in range(3):
        time, risk = random.uniform(0, 10, 50), random.random((50, 2))
        folds.append(({"time": time, "event": np.ones(50), "risk": risk, "edges": np.array([2.0, 5.0])}, np.arange(50)))
        expected.append(roc_auc_score(time <= 5, risk[:, 1]))
    assert pbc2.over_folds(folds, 5, np.ones((1, 50)))[0] == pytest.approx(np.mean(expected))
