"""What figures become where the condition is rarer or more frequent: rows weighted to another prevalence.

That holds where who has the condition changes and how it looks does not.
Source: Elkan, "The foundations of cost-sensitive learning", IJCAI 2001, section 3; Subbaswamy & Saria, "From
development to deployment", Biostatistics 21, 2020 (label shift among others).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medloom.evaluation.intervals import Estimate, Resampled, interval, left_out_weights, patient_weights
from medloom.task import Measured, Metric

if TYPE_CHECKING:
    from medloom.study import Study

FIGURES = ("ppv", "npv", "calibration_intercept", "number_needed_to_evaluate")
"""What depends on the prevalence; sensitivity, specificity and AUROC do not."""
ODDS = {0.5: "odds halved", 2.0: "odds doubled"}


@dataclass(frozen=True, slots=True)
class Shifted:
    """Figures at another prevalence, and how they differ from those of the rows as they are."""

    label: str
    prevalence: float | None
    figures: Mapping[str, Estimate]
    changes: Mapping[str, Estimate]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "scenario": self.label,
            "prevalence": self.prevalence,
            "figures": {name: one.plain() for name, one in self.figures.items()},
            "change": {name: one.plain() for name, one in self.changes.items()},
        }


def shifted(
    metrics: Mapping[str, Metric], measured: Measured, patient: np.ndarray, study: Study
) -> tuple[Shifted, ...]:
    """The figures with the odds of the condition halved and doubled; intervals resample whole patients."""
    chosen = {name: metrics[name] for name in FIGURES if name in metrics}
    truth, options = measured["truth"], study.evaluate
    positive = truth == 1
    share = float(positive.sum() / max(1, (~np.isnan(truth)).sum()))
    patients, found = len(np.unique(patient)), []
    for odds, label in ODDS.items():
        moved = share * odds / (share * odds + 1 - share) if 0 < share < 1 else None
        figures, changes = {}, {}
        for name, metric in chosen.items():
            plain = _resampled(metric, measured, patient, np.ones(len(truth)), study)
            other = _resampled(metric, measured, patient, np.where(positive, odds, 1.0), study)
            figures[name] = interval(other, options.level, patients)
            changes[name] = interval(other.minus(plain), options.level, patients)
        named = label if moved is None else f"{label}: prevalence {moved:.1%} in place of {share:.1%}"
        found.append(Shifted(named, moved, figures, changes))
    return tuple(found)


def _resampled(metric: Metric, measured: Measured, patient: np.ndarray, weight: np.ndarray, study: Study) -> Resampled:
    point = float(metric.of(measured, weight[None])[0])
    blocks = patient_weights(patient, study.evaluate.resamples, study.seed)
    drawn = np.concatenate([metric.of(measured, block * weight) for block in blocks])
    left = np.concatenate([metric.of(measured, block * weight) for block in left_out_weights(patient, study.seed)])
    return Resampled(point, drawn, left)
