"""Figures and curves of a regression."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from medloom.statistics import regression
from medloom.task import Curve, Measured, Metric, MetricGroup, Plot

Named = tuple[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], bool, str, str]

_FIGURES: tuple[Named, ...] = (
    ("rmse", regression.rmse, False, "RMSE", "root of the mean squared error, in the unit of the column"),
    ("mae", regression.mae, False, "MAE", "mean absolute error, in the unit of the column"),
    ("r2", regression.r2, True, "R²", "share of the variance that is explained"),
    ("bias", regression.bias, False, "Mean error", "predicted minus observed; 0 is ideal"),
    ("calibration_slope", regression.slope, True, "Calibration slope", "of observed on predicted; 1 is ideal"),
    (
        "lower_limit",
        lambda t, v, w: regression.limit_of_agreement(t, v, w, -1.0),
        True,
        "Lower limit of agreement",
        "mean error less 1.96 standard deviations (Bland and Altman)",
    ),
    (
        "upper_limit",
        lambda t, v, w: regression.limit_of_agreement(t, v, w, 1.0),
        False,
        "Upper limit of agreement",
        "mean error and 1.96 standard deviations (Bland and Altman)",
    ),
)
_GROUPS: dict[str, MetricGroup] = {
    "bias": "calibration",
    "calibration_slope": "calibration",
    "lower_limit": "calibration",
    "upper_limit": "calibration",
}
_DEVIANCE: Named = ("deviance", regression.poisson_deviance, False, "Poisson deviance", "")
_HEADLINE = {"squared": "rmse", "absolute": "mae", "huber": "mae", "poisson": "deviance"}


def metrics(loss: str, levels: tuple[float, ...], coverage: float) -> Mapping[str, Metric]:
    """All figures; the headline is the one that the loss aims at."""
    named = (*_FIGURES, _DEVIANCE) if loss == "poisson" else _FIGURES
    figures = {of[0]: _metric(of) for of in sorted(named, key=lambda of: of[0] != _HEADLINE[loss])}
    if levels:
        level = np.array(levels)
        figures["pinball"] = Metric(
            "pinball",
            lambda m, w: regression.pinball(m["truth"], m["quantile"], level, w),
            False,
            "Pinball loss",
            "mean over the quantiles",
            "intervals",
        )
    figures["coverage"] = Metric(
        "coverage",
        lambda m, w: regression.coverage(m["truth"], m["low"], m["high"], w),
        True,
        "Coverage",
        f"share of rows inside their interval; {coverage:g} was asked for",
        "intervals",
        lambda m, patient, level: regression.coverage_interval(m["truth"], m["low"], m["high"], patient, level),
    )
    figures["interval_width"] = Metric(
        "interval_width",
        lambda m, w: regression.interval_width(m["truth"], m["low"], m["high"], w),
        False,
        "Interval width",
        "mean, in the unit of the column; smaller is better only where the coverage is right",
        "intervals",
    )
    return figures


def _metric(of: Named) -> Metric:
    name, statistic, higher, label, note = of
    return Metric(
        name, lambda m, w: statistic(m["truth"], m["value"], w), higher, label, note, _GROUPS.get(name, "error")
    )


def plots(column: str, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
    """Observed against predicted in bins, of all that vary; and the errors of the model over the size of its answers."""
    lines = {}
    for name, m in measured.items():
        if len(np.unique(m["value"])) > 1:
            lines[name] = regression.binned(m["value"], m["truth"], _of_patients(m))
    if not lines:
        return ()
    drawn = tuple(
        Curve(name, curve.x.tolist(), curve.y.tolist(), *(_band(curve) if name == "model" else ()))
        for name, curve in lines.items()
    )
    said = [
        f"{name} furthest off where {c.x[i]:.3g} was predicted and {c.y[i]:.3g} observed"
        for name, c in lines.items()
        if len(c.x)
        for i in [int(np.abs(c.x - c.y).argmax())]
    ]
    text = f"Mean observed value against mean prediction, in bins of equal size; {'; '.join(said)}."
    if "model" in lines and _band(lines["model"]):
        text += " The band is the 95 % interval of each mean over patients."
    observed = Plot(
        "Observed against predicted", f"Predicted {column}", f"Observed {column}", drawn, text, diagonal=True
    )
    return (observed, *_errors(column, measured))


def _of_patients(measured: Measured) -> np.ndarray:
    """The patient of each row, where what was measured says so; otherwise each row is taken for another patient."""
    given = measured.get("patient")
    return np.arange(len(measured["truth"])) if given is None else np.asarray(given, np.int64)


def _band(curve: regression.BinnedCurve) -> tuple[list[float], ...]:
    """Both ends of the interval of each mean; none where a bin holds a single patient."""
    return () if np.isnan(curve.low).any() else (curve.low.tolist(), curve.high.tolist())


def _errors(column: str, measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
    """Source: Bland & Altman, "Statistical methods for assessing agreement", Lancet 327, 1986: mean ± 1.96 deviations."""
    model = measured.get("model")
    if model is None:
        return ()
    middle, error = (model["value"] + model["truth"]) / 2, model["value"] - model["truth"]
    curve = regression.binned(middle, error)
    if len(curve.x) < 2:
        return ()
    low, high = curve.y - 1.96 * curve.spread, curve.y + 1.96 * curve.spread
    known = error[~np.isnan(error)]
    band = Curve("model", curve.x.tolist(), curve.y.tolist(), low.tolist(), high.tolist())
    text = (
        f"Predicted minus observed over the mean of the two, in bins, with 1.96 standard deviations to each side. Over "
        f"all rows the mean error is {known.mean():.3g} and its standard deviation {known.std():.3g}."
    )
    return (Plot("Errors", f"Mean of predicted and observed {column}", "Predicted minus observed", (band,), text),)
