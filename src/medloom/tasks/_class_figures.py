"""Figures of a classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from medloom.statistics import calibration, decisions, labels, operating, probability, ranking, smooth, usefulness
from medloom.task import Measured, Metric, MetricGroup
from medloom.tasks import _class_intervals as intervals
from medloom.tasks._class_plots import plots as plots

Of = Callable[[Measured, np.ndarray], np.ndarray]
MOST_CLASSES = 12
"""Classes or labels with a figure of their own, at most; a table of more is not read."""
FIXED = (0.9, 0.95)
"""Specificities, and sensitivities, at which the other one is given."""


def metrics(kind: str, threshold: tuple[float, ...] = (), classes: tuple[str, ...] = ()) -> Mapping[str, Metric]:
    """All figures of a kind of classification; the first is the headline.

    With the `threshold` of a decision of two classes its net benefit is one of them; with the names of the `classes`
    (or labels), so is each one's AUROC.
    """
    if kind == "binary":
        found = [*_ranked(), *_calibrated(), *_proper(), *_decided(), *_useful(threshold)]
    elif kind == "multilabel":
        found = [*_of_labels(), *_each(classes, intervals.of_label, _of_label)]
    else:
        found = [*_of_classes(), *_each(classes, intervals.of_class, _of_class)]
    return {metric.name: metric for metric in found}


def _scored(of: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], column: str = "probability") -> Of:
    return lambda m, w: of(m["truth"], m[column], w)


def _at(of: Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray], at: float) -> Of:
    return lambda m, w: of(m["truth"], m["probability"], w, at)


def _mean(of: labels.Statistic, column: str) -> Of:
    return lambda m, w: labels.macro(of, m["truth"], m[column], w)


def _ranked() -> list[Metric]:
    found = [
        Metric(
            "auroc",
            _scored(ranking.auroc),
            True,
            "AUROC",
            "chance that a positive row scores above a negative one",
            "discrimination",
            intervals.auroc,
            intervals.auroc_paired,
        ),
        Metric(
            "average_precision",
            _scored(ranking.average_precision),
            True,
            "Average precision",
            "area under precision and recall; the prevalence is what chance reaches",
            "discrimination",
        ),
        Metric(
            "prevalence",
            lambda m, w: decisions.prevalence(m["truth"], w),
            True,
            "Prevalence",
            "share of positive rows",
            "discrimination",
            intervals.prevalence,
            intervals.unchanged,
        ),
    ]
    for at in FIXED:
        found.append(
            Metric(
                f"sensitivity_at_specificity_{100 * at:.0f}",
                _at(operating.sensitivity_at, at),
                True,
                f"Sensitivity at specificity {at:.2f}",
                "at a threshold that the judged rows give",
                "discrimination",
                *intervals.sensitivity_at(at),
            )
        )
    for at in FIXED:
        found.append(
            Metric(
                f"specificity_at_sensitivity_{100 * at:.0f}",
                _at(operating.specificity_at, at),
                True,
                f"Specificity at sensitivity {at:.2f}",
                "at a threshold that the judged rows give",
                "discrimination",
                *intervals.specificity_at(at),
            )
        )
    return found


def _calibrated() -> list[Metric]:
    one, zero = "1 is ideal; below 1 the probabilities are too extreme", "0 is ideal; above 0 they are too low"
    smooth_note = "distance from the smoothed share; 0 is ideal, and with few rows chance alone keeps it above"
    return [
        Metric(
            "calibration_slope",
            _scored(calibration.slope),
            True,
            "Calibration slope",
            one,
            "calibration",
            intervals.slope,
            intervals.slope_paired,
        ),
        Metric(
            "calibration_intercept",
            _scored(calibration.intercept),
            True,
            "Calibration intercept",
            zero,
            "calibration",
            intervals.intercept,
            intervals.intercept_paired,
        ),
        Metric("ici", _scored(smooth.integrated_calibration_index), False, "ICI", f"mean {smooth_note}", "calibration"),
        Metric(
            "e90",
            _scored(smooth.e90),
            False,
            "E90",
            f"nine tenths of the rows within this {smooth_note}",
            "calibration",
        ),
    ]


def _proper() -> list[Metric]:
    return [
        Metric("brier", _scored(probability.brier), False, "Brier score", "mean squared error", "overall"),
        Metric(
            "scaled_brier",
            _scored(probability.scaled_brier),
            True,
            "Scaled Brier score",
            "1 is perfect; 0 is no better than always giving the prevalence",
            "overall",
        ),
        Metric("log_loss", _scored(probability.log_loss), False, "Log-loss", "in nats", "overall"),
    ]


_DECIDED = (
    (
        "balanced_accuracy",
        decisions.balanced_accuracy,
        intervals.balanced_accuracy,
        True,
        "Balanced accuracy",
        "mean of sensitivity and specificity",
    ),
    ("sensitivity", decisions.sensitivity, intervals.sensitivity, True, "Sensitivity", ""),
    ("specificity", decisions.specificity, intervals.specificity, True, "Specificity", ""),
    (
        "ppv",
        decisions.ppv,
        intervals.ppv,
        True,
        "Positive predictive value",
        "at the prevalence of the judged rows",
    ),
    (
        "npv",
        decisions.npv,
        intervals.npv,
        True,
        "Negative predictive value",
        "at the prevalence of the judged rows",
    ),
    (
        "positive_likelihood_ratio",
        decisions.positive_likelihood_ratio,
        intervals.positive_likelihood_ratio,
        True,
        "Positive likelihood ratio",
        "what a positive call multiplies the odds by",
    ),
    (
        "negative_likelihood_ratio",
        decisions.negative_likelihood_ratio,
        intervals.negative_likelihood_ratio,
        False,
        "Negative likelihood ratio",
        "what a negative call multiplies the odds by",
    ),
    (
        "number_needed_to_evaluate",
        decisions.number_needed_to_evaluate,
        intervals.number_needed_to_evaluate,
        False,
        "Number needed to evaluate",
        "rows called positive for each that is",
    ),
    ("f1", decisions.f1, intervals.f1, True, "F1", "harmonic mean of sensitivity and positive predictive value"),
)


def _decided() -> list[Metric]:
    return [
        Metric(
            "accuracy",
            _scored(decisions.accuracy, "decision"),
            True,
            "Accuracy",
            "share decided rightly; compare it with the majority share",
            "decisions",
            intervals.accuracy,
        ),
        _majority(),
        *(
            Metric(name, _scored(of, "decision"), higher, label, note, "decisions", own)
            for name, of, own, higher, label, note in _DECIDED
        ),
        Metric(
            "mcc",
            _scored(decisions.mcc, "decision"),
            True,
            "Matthews' correlation",
            "of decision and truth",
            "decisions",
        ),
    ]


def _majority() -> Metric:
    return Metric(
        "majority_share",
        lambda m, w: decisions.majority_share(m["truth"], w),
        True,
        "Majority share",
        "accuracy of always naming the most frequent class",
        "decisions",
        None,
        intervals.unchanged,
    )


def _useful(threshold: tuple[float, ...]) -> list[Metric]:
    return [
        Metric(
            "net_benefit",
            _at(usefulness.net_benefit, at),
            True,
            f"Net benefit at {at:.3g}",
            "true positives a row, less false positives at the odds of the threshold; 0 is treating nobody",
            "usefulness",
            intervals.net_benefit(at),
        )
        for at in threshold[:1]
        if 0 < at < 1
    ]


def _of_labels() -> list[Metric]:
    named: tuple[tuple[str, labels.Statistic, str, bool, str, MetricGroup], ...] = (
        ("auroc", ranking.auroc, "probability", True, "AUROC", "discrimination"),
        ("average_precision", ranking.average_precision, "probability", True, "average precision", "discrimination"),
        ("brier", probability.brier, "probability", False, "Brier score", "overall"),
        ("log_loss", probability.log_loss, "probability", False, "log-loss", "overall"),
        ("ici", smooth.integrated_calibration_index, "probability", False, "ICI", "calibration"),
        ("sensitivity", decisions.sensitivity, "decision", True, "sensitivity", "decisions"),
        ("specificity", decisions.specificity, "decision", True, "specificity", "decisions"),
        ("f1", decisions.f1, "decision", True, "F1", "decisions"),
    )
    return [
        Metric(
            name,
            _mean(of, column),
            higher,
            f"Mean {label}",
            "mean over labels",
            group,
        )
        for name, of, column, higher, label, group in named
    ]


def _of_classes() -> list[Metric]:
    return [
        Metric(
            "accuracy",
            _scored(decisions.accuracy, "decision"),
            True,
            "Accuracy",
            "share decided rightly; compare it with the majority share",
            "decisions",
            intervals.accuracy,
        ),
        _majority(),
        Metric(
            "balanced_accuracy",
            _scored(decisions.balanced_accuracy, "decision"),
            True,
            "Balanced accuracy",
            "mean over classes of the share decided rightly",
            "decisions",
        ),
        Metric(
            "macro_auroc",
            _scored(ranking.macro_auroc),
            True,
            "Macro AUROC",
            "mean over classes, each against all others",
            "discrimination",
        ),
        Metric("brier", _scored(probability.multiclass_brier), False, "Brier score", "summed over classes", "overall"),
        Metric("log_loss", _scored(probability.multiclass_log_loss), False, "Log-loss", "in nats", "overall"),
    ]


def _each(
    classes: tuple[str, ...],
    bounds: Callable[[int], tuple[intervals.Own, intervals.Paired]],
    of: Callable[[int], Of],
) -> list[Metric]:
    if not 1 < len(classes) <= MOST_CLASSES:
        return []
    return [
        Metric(f"auroc_{name}", of(place), True, f"AUROC of {name}", "against all others", "each", *bounds(place))
        for place, name in enumerate(classes)
    ]


def _of_class(code: int) -> Of:
    return lambda m, w: ranking.auroc(intervals.against_rest(m["truth"], code), m["probability"][:, code], w)


def _of_label(place: int) -> Of:
    return lambda m, w: ranking.auroc(m["truth"][:, place], m["probability"][:, place], w)
