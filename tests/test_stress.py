"""Stress, sets by group, rows left to a person, drift and recalibration: through whole runs."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from medloom.bundle import load
from medloom.errors import DataError
from medloom.evaluation.stressed import Scenario
from medloom.parts import EvaluatePart
from medloom.recalibrating import recalibrate
from medloom.run import evaluate, fit
from medloom.stress import _noisy, pooled
from medloom.study import Study, make
from tests.cases import CASES

ALL = ["missing_input", "missing_column", "missing_values", "noise", "units", "prevalence", "period", "site"]


def table(rows: int = 500, seed: int = 0) -> pl.DataFrame:
    """One number that says nearly all, in g/dL; one that says nothing; two sites, two sexes, a time of admission."""
    random = np.random.default_rng(seed)
    told, idle = random.normal(10, 2, rows), random.normal(size=rows)
    sick = random.random(rows) < 1 / (1 + np.exp(-(told - 10) * 1.5))
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(rows)],
            "told": told,
            "idle": idle,
            "sick": sick.astype(int),
            "weight": told * 3 + random.normal(size=rows),
            "sex": random.choice(["f", "m"], rows),
            "site": random.choice(["north", "south"], rows),
            "at": random.uniform(0, 100, rows),
        }
    )


def study(**more: object) -> Study:
    columns = {"told": {"kind": "numeric", "unit": "g/dL"}, "idle": {"kind": "numeric", "range": [-20, 20]}}
    raw: dict[str, object] = {
        "name": "stress",
        "cohort": {"row": "id", "independent_rows": True, "site": "site", "at": "at"},
        "inputs": {"x": {"modality": "table", "known_before_index": True, "hidden": [16], "columns": columns}},
        "targets": {
            "sick": {"task": "classify", "column": "sick", "conformal": 0.9, "conformal_by": "sex", "abstain": 0.2},
            "weight": {"task": "regress", "column": "weight", "conformal_by": "sex"},
        },
        "split": {"test": 0.3, "calibrate": 0.2},
        "train": {"epochs": 12},
        "evaluate": {"resamples": 100, "stress": [*ALL[:4], {"kind": "units", "factor": 30}, *ALL[5:]]},
    }
    return make({**raw, **more})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    return fit(study(), tmp_path_factory.mktemp("stress") / "run", data=table())


def scenarios(run, target: str) -> dict[str, dict]:
    return {one["scenario"]: one for one in run.metrics["stress"][target]["scenarios"]}


def test_what_matters_hurts_and_what_says_nothing_does_not(run) -> None:
    found = scenarios(run, "sick")
    assert found["without told"]["change"]["auroc"]["high"] < -0.1
    assert abs(found["without idle"]["change"]["auroc"]["value"]) < 0.05
    assert found["20% of all cells missing"]["change"]["auroc"]["value"] < 0
    assert found["noise of 0.5 standard deviations"]["change"]["auroc"]["value"] < 0
    assert scenarios(run, "weight")["without told"]["change"]["rmse"]["low"] > 1


def test_noise_stays_within_what_the_column_holds() -> None:
    values = pl.Series("x", [1.0, None, 3.0, 2.0])
    noisy = _noisy(values, np.array([-9.0, 1.0, 9.0, 0.25]))
    assert noisy.to_list() == [1.0, None, 3.0, 2.25]
    empty = pl.Series("x", [None, None], dtype=pl.Float64)
    assert _noisy(empty, np.ones(2)).to_list() == [None, None]


def test_a_wrong_unit_is_judged_or_would_be_refused(run) -> None:
    found = scenarios(run, "weight")
    assert found["told times 30"]["change"]["rmse"]["low"] > 1
    refused = found["idle times 30"]["note"]
    assert refused.startswith("refused before the model sees it") and "(row" not in refused
    assert "figures" not in found["idle times 30"]


def test_another_prevalence_moves_predictive_values_as_bayes_says(run) -> None:
    model = {name: one["value"] for name, one in run.metrics["targets"]["sick"]["model"].items()}
    halved = next(one for one in run.metrics["stress"]["sick"]["prevalence"] if "halved" in one["scenario"])
    odds = halved["prevalence"] / (1 - halved["prevalence"]) * model["sensitivity"] / (1 - model["specificity"])
    assert halved["figures"]["ppv"]["value"] == pytest.approx(odds / (1 + odds))
    assert halved["figures"]["calibration_intercept"]["value"] < model["calibration_intercept"]
    assert halved["change"]["ppv"]["high"] < 0


def test_periods_sites_and_what_cannot_be_estimated(run) -> None:
    groups = run.metrics["stress"]["sick"]["groups"]["groups"]
    assert {(g["column"], g["group"]) for g in groups} == {
        *(("period", name) for name in ("earliest", "middle", "latest")),
        *(("site", name) for name in ("north", "south")),
    }
    notes = run.metrics["stress"]["weight"]["notes"]
    assert "prevalence: cannot be estimated: it is of answers of two classes" in notes
    assert "missing_input: the study has one input only" in notes


def test_coverage_is_told_of_each_group_and_rows_that_are_kept_do_better(run) -> None:
    for name in ("sick", "weight"):
        groups = run.metrics["coverage"][name]["groups"]
        assert [one["group"] for one in groups] == ["f", "m"]
        figure = next(iter(groups[0]["figures"].values()))
        assert figure["low"] <= figure["value"] <= figure["high"]
    kept, every = run.metrics["abstention"]["sick"], run.metrics["targets"]["sick"]["model"]
    assert 0.6 < kept["share_kept"]["value"] < 0.95
    assert kept["figures"]["accuracy"]["value"] > every["accuracy"]["value"]
    left = run.predictions["sick_left_to_person"]
    assert 1 - left.mean() == pytest.approx(kept["share_kept"]["value"])


def test_all_of_it_is_in_the_report_without_a_row_and_never_nan(run) -> None:
    report = run.report.read_text()
    for title in ("Left to a person", "Sets and intervals in each group", "When the data are different"):
        assert title in report
    assert "p17" not in report and "NaN" not in (run.folder / "metrics.json").read_text()


def test_predictions_of_a_bundle_have_sets_by_group(run) -> None:
    bundle, new = run.bundle, table(4, seed=9).drop("sick", "weight", "site", "at").with_columns(sex=pl.Series(["f", "m", "x", None]))  # fmt: skip
    answers = bundle.predict(new)
    assert answers["sick_set_basis"].to_list() == ["own group", "own group", "all rows", "all rows"]
    with pytest.raises(DataError, match=r"conformal_by: no column 'sex'"):
        bundle.predict(new.drop("sex"))
    assert bundle.predict(new.drop("sex"), problems="column")["sick_set_basis"].unique().to_list() == ["all rows"]


def test_folds_are_put_through_it_too(tmp_path) -> None:
    small = study(
        split={"folds": 2, "calibrate": 0.2, "final": "none"},
        evaluate={"resamples": 100, "stress": ["missing_column", "site"], "baselines": False},
        train={"epochs": 15},
    )
    done = fit(small, tmp_path / "run", data=table(300))
    assert scenarios(done, "weight")["without told"]["change"]["rmse"]["value"] > 0.5
    assert done.metrics["abstention"]["sick"]["rows"] < 300


def test_a_scenario_that_one_fold_refuses_is_refused() -> None:
    scenario = Scenario("units", "x times 10", "x")
    measured = {"y": {"truth": np.zeros(3)}}
    assert pooled([{scenario: measured}, {scenario: measured}])[scenario]["y"]["truth"].shape == (6,)
    assert pooled([{scenario: measured}, {scenario: "out of range"}])[scenario] == "out of range"


# Other data ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere() -> pl.DataFrame:
    """Sicker patients, one number shifted."""
    other = table(300, seed=3).with_columns(pl.col("idle") + 1.5, pl.col("weight") * 1.2 + 5)
    shifted = np.random.default_rng(0).random(300) < 1 / (1 + np.exp(-(other["told"].to_numpy() - 8.5) * 1.5))
    return other.with_columns(pl.Series("sick", shifted.astype(int)))


def test_other_data_are_judged_beside_the_kept_baseline_and_their_drift_is_told(run, elsewhere, tmp_path) -> None:
    there = evaluate(run.folder / "bundle", elsewhere, tmp_path / "out")
    for name in ("sick", "weight"):
        beside = there.metrics["targets"][name]["difference"]
        assert beside["baseline"] == run.metrics["targets"][name]["difference"]["baseline"] or beside["baseline"]
        assert all(one["value"] is not None for key, one in beside.items() if key in ("auroc", "rmse"))
    first, second = there.metrics["drift"]
    assert (first["name"], second["name"]) == ("idle", "told")
    values = [frame["idle"].to_numpy() for frame in (_train(run), elsewhere)]
    pooled_sd = np.sqrt((values[0].var() + values[1].var()) / 2)
    assert first["mean"] == pytest.approx((values[1].mean() - values[0].mean()) / pooled_sd, rel=1e-6)
    assert "How these patients differ" in there.report.read_text()


def _train(run) -> pl.DataFrame:
    part = pl.read_parquet(run.folder / "split.parquet").filter(pl.col("part") == "train")
    return table().filter(pl.col("id").is_in(part["row"].to_list()))


def test_recalibration_mends_calibration_and_is_kept(run, elsewhere, tmp_path) -> None:
    done = recalibrate(run.folder / "bundle", elsewhere, tmp_path / "bundle2")
    sick, weight = done.comparisons["sick"], done.comparisons["weight"]
    assert sick is not None and weight is not None and sick.rows == 300
    figures = {entrant: sick.estimates[entrant]["calibration_intercept"].value for entrant in ("model", "before")}
    assert abs(figures["model"] or 0) < 0.2 < 1 < (figures["before"] or 0)
    assert weight.differences["before"]["rmse"].high is not None and weight.differences["before"]["rmse"].high < 0
    again = load(tmp_path / "bundle2")
    assert again.tasks == done.bundle.tasks and again.tasks["sick"] != run.bundle.tasks["sick"]
    assert again.card["recalibrated"]["sick"]["after"]["auroc"]["value"] is not None
    json.dumps(again.card, allow_nan=False)
    judged = evaluate(tmp_path / "bundle2", elsewhere, tmp_path / "out")
    slope = judged.metrics["targets"]["sick"]["model"]["calibration_slope"]["value"]
    assert slope == pytest.approx(1, abs=0.02)


def test_too_few_local_events_are_refused_and_nothing_is_written(run, elsewhere, tmp_path) -> None:
    few = elsewhere.filter((pl.col("sick") == 0) | (pl.int_range(pl.len()) < 10))
    with pytest.raises(DataError, match=r"sick: found \d of 1 among the local rows; expected at least 20"):
        recalibrate(run.folder / "bundle", few, tmp_path / "bundle2")
    assert not (tmp_path / "bundle2").exists()
    one = elsewhere.with_columns(pl.lit(1).alias("sick"))
    with pytest.raises(DataError, match="found 0 of 0 among the local rows"):
        recalibrate(run.folder / "bundle", one, tmp_path / "bundle2")


def test_enough_to_set_but_not_to_judge_is_said(run, elsewhere, tmp_path) -> None:
    counts = [elsewhere.filter(pl.col("sick") == code).head(21) for code in (0, 1)]
    done = recalibrate(run.folder / "bundle", pl.concat(counts), tmp_path / "bundle2")
    assert done.comparisons["sick"] is None and "cannot be estimated: four fifths" in done.notes["sick"]
    assert "cannot be estimated" in load(tmp_path / "bundle2").card["recalibrated"]["sick"]["note"]


def test_baseline_hazards_of_another_place(tmp_path) -> None:
    random = np.random.default_rng(0)

    def followed(rows: int, rate: float) -> pl.DataFrame:
        x = random.normal(size=rows)
        time = random.exponential(1 / (rate * np.exp(x)))
        return pl.DataFrame({"x": x, "days": np.minimum(time, 5).round(3), "died": (time < 5).astype(int)})

    asked = make(
        {
            "name": "survival",
            "cohort": {"independent_rows": True},
            "inputs": {"x": {"modality": "table", "known_before_index": True, "hidden": [8]}},
            "targets": {"death": {"task": "survive", "time": "days", "event": "died", "horizons": [2, 4]}},
            "train": {"epochs": 40},
            "evaluate": {"resamples": 100, "baselines": False},
        }
    )
    trained = fit(asked, tmp_path / "run", data=followed(500, 0.1))
    there = followed(400, 0.3)
    done = recalibrate(trained.folder / "bundle", there, tmp_path / "bundle2")
    risks = [b.predict(there.select("x"))["death_risk_2"].mean() for b in (trained.bundle, load(tmp_path / "bundle2"))]
    happened = float(((there["days"] <= 2) & (there["died"] == 1)).mean())
    assert risks[1] == pytest.approx(happened, abs=0.03) and risks[0] < happened - 0.1
    with pytest.raises(DataError, match=r"died: found \d+ events among the local rows; expected at least 20"):
        recalibrate(trained.folder / "bundle", there.head(12), tmp_path / "bundle3")
    assert done.comparisons["death"] is not None


def test_forecasts_are_put_under_stress_beside_what_they_are_told_relative_to(tmp_path) -> None:
    made = CASES["forecast_panel"](tmp_path)
    stressed = {**made.evaluate.model_dump(), "stress": ("missing_values",)}
    run = fit(made.model_copy(update={"evaluate": EvaluatePart(**stressed)}), tmp_path / "run")
    found = scenarios(run, next(iter(made.targets)))["20% of all cells missing"]["change"]
    assert found and all(np.isfinite(one["value"]) for one in found.values())
