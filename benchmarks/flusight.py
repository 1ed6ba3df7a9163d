"""Influenza in hospitals of the United States, season 2023-24: quantiles for four weeks, walking forward by vintage.

Reads outbreak-flusight of the data folder: weekly admissions of 52 jurisdictions and the nation as they were known each
week, and the forecasts that the FluSight hub of the CDC keeps of its baseline and of its ensemble. At each refit the
study sees nothing published later; each forecast date sees the vintage of that week; truth is the last version. Judged
are the location-dates-horizons of the hub's files for the week of the forecast and three more, without the nation, which
gives the published relative WIS of the ensemble, .742. Settings were chosen on the time before October 2023: members, and how
widths are learnt, by teams taught until every fifth week from August 2022 on, each asked for the five weeks after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from benchmarks.result import Result, commit_of
from medloom.bundle import Bundle
from medloom.judging import train_one
from medloom.prepare import fitted, folds, packed, read
from medloom.rundir import RunFolder
from medloom.statistics.forecasts import inside, weighted_interval_score
from medloom.study import Study, make

ID = "flusight"
REPOSITORY = Path(__file__).parents[1]
SEED = 1
HORIZONS = 4
REFIT_WEEKS = 5
LEVELS = (0.01, 0.025, *(round(0.05 * k, 2) for k in range(1, 20)), 0.975, 0.99)
PUBLISHED_DAYS = 4
"""Data that end on a Saturday were published in the week after it, and forecasts made on that Wednesday."""
RESAMPLES = 2_000
TRAIN: Mapping[str, Any] = {"epochs": 10}
MEMBERS = ("network", "network", "gradient_boosting", "ridge")
REHEARSED: Mapping[str, Any] = {"rehearsals": 5, "rehearsed": 0.67}
"""Of the year and a half before the season that judges, the last year is rehearsed: a whole season with its summer."""
KEYS = ["location", "date", "horizon"]


def run(data: Path | None) -> list[Result]:
    """WIS relative to the hub's baseline, and the coverage of 50 and 95 % intervals; none without data."""
    folder = None if data is None else data / "outbreak-flusight"
    if folder is None or not folder.is_dir():
        return []
    table, truth = vintages(folder), final(folder)
    hub = {name: forecasts(folder, name) for name in ("FluSight-baseline", "FluSight-ensemble")}
    dates = hub["FluSight-baseline"]["date"].unique().sort().to_list()
    runs = REPOSITORY / "runs" / ID / commit_of(REPOSITORY)
    ours = pl.concat(
        walked(table, dates[first : first + REFIT_WEEKS], runs / f"from-{dates[first]}")
        for first in range(0, len(dates), REFIT_WEEKS)
    )
    return results(judged({"model": ours, **hub}, truth))


def _read(path: Path) -> pl.DataFrame:
    types = {"location": pl.String, "value": pl.Float64, "weekly_rate": pl.Float64}
    frame = pl.read_csv(path, schema_overrides=types, null_values=["NA"])
    return frame.select(pl.col("date").cast(pl.String).str.to_date(), "location", "value", "weekly_rate")


def final(folder: Path) -> pl.DataFrame:
    """The last version of all values."""
    held = _read(folder / "target-hospital-admissions.csv")
    return held.select("location", pl.col("date").alias("end"), pl.col("value").alias("truth"))


def vintages(folder: Path) -> pl.DataFrame:
    """All versions of all values, with the day after the last one on which they were published, and the population."""
    parts = []
    for path in sorted((folder / "vintages").glob("*.csv.gz")):
        day = path.name.removesuffix(".csv.gz").rpartition("_")[2]
        published = pl.lit(day).str.to_date() + pl.duration(days=PUBLISHED_DAYS)
        parts.append(_read(path).with_columns(as_of=published))
    table = pl.concat(parts)
    rates = table.filter(
        (pl.col("value") > 0) & (pl.col("weekly_rate") > 0) & (pl.col("as_of") == pl.col("as_of").min())
    )
    size = rates.group_by("location").agg(population=(pl.col("value") / pl.col("weekly_rate") * 100_000).median())
    return table.drop("weekly_rate").join(size, on="location")


