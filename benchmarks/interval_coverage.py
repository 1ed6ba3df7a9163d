"""How often 95 % intervals hold the truth, with a dozen events, beside plain percentile intervals. Needs no data.

Simulated cohorts whose true figures are known from numerical integration, or, where patients have several rows, from
four million rows. `MEDLOOM_COHORTS` sets the number of cohorts of each design (2,000).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from benchmarks.result import Result
from medloom.evaluation.intervals import patient_weights
from medloom.task import Measured, Metric
from medloom.tasks._class_figures import metrics

ID = "interval-coverage"
COHORTS = 2000
RESAMPLES = 500
PREVALENCE, BETA, OVERCONFIDENCE, THRESHOLD = 0.08, 1.2, 1.25, 0.1
FIGURES = ("auroc", "sensitivity_at_specificity_90", "calibration_slope", "net_benefit")


@dataclass(frozen=True, slots=True)
class Design:
    """`patients` with `each` rows; `shared` is the standard deviation of what a patient's rows have in common."""

    name: str
    patients: int
    each: int
    shared: float = 0.0


DESIGNS = (
    Design("150 patients", 150, 1),
    Design("150 patients with 2 rows each", 150, 2, 1.0),
    Design("75 patients with 2 rows each", 75, 2, 1.0),
    Design("50 patients with 3 rows each", 50, 3, 1.0),
)


def run(data: Path | None) -> list[Result]:
    """Coverage of our intervals and of percentile intervals, for each figure and design."""
    cohorts = int(os.environ.get("MEDLOOM_COHORTS", COHORTS))
    return [result for design in DESIGNS for result in of_design(design, cohorts)]


def of_design(design: Design, cohorts: int) -> list[Result]:
    """All figures of one design."""
    known = {name: metric for name, metric in metrics("binary", (THRESHOLD,)).items() if name in FIGURES}
    truth = true_figures(design, known)
    held: dict[str, list[tuple[bool, bool]]] = {name: [] for name in known}
    for number, (measured, patient) in enumerate(simulated(design, cohorts)):
        plain = percentile(known, measured, patient, number)
        for name, metric in known.items():
            assert metric.interval is not None
            _, low, high = metric.interval(measured, patient, 0.95)
            if np.isfinite(low) and np.isfinite(high):
                below, above = plain[name]
                held[name].append((low <= truth[name] <= high, below <= truth[name] <= above))
    results = []
    for name, of in held.items():
        share, plain_share = np.mean(of, axis=0)
        error = 1.96 * float(np.sqrt(share * (1 - share) / len(of)))
        results.append(
            Result(
                id=ID,
                metric=f"distance of coverage from .95: {known[name].label.lower()}, {design.name}",
                value=abs(float(share) - 0.95),
                higher_is_better=False,
                want=0.02,
                baseline=f"ours {share:.3f} ± {error:.3f}; percentile bootstrap {plain_share:.3f}",
                split=f"{len(of)} of {cohorts} cohorts with an interval, prevalence .08, true value {truth[name]:.3f}",
            )
        )
    return results


def percentile(
    known: dict[str, Metric], measured: Measured, patient: np.ndarray, seed: int
) -> dict[str, tuple[float, float]]:
    """Plain percentile intervals of all figures."""
    weight = np.concatenate(list(patient_weights(patient, RESAMPLES, seed)))
    found = {}
    for name, metric in known.items():
        drawn = metric.of(measured, weight)
        drawn = drawn[np.isfinite(drawn)]
        ends = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else np.array([np.nan, np.nan])
        found[name] = (float(ends[0]), float(ends[1]))
    return found


def simulated(design: Design, cohorts: int) -> Iterator[tuple[Measured, np.ndarray]]:
    """Cohorts with both classes, one after the other."""
    random = np.random.default_rng(0)
    patient = np.repeat(np.arange(design.patients), design.each)
    base = _base(design.shared)
    made = 0
    while made < cohorts:
        x, truth = _rows(design, patient, base, random)
        if 0 < truth.sum() < len(truth):
            made += 1
            yield {"truth": truth, "probability": _answer(x)}, patient


def true_figures(design: Design, known: dict[str, Metric]) -> dict[str, float]:
    """What each figure is in the population."""
    if design.shared:
        patient = np.repeat(np.arange(4_000_000 // design.each), design.each)
        big = Design("", 4_000_000 // design.each, design.each, design.shared)
        x, truth = _rows(big, patient, _base(design.shared), np.random.default_rng(1))
        measured = {"truth": truth, "probability": _answer(x)}
        return {name: float(metric.of(measured, np.ones((1, len(x))))[0]) for name, metric in known.items()}
    x = np.linspace(-9, 9, 200_001)
    mass = np.exp(-(x**2) / 2)
    mass /= mass.sum()
    risk = expit(_base(0.0) + BETA * x)
    positive, negative = mass * risk / (mass * risk).sum(), mass * (1 - risk) / (mass * (1 - risk)).sum()
    called = _answer(x) >= THRESHOLD
    at = np.searchsorted(np.cumsum(negative), 0.9)
    return {
        "auroc": float((positive * (np.cumsum(negative) - negative / 2)).sum()),
        "sensitivity_at_specificity_90": float(positive[at:].sum()),
        "calibration_slope": 1 / OVERCONFIDENCE,
        "net_benefit": float(
            (mass * risk)[called].sum() - THRESHOLD / (1 - THRESHOLD) * (mass * (1 - risk))[called].sum()
        ),
    }


def _rows(
    design: Design, patient: np.ndarray, base: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What a model sees, with three fifths of its variance between patients, and what happened."""
    x = random.normal(size=len(patient))
    if design.shared:
        x = np.sqrt(0.6) * random.normal(size=design.patients)[patient] + np.sqrt(0.4) * x
    hidden = design.shared * random.normal(size=design.patients)[patient]
    return x, (random.random(len(x)) < expit(base + BETA * x + hidden)).astype(np.float64)


def _answer(x: np.ndarray) -> np.ndarray:
    """A model that is right on average and too sure of itself."""
    return np.asarray(expit(_base(0.0) + OVERCONFIDENCE * BETA * x))


def _base(shared: float) -> float:
    """The log-odds at x = 0 that give the prevalence."""
    known = _BASES.get(shared)
    if known is None:
        node, mass = np.polynomial.hermite_e.hermegauss(80)
        mass = mass / mass.sum()

        def off(base: float) -> float:
            return float(mass @ expit(base + BETA * node[:, None] + shared * node) @ mass) - PREVALENCE

        solve: Callable[..., float] = brentq
        known = _BASES[shared] = float(solve(off, -10, float(logit(PREVALENCE)) + 2))
    return known


_BASES: dict[float, float] = {}
