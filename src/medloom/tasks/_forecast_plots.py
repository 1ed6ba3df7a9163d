"""Curves of a forecast: scores by horizon and by date, whether quantiles hold, and fans of a few series."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from medloom.errors import counted
from medloom.statistics import forecasts
from medloom.task import Curve, Measured, Plot
from medloom.tasks._forecast_options import ForecastOptions
from medloom.tasks._forecast_reading import series_code

DAY = 86_400.0
FANS = 4
"""Series that are drawn: those with most judged rows, of these the first ones by name."""
MOST_ENTRANTS = 6


def plots(options: ForecastOptions, names: tuple[str, ...], measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
    """Nothing where no row was judged."""
    model = measured.get("model")
    if model is None or not len(model["truth"]):
        return ()
    shown = dict(list(measured.items())[:MOST_ENTRANTS])
    by_horizon = [_by_horizon(options, shown)] if options.horizons > 1 else []
    return (*by_horizon, _reliability(options, shown), *_by_date(options, shown), *_fans(options, names, model))


def _by_horizon(options: ForecastOptions, measured: Mapping[str, Measured]) -> Plot:
    x = list(range(1, options.horizons + 1))
    curves, said = [], []
    for name, one in measured.items():
        each = [_ratio(one, h) for h in range(options.horizons)]
        curves.append(Curve(name, x, each))
        said.append(f"{name} from {each[0]:.2f} to {each[-1]:.2f}")
    text = f"Score relative to the last value with past errors, by horizon: {'; '.join(said)}."
    return Plot("Relative WIS by horizon", "Horizon", "Relative WIS", tuple(curves), text)


def _ratio(measured: Measured, h: int) -> float:
    one = np.ones((1, len(measured["score"])))
    columns = slice(h, h + 1)
    return float(forecasts.ratio_known(measured["score"][:, columns], measured["reference"][:, columns], one)[0])


def _reliability(options: ForecastOptions, measured: Mapping[str, Measured]) -> Plot:
    levels = np.array(options.quantiles)
    curves, furthest = [], ""
    for name, one in measured.items():
        known = ~np.isnan(one["truth"])
        below = (one["truth"][..., None] <= one["quantile"])[known].mean(axis=0)
        curves.append(Curve(name, levels.tolist(), below.tolist()))
        if name == "model":
            i = int(np.abs(below - levels).argmax())
            furthest = (
                f"the model is furthest off at the quantile {levels[i]:g}, below which {below[i]:.0%} of values lie"
            )
    text = f"Share of values at or below each quantile, over all horizons; {furthest}."
    return Plot("Do the quantiles hold?", "Quantile", "Values below", tuple(curves), text, True, (0, 1), (0, 1))


def _by_date(options: ForecastOptions, measured: Mapping[str, Measured]) -> list[Plot]:
    """The mean score of each forecast date, of the model and of the last value with past errors."""
    model = measured["model"]
    date, place = np.unique(model["time"], return_inverse=True)
    if np.isnan(date).any() or len(date) < 2:
        return []
    x = (_days(date) - _days(date)[0]).tolist()
    curves = [Curve("model", x, _means(model["score"], place, len(date)))]
    curves.append(Curve("persistence", x, _means(model["reference"], place, len(date))))
    worst = int(np.nanargmax(np.nan_to_num(curves[0].y)))
    first = _first(options, date)
    when = f"{x[worst]:g} days after the first one" if _dated(date) else f"{x[worst]:g} after the first one"
    if first is not None:
        when = f"on {np.datetime64(first) + round(x[worst])}"
    text = f"Mean score of each forecast date; the model's is greatest {when}."
    return [Plot("Score by forecast date", _along(options, date), "WIS", tuple(curves), text, since=first)]


def _means(score: np.ndarray, place: np.ndarray, dates: int) -> list[float]:
    known = ~np.isnan(score)
    total = np.bincount(place, np.where(known, score, 0).sum(axis=1), dates)
    count = np.bincount(place, known.sum(axis=1), dates)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).tolist()


def _days(date: np.ndarray) -> np.ndarray:
    return date / DAY if _dated(date) else date


def _dated(date: np.ndarray) -> bool:
    # Index times that are numbers stay far below the seconds since 1970 of any date of this century.
    return bool(np.abs(date).max() > 1e7)


def _first(options: ForecastOptions, date: np.ndarray) -> str | None:
    """The first of these dates. It is told where series may be named: else it may be a patient's."""
    if not _dated(date) or not options.name_series:
        return None
    return str(np.datetime64(round(date.min()), "s").astype("datetime64[D]"))


def _along(options: ForecastOptions, date: np.ndarray) -> str:
    """What is counted along the axis."""
    if _first(options, date) is not None:
        return "Date of the forecast"
    return f"{'Days' if _dated(date) else 'Time'} since the first forecast date"


def _natural(name: str) -> list[tuple[int, str]]:
    """For order: region 2 comes before region 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _later(steps: int) -> str:
    """When the value of a forecast is, that stands over the date on which it was made."""
    return f" ({counted(steps, 'step')} before the value)" if steps else ""


def _fans(options: ForecastOptions, names: tuple[str, ...], model: Measured) -> list[Plot]:
    """Of a few series, the forecast for the last horizon over the dates it was made on, and what came."""
    if np.isnan(model["time"]).any() or options.series is None:
        return []
    codes, counts = np.unique(model["series"], return_counts=True)
    levels, last = options.quantiles, options.horizons - 1
    named = {series_code(name): name for name in names}
    order = sorted(zip(-counts, [_natural(named.get(float(code), "")) for code in codes], codes, strict=True))
    chosen = [code for _, _, code in order[:FANS]]
    found = []
    for number, code in enumerate(chosen, 1):
        rows = np.flatnonzero(model["series"] == code)
        rows = rows[np.argsort(model["time"][rows], kind="stable")]
        if len(rows) < 2:
            continue
        x = (_days(model["time"][rows]) - _days(model["time"])[rows[0]]).tolist()
        quantile, truth = model["quantile"][rows, last], model["truth"][rows, last]
        bands = forecasts.shown(levels)
        median = quantile[:, len(levels) // 2].tolist()
        curves = [
            Curve(f"{said}{100 * c:g} % interval", x, median, quantile[:, a].tolist(), quantile[:, b].tolist())
            for said, (a, b, c) in zip(("median and ", *[""] * len(bands)), bands, strict=False)
        ]
        low, high, meant = bands[0]
        known = ~np.isnan(truth)
        held = ((quantile[:, low] <= truth) & (truth <= quantile[:, high]))[known].mean() if known.any() else np.nan
        name = named.get(float(code), f"Series {number}")
        text = (
            f"{name}: forecasts for horizon {options.horizons}, over the dates on which they were made, and what came; "
            f"{held:.0%} of the values lie in the {100 * meant:g} % interval."
        )
        observed = Curve("observed", x, truth.tolist())
        title = f"Forecasts for horizon {options.horizons}: {name}"
        found.append(
            Plot(
                title,
                _along(options, model["time"][rows]) + _later(last),
                options.unit or ("value" if options.last == "last" else options.last),
                (*curves, observed),
                text,
                since=_first(options, model["time"][rows]),
            )
        )
    return found
