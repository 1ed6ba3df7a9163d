"""Figures and curves of survival with competing events: of the cumulative incidence of the event asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medloom.statistics import competing
from medloom.task import Curve, Measured, Metric, Plot

GROUPS = 5
THIRDS = ("lowest third", "middle third", "highest third")


def metrics(edges: tuple[float, ...], horizons: Mapping[str, float]) -> Mapping[str, Metric]:
    """All figures; the first is the headline. `horizons` by name, each one of the edges."""
    last = max(horizons.values())
    upto = np.array([edge for edge in edges if edge <= last])
    figures = [
        Metric(
            "cause_concordance",
            lambda m, w: competing.concordance(m["time"], m["event"], m["score"], w),
            True,
            "Concordance for the event",
            "of two rows, the one with the earlier event scores higher; one with a competing event outlives all events",
        ),
        Metric(
            "integrated_brier",
            lambda m, w: competing.integrated_brier(m["time"], m["event"], m["risk"][:, : len(upto)], upto, w),
            False,
            "Integrated Brier score",
            f"of the cumulative incidence, mean over time up to {last:g}, weighted for censoring",
        ),
    ]
    for name, horizon in horizons.items():
        figures += [_brier(name, horizon, edges.index(horizon)), _auroc(name, horizon, edges.index(horizon))]
    return {figure.name: figure for figure in figures}


def _brier(name: str, horizon: float, at: int) -> Metric:
    return Metric(
        f"brier_{name}",
        lambda m, w: competing.brier_at(m["time"], m["event"], m["risk"][:, [at]], np.array([horizon]), w)[:, 0],
        False,
        f"Brier score at {name}",
        "of the cumulative incidence, weighted for censoring",
    )


def _auroc(name: str, horizon: float, at: int) -> Metric:
    return Metric(
        f"auroc_{name}",
        lambda m, w: competing.auroc_at(m["time"], m["event"], m["risk"][:, at], horizon, w),
        True,
        f"AUROC at {name}",
        "those with the event by then against all others, weighted for censoring",
    )


def plots(
    unit: str, edges: tuple[float, ...], horizons: Mapping[str, float], measured: Mapping[str, Measured]
) -> tuple[Plot, ...]:
    """Calibration of the model at each horizon, and what happened in thirds of its score."""
    model = measured.get("model")
    if model is None or len(np.unique(model["score"])) < GROUPS:
        return ()
    drawn, said = [], []
    for name, horizon in horizons.items():
        predicted, observed = _grouped(model, edges.index(horizon), horizon)
        if len(predicted):
            drawn.append(Curve(f"by {name}", predicted.tolist(), observed.tolist()))
            widest = int(np.abs(predicted - observed).argmax())
            said.append(
                f"by {name} furthest off where {predicted[widest]:.2f} was predicted and {observed[widest]:.2f} observed"
            )
    text = (
        "Observed cumulative incidence, as Aalen and Johansen find it, against the mean predicted one, in groups of "
        f"equal size; {'; '.join(said)}."
    )
    calibration = Plot(
        "Calibration", "Predicted risk", "Observed risk", tuple(drawn), text, True, (0.0, 1.0), (0.0, 1.0)
    )
    return (*((calibration,) if drawn else ()), _thirds(unit, model))


def _grouped(model: Measured, at: int, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean predicted and observed risk in groups of equal size; groups not followed so far are left out."""
    rows = ~np.isnan(model["time"])
    time, event, risk = model["time"][rows], model["event"][rows], model["risk"][rows, at]
    place = np.searchsorted(np.unique(np.quantile(risk, np.arange(1, GROUPS) / GROUPS)), risk, side="left")
    pairs = [
        (risk[place == g].mean(), competing.observed_risk(time[place == g], event[place == g], np.array([horizon]))[0])
        for g in np.unique(place)
    ]
    both = np.array([pair for pair in pairs if not np.isnan(pair[1])]).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _thirds(unit: str, model: Measured) -> Plot:
    rows = ~np.isnan(model["time"])
    time, event, score = model["time"][rows], model["event"][rows], model["score"][rows]
    place = np.searchsorted(np.quantile(score, [1 / 3, 2 / 3]), score, side="left")
    curves, said = [], []
    for third, name in enumerate(THIRDS):
        mine = place == third
        if not mine.any():
            continue
        times, share = competing.aalen_johansen(time[mine], event[mine], np.ones((1, int(mine.sum()))))
        # Steps: the share holds until the next time.
        x = np.repeat(np.concatenate([[0.0], times]), 2)[1:]
        y = np.repeat(np.concatenate([[0.0], share[0]]), 2)[:-1]
        curves.append(Curve(name, x.tolist(), y.tolist()))
        said.append(f"{name} {share[0][-1]:.2f} at {times[-1]:g}")
    text = f"Share with the event over time, in thirds of the predicted score: {', '.join(said)}."
    return Plot("Thirds of the score", unit, "Share with the event", tuple(curves), text, y_range=(0.0, 1.0))
