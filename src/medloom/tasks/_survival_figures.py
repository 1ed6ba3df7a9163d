"""Figures and curves of survival."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medloom.statistics import survival, survival_calibration
from medloom.task import Measured, Metric, Plot
from medloom.tasks import _risk_plots


def metrics(edges: tuple[float, ...], horizons: Mapping[str, float], unit: str = "") -> Mapping[str, Metric]:
    """All figures; the first is the headline. `horizons` by name, each one of the edges; `unit` stands after them in labels."""
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
            f"of events before {last:g}{unit}; does not depend on the censoring",
            "discrimination",
        ),
        Metric(
            "integrated_brier",
            lambda m, w: survival.integrated_brier(m["time"], m["event"], m["risk"][:, : len(upto)], upto, w),
            False,
            "Integrated Brier score",
            f"mean over time up to {last:g}{unit}, weighted for censoring",
        ),
    ]
    for name, horizon in horizons.items():
        at = edges.index(horizon)
        figures += [
            _brier(name, horizon, at, unit),
            _auroc(name, horizon, at, unit),
            *_calibrated(name, horizon, at, unit),
        ]
    return {figure.name: figure for figure in figures}


def _brier(name: str, horizon: float, at: int, unit: str) -> Metric:
    return Metric(
        f"brier_{name}",
        lambda m, w: survival.brier_at(m["time"], m["event"], m["risk"][:, [at]], np.array([horizon]), w)[:, 0],
        False,
        f"Brier score at {name}{unit}",
        "weighted for censoring",
    )


def _auroc(name: str, horizon: float, at: int, unit: str) -> Metric:
    return Metric(
        f"auroc_{name}",
        lambda m, w: survival.auroc_at(m["time"], m["event"], m["risk"][:, at], horizon, w),
        True,
        f"AUROC at {name}{unit}",
        "those with the event by then against those without, weighted for censoring",
        "discrimination",
    )


def _calibrated(name: str, horizon: float, at: int, unit: str) -> list[Metric]:
    return [
        Metric(
            f"observed_over_expected_{name}",
            lambda m, w: survival_calibration.observed_over_expected(
                m["time"], m["event"], m["risk"][:, at], horizon, w
            ),
            True,
            f"Observed over expected at {name}{unit}",
            "risk by Kaplan and Meier over the mean predicted one; 1 is ideal",
            "calibration",
        ),
        Metric(
            f"ici_{name}",
            lambda m, w: survival_calibration.index_at(m["time"], m["event"], m["risk"][:, at], horizon, w),
            False,
            f"ICI at {name}{unit}",
            "mean distance of the predicted from the smoothed observed risk; 0 is ideal",
            "calibration",
        ),
    ]


def plots(
    unit: str, edges: tuple[float, ...], horizons: Mapping[str, float], measured: Mapping[str, Measured]
) -> tuple[Plot, ...]:
    """Calibration of the model at each horizon, and what happened in thirds of its score."""
    happening = _risk_plots.Happening(
        survival.observed_risk,
        survival.kaplan_meier,
        1.0,
        "Observed risk, as Kaplan and Meier find it, against the mean predicted risk",
        "Share without the event",
    )
    return _risk_plots.plots(happening, unit, edges, horizons, measured)
