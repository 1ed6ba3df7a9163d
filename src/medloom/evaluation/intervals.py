"""Figures with intervals, and paired differences. Patients are what varies, never rows.

A figure brings its own interval where a closed form covers (`Metric.interval`, docs/adr/0018). Every other figure is
resampled by whole patients, and its interval is corrected for bias and skewness (BCa).

Source: Efron, "Better bootstrap confidence intervals", JASA 82, 1987; Field & Welsh, "Bootstrapping clustered data",
JRSS B 69, 2007 (resampling whole clusters); Frangos & Schucany, "Jackknife estimation of the bootstrap acceleration
constant", Computational Statistics & Data Analysis 9, 1990.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

from medloom.draw import generator
from medloom.errors import PATIENT, Noun
from medloom.machine import cores, threads_named
from medloom.statistics._rows import read_only
from medloom.task import Bounds, Measured, Metric

CELLS = 600_000
"""Weights (resamples × rows) held at a time: 5 MB, and the estimators hold a few arrays of that size beside them."""
FEW_PATIENTS = 20
"""Below this many patients an interval is called rough."""
LEFT_OUT = 100
"""Groups of patients that are left out, one after the other, to learn how skewed a figure is; single patients if fewer."""
FAILED = 5
"""No interval where more than one in so many resamples cannot be estimated."""
MOST_THREADS = 4
MODEL = "model"
Key = TypeVar("Key", bound=Hashable)


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


@dataclass(frozen=True, slots=True)
class Resampled:
    """One figure of one entrant: on all rows, in each resample, and with each group of patients left out."""

    value: float
    drawn: Float[np.ndarray, " resamples"]
    left_out: Float[np.ndarray, " groups"]

    def minus(self, other: Resampled) -> Resampled:
        """The difference, on the same rows and resamples."""
        return Resampled(self.value - other.value, self.drawn - other.drawn, self.left_out - other.left_out)


def compare(
    metrics: Mapping[str, Metric],
    entrants: Mapping[str, Measured],
    patient: Int[np.ndarray, " rows"],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    model: str = MODEL,
    of: Noun = PATIENT,
) -> Comparison:
    """All figures of all entrants with intervals, and the paired differences of `model` from every other entrant.

    `entrants` holds what each measured on the same rows, in the order of `patient`. Every entrant meets the same
    resamples, so a difference is resampled whole and not made of two intervals. `of` is what patients are called in notes.
    """
    paired = model in entrants and len(entrants) > 1
    wanted = {n: m for n, m in metrics.items() if m.interval is None or (paired and m.difference is None)}
    found = resampled(wanted, entrants, patient, resamples, seed) if len(patient) else {}
    patients = len(np.unique(patient))

    def own(entrant: str, name: str, metric: Metric) -> Estimate:
        if not len(patient):
            return _not_estimated(0, of)
        if metric.interval is not None:
            return closed(metric.interval(entrants[entrant], patient, level), patients, of)
        return interval(found[entrant, name], level, patients, of)

    def apart(entrant: str, name: str, metric: Metric) -> Estimate:
        if not len(patient):
            return _not_estimated(0, of)
        if metric.difference is not None:
            return closed(metric.difference(entrants[model], entrants[entrant], patient, level), patients, of)
        return interval(found[model, name].minus(found[entrant, name]), level, patients, of)

    estimates = {e: {n: own(e, n, metric) for n, metric in metrics.items()} for e in entrants}
    differences = {
        e: {n: apart(e, n, metric) for n, metric in metrics.items()} for e in entrants if paired and e != model
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
    of: Noun = PATIENT,
) -> dict[str, Estimate]:
    """Every figure of one model, by metric."""
    result = compare(metrics, {MODEL: measured}, patient, resamples=resamples, level=level, seed=seed, of=of)
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


def resampled(
    metrics: Mapping[str, Metric],
    entrants: Mapping[str, Measured],
    patient: Int[np.ndarray, " rows"],
    resamples: int,
    seed: int,
) -> dict[tuple[str, str], Resampled]:
    """Every figure of every entrant on all rows, in resamples of patients, and with groups of patients left out."""
    if not metrics:
        return {}
    held = {name: read_only(measured) for name, measured in entrants.items()}

    def scores(weight: Float[np.ndarray, "chunk rows"]) -> dict[tuple[str, str], Float[np.ndarray, " chunk"]]:
        weight.flags.writeable = False
        return {
            (entrant, name): np.asarray(metric.of(measured, weight), np.float64)
            for entrant, measured in held.items()
            for name, metric in metrics.items()
        }

    point = scores(np.ones((1, len(patient))))
    drawn = of_blocks(scores, patient_weights(patient, resamples, seed))
    without = of_blocks(scores, left_out_weights(patient, seed))
    return {key: Resampled(float(point[key][0]), drawn[key], without[key]) for key in point}


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
    single = patients == len(code) and np.array_equal(code, np.arange(patients))
    chunk = max(1, CELLS // len(patient))
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        drawn = random.integers(0, patients, size=(count, patients))
        drawn += np.arange(count)[:, None] * patients
        times = np.bincount(drawn.ravel(), minlength=count * patients).reshape(count, patients).astype(np.float64)
        yield times if single else times[:, code]


def left_out_weights(patient: Int[np.ndarray, " rows"], seed: int) -> Iterator[Float[np.ndarray, "chunk rows"]]:
    """Blocks of weights of 1, with 0 for one group of patients after the other: `LEFT_OUT` groups, drawn at random.

    Source: Kott, "The delete-a-group jackknife", Journal of Official Statistics 17, 2001.
    """
    code = np.unique(patient, return_inverse=True)[1]
    patients = int(code.max()) + 1 if len(code) else 0
    if not patients:
        yield np.zeros((0, 0))
        return
    groups = min(patients, LEFT_OUT)
    group = (generator(seed, "left out").permutation(patients) % groups)[code]
    chunk = max(1, CELLS // len(patient))
    for start in range(0, groups, chunk):
        yield (group != np.arange(start, min(start + chunk, groups))[:, None]).astype(np.float64)


def interval(found: Resampled, level: float, patients: int, of: Noun = PATIENT) -> Estimate:
    """A point value with the BCa interval of its resamples, and a note where that deserves less trust.

    No interval is given where more than one in `FAILED` resamples cannot be estimated: those are seldom a matter of
    chance (a likelihood ratio without a false positive has no end), and what is left would look too sure.
    """
    if not np.isfinite(found.value):
        return _not_estimated(patients, of)
    usable, drawn = found.drawn[np.isfinite(found.drawn)], found.drawn
    if patients < 2:
        return Estimate(found.value, note=f"no interval: {of.counted(patients)} cannot be resampled")
    if FAILED * (len(drawn) - len(usable)) > len(drawn) or not len(usable):
        return Estimate(found.value, note=f"no interval: only {len(usable)} of {len(drawn)} resamples can be estimated")
    low, high = bca(found.value, usable, found.left_out, level)
    notes = []
    if low == high:
        notes.append("every resample gives this value: the interval says little")
    if len(usable) < len(drawn):
        notes.append(f"{len(drawn) - len(usable)} of {len(drawn)} resamples cannot be estimated")
    return Estimate(found.value, low, high, "; ".join([*notes, *_few(patients, of)]))


def bca(
    value: float, drawn: Float[np.ndarray, " resamples"], left_out: Float[np.ndarray, " groups"], level: float
) -> tuple[float, float]:
    """The bias-corrected and accelerated interval; the percentile interval where no correction can be told.

    The value lies inside, also where resamples are biased so strongly that it lies outside most of them.
    Source: Efron, JASA 82, 1987, equations 3.8 and 7.3, with half of the resamples that equal the value below it.
    """
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    close = 1e-12 * max(1.0, abs(value))
    below = float((drawn < value - close).mean() + (np.abs(drawn - value) <= close).mean() / 2)
    if 0 < below < 1:
        bias, skew = ndtri(below), _acceleration(left_out)
        shifted = bias + ndtri(tails)
        room = 1 - skew * shifted
        if (room > 0).all():
            tails = ndtr(bias + shifted / room)
    low, high = np.quantile(drawn, tails)
    return (min(float(low), value), max(float(high), value))


def closed(bounds: Bounds, patients: int, of: Noun = PATIENT) -> Estimate:
    """The estimate of a figure's own interval; no interval where an end is not finite."""
    value, low, high = map(float, bounds)
    if not np.isfinite(value):
        return _not_estimated(patients, of)
    if patients < 2:
        return Estimate(value, note=f"no interval: {of.counted(patients)} says nothing of others")
    if not (np.isfinite(low) and np.isfinite(high)):
        side = "above" if np.isfinite(low) else "below" if np.isfinite(high) else "on either side"
        return Estimate(value, note=f"no interval: the {of.counted(patients)} do not bound the figure {side}")
    same = [f"the same whichever {of.many} are drawn"] if low == high else []
    return Estimate(value, low, high, "; ".join([*same, *_few(patients, of)]))


