"""The estimators themselves: pure numpy and scipy, vectorised over bootstrap weights, knowing nothing of the project.

A figure is a function `(truth "rows", score "rows", weight "resamples rows") -> "resamples"`.
"""

from medloom.statistics.calibration import intercept, slope
from medloom.statistics.curves import (
    CalibrationCurve,
    PrecisionRecallCurve,
    RocCurve,
    calibration_curve,
    precision_recall_curve,
    roc_curve,
    wilson,
)
from medloom.statistics.decisions import accuracy, balanced_accuracy, f1, npv, ppv, sensitivity, specificity
from medloom.statistics.labels import Statistic, macro
from medloom.statistics.probability import brier, log_loss, multiclass_brier, multiclass_log_loss
from medloom.statistics.ranking import auroc, average_precision, macro_auroc

__all__ = [
    "CalibrationCurve",
    "PrecisionRecallCurve",
    "RocCurve",
    "Statistic",
    "accuracy",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "calibration_curve",
    "f1",
    "intercept",
    "log_loss",
    "macro",
    "macro_auroc",
    "multiclass_brier",
    "multiclass_log_loss",
    "npv",
    "ppv",
    "precision_recall_curve",
    "roc_curve",
    "sensitivity",
    "slope",
    "specificity",
    "wilson",
]
