"""Curves of a classification."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from medloom.statistics import curves, ranking, smooth, usefulness
from medloom.task import Curve, Measured, Plot


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
    if kind != "binary":
        return (_roc(lines), _calibration(lines, {}))
    own = {name: line for name, line in lines.items() if name == "model"} or dict(list(lines.items())[:1])
    patient = {name: of_patients(measured[name]) for name in lines}
    return (_roc(lines), _precision_recall(lines), _calibration(own, patient), *_decisions(lines, patient))


def of_patients(measured: Measured) -> np.ndarray:
    """The patient of each row, where what was measured says so; otherwise each row is taken for another patient."""
    given = measured.get("patient")
    return np.arange(len(measured["truth"])) if given is None else np.asarray(given, np.int64)


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


def _precision_recall(lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Plot:
    drawn, said = [], []
    for name, (truth, score) in lines.items():
        curve = curves.precision_recall_curve(truth, score)
        if len(curve.recall):
            recall = np.concatenate([[0.0], curve.recall])
            precision = np.concatenate([curve.precision[:1], curve.precision])
            kept = _corners(recall)
            drawn.append(Curve(name, recall[kept].tolist(), precision[kept].tolist()))
            said.append(f"{name} {ranking.average_precision(truth, score, np.ones((1, len(truth))))[0]:.3f}")
    truth = next(iter(lines.values()))[0]
    share = float(np.nanmean(truth == 1)) if len(truth) else 0.0
    drawn.append(Curve("chance", [0.0, 1.0], [share, share]))
    text = f"Precision over recall; chance reaches {share:.3f}. Average precision: {', '.join(said)}."
    return Plot(
        "Precision and recall",
        "Sensitivity (recall)",
        "PPV (precision)",
        tuple(drawn),
        text,
        False,
        (0.0, 1.0),
        (0.0, 1.0),
    )


def _corners(recall: np.ndarray) -> np.ndarray:
    """The first and the last point of every recall: what lies between is on the same vertical line."""
    new = np.diff(recall) > 0
    return np.flatnonzero(np.concatenate([[True], new]) | np.concatenate([new, [True]]))


def _calibration(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], patient: Mapping[str, np.ndarray]) -> Plot:
    """Smoothed, with a band where there is one line."""
    drawn, said = [], []
    for name, (truth, score) in lines.items():
        curve = smooth.smooth_curve(truth, score, patient.get(name, np.arange(len(truth))))
        band = len(lines) == 1
        low, high = (curve.low.tolist(), curve.high.tolist()) if band else (None, None)
        drawn.append(Curve(name, curve.predicted.tolist(), curve.observed.tolist(), low, high))
        if len(curve.predicted):
            widest = int(np.abs(curve.predicted - curve.observed).argmax())
            said.append(
                f"{name} furthest off where {curve.predicted[widest]:.2f} was predicted and {curve.observed[widest]:.2f} observed"
            )
    text = (
        f"Share of positive rows, smoothed by local regression, against the predicted probability; {'; '.join(said)}."
    )
    return Plot(
        "Calibration", "Predicted probability", "Observed share", tuple(drawn), text, True, (0.0, 1.0), (0.0, 1.0)
    )


def _decisions(
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]], patient: Mapping[str, np.ndarray]
) -> tuple[Plot, ...]:
    """Net benefit over thresholds up to where treating all is worth as little as treating none, and some way beyond."""
    truth = next(iter(lines.values()))[0]
    share = float(np.nanmean(truth == 1)) if len(truth) else 0.0
    if not 0 < share < 1:
        return ()
    threshold = np.linspace(0.01, min(0.99, max(0.1, 3 * share)), 40)
    drawn, said = [], []
    for name, (answer, score) in lines.items():
        curve = usefulness.decision_curve(answer, score, patient[name], threshold)
        if not len(curve.model):
            continue
        band = name == "model"
        low, high = (curve.low.tolist(), curve.high.tolist()) if band else (None, None)
        drawn.append(Curve(name, threshold.tolist(), curve.model.tolist(), low, high))
        better = curve.model > np.maximum(curve.treat_all, 0.0)
        said.append(f"{name} above both at {better.sum()} of {len(better)} thresholds")
    if not drawn:
        return ()
    drawn.append(Curve("treat all", threshold.tolist(), (share - threshold / (1 - threshold) * (1 - share)).tolist()))
    drawn.append(Curve("treat none", threshold.tolist(), [0.0] * len(threshold)))
    floor = -0.5 * share
    text = (
        f"Net benefit of acting above a threshold, beside acting on all rows and on none: {'; '.join(said)}. The band "
        "holds at each threshold by itself."
    )
    return (Plot("Decision curve", "Threshold", "Net benefit", tuple(drawn), text, False, None, (floor, 1.1 * share)),)
