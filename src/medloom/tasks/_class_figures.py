"""Figures and curves of a classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from medloom.statistics import calibration, curves, decisions, labels, probability, ranking
from medloom.task import Curve, Measured, Metric, Plot

Named = tuple[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], bool, str]

_RANKED: tuple[Named, ...] = (
    ("auroc", ranking.auroc, True, "AUROC"),
    ("average_precision", ranking.average_precision, True, "Average precision"),
)
_DECIDED: tuple[Named, ...] = (
    ("accuracy", decisions.accuracy, True, "Accuracy"),
    ("balanced_accuracy", decisions.balanced_accuracy, True, "Balanced accuracy"),
    ("sensitivity", decisions.sensitivity, True, "Sensitivity"),
    ("specificity", decisions.specificity, True, "Specificity"),
    ("ppv", decisions.ppv, True, "Positive predictive value"),
    ("npv", decisions.npv, True, "Negative predictive value"),
    ("f1", decisions.f1, True, "F1"),
)
_PROBABLE: tuple[Named, ...] = (
    ("brier", probability.brier, False, "Brier score"),
    ("log_loss", probability.log_loss, False, "Log-loss"),
)
_CALIBRATED: tuple[Named, ...] = (
    ("calibration_slope", calibration.slope, True, "Calibration slope"),
    ("calibration_intercept", calibration.intercept, True, "Calibration intercept"),
)
_NOTES = {"calibration_slope": "1 is ideal", "calibration_intercept": "0 is ideal"}


def metrics(kind: str) -> Mapping[str, Metric]:
    """All figures of a kind of classification; the first is the headline."""
    if kind == "binary":
        groups: tuple[tuple[tuple[Named, ...], str], ...] = (
            (_RANKED, "probability"),
            (_DECIDED, "decision"),
            (_PROBABLE, "probability"),
            (_CALIBRATED, "probability"),
        )
        return {s[0]: _metric(s, column) for group, column in groups for s in group}
    if kind == "multilabel":
        groups = ((_RANKED, "probability"), (_DECIDED[2:4], "decision"), (_PROBABLE, "probability"))
        return {s[0]: _macro(s, column) for group, column in groups for s in group}
    several: tuple[tuple[Named, str], ...] = (
        (_DECIDED[0], "decision"),
        (_DECIDED[1], "decision"),
        (("macro_auroc", ranking.macro_auroc, True, "Macro AUROC"), "probability"),
        (("brier", probability.multiclass_brier, False, "Brier score"), "probability"),
        (("log_loss", probability.multiclass_log_loss, False, "Log-loss"), "probability"),
    )
    return {s[0]: _metric(s, column) for s, column in several}


def _metric(statistic: Named, column: str) -> Metric:
    name, of, higher, label = statistic
    return Metric(name, lambda m, w: of(m["truth"], m[column], w), higher, label, _NOTES.get(name, ""))


def _macro(statistic: Named, column: str) -> Metric:
    name, of, higher, label = statistic
    return Metric(
        name, lambda m, w: labels.macro(of, m["truth"], m[column], w), higher, f"Mean {label}", "mean over labels"
    )


def plots(kind: str, classes: tuple[str, ...], measured: Mapping[str, Measured]) -> tuple[Plot, ...]:
    """ROC and calibration of model and baselines for two classes; of the model's classes or labels otherwise."""
    if kind == "binary":
        lines = {
            name: (m["truth"], m["probability"]) for name, m in measured.items() if len(np.unique(m["probability"])) > 1
        }
    else:
        m = measured["model"]
        truth = m["truth"] if kind == "multilabel" else _one_against_rest(m["truth"], len(classes))
        lines = {name: (truth[:, i], m["probability"][:, i]) for i, name in enumerate(classes[:8])}
    if not lines:
        return ()
    return (_roc(lines), _calibration(dict(list(lines.items())[:1]) if kind == "binary" else lines))


def _one_against_rest(truth: np.ndarray, classes: int) -> np.ndarray:
    hot = (truth[:, None] == np.arange(classes)).astype(np.float64)
    hot[np.isnan(truth)] = np.nan
    return hot


def _roc(lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Plot:
    drawn, said = [], []
    for name, (truth, score) in lines.items():
        curve = curves.roc_curve(truth, score)
        if len(curve.true_positive_rate):
            drawn.append(Curve(name, curve.false_positive_rate.tolist(), curve.true_positive_rate.tolist()))
            said.append(f"{name} {ranking.auroc(truth, score, np.ones((1, len(truth))))[0]:.3f}")
    text = f"Receiver operating characteristic. Area under the curve: {', '.join(said)}."
    return Plot("ROC curve", "1 − specificity", "Sensitivity", tuple(drawn), text, True, (0.0, 1.0), (0.0, 1.0))


def _calibration(lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Plot:
    drawn, said = [], []
    for name, (truth, score) in lines.items():
        curve = curves.calibration_curve(truth, score)
        band = len(lines) == 1
        low, high = (curve.low.tolist(), curve.high.tolist()) if band else (None, None)
        drawn.append(Curve(name, curve.predicted.tolist(), curve.observed.tolist(), low, high))
        if len(curve.predicted):
            widest = int(np.abs(curve.predicted - curve.observed).argmax())
            said.append(
                f"{name} furthest off where {curve.predicted[widest]:.2f} was predicted and {curve.observed[widest]:.2f} observed"
            )
    text = f"Observed share against predicted probability in bins of equal size; {'; '.join(said)}."
    return Plot(
        "Calibration", "Predicted probability", "Observed share", tuple(drawn), text, True, (0.0, 1.0), (0.0, 1.0)
    )
