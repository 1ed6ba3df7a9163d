"""How a model does in groups of patients: figures with intervals in each, and the contrast of each to all others.

Groups are looked at because someone will be treated by the answer, not because they were found to differ: every contrast
carries a p value adjusted for how many there are, and groups that are too small are counted and not shown.

Source: Wang et al., "Statistics in medicine: reporting of subgroup analyses in clinical trials", NEJM 357, 2007; Holm,
"A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import norm
from scipy.stats import t as student

from medloom.errors import PATIENT, Noun, counted
from medloom.evaluation.grouping import Grouping
from medloom.evaluation.intervals import Estimate, closed, figures, left_out_weights, of_blocks
from medloom.statistics._rows import read_only
from medloom.statistics.clusters import mover
from medloom.task import Bounds, Measured, Metric

MINIMUM = 20
"""Patients that a group needs, and all others together."""
NAMED = 10
"""With fewer patients than this a group is not even named."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """A group's figure minus that of all others: with an interval, a p value, and the p value adjusted by Holm."""

    difference: Estimate
    p: float | None = None
    adjusted: float | None = None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.difference.plain(), "p": self.p, "adjusted_p": self.adjusted}


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One group. Without figures where it is too small or holds no such outcome, and `note` says so."""

    column: str
    name: str
    rows: int | None
    patients: int | None
    estimates: Mapping[str, Estimate]
    contrasts: Mapping[str, Contrast]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Subgroups:
    """All groups of all columns. `suppressed` of them have no figures; `contrasts` counts those made of each figure."""

    groups: tuple[Subgroup, ...]
    suppressed: int
    contrasts: Mapping[str, int]
    level: float

    def said(self) -> str:
        """What a reader must know of the contrasts before reading one."""
        most = max(self.contrasts.values(), default=0)
        left_out = (
            f" {counted(self.suppressed, 'group cannot', 'groups cannot')} be estimated." if self.suppressed else ""
        )
        return (
            f"{counted(most, 'contrast')} of each figure; by chance alone about {most * (1 - self.level):.1f} of them would have an "
            f"interval clear of zero. Adjusted p values hold that chance down for all of them together (Holm).{left_out}"
        )

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "groups": [
                {
                    "column": group.column,
                    "group": group.name,
                    "rows": group.rows,
                    "patients": group.patients,
                    "figures": {name: estimate.plain() for name, estimate in group.estimates.items()},
                    "contrasts": {name: contrast.plain() for name, contrast in group.contrasts.items()},
                    "note": group.note,
                }
                for group in self.groups
            ],
            "suppressed": self.suppressed,
            "contrasts": dict(self.contrasts),
            "note": self.said(),
        }


def subgroups(
    metrics: Mapping[str, Metric],
    measured: Measured,
    patient: Int[np.ndarray, " rows"],
    groupings: Sequence[Grouping],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    minimum: int = MINIMUM,
    of: Noun = PATIENT,
) -> Subgroups:
    """Figures in every group and the contrast to the rows of all other groups of the same column.

    `groupings` have one code a row, in the order of `patient`. Rows without a code are in no group and in no rest. A
    group is suppressed where it has fewer than `minimum` patients, or where its headline figure cannot be estimated.
    """
    made: list[Subgroup] = []
    family: dict[str, list[tuple[int, float]]] = {name: [] for name in metrics}
    for grouping in groupings:
        held = [grouping.code == code for code in range(len(grouping.names))]
        shown = [code for code, rows in enumerate(held) if not _why_not(metrics, measured, patient, rows, minimum, of)]
        # Of two groups that are each other's rest, the second contrast is the first one turned round.
        mirrored = len(held) == 2 and len(shown) == 2
        for code, rows in enumerate(held):
            if code not in shown:
                made.append(
                    _suppressed(grouping, code, patient, rows, _why_not(metrics, measured, patient, rows, minimum, of))
                )
                continue
            estimates = figures(
                metrics, taken(measured, rows), patient[rows], resamples=resamples, level=level, seed=seed, of=of
            )
            rest = (grouping.code >= 0) & ~rows
            enough = len(np.unique(patient[rest])) >= minimum
            contrasts = contrasted(metrics, measured, patient, rows, rest, level, seed, of) if enough else {}
            if not (mirrored and code == 1):
                for name, contrast in contrasts.items():
                    if contrast.p is not None:
                        family[name].append((len(made), contrast.p))
            patients = len(np.unique(patient[rows]))
            note = "" if enough else f"no contrast: fewer than {minimum} {of.many} are in other groups"
            made.append(
                Subgroup(grouping.column, grouping.names[code], int(rows.sum()), patients, estimates, contrasts, note)
            )
    made = _adjusted(made, family)
    counted = {name: len(of) for name, of in family.items()}
    return Subgroups(tuple(made), sum(not group.estimates for group in made), counted, level)


def contrasted(
    metrics: Mapping[str, Metric],
    measured: Measured,
    patient: Int[np.ndarray, " rows"],
    rows: Bool[np.ndarray, " rows"],
    rest: Bool[np.ndarray, " rows"],
    level: float,
    seed: int,
    of: Noun = PATIENT,
) -> dict[str, Contrast]:
    """Every figure of `rows` minus that of `rest`.

    Where no patient is in both and the figure has an interval of its own, the contrast is made of the two intervals
    (Zou & Donner, 2008); otherwise groups of patients are left out of both at once (the delete-a-group jackknife).
    """
    apart = not np.isin(patient[rows], patient[rest]).any()
    one, other = taken(measured, rows), taken(measured, rest)
    own = {name for name, metric in metrics.items() if metric.interval is not None and apart}
    patients = len(np.unique(patient[rows | rest]))
    found = {}
    left = {name: metric for name, metric in metrics.items() if name not in own}
    jackknifed = _left_out(left, one, other, patient, rows, rest, level, seed, of) if left else {}
    for name, metric in metrics.items():
        if name in own and metric.interval is not None:
            bounds = metric.interval(one, patient[rows], level), metric.interval(other, patient[rest], level)
            found[name] = _of_two(*bounds, level, patients, of)
        else:
            found[name] = jackknifed[name]
    return found


def taken(measured: Measured, rows: Bool[np.ndarray, " rows"]) -> dict[str, np.ndarray]:
    """What was measured of these rows."""
    return {name: value[rows] for name, value in measured.items()}


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted so that the chance of any false one keeps the level."""
    order = np.argsort(p, kind="stable")
    adjusted = np.zeros(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]


