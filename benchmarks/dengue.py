"""Dengue in San Juan and Iquitos, eight weeks ahead, walking forward, with and without weather and vegetation.

Reads outbreak-dengue of the data folder: weekly cases of the training years of the "Dengue Forecasting" project of the
US Government, with daily weather of one station and a weekly vegetation index a city. The later half of the weeks judges
in five periods, each taught by everything that was known before it. Everyone who can answers (a network, a ridge, boosted
trees); in each period their shares, and how wide intervals are, come from rehearsals within the weeks that teach it. The scale
and which columns are seen were chosen on the earlier half of San Juan's weeks, which does not judge; one set serves both cities.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from benchmarks.result import Result, commit_of
from medloom.judging import Judged, judge_one, pooled, train_one
from medloom.prepare import fitted, folds, packed, read
from medloom.rundir import RunFolder
from medloom.study import Study, make

ID = "dengue"
REPOSITORY = Path(__file__).parents[1]
SEED = 1
WEEKS = 8
SEASON = 52
LONGEST_WEEK_DAYS = 9
RESAMPLES = 2_000
LEVELS = (0.025, 0.25, 0.5, 0.75, 0.975)
TRAIN: Mapping[str, Any] = {"epochs": 20}
MEMBERS = ("network", "ridge", "gradient_boosting")
REHEARSALS = 3
SCALE = "fourth_root"
UNSEEN = (
    *(f"season_{what}_{h + 1}" for what in ("change", "level") for h in range(WEEKS)),
    *(f"{wave}_ahead_{h}" for wave in ("sine", "cosine") for h in range(1, WEEKS)),
)
"""Columns left out, as they say again what others say: the season of one week tells that of all others."""
CITIES = {
    "San Juan": ("san_juan_training_data.csv", "SanJuanRQW00011641.csv", "sanJuan_noqc.csv", 0.72),
    "Iquitos": ("iquitos_training_data.csv", "IquitosPE000084377.csv", "iquitos_noqc.csv", None),
}
PUBLISHED = {
    "San Juan": "autoregression .87, with climate .76 (how they were split is not said)",
    "Iquitos": "climate did nothing",
}
ENVIRONMENT = ("temperature", "rain", "vegetation")


def run(data: Path | None) -> list[Result]:
    """Errors eight weeks ahead relative to the last value, of both cities, with and without environment."""
    folder = None if data is None else data / "outbreak-dengue"
    if folder is None or not folder.is_dir():
        return []
    runs = REPOSITORY / "runs" / ID / commit_of(REPOSITORY)
    found: list[Result] = []
    for city, (_, _, _, want) in CITIES.items():
        table = weekly(folder, city)
        without, seen = (judged(study(more), table, runs / city / str(more)) for more in (False, True))
        found += results(city, seen, without, want)
    return found


def weekly(folder: Path, city: str) -> pl.DataFrame:
    """One line a week: cases, the week of the season as two waves, and the week's weather and vegetation.

    Weeks are counted, as the last one of a year has eight or nine days. Weather is that of the days from the week's
    first one on; a week without a measured day has none.
    """
    cases_file, station_file, vegetation_file, _ = CITIES[city]
    cases = pl.read_csv(folder / cases_file).select(
        pl.col("week_start_date").str.to_date().alias("day"), "season_week", pl.col("total_cases").alias("cases")
    )
    cases = cases.sort("day").with_columns(week=pl.int_range(pl.len()), city=pl.lit(city))
    turn = pl.col("season_week") * (2 * np.pi / SEASON)
    cases = cases.with_columns(sine=turn.sin(), cosine=turn.cos())
    station = pl.read_csv(folder / station_file, null_values=["-9999.0"], infer_schema=False)
    number = {
        name: pl.col(column).str.strip_chars().cast(pl.Float64) for name, column in (("t", "TAVG"), ("hot", "TMAX"), ("cold", "TMIN"), ("rain", "PRCP"))
    }  # fmt: skip
    days = station.select(
        pl.date(*(pl.col(name).str.strip_chars().cast(pl.Int32) for name in ("YYYY", "MM", "DD"))).alias("day"),
        **{name: pl.when(one > -9000).then(one) for name, one in number.items()},
    )
    days = days.with_columns(temperature=pl.coalesce("t", (pl.col("hot") + pl.col("cold")) / 2)).sort("day")
    placed = _placed(days, cases)
    weather = placed.group_by("week").agg(pl.col("temperature").mean(), pl.col("rain").mean())
    return cases.join(weather, on="week", how="left").join(_vegetation(folder / vegetation_file, cases), on="week", how="left").sort("week")  # fmt: skip


def _vegetation(path: Path, cases: pl.DataFrame) -> pl.DataFrame:
    """The mean index of the four pixels, in the week of the cases in which that calendar week begins."""
    lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
    pixels = np.array([[float(cell) for cell in line[2:]] for line in lines])
    held = ~np.isnan(pixels).all(axis=1)
    first = [
        np.datetime64(f"{int(line[0])}-01-01") + 7 * (int(line[1]) - 1)
        for line, kept in zip(lines, held, strict=True)
        if kept
    ]
    frame = pl.DataFrame({"day": np.array(first), "vegetation": np.nanmean(pixels[held], axis=1)})
    frame = frame.with_columns(pl.col("day").cast(pl.Date)).sort("day")
    placed = _placed(frame, cases)
    # What a calendar week of another grid held is complete only in the week after the one it begins in.
    return placed.group_by(pl.col("week") + 1).agg(pl.col("vegetation").mean())


def _placed(days: pl.DataFrame, cases: pl.DataFrame) -> pl.DataFrame:
    """Days with the week they lie in; those after the last week, and before the first, are left out."""
    weeks = cases.select("day", "week").with_columns(first=pl.col("day"))
    placed = days.join_asof(weeks, on="day", strategy="backward").drop_nulls("week")
    return placed.filter(pl.col("day") - pl.col("first") < pl.duration(days=LONGEST_WEEK_DAYS))


def study(environment: bool) -> Study:
    """Rows of every week, with or without environment; the later half judges in five periods."""
    panel = {
        "series": "city", "time": "week", "value": "cases", "step": 1, "horizons": WEEKS, "lags": 4,
        "means": [4, 12, 52, 104], "transform": SCALE, "season": SEASON, "known_ahead": ["sine", "cosine"], "end": None,
    }  # fmt: skip
    if environment:
        panel |= {"covariates": ENVIRONMENT, "covariate_lags": [], "covariate_means": [12, 26]}
    target = {"task": "forecast", "horizons": WEEKS, "quantiles": LEVELS, "transform": SCALE}
    return make(
        {
            "name": "dengue",
            "seed": SEED,
            "cohort": {"panel": {key: value for key, value in panel.items() if value is not None}},
            "inputs": {
                "past": {"modality": "table", "at": "newest", "encoder": "tabm", "hidden": [32], "exclude": UNSEEN}
            },
            "targets": {"cases": {**target, "season": "last_season_"}},
            "split": {
                "by": "time",
                "test": 0.5,
                "valid": 0,
                "calibrate": 0,
                "folds": 5,
                "final": "none",
                "rehearsals": REHEARSALS,
            },
            "model": {"members": MEMBERS},
            "train": TRAIN,
        }
    )


def judged(asked: Study, table: pl.DataFrame, out: Path) -> Judged:
    """All periods, each judged by a team taught with what came before it."""
    ahead = table.select("city", "week", "season_week").tail(1)
    turn = 2 * np.pi * (ahead["season_week"][0] + np.arange(1, WEEKS + 1)) / SEASON
    future = pl.DataFrame(
        {"city": [ahead["city"][0]] * WEEKS, "week": ahead["week"][0] + np.arange(1, WEEKS + 1), "sine": np.sin(turn), "cosine": np.cos(turn)}
    )  # fmt: skip
    resolved, cohort, marks = read(asked, pl.concat([table, future], how="diagonal_relaxed"))
    folder, sources, parts = RunFolder(out), packed(resolved, cohort), []
    for place, fold in enumerate(folds(resolved, cohort, marks)):
        trained = train_one(
            fitted(resolved, cohort, marks, fold, sources),
            resolved.train,
            folder.training(f"fold-{place:03d}"),
            lambda event: None,
        )
        parts.append(judge_one(trained, out / "masks"))
    return pooled(parts)


def results(city: str, seen: Judged, without: Judged, want: float | None) -> list[Result]:
    """Of both kinds of score at eight weeks: with environment, beside the same without and the simple models.

    Resampled are blocks of 26 weeks in a row, as the errors of neighbouring weeks are alike.
    """
    block = np.argsort(np.argsort(seen.rows["cases"], kind="stable"), kind="stable") // 26
    drawn = np.random.default_rng(0).multinomial(
        block.max() + 1, np.full(block.max() + 1, 1 / (block.max() + 1)), RESAMPLES
    )
    weight = np.concatenate([np.ones((1, block.max() + 1)), drawn])[:, block]
    found = []
    for key, name in (("error", "absolute error of the median"), ("score", "WIS")):
        under = _sum(seen.measured["cases"]["persistence"], key, weight)
        each = {who: _sum(one, key, weight) / under for who, one in seen.measured["cases"].items()}
        each["without environment"] = _sum(without.measured["cases"]["model"], key, weight) / under
        ours = each.pop("model")
        apart = ours - each["without environment"]
        ends = [np.quantile(values[1:], [0.025, 0.975]) for values in (ours, apart)]
        found.append(
            Result(
                id=ID,
                metric=f"{city}: {name} at {WEEKS} weeks, relative to persistence",
                value=float(ours[0]),
                low=float(ends[0][0]),
                high=float(ends[0][1]),
                higher_is_better=False,
                want=want if key == "error" else None,
                split=f"later half of {len(block) * 2:,} weeks in 5 periods, walking forward; intervals resample blocks of 26 weeks",
                seeds=(SEED,),
                baseline=", ".join(f"{who} {values[0]:.3f}" for who, values in each.items() if not who.startswith("without ") or who == "without environment"),
                difference=f"without environment {apart[0]:+.3f} [{ends[1][0]:+.3f}, {ends[1][1]:+.3f}]",
                published=PUBLISHED[city],
            )
        )  # fmt: skip
    return found


def _sum(measured: Mapping[str, np.ndarray], key: str, weight: np.ndarray) -> Float[np.ndarray, " resamples"]:
    return weight @ np.nan_to_num(measured[key][:, -1])