def forecasts(folder: Path, name: str) -> pl.DataFrame:
    """The quantiles of a team of the hub for the week of the forecast and the three after it, one row a forecast."""
    types = {"location": pl.String, "output_type_id": pl.String, "value": pl.Float64}
    read = [
        pl.read_csv(path, schema_overrides=types, null_values=["NA"]).select(
            pl.col("reference_date").cast(pl.String).str.to_date().alias("date"),
            "location", "horizon", "target", "output_type", "output_type_id", "value",
        )
        for path in sorted((folder / "forecasts" / name).glob("*.csv.gz"))
    ]  # fmt: skip
    kept = pl.concat(read).filter(
        (pl.col("output_type") == "quantile")
        & (pl.col("target") == "wk inc flu hosp")
        & pl.col("horizon").is_between(0, HORIZONS - 1)
        & (pl.col("location") != "US")
    )
    level = pl.col("output_type_id").cast(pl.Float64)
    wide = kept.sort(*KEYS, level).group_by(KEYS, maintain_order=True).agg(pl.col("value").alias("quantile"))
    return wide.filter(pl.col("quantile").list.len() == len(LEVELS))


def study(known_by: Any) -> Study:
    """The study at one refit: rows up to its date, all of which teach that have a known answer by then."""
    panel = {
        "series": "location", "time": "date", "value": "value", "as_of": "as_of", "timely_before_vintages": True,
        "per": "population", "transform": "fourth_root", "horizons": HORIZONS, "lags": 8, "means": [4], "across": True,
        "calendar": False, "cluster": 4, "end": str(known_by),
    }  # fmt: skip
    target = {
        "task": "forecast", "horizons": HORIZONS, "per": "population", "transform": "fourth_root", "quantiles": LEVELS,
    }  # fmt: skip
    return make(
        {
            "name": "flusight",
            "seed": SEED,
            "cohort": {"panel": panel},
            "inputs": {"past": {"modality": "table", "at": "newest", "encoder": "tabm", "hidden": [64]}},
            "targets": {"admissions": target},
            "split": {"test": 0, "valid": 0, "calibrate": 0, **REHEARSED},
            "model": {"members": MEMBERS},
            "train": TRAIN,
            "evaluate": {"baselines": False, "explain": False, "resamples": 100},
        }
    )


def walked(table: pl.DataFrame, dates: list[Any], out: Path) -> pl.DataFrame:
    """Forecasts for some dates in a row, by a team taught with what was published before the first of them."""
    asked = study(dates[0])
    resolved, cohort, marks = read(asked, table.filter(pl.col("as_of") < dates[0]))
    fold = folds(resolved, cohort, marks)[0]
    prepared = fitted(resolved, cohort, marks, fold, packed(resolved, cohort))
    trained = train_one(prepared, resolved.train, RunFolder(out).training(), lambda event: None)
    panel = resolved.cohort.panel
    assert panel is not None
    panel = panel.model_copy(update={"start": str(dates[0]), "end": str(dates[-1])})
    later = resolved.model_copy(update={"cohort": resolved.cohort.model_copy(update={"panel": panel})})
    bundle = Bundle(later, prepared.feed.modalities, trained.tasks, trained.team, {})
    answers = bundle.predict(table.filter(pl.col("as_of") < dates[-1]))
    place = pl.col("forecast").str.splitn(" ", 2)
    held = answers.select(
        place.struct[0].alias("location"),
        place.struct[1].str.to_date().alias("date"),
        *(pl.concat_list(f"admissions_h{h + 1}_q{level:g}" for level in LEVELS).alias(str(h)) for h in range(HORIZONS)),
    )
    long = held.unpivot(index=["location", "date"], variable_name="horizon", value_name="quantile")
    return long.with_columns(pl.col("horizon").cast(pl.Int64)).select(*KEYS, "quantile")


