"""Figures and curves of survival with competing events: of the cumulative incidence of the event asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medloom.statistics import competing
from medloom.task import Measured, Metric, Plot
from medloom.tasks import _risk_plots


def metrics(edges: tuple[float, ...], horizons: Mapping[str, float], unit: str = "") -> Mapping[str, Metric]:
    """All figures; the first is the headline. `horizons` by name, each one of the edges; `unit` stands after them in labels."""
    last = max(horizons.values())
    upto = np.array([edge for edge in edges if edge <= last])
    figures = [
        Metric(
            "cause_concordance",
            lambda m, w: competing.concordance(m["time"], m["event"], m["score"], w),
            True,
            "Concordance for the event",
            "of two rows, the one with the earlier event scores higher; one with a competing event outlives all events",
            "discrimination",
        ),
        Metric(
            "integrated_brier",
            lambda m, w: competing.integrated_brier(m["time"], m["event"], m["risk"][:, : len(upto)], upto, w),
            False,
            "Integrated Brier score",
            f"of the cumulative incidence, mean over time up to {last:g}{unit}, weighted for censoring",
        ),
    ]
    for name, horizon in horizons.items():
        figures += [
            _brier(name, horizon, edges.index(horizon), unit),
            _auroc(name, horizon, edges.index(horizon), unit),
        ]
    return {figure.name: figure for figure in figures}


def _brier(name: str, horizon: float, at: int, unit: str) -> Metric:
    return Metric(
        f"brier_{name}",
        lambda m, w: competing.brier_at(m["time"], m["event"], m["risk"][:, [at]], np.array([horizon]), w)[:, 0],
        False,
        f"Brier score at {name}{unit}",
        "of the cumulative incidence, weighted for censoring",
    )


def _auroc(name: str, horizon: float, at: int, unit: str) -> Metric:
    return Metric(
        f"auroc_{name}",
        lambda m, w: competing.auroc_at(m["time"], m["event"], m["risk"][:, at], horizon, w),
        True,
        f"AUROC at {name}{unit}",
        "those with the event by then against all others, weighted for censoring",
        "discrimination",
    )


def plots(
    unit: str, edges: tuple[float, ...], horizons: Mapping[str, float], measured: Mapping[str, Measured]
) -> tuple[Plot, ...]:
    """Calibration of the model at each horizon, and what happened in thirds of its score."""
    happening = _risk_plots.Happening(
        competing.observed_risk,
        competing.aalen_johansen,
        0.0,
        "Observed cumulative incidence, as Aalen and Johansen find it, against the mean predicted one",
        "Share with the event",
    )
    return _risk_plots.plots(happening, unit, edges, horizons, measured)