def _acceleration(left_out: Float[np.ndarray, " groups"]) -> float:
    """The acceleration from values with groups left out; 0 where it cannot be told."""
    if len(left_out) < 3 or not np.isfinite(left_out).all():
        return 0.0
    apart = left_out.mean() - left_out
    size = float((apart**2).sum())
    return float((apart**3).sum() / (6 * size**1.5)) if size > 1e-24 else 0.0


def _not_estimated(patients: int, of: Noun) -> Estimate:
    return Estimate(None, note=f"cannot be estimated: the {of.counted(patients)} do not hold what the figure needs")


def _few(patients: int, of: Noun) -> list[str]:
    return [f"only {of.counted(patients)}: the interval is rough"] if patients < FEW_PATIENTS else []


def of_blocks(
    scores: Callable[[Float[np.ndarray, "chunk rows"]], dict[Key, np.ndarray]],
    weights: Iterator[Float[np.ndarray, "chunk rows"]],
) -> dict[Key, Float[np.ndarray, " values"]]:
    """The scores of all blocks in order, on a few threads; only so many blocks exist at a time."""
    threads = min(MOST_THREADS, threads_named() or cores())
    blocks: list[dict[Key, np.ndarray]] = []
    waiting: deque[Future[dict[Key, np.ndarray]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for weight in weights:
            if len(waiting) == threads:
                blocks.append(waiting.popleft().result())
            waiting.append(pool.submit(scores, weight))
        blocks += [each.result() for each in waiting]
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}
