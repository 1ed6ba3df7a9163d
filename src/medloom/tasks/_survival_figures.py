"""Figures and curves of survival."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medloom.statistics import survival, survival_calibration
from medloom.task import Curve, Measured, Metric, Plot

GROUPS = 5
THIRDS = ("lowest third", "middle third", "highest third")


def metrics(edges: tuple[float, ...], horizons: Mapping[str, float]) -> Mapping[str, Metric]:
    """All figures; the first is the headline. `horizons` by name, each one of the edges."""
    last = max(horizons.values())
    upto = np.array([edge for edge in edges if edge <= last])
    figures = [
        Metric(
            "harrell_concordance",
            lambda m, w: survival.harrell(m["time"], m["event"], m["score"], w),
            True,
            "Harrell's concordance",
            "of two rows, the one with the earlier event scores higher",
            "discrimination",
            lambda m, patient, level: survival.harrell_interval(m["time"], m["event"], m["score"], patient, level),
            lambda m, other, patient, level: survival.harrell_difference(
                m["time"], m["event"], m["score"], other["score"], patient, level
            ),
        ),
        Metric(
            "uno_concordance",
            lambda m, w: survival.uno(m["time"], m["event"], m["score"], w, last),
            True,
            "Uno's concordance",
            f"of events before {last:g}; does not depend on the censoring",
            "discrimination",
        ),
        Metric(
            "integrated_brier",
            lambda m, w: survival.integrated_brier(m["time"], m["event"], m["risk"][:, : len(upto)], upto, w),
            False,
            "Integrated Brier score",
            f"mean over time up to {last:g}, weighted for censoring",
        ),
    ]
    for name, horizon in horizons.items():
        at = edges.index(horizon)
        figures += [_brier(name, horizon, at), _auroc(name, horizon, at), *_calibrated(name, horizon, at)]
    return {figure.name: figure for figure in figures}


def _brier(name: str, horizon: float, at: int) -> Metric:
    return Metric(
        f"brier_{name}",
        lambda m, w: survival.brier_at(m["time"], m["event"], m["risk"][:, [at]], np.array([horizon]), w)[:, 0],
        False,
        f"Brier score at {name}",
        "weighted for censoring",
    )


def _auroc(name: str, horizon: float, at: int) -> Metric:
    return Metric(
        f"auroc_{name}",
        lambda m, w: survival.auroc_at(m["time"], m["event"], m["risk"][:, at], horizon, w),
        True,
        f"AUROC at {name}",
        "those with the event by then against those without, weighted for censoring",
        "discrimination",
    )


def _calibrated(name: str, horizon: float, at: int) -> list[Metric]:
    return [
        Metric(
            f"observed_over_expected_{name}",
            lambda m, w: survival_calibration.observed_over_expected(
                m["time"], m["event"], m["risk"][:, at], horizon, w
            ),
            True,
            f"Observed over expected at {name}",
            "risk by Kaplan and Meier over the mean predicted one; 1 is ideal",
            "calibration",
        ),
        Metric(
            f"ici_{name}",
            lambda m, w: survival_calibration.index_at(m["time"], m["event"], m["risk"][:, at], horizon, w),
            False,
            f"ICI at {name}",
            "mean distance of the predicted from the smoothed observed risk; 0 is ideal",
            "calibration",
        ),
    ]


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
        "Observed risk, as Kaplan and Meier find it, against the mean predicted risk, in groups of equal size; "
        f"{'; '.join(said)}."
    )
    calibration = Plot(
        "Calibration", "Predicted risk", "Observed risk", tuple(drawn), text, True, (0.0, 1.0), (0.0, 1.0)
    )
    return (*((calibration,) if drawn else ()), _thirds(unit, model))


def _grouped(model: Measured, at: int, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean predicted and observed risk in groups of equal size; groups not followed so far are left out."""
    rows = ~np.isnan(model["time"])
    time, event, risk = model["time"][rows], model["event"][rows], model["risk"][rows, at]
    edges = np.unique(np.quantile(risk, np.arange(1, GROUPS) / GROUPS))
    place = np.searchsorted(edges, risk, side="left")
    pairs = [
        (risk[place == g].mean(), survival.observed_risk(time[place == g], event[place == g], np.array([horizon]))[0])
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
        times, share = survival.kaplan_meier(time[mine], event[mine], np.ones((1, int(mine.sum()))))
        # Steps: the share holds until the next time.
        x = np.repeat(np.concatenate([[0.0], times]), 2)[1:]
        y = np.repeat(np.concatenate([[1.0], share[0]]), 2)[:-1]
        curves.append(Curve(name, x.tolist(), y.tolist()))
        said.append(f"{name} {share[0][-1]:.2f} at {times[-1]:g}")
    text = f"Share without the event over time, in thirds of the predicted score: {', '.join(said)}."
    return Plot("Thirds of the score", unit, "Share without the event", tuple(curves), text, y_range=(0.0, 1.0))
