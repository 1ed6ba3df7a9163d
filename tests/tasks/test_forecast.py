"""Forecasts: quantiles that cannot cross, made as changes from the last value; simple forecasts; no false alarms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from medloom.batch import BASE, Batch, Field, Seen
from medloom.bundle import load
from medloom.cohort.table import read_cohort
from medloom.errors import DataError, StudyError
from medloom.run import audit, evaluate, fit
from medloom.study import make
from medloom.task import Block
from medloom.tasks import _forecast_baselines as simple
from medloom.tasks._forecast_head import QuantileHead
from medloom.tasks.forecast import Forecast, ForecastOptions
from tests.cases import CASES

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def _frame(rows: int = 200, seed: int = 0) -> pl.DataFrame:
    """Rows with a last value and two values to come, which follow it and a signal."""
    random = np.random.default_rng(seed)
    last = random.gamma(3.0, 20.0, rows).round()
    signal = random.normal(size=rows)
    ahead = [np.maximum(last * np.exp(0.4 * h * signal + random.normal(0, 0.1, rows)), 0).round() for h in (1, 2)]
    return pl.DataFrame(
        {
            "last": last, "signal": signal, "ahead_1": ahead[0], "ahead_2": ahead[1], "past_1": last * 2, "past_2": last * 3,
            "day": random.integers(0, 365, rows), "place": [f"place {i % 2}" for i in range(rows)],
        }
    )  # fmt: skip


def _task(frame: pl.DataFrame, rows: np.ndarray | None = None, **options: Any) -> tuple[Forecast, Any]:
    asked = ForecastOptions.model_validate({"task": "forecast", "horizons": 2, "quantiles": LEVELS, **options})
    cohort = read_cohort(_cohort(), Path(), data=frame)
    marks = Forecast.read(asked, cohort)
    taught = np.arange(len(frame)) if rows is None else rows
    return Forecast.fit(asked, [Forecast.summarise(asked, marks, taught)]), marks


def _cohort() -> Any:
    return make(
        {
            "name": "x",
            "cohort": {"table": "t.csv", "independent_rows": True},
            "inputs": {"a": {"modality": "table", "known_before_index": True}},
            "targets": {"b": {"task": "forecast", "horizons": 2}},
        }
    ).cohort


def _block(task: Forecast, marks: Any, plain: np.ndarray, rows: np.ndarray | None = None) -> Block:
    rows = np.arange(len(plain)) if rows is None else rows
    field = task.target(marks, rows)
    return Block(plain[rows], Batch({}, {"b": field}, torch.from_numpy(rows), torch.ones(len(rows))), field)


def test_quantiles_of_the_head_rise_whatever_its_weights_are():
    torch.manual_seed(0)
    head = QuantileHead(6, 3, LEVELS)
    torch.nn.init.normal_(head.linear.weight, std=20)
    made = head(Seen(torch.randn(50, 6), {}, {}))["quantiles"]
    assert made.shape == (50, 3, 5) and (made.diff(dim=-1) >= 0).all()


def test_a_new_head_gives_a_standard_normal_about_its_median():
    head = QuantileHead(6, 1, LEVELS)
    made = head(Seen(torch.zeros(1, 6), {}, {}))["quantiles"][0, 0]
    np.testing.assert_allclose(made.detach(), [-1.2816, -0.6745, 0, 0.6745, 1.2816], atol=1e-3)


def test_the_loss_is_the_mean_score_of_the_known_horizons():
    frame = _frame(6).with_columns(pl.when(pl.int_range(pl.len()) > 2).then(pl.col("ahead_2")).alias("ahead_2"))
    task, marks = _task(frame)
    target = task.target(marks, np.arange(6))
    made = torch.randn(6, 2, 5, generator=torch.Generator().manual_seed(1)).sort(dim=-1).values
    from medloom.statistics.forecasts import weighted_interval_score

    change = np.where(target.valid.numpy(), target.extra["change"].numpy(), np.nan)
    expected = np.nanmean(weighted_interval_score(change, made.numpy().astype(float), np.array(LEVELS)), axis=1)
    np.testing.assert_allclose(task.loss({"quantiles": made}, target, {}), expected, rtol=1e-5)


@pytest.mark.parametrize("transform", ["none", "log1p", "sqrt", "fourth_root"])
def test_answers_are_told_from_the_last_value_in_its_own_unit(transform):
    frame = _frame().with_columns(people=pl.lit(50_000))
    task, marks = _task(frame, transform=transform, per="people")
    base = torch.from_numpy(task.base(read_cohort(_cohort(), Path(), data=frame)))
    field = task.target(marks, np.arange(len(frame)))
    sure = field.extra["change"][..., None].expand(-1, -1, len(LEVELS))
    made = task.decode({"quantiles": sure, BASE: base})
    truth = frame.select("ahead_1", "ahead_2").to_numpy()
    np.testing.assert_allclose(made.quantile, np.repeat(truth[..., None], 5, axis=-1), rtol=1e-9, atol=1e-6)
    assert made.columns()["h2_q0.25"].shape == (200,) and (made.columns()[""] == made.columns()["h1_q0.5"]).all()


def test_calibration_gives_intervals_the_coverage_that_is_asked():
    frame = _frame(3000)
    task, marks = _task(frame, widths="conformal")
    narrow = torch.zeros(3000, 2, 5, dtype=torch.float64)
    field = [task.target(marks, rows) for rows in (np.arange(1500), np.arange(1500, 3000))]
    set_ = task.calibrate([({"quantiles": narrow[:1500]}, field[0])])
    base = torch.from_numpy(task.base(read_cohort(_cohort(), Path(), data=frame)))
    made = set_.decode({"quantiles": narrow[1500:], BASE: base[1500:]})
    measured = set_.measure(made, field[1])
    one = np.ones((1, 1500))
    assert set_.metrics()["coverage_50"].of(measured, one)[0] == pytest.approx(0.5, abs=0.04)
    truth, q = measured["truth"], measured["quantile"]
    assert ((q[..., 0] <= truth) & (truth <= q[..., 4])).mean(axis=0) == pytest.approx([0.8, 0.8], abs=0.04)
    assert (np.diff(q, axis=-1) >= 0).all()
    assert replace(task, options=task.options.model_copy(update={"widths": "learnt"})).calibrate([]).calibrated_on == 0


def test_persistence_is_the_last_value_with_past_changes_in_both_directions():
    frame = _frame()
    task, marks = _task(frame)
    block = _block(task, marks, np.zeros((200, 1)))
    base = block.target.extra["base"]
    made = task.decode(
        {**task.baselines(0)["persistence"].output(block), BASE: torch.stack([base, torch.ones(200)], 1)}
    )
    np.testing.assert_allclose(made.quantile[:, 0, 2], frame["last"], rtol=1e-5, atol=1e-5)
    change = np.log1p(frame["ahead_1"].to_numpy()) - np.log1p(frame["last"].to_numpy())
    high = np.quantile(np.concatenate([change, -change]), 0.9)
    np.testing.assert_allclose(made.quantile[:, 0, 4], np.expm1(np.log1p(frame["last"].to_numpy()) + high), rtol=1e-5)
    measured = task.measure(made, block.target)
    assert task.metrics()["relative_wis"].of(measured, np.ones((1, 200)))[0] == pytest.approx(1.0, abs=1e-6)


def test_seasonal_and_usual_forecasts_come_from_their_columns_and_fall_back_where_they_cannot():
    frame = _frame(400).with_columns(
        past_1=pl.when(pl.int_range(pl.len()) > 0).then(pl.col("ahead_1")),
        past_2=pl.col("ahead_2"),
        ahead_1=pl.when(pl.col("place") == "place 1").then(1000.0).otherwise(pl.col("ahead_1")),
    )
    frame = frame.with_columns(past_1=pl.when(pl.int_range(pl.len()) > 0).then(pl.col("ahead_1")))
    task, marks = _task(frame, season="past_", day_of_year="day", series="place")
    block = _block(task, marks, np.zeros((400, 1)))
    made = {name: task.baselines(0)[name] for name in ("seasonal", "climatology")}
    for one in made.values():
        one.fit([block], [])
    seasonal = made["seasonal"].output(block)["quantiles"].numpy()
    np.testing.assert_allclose(seasonal[1:, :, 2], block.target.extra["change"][1:], atol=1e-5)
    np.testing.assert_allclose(seasonal[0, 0], task.errors[0], rtol=1e-5)
    base = block.target.extra["base"]
    usual = task.decode({**made["climatology"].output(block), BASE: torch.stack([base, torch.ones(400)], 1)})
    second = frame["place"].to_numpy() == "place 1"
    np.testing.assert_allclose(usual.quantile[second, 0], 1000, rtol=1e-4)
    assert usual.quantile[~second, 0, 2].max() < 900


@pytest.mark.parametrize("name", ["ridge", "gradient_boosting"])
def test_learnt_simple_models_beat_persistence_and_are_restored_to_the_bit(name):
    frame = _frame(600)
    task, marks = _task(frame, np.arange(400))
    plain = frame.select("signal").to_numpy().copy()
    plain[::50] = np.nan
    blocks = [_block(task, marks, plain, rows) for rows in (np.arange(300), np.arange(300, 400), np.arange(400, 600))]
    model = task.baselines(0)[name]
    model.fit(blocks[:1], blocks[1:2])
    said = model.output(blocks[2])
    loss = [
        task.loss(out, blocks[2].target, {}).mean()
        for out in (said, task.baselines(0)["persistence"].output(blocks[2]))
    ]
    assert loss[0] < 0.6 * loss[1] and (said["quantiles"].diff(dim=-1) >= 0).all()
    again = task.baselines(0)[name]
    again.restore(model.arrays())
    assert torch.equal(again.output(blocks[2])["quantiles"], said["quantiles"])


def _weeks(first: int, rows: int, features: int) -> Block:
    """One row a week: a change that the first number tells in part, among numbers that tell nothing."""
    random = np.random.default_rng(first)
    plain = random.normal(size=(rows, features))
    change = 0.5 * plain[:, :1] + random.normal(0, 1, (rows, 2))
    known = torch.ones(rows, dtype=torch.bool)
    beside = {"change": torch.from_numpy(change), "time": torch.arange(first, first + rows, dtype=torch.float64)}
    field = Field(torch.from_numpy(change), known, known[:, None].expand(-1, 2), beside)
    return Block(plain, Batch({}, {"b": field}, torch.arange(rows), torch.ones(rows)), field)


def test_without_validation_rows_the_ridge_learns_penalty_and_errors_from_stretches_of_time():
    unit = simple.Unit(LEVELS, ((-1.0, -0.5, 0.0, 0.5, 1.0),) * 2)
    taught, later = _weeks(0, 160, 80), _weeks(160, 2000, 80)
    held = {}
    for name, blocks in (("stretches", [taught]), ("no time", [_at_once(taught)])):
        model = simple.Ridge(unit)
        model.fit(blocks, [])
        made = model.output(later)["quantiles"].numpy()
        change = later.target.extra["change"].numpy()
        held[name] = ((made[..., 0] <= change) & (change <= made[..., -1])).mean()
    # Errors of the rows that taught are too small: with half as many numbers as rows, by far.
    assert held["stretches"] == pytest.approx(0.8, abs=0.05)
    assert held["no time"] < 0.7


def _at_once(block: Block) -> Block:
    """The same rows, all of one date."""
    beside = {**block.target.extra, "time": torch.zeros_like(block.target.extra["time"])}
    return replace(block, target=replace(block.target, extra=beside))


def test_all_penalties_at_once_are_the_ridge_of_each():
    random = np.random.default_rng(0)
    features, change = random.normal(size=(80, 6)), random.normal(size=(80, 2))
    features[::7, 2], change[:5, 1] = np.nan, np.nan
    held = features[::3] + 0.1
    made = simple._path(features, change, held)
    for place, penalty in enumerate(simple.PENALTIES):
        for h in range(2):
            one = simple.Ridge(simple.Unit(LEVELS, ((0.0,) * 5,) * 2))._linear(features, change[:, h], penalty)
            np.testing.assert_allclose(made[place, :, h], one.score(held)[:, 0], rtol=1e-9, atol=1e-12)


def test_rows_whose_horizons_reach_into_a_stretch_do_not_teach_it():
    time = np.repeat(np.arange(60.0), 30)
    for others, own in simple._stretches(time, np.zeros((len(time), 3))):
        assert not np.isin(others, own).any()
        assert np.abs(time[others][:, None] - time[own]).min() == 4
    assert simple._stretches(time[:600], np.zeros((600, 3))) == []


def test_quantiles_between_knots_lie_on_a_normal():
    from scipy.special import ndtri

    levels = tuple(np.round(np.linspace(0.05, 0.95, 19), 3))
    knots = np.array([0, 3, 6, 9, 12, 15, 18])
    made = simple._between(ndtri(np.array(levels))[knots][None, None], knots, levels)
    np.testing.assert_allclose(made[0, 0], ndtri(levels), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (lambda f: f.with_columns(ahead_1=-pl.col("ahead_1") - 1), {}, "200 values are negative"),
        (lambda f: f.with_columns(ahead_1=pl.col("last")), {}, "horizon 1: every value of the training rows equals"),
        (lambda f: f.with_columns(ahead_2=pl.lit(None, pl.Float64)), {}, "horizon 2: 0 known values"),
        (lambda f: f.drop("last"), {}, "no column 'last'"),
        (lambda f: f.with_columns(people=0), {"per": "people"}, "are not above 0"),
        (lambda f: f, {"last": "ahead_1"}, "is one of the answers"),
    ],
)
def test_rows_that_cannot_be_forecast_from_are_refused(change, options, told):
    with pytest.raises(DataError, match=told):
        _task(change(_frame()), **options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"quantiles": [0.1, 0.5, 0.8]}, "evenly about 0.5"),
        ({"quantiles": [0.1, 0.9, 0.5]}, "must rise"),
        ({"name_series": True}, "name_series goes with series"),
    ],
)
def test_options_that_cannot_be(options, told):
    with pytest.raises(StudyError, match=told):
        make(
            {
                "name": "x",
                "cohort": {"table": "t.csv", "independent_rows": True},
                "inputs": {"a": {"modality": "table", "known_before_index": True}},
                "targets": {"b": {"task": "forecast", **options}},
            }
        )


def test_a_bundle_forecasts_from_the_long_table_and_the_audit_is_calm(tmp_path):
    study = CASES["forecast_panel"](tmp_path)
    assert audit(study).findings == ()
    run = fit(study, tmp_path / "run", overrides=())
    long = pl.read_csv(tmp_path / "cohort.csv")
    bundle = load(run.folder / "bundle")
    answers = bundle.predict(long)
    assert answers["stay"][-1] == "ward 3 2021-02-08" and answers.null_count().sum_horizontal()[0] == 0
    # What comes after a date changes nothing of what was said on it.
    early = bundle.predict(
        long.with_columns(pl.when(pl.col("week") < "2021-01-04").then(pl.col("cases")).alias("cases"))
    )
    both = early.join(answers, on="stay", suffix="_whole")
    assert len(both) == len(early) < len(answers)
    np.testing.assert_allclose(both["cases_h2_q0.9"], both["cases_h2_q0.9_whole"], rtol=1e-5)
    whole = b"".join(path.read_bytes() for path in (run.folder / "bundle").iterdir()) + run.report.read_bytes()
    assert b"ward 1" not in whole and b"Forecasts for horizon 2: Series 1" in run.report.read_bytes()
    with pytest.raises(DataError, match="no column 'cases'"):
        bundle.predict(long.drop("cases"))
    other = evaluate(bundle, long, tmp_path / "other").metrics["targets"]["cases"]
    assert other["model"]["relative_wis"]["value"] > 0 and set(other["baselines"]) <= {"ridge", "gradient_boosting"}


def test_rows_count_by_their_last_value_where_that_is_asked():
    frame = _frame(50)
    plain, marks = _task(frame)
    task, _ = _task(frame, emphasis=0.5)
    target = plain.target(marks, np.arange(50))
    made = {"quantiles": torch.zeros(50, 2, 5)}
    weight = np.sqrt(frame["last"].to_numpy() + 1)
    expected = plain.loss(made, target, {}).numpy() * weight / weight.mean()
    np.testing.assert_allclose(task.loss(made, target, {}), expected, rtol=1e-5)


def test_names_of_series_are_kept_only_where_that_is_declared_and_rows_are_many():
    frame = _frame(50).with_columns(
        place=pl.when(pl.int_range(pl.len()) < 9).then(pl.lit("few")).otherwise(pl.lit("many"))
    )
    assert _task(frame, series="place")[0].names == ()
    task, marks = _task(frame, series="place", name_series=True)
    assert task.names == ("many",)
    field = task.target(marks, np.arange(50))
    drawn = task.decode({"quantiles": torch.randn(50, 2, 5).sort(dim=-1).values, BASE: torch.ones(50, 2)})
    measured = {**task.measure(drawn, field), "time": np.arange(50.0)}
    titles = [plot.title for plot in task.plots({"model": measured})]
    assert any("many" in title for title in titles) and not any("few" in title for title in titles)
    assert {"Relative WIS by horizon", "Do the quantiles hold?", "Score by forecast date"} <= set(titles)


def test_forecasts_of_named_series_are_drawn_over_dates_in_natural_order_and_unit():
    names = [f"region {place}" for place in (10, 9, 2, 1, 11)]
    frame = _frame(50).with_columns(place=pl.Series(np.repeat(names, 10)))
    day = np.datetime64("2021-10-02").astype("datetime64[s]").astype(float)

    def fans(**options):
        task, marks = _task(frame, series="place", unit="admissions", **options)
        field = task.target(marks, np.arange(50))
        drawn = task.decode({"quantiles": torch.randn(50, 2, 5).sort(dim=-1).values, BASE: torch.ones(50, 2)})
        measured = {**task.measure(drawn, field), "time": day + np.tile(np.arange(10.0), 5) * 7 * 86_400}
        return [plot for plot in task.plots({"model": measured}) if "Forecasts for" in plot.title]

    shown = fans(name_series=True)
    assert [one.title.rpartition(": ")[2] for one in shown] == ["region 1", "region 2", "region 9", "region 10"]
    first = shown[0]
    assert first.since == "2021-10-02" and first.curves[0].x[-1] == 63 and first.y_label == "admissions"
    assert first.x_label == "Date of the forecast (1 step before the value)"
    assert [curve.name for curve in first.curves] == ["median and 50 % interval", "observed"]
    # Series that may be patients have no dates.
    assert all(one.since is None and "2021" not in one.x_label + one.text for one in fans())
