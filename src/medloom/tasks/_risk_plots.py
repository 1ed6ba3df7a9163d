"""Curves of risks over time: their calibration, and what happened in thirds of the score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from medloom.statistics.step_bands import step_band
from medloom.task import Curve, Measured, Plot

GROUPS = 5
MOST_BANDS = 3
"""More curves with a band each would hide one another."""
MOST_STEPS = 300
"""Times at which a curve is drawn, at most."""
THIRDS = ("lowest third", "middle third", "highest third")


@dataclass(frozen=True, slots=True)
class Happening:
    """How what happened is estimated under censoring, and what it is called.

    `observed(time, event, horizons)` is the risk by each horizon; `curve(time, event, weight)` the times and the share
    that the plot shows, which starts at `start`.
    """

    observed: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    curve: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    start: float
    compared: str
    share: str


def plots(
    happening: Happening,
    unit: str,
    edges: tuple[float, ...],
    horizons: Mapping[str, float],
    measured: Mapping[str, Measured],
) -> tuple[Plot, ...]:
    """Calibration of the model at each horizon, and what happened in thirds of its score."""
    model = measured.get("model")
    if model is None or len(np.unique(model["score"])) < GROUPS:
        return ()
    drawn, said = [], []
    for name, horizon in horizons.items():
        predicted, *found = _grouped(happening, model, edges.index(horizon), horizon)
        if len(predicted):
            observed, low, high = (each.tolist() for each in found)
            banded = (low, high) if len(horizons) <= MOST_BANDS else (None, None)
            drawn.append(Curve(f"by {name}", predicted.tolist(), observed, *banded))
            widest = int(np.abs(predicted - found[0]).argmax())
            said.append(
                f"by {name} furthest off where {predicted[widest]:.2f} was predicted and {observed[widest]:.2f} observed"
            )
    text = f"{happening.compared}, in groups of equal size; {'; '.join(said)}."
    if len(horizons) <= MOST_BANDS:
        text += " The bands are 95 % intervals over patients, each group for itself."
    calibration = Plot(
        "Calibration", "Predicted risk", "Observed risk", tuple(drawn), text, True, (0.0, 1.0), (0.0, 1.0)
    )
    return (*((calibration,) if drawn else ()), _thirds(happening, unit, model))


def _of_patients(model: Measured) -> np.ndarray:
    """The patient of each row, where what was measured says so; otherwise each row is taken for another patient."""
    given = model.get("patient")
    return np.arange(len(model["time"])) if given is None else np.asarray(given, np.int64)


def _grouped(happening: Happening, model: Measured, at: int, horizon: float) -> np.ndarray:
    """Mean predicted and observed risk, and its interval, in groups of equal size; those not followed so far are left out."""
    rows = ~np.isnan(model["time"])
    time, event, risk = model["time"][rows], model["event"][rows], model["risk"][rows, at]
    patient, by = _of_patients(model)[rows], np.array([horizon])
    edges = np.unique(np.quantile(risk, np.arange(1, GROUPS) / GROUPS))
    place = np.searchsorted(edges, risk, side="left")
    points = []
    for group in np.unique(place):
        mine = place == group
        observed = float(happening.observed(time[mine], event[mine], by)[0])
        if not np.isnan(observed):
            band = step_band(happening.curve, happening.start, time[mine], event[mine], patient[mine], by)
            low, high = sorted(abs(happening.start - end[0]) for end in (band.low, band.high))
            points.append((float(risk[mine].mean()), observed, low, high))
    return np.array(points).reshape(-1, 4).T


def _thirds(happening: Happening, unit: str, model: Measured) -> Plot:
    rows = ~np.isnan(model["time"])
    time, event, score = model["time"][rows], model["event"][rows], model["score"][rows]
    patient = _of_patients(model)[rows]
    place = np.searchsorted(np.quantile(score, [1 / 3, 2 / 3]), score, side="left")
    curves, said = [], []
    for third, name in enumerate(THIRDS):
        mine = place == third
        if not mine.any():
            continue
        times = np.unique(time[mine]).astype(np.float64)
        kept = np.unique(np.linspace(0, len(times) - 1, min(len(times), MOST_STEPS)).astype(np.int64))
        at = np.concatenate([[0.0], times[kept]])
        band = step_band(happening.curve, happening.start, time[mine], event[mine], patient[mine], at)
        # Steps: the share holds until the next time.
        x, steps = np.repeat(at, 2)[1:], [np.repeat(line, 2)[:-1].tolist() for line in band]
        curves.append(Curve(name, x.tolist(), *steps))
        said.append(f"{name} {band.share[-1]:.2f} at {times[-1]:g}")
    text = (
        f"{happening.share} over time, in thirds of the predicted score: {', '.join(said)}. The bands are 95 % intervals "
        "over patients, each time for itself."
    )
    return Plot("Thirds of the score", unit, happening.share, tuple(curves), text, y_range=(0.0, 1.0))
