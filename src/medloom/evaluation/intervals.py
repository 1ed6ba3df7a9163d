"""Figures with intervals, and paired differences, by bootstrap of whole patients.

Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals); Field & Welsh,
"Bootstrapping clustered data", JRSS B 69, 2007 (resampling whole clusters).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from medloom.draw import generator
from medloom.task import Measured, Metric

CELLS = 1_500_000
"""Weights (resamples × rows) held at a time: 12 MB, and the estimators hold a few arrays of that size beside them."""
FEW_PATIENTS = 20
"""Below this many patients an interval is called rough."""
MODEL = "model"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval. All three are None where it cannot be estimated, and `note` says so."""

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""

    def plain(self) -> dict[str, float | str | None]:
        """For JSON: value, low and high, and the note where there is one. Never NaN."""
        plain: dict[str, float | str | None] = {"value": self.value, "low": self.low, "high": self.high}
        return {**plain, "note": self.note} if self.note else plain


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of all entrants on the same rows and the same resamples of patients.

    `estimates[entrant][metric]`; `differences[entrant][metric]` is the model's figure minus that entrant's, paired.
    """

    estimates: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[str, Mapping[str, Estimate]]
    rows: int
    patients: int
    resamples: int
    level: float


def compare(
    metrics: Mapping[str, Metric],
    entrants: Mapping[str, Measured],
    patient: Int[np.ndarray, " rows"],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    model: str = MODEL,
) -> Comparison:
    """All figures of all entrants with intervals, and the paired differences of `model` from every other entrant.

    `entrants` holds what each measured on the same rows, in the order of `patient`. Every entrant meets the same
    resamples, so a difference is resampled whole and not made of two intervals.
    """
    point = _scores(metrics, entrants, np.ones((1, len(patient))))
    blocks = [_scores(metrics, entrants, weight) for weight in patient_weights(patient, resamples, seed)]
    drawn = {key: np.concatenate([block[key] for block in blocks]) for key in point}
    patients = len(np.unique(patient))

    def estimate(value: float, values: Float[np.ndarray, " resamples"]) -> Estimate:
        return interval(value, values, level, patients)

    estimates = {
        entrant: {name: estimate(point[entrant, name][0], drawn[entrant, name]) for name in metrics}
        for entrant in entrants
    }
    differences = {
        entrant: {
            name: estimate(point[model, name][0] - point[entrant, name][0], drawn[model, name] - drawn[entrant, name])
            for name in metrics
        }
        for entrant in entrants
        if entrant != model and model in entrants
    }
    return Comparison(estimates, differences, len(patient), patients, resamples, level)


def figures(
    metrics: Mapping[str, Metric],
    measured: Measured,
    patient: Int[np.ndarray, " rows"],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every figure of one model, by metric."""
    result = compare(metrics, {MODEL: measured}, patient, resamples=resamples, level=level, seed=seed)
    return dict(result.estimates[MODEL])


def difference(
    metrics: Mapping[str, Metric],
    measured_a: Measured,
    measured_b: Measured,
    patient: Int[np.ndarray, " rows"],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Figures of a minus figures of b, by metric, on the same resamples of patients."""
    entrants = {"a": measured_a, "b": measured_b}
    result = compare(metrics, entrants, patient, resamples=resamples, level=level, seed=seed, model="a")
    return dict(result.differences["b"])


def patient_weights(
    patient: Int[np.ndarray, " rows"], resamples: int, seed: int
) -> Iterator[Float[np.ndarray, "chunk rows"]]:
    """Blocks of weights: how often each row's patient was drawn. The values do not depend on the size of the blocks."""
    code = np.unique(patient, return_inverse=True)[1]
    patients = int(code.max()) + 1 if len(code) else 0
    if not patients:
        yield np.zeros((resamples, 0))
        return
    random = generator(seed, "bootstrap")
    chunk = max(1, CELLS // len(patient))
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        drawn = random.integers(0, patients, size=(count, patients))
        drawn += np.arange(count)[:, None] * patients
        times = np.bincount(drawn.ravel(), minlength=count * patients).reshape(count, patients)
        yield times.astype(np.float64)[:, code]


def interval(value: float, drawn: Float[np.ndarray, " resamples"], level: float, patients: int) -> Estimate:
    """A point value with the percentile interval of its resamples, and a note where that deserves less trust.

    No interval is given where fewer than half of the resamples can be estimated.
    """
    if not np.isfinite(value):
        return Estimate(None, note=f"cannot be estimated: the {_patients(patients)} do not hold what the figure needs")
    usable = drawn[np.isfinite(drawn)]
    if patients < 2:
        return Estimate(float(value), note=f"no interval: {_patients(patients)} cannot be resampled")
    if 2 * len(usable) < len(drawn) or not len(usable):
        return Estimate(
            float(value), note=f"no interval: only {len(usable)} of {len(drawn)} resamples can be estimated"
        )
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    notes = []
    if low == high:
        notes.append("every resample gives this value: the interval says little")
    if len(usable) < len(drawn):
        notes.append(f"{len(drawn) - len(usable)} of {len(drawn)} resamples cannot be estimated")
    if patients < FEW_PATIENTS:
        notes.append(f"only {_patients(patients)}: the interval is rough")
    return Estimate(float(value), float(low), float(high), "; ".join(notes))


def _patients(count: int) -> str:
    return f"{count} patient" + ("" if count == 1 else "s")


def _scores(
    metrics: Mapping[str, Metric], entrants: Mapping[str, Measured], weight: Float[np.ndarray, "chunk rows"]
) -> dict[tuple[str, str], Float[np.ndarray, " chunk"]]:
    return {
        (entrant, name): np.asarray(metric.of(measured, weight), np.float64)
        for entrant, measured in entrants.items()
        for name, metric in metrics.items()
    }
