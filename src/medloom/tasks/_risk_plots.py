"""Curves of risks over time: their calibration, and what happened in thirds of the score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from medloom.task import Curve, Measured, Plot

GROUPS = 5
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
        predicted, observed = _grouped(happening, model, edges.index(horizon), horizon)
        if len(predicted):
            drawn.append(Curve(f"by {name}", predicted.tolist(), observed.tolist()))
            widest = int(np.abs(predicted - observed).argmax())
            said.append(
                f"by {name} furthest off where {predicted[widest]:.2f} was predicted and {observed[widest]:.2f} observed"
            )
    text = f"{happening.compared}, in groups of equal size; {'; '.join(said)}."
    calibration = Plot(
        "Calibration", "Predicted risk", "Observed risk", tuple(drawn), text, True, (0.0, 1.0), (0.0, 1.0)
    )
    return (*((calibration,) if drawn else ()), _thirds(happening, unit, model))


def _grouped(happening: Happening, model: Measured, at: int, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean predicted and observed risk in groups of equal size; groups not followed so far are left out."""
    rows = ~np.isnan(model["time"])
    time, event, risk = model["time"][rows], model["event"][rows], model["risk"][rows, at]
    edges = np.unique(np.quantile(risk, np.arange(1, GROUPS) / GROUPS))
    place = np.searchsorted(edges, risk, side="left")
    pairs = [
        (risk[place == g].mean(), happening.observed(time[place == g], event[place == g], np.array([horizon]))[0])
        for g in np.unique(place)
    ]
    both = np.array([pair for pair in pairs if not np.isnan(pair[1])]).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _thirds(happening: Happening, unit: str, model: Measured) -> Plot:
    rows = ~np.isnan(model["time"])
    time, event, score = model["time"][rows], model["event"][rows], model["score"][rows]
    place = np.searchsorted(np.quantile(score, [1 / 3, 2 / 3]), score, side="left")
    curves, said = [], []
    for third, name in enumerate(THIRDS):
        mine = place == third
        if not mine.any():
            continue
        times, share = happening.curve(time[mine], event[mine], np.ones((1, int(mine.sum()))))
        # Steps: the share holds until the next time.
        x = np.repeat(np.concatenate([[0.0], times]), 2)[1:]
        y = np.repeat(np.concatenate([[happening.start], share[0]]), 2)[:-1]
        curves.append(Curve(name, x.tolist(), y.tolist()))
        said.append(f"{name} {share[0][-1]:.2f} at {times[-1]:g}")
    text = f"{happening.share} over time, in thirds of the predicted score: {', '.join(said)}."
    return Plot("Thirds of the score", unit, happening.share, tuple(curves), text, y_range=(0.0, 1.0))
