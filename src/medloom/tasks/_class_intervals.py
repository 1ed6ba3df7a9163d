"""Intervals of the figures of two classes, as a metric wants them: of what was measured, over patients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medloom.statistics import calibration_intervals, operating, ranking, shares, usefulness
from medloom.task import Bounds, Measured

Own = Callable[[Measured, np.ndarray, float], Bounds]
Paired = Callable[[Measured, Measured, np.ndarray, float], Bounds]


def auroc(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """DeLong's, over patients."""
    return ranking.auroc_interval(m["truth"], m["probability"], patient, level)


def auroc_paired(m: Measured, other: Measured, patient: np.ndarray, level: float) -> Bounds:
    """DeLong's of pairs, over patients."""
    return ranking.auroc_difference(m["truth"], m["probability"], other["probability"], patient, level)


def slope(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """Score interval."""
    return calibration_intervals.slope_interval(m["truth"], m["probability"], patient, level)


def slope_paired(m: Measured, other: Measured, patient: np.ndarray, level: float) -> Bounds:
    """By influence."""
    return calibration_intervals.slope_difference(m["truth"], m["probability"], other["probability"], patient, level)


def intercept(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """Score interval."""
    return calibration_intervals.intercept_interval(m["truth"], m["probability"], patient, level)


def intercept_paired(m: Measured, other: Measured, patient: np.ndarray, level: float) -> Bounds:
    """By influence."""
    return calibration_intervals.intercept_difference(
        m["truth"], m["probability"], other["probability"], patient, level
    )


def sensitivity_at(specificity: float) -> tuple[Own, Paired]:
    """Of the sensitivity at this specificity."""
    return (
        lambda m, patient, level: operating.sensitivity_at_interval(
            m["truth"], m["probability"], patient, level, specificity
        ),
        lambda m, other, patient, level: operating.sensitivity_at_difference(
            m["truth"], m["probability"], other["probability"], patient, level, specificity
        ),
    )


def specificity_at(sensitivity: float) -> tuple[Own, Paired]:
    """Of the specificity at this sensitivity."""
    return (
        lambda m, patient, level: operating.specificity_at_interval(
            m["truth"], m["probability"], patient, level, sensitivity
        ),
        lambda m, other, patient, level: operating.specificity_at_difference(
            m["truth"], m["probability"], other["probability"], patient, level, sensitivity
        ),
    )


def net_benefit(threshold: float) -> Own:
    """Of the net benefit at this threshold."""
    return lambda m, patient, level: usefulness.net_benefit_interval(
        m["truth"], m["probability"], patient, level, threshold
    )


def accuracy(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """Wilson's, of two classes or of many."""
    truth, decision, _, patient = _decided(m, patient)
    return shares.share(truth == decision, np.ones(len(truth), bool), patient, level)


def prevalence(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """Wilson's."""
    truth, _, every, patient = _decided(m, patient)
    return shares.share(truth == 1, every, patient, level)


def sensitivity(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """Wilson's."""
    truth, decision, _, patient = _decided(m, patient)
    return shares.share(decision == 1, truth == 1, patient, level)


def specificity(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """Wilson's."""
    truth, decision, _, patient = _decided(m, patient)
    return shares.share(decision == 0, truth == 0, patient, level)


def ppv(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """Wilson's."""
    truth, decision, _, patient = _decided(m, patient)
    return shares.share(truth == 1, decision == 1, patient, level)


def npv(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """Wilson's."""
    truth, decision, _, patient = _decided(m, patient)
    return shares.share(truth == 0, decision == 0, patient, level)


def f1(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """From Wilson's interval of the share of true positives among all rows that are positive or called so."""
    truth, decision, _, patient = _decided(m, patient)
    positive, called = truth == 1, decision == 1
    return shares.odds_like(positive & called, positive | called, patient, level)


def balanced_accuracy(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """From those of sensitivity and specificity."""
    return shares.mean_of_two(sensitivity(m, patient, level), specificity(m, patient, level))


def positive_likelihood_ratio(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """From those of sensitivity and specificity."""
    return shares.ratio(sensitivity(m, patient, level), _rest(specificity(m, patient, level)))


def negative_likelihood_ratio(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """From those of sensitivity and specificity."""
    return shares.ratio(_rest(sensitivity(m, patient, level)), specificity(m, patient, level))


def number_needed_to_evaluate(m: Measured, patient: np.ndarray, level: float) -> Bounds:
    """From that of the positive predictive value."""
    return shares.inverse(ppv(m, patient, level))


def of_class(code: int) -> tuple[Own, Paired]:
    """AUROC of one class against all others."""

    def own(m: Measured, patient: np.ndarray, level: float) -> Bounds:
        return ranking.auroc_interval(against_rest(m["truth"], code), m["probability"][:, code], patient, level)

    def paired(m: Measured, other: Measured, patient: np.ndarray, level: float) -> Bounds:
        scores = m["probability"][:, code], other["probability"][:, code]
        return ranking.auroc_difference(against_rest(m["truth"], code), *scores, patient, level)

    return own, paired


def of_label(place: int) -> tuple[Own, Paired]:
    """AUROC of one label."""

    def own(m: Measured, patient: np.ndarray, level: float) -> Bounds:
        return ranking.auroc_interval(m["truth"][:, place], m["probability"][:, place], patient, level)

    def paired(m: Measured, other: Measured, patient: np.ndarray, level: float) -> Bounds:
        scores = m["probability"][:, place], other["probability"][:, place]
        return ranking.auroc_difference(m["truth"][:, place], *scores, patient, level)

    return own, paired


def unchanged(m: Measured, other: Measured, patient: np.ndarray, level: float) -> Bounds:
    """Of a figure of the rows alone, which no two entrants differ in."""
    return (0.0, 0.0, 0.0)


def against_rest(truth: np.ndarray, code: int) -> np.ndarray:
    """1 for rows of this class, 0 for rows of another, NaN where unknown."""
    return np.where(np.isnan(truth), np.nan, (truth == code).astype(np.float64))


def _decided(m: Measured, patient: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rows = ~np.isnan(m["truth"])
    return m["truth"][rows], m["decision"][rows], np.ones(int(rows.sum()), bool), patient[rows]


def _rest(of: Bounds) -> Bounds:
    return (1 - of[0], 1 - of[2], 1 - of[1])
