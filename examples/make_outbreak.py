"""Writes the made-up outbreaks of the examples: `python examples/make_outbreak.py`.

Influenza of twenty regions, reported late: each week's count is published low and revised upwards over three weeks, and
every version is kept. Dengue of two cities, which follows the rain of six weeks before in the first city and no weather in
the second one. What drives them is written here, so that a forecast can be held against it.
"""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

FIRST = date(2019, 7, 6)
REPORTED = (0.7, 0.9, 0.97)
"""Share of a week's cases that is published at its end, one and two weeks later; then all of it."""
RAIN_LAG_WEEKS = 6
RAIN_EFFECT = {"Port": 0.35, "Inland": 0.0}
"""Change of the logarithm of dengue's growth for each standard deviation of rain, by city."""


def wave(weeks: int, peak: float, height: float, width: float) -> np.ndarray:
    """A season's wave of weekly rates a 100,000, every 52 weeks, none alike."""
    week = np.arange(weeks)[:, None] - np.atleast_1d(peak)
    return (height * np.exp(-0.5 * (week / width) ** 2)).sum(axis=1)


def influenza(weeks: int, regions: int, random: np.random.Generator) -> pl.DataFrame:
    """All versions of all weeks: region, people, week, admissions, published."""
    seasons = np.arange(weeks // 52 + 1)
    parts = []
    shared = 26 + 52 * seasons + random.normal(0, 3, len(seasons))
    for region in range(regions):
        people = int(random.integers(5, 200)) * 100_000
        peak = shared + random.normal(0, 1.5, len(seasons))
        rate = 0.05 + wave(weeks, peak, random.gamma(8, 0.5, len(seasons)), random.uniform(3.5, 5.5, len(seasons)))
        cases = random.poisson(rate * people / 100_000)
        for delay in range(len(REPORTED) + 1):
            seen = cases if delay == len(REPORTED) else random.binomial(cases, REPORTED[delay])
            weekly = [FIRST + timedelta(7 * week) for week in range(weeks)]
            parts.append(
                pl.DataFrame(
                    {
                        "region": [f"region {region + 1}"] * weeks,
                        "people": [people] * weeks,
                        "week": weekly,
                        "admissions": seen,
                        "published": [one + timedelta(4 + 7 * delay) for one in weekly],
                    }
                )
            )
    return (
        pl.concat(parts).filter(pl.col("published") <= FIRST + timedelta(7 * weeks)).sort("published", "region", "week")
    )


def dengue(weeks: int, random: np.random.Generator) -> pl.DataFrame:
    """Weekly cases of two cities with their rain and temperature; the calendar reaches eight weeks further."""
    parts = []
    for city, effect in RAIN_EFFECT.items():
        week = np.arange(weeks)
        rain = np.exp(1.2 + 0.7 * np.sin(2 * np.pi * (week - 20) / 52) + random.normal(0, 0.5, weeks))
        heat = 26 + 3 * np.sin(2 * np.pi * (week - 24) / 52) + random.normal(0, 0.6, weeks)
        drive = np.roll((np.log(rain) - np.log(rain).mean()) / np.log(rain).std(), RAIN_LAG_WEEKS)
        level = np.zeros(weeks)
        for now in range(1, weeks):
            level[now] = 0.93 * level[now - 1] + effect * drive[now] + random.normal(0, 0.22)
        cases = random.poisson(np.exp(np.clip(3.0 + level, 0, 7)))
        later = [None] * 8
        parts.append(
            pl.DataFrame(
                {
                    "city": [city] * (weeks + 8),
                    "week": [FIRST + timedelta(7 * one) for one in range(weeks + 8)],
                    "cases": [*cases.tolist(), *later],
                    "rain": [*rain.round(2).tolist(), *later],
                    "heat": [*heat.round(2).tolist(), *later],
                    "rainy_season": [int(13 < one % 52 < 40) for one in range(weeks + 8)],
                }
            )
        )
    return pl.concat(parts)


def main(folder: Path, scale: float = 1.0) -> None:
    """Writes both tables; `scale` makes them smaller for tests."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(11)
    influenza(150, max(4, round(20 * scale)), random).write_csv(folder / "influenza.csv")
    dengue(round(200 + 100 * scale), random).write_csv(folder / "dengue.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