def _of_two(one: Bounds, other: Bounds, level: float, patients: int, of: Noun) -> Contrast:
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        value = one[0] - other[0]
        return Contrast(closed((value, float("nan"), float("nan")), patients, of))
    value, low, high = mover(one, other)
    width = float(norm.ppf((1 + level) / 2))
    # By the side that zero is on, so that the p value and the interval agree.
    spread = (value - low if value > 0 else high - value) / width
    p = float(2 * norm.sf(abs(value) / spread)) if spread > 0 else None
    return Contrast(closed((value, low, high), patients, of), p)


def _left_out(
    metrics: Mapping[str, Metric],
    one: Measured,
    other: Measured,
    patient: Int[np.ndarray, " rows"],
    rows: Bool[np.ndarray, " rows"],
    rest: Bool[np.ndarray, " rows"],
    level: float,
    seed: int,
    of: Noun,
) -> dict[str, Contrast]:
    every = rows | rest
    ones = np.ones((1, int(every.sum())))
    mine, others = rows[every], rest[every]
    one, other = read_only(one), read_only(other)

    def apart(weight: Float[np.ndarray, "chunk rows"]) -> dict[str, np.ndarray]:
        # Two contiguous parts, so that each figure meets only its own rows.
        parts = weight[:, mine], weight[:, others]
        for part in parts:
            part.flags.writeable = False
        return {name: metric.of(one, parts[0]) - metric.of(other, parts[1]) for name, metric in metrics.items()}

    value = apart(ones)
    left_out = of_blocks(apart, left_out_weights(patient[every], seed))
    patients = len(np.unique(patient[every]))
    found = {}
    for name in metrics:
        found[name] = _of_jackknife(float(value[name][0]), left_out[name], level, patients, of)
    return found


def _of_jackknife(
    value: float, without: Float[np.ndarray, " groups"], level: float, patients: int, of: Noun
) -> Contrast:
    groups = len(without)
    if not np.isfinite(value) or groups < 2 or not np.isfinite(without).all():
        return Contrast(closed((value, float("nan"), float("nan")), patients, of))
    spread = float(np.sqrt((groups - 1) / groups * ((without - without.mean()) ** 2).sum()))
    half = float(student.ppf((1 + level) / 2, groups - 1)) * spread
    p = float(2 * student.sf(abs(value) / spread, groups - 1)) if spread > 0 else None
    return Contrast(closed((value, value - half, value + half), patients, of), p)


def _why_not(
    metrics: Mapping[str, Metric],
    measured: Measured,
    patient: Int[np.ndarray, " rows"],
    rows: Bool[np.ndarray, " rows"],
    minimum: int,
    of: Noun,
) -> str:
    """Why a group is suppressed; nothing where it is not."""
    if len(np.unique(patient[rows])) < minimum:
        return f"cannot be estimated: fewer than {minimum} {of.many}"
    headline = next(iter(metrics.values()))
    found = headline.of(taken(measured, rows), np.ones((1, int(rows.sum()))))
    return "" if np.isfinite(found).all() else f"cannot be estimated: its rows do not hold what {headline.label} needs"


def _suppressed(
    grouping: Grouping, code: int, patient: Int[np.ndarray, " rows"], rows: Bool[np.ndarray, " rows"], why: str
) -> Subgroup:
    """Counts of small groups are left out: they could tell of a person."""
    patients = len(np.unique(patient[rows]))
    if patients < NAMED:
        return Subgroup(grouping.column, "a rare value", None, None, {}, {}, why)
    return Subgroup(grouping.column, grouping.names[code], int(rows.sum()), patients, {}, {}, why)


def _adjusted(made: Iterable[Subgroup], family: Mapping[str, list[tuple[int, float]]]) -> list[Subgroup]:
    """The groups with adjusted p values; a mirrored contrast has those of the one that it mirrors."""
    groups = list(made)
    for name, of in family.items():
        adjusted = dict(zip((place for place, _ in of), holm([p for _, p in of]), strict=True))
        for place, group in enumerate(groups):
            contrast = group.contrasts.get(name)
            if contrast is None or contrast.p is None:
                continue
            value = adjusted.get(place, adjusted.get(place - 1))
            groups[place] = replace(group, contrasts={**group.contrasts, name: replace(contrast, adjusted=value)})
    return groups