def judged(entrants: Mapping[str, pl.DataFrame], truth: pl.DataFrame) -> pl.DataFrame:
    """The forecasts that all have, with what came: one row each, and the date that they are resampled by."""
    hub = entrants["FluSight-baseline"]
    table = hub.select(*KEYS, pl.col("quantile").alias("FluSight-baseline"))
    for name, one in entrants.items():
        if name != "FluSight-baseline":
            table = table.join(one.rename({"quantile": name}), on=KEYS, how="left")
    lacks = table["model"].null_count()
    if lacks:
        raise ValueError(f"{lacks} forecasts of the hub are without one of ours")
    end = pl.col("date") + pl.duration(weeks=pl.col("horizon"))
    return table.with_columns(end=end).join(truth, on=["location", "end"]).drop_nulls("truth").sort(KEYS)


def results(table: pl.DataFrame) -> list[Result]:
    """Sums of scores over all forecasts relative to the baseline's; intervals resample forecast dates."""
    truth = table["truth"].to_numpy()[:, None]
    entrants = [name for name in table.columns if name in ("model", "FluSight-baseline", "FluSight-ensemble")]
    quantile = {name: np.array(table[name].to_list())[:, None, :] for name in entrants}
    score = {name: weighted_interval_score(truth, one, np.array(LEVELS))[:, 0] for name, one in quantile.items()}
    date, place = np.unique(table["date"].to_numpy(), return_inverse=True)
    drawn = np.random.default_rng(0).multinomial(len(date), np.full(len(date), 1 / len(date)), RESAMPLES)
    weight = np.concatenate([np.ones((1, len(date))), drawn])[:, place]
    under = weight @ score["FluSight-baseline"]
    ratio = {name: weight @ one / under for name, one in score.items()}
    apart = ratio["model"] - ratio["FluSight-ensemble"]
    by_horizon = ", ".join(f"{h} {_ratio(score, table['horizon'].to_numpy() == h):.3f}" for h in range(HORIZONS))
    split = (
        f"season 2023-24, {len(truth):,} forecasts of {len(date)} dates, refitted every {REFIT_WEEKS} weeks; by week "
        f"{by_horizon}; intervals resample dates"
    )
    low, high = _ends(apart)
    first = Result(
        id=ID,
        metric="WIS relative to the hub's baseline",
        value=float(ratio["model"][0]),
        low=_ends(ratio["model"])[0],
        high=_ends(ratio["model"])[1],
        higher_is_better=False,
        want=0.80,
        split=split,
        seeds=(SEED,),
        baseline=f"FluSight-ensemble {ratio['FluSight-ensemble'][0]:.3f}, FluSight-baseline 1",
        difference=f"FluSight-ensemble {apart[0]:+.3f} [{low:+.3f}, {high:+.3f}]",
        published="ensemble .742, flusion .607, deep entries .92 to 1.0",
    )
    return [first, *(_coverage(meant, quantile, truth, weight, split) for meant in (0.5, 0.95))]


def _ratio(score: Mapping[str, np.ndarray], rows: np.ndarray) -> float:
    return float(score["model"][rows].sum() / score["FluSight-baseline"][rows].sum())


def _ends(values: Float[np.ndarray, " resamples"]) -> tuple[float, float]:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return float(low), float(high)


def _coverage(
    meant: float, quantile: Mapping[str, np.ndarray], truth: np.ndarray, weight: np.ndarray, split: str
) -> Result:
    places = [LEVELS.index(round((1 - meant) / 2, 3)), LEVELS.index(round((1 + meant) / 2, 3))]
    held = {name: inside(truth, one, places[0], places[1])[:, 0] for name, one in quantile.items()}
    share = weight @ held["model"] / weight.sum(axis=1)
    others = ", ".join(f"{name} {one.mean():.3f}" for name, one in held.items() if name != "model")
    return Result(
        id=ID,
        metric=f"coverage of {meant:.0%} intervals",
        value=float(share[0]),
        low=_ends(share)[0],
        high=_ends(share)[1],
        higher_is_better=True,
        split=split,
        seeds=(SEED,),
        baseline=others,
        published=f"{meant:g} is meant",
    )
