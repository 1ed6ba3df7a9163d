"""What training rows say of a table: counts that add up exactly, in any order, over sites.

Numbers are counted by value rounded to 16 mantissa bits, so that quantiles of the sum are those of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from medloom.packed import Packed, Source
from medloom.tally import Tally, add, quantile, rounded

RARE_PATIENTS = 10
"""Categories seen in fewer patients are pooled: they would tell of single patients, and teach little."""
_CELLS = 4_000_000
"""Numbers looked at at a time: 32 MB."""
_WAITING = 1 << 17


@dataclass(frozen=True, slots=True)
class TableSummary:
    """Rows seen; of each number the rounded values with their counts; of each category its patients.

    `late` counts, for each column of dates, those at or after the index time.
    """

    rows: int
    values: tuple[Float[np.ndarray, " distinct"], ...]
    counts: tuple[Int[np.ndarray, " distinct"], ...]
    patients: tuple[dict[str, int], ...]
    late: tuple[int, ...] = ()


def summarise(source: Source, rows: Int[np.ndarray, " rows"], words_matter: bool = True) -> TableSummary:
    """The summary of these rows. Distinct patients are counted, so rows of a patient must not be in two summaries.

    Where words do not matter, as they are hashed, no word leaves with the summary.
    """
    code = source.packed.arrays["code"]
    unit = source.unit[rows]
    here = unit > 0
    unit, patient = unit[here], source.patient[rows][here]
    tallies = _tallies(source.packed, unit)
    patients = []
    for column, words in enumerate(source.packed.meta["words"] if words_matter else ()):
        seen = np.asarray(code[:, column])[unit].astype(np.int64)
        span = int(patient.max()) + 1 if len(patient) else 1
        pairs = np.unique(seen * span + patient) // span
        times = np.bincount(pairs, minlength=len(words) + 1)[1:]
        patients.append({word: int(n) for word, n in zip(words, times, strict=True) if n})
    late = tuple(map(int, np.asarray(source.packed.arrays["late"])[unit].sum(axis=0)))
    values, counts = tuple(v for v, _ in tallies), tuple(n for _, n in tallies)
    return TableSummary(len(unit), values, counts, tuple(patients), late)


def _tallies(packed: Packed, unit: Int[np.ndarray, " some"]) -> list[Tally]:
    """The tally of each column over these units, in one pass through the table: a block of rows at a time."""
    number = packed.arrays["number"]
    columns = number.shape[1]
    step = max(1, _CELLS // max(1, columns))
    parts: list[list[_Keys]] = [[_keys(np.zeros(0))] for _ in range(columns)]
    for start in range(0, len(unit), step):
        block = np.ascontiguousarray(np.take(number, unit[start : start + step], axis=0).T)
        for column, values in zip(parts, block, strict=True):
            column.append(_keys(values[~np.isnan(values)]))
            # What waits is added up when it is as much as what is added up already, so that little is done twice.
            if sum(len(one) for one, _ in column[1:]) > max(len(column[0][0]), _WAITING):
                column[:] = [_added(column)]
        packed.release()
    # What is added up goes as soon as its tally is made, as these are the largest things in memory.
    return [_tally(*_added(parts.pop(0))) for _ in range(columns)]


_Keys = tuple[Int[np.ndarray, " distinct"], Int[np.ndarray, " distinct"]]
"""Rounded values as the 28 bits that rounding leaves, ascending as such, and their counts: half the size of a tally."""
_SHIFT = np.uint64(52 - 16)


def _keys(values: Float[np.ndarray, " values"]) -> _Keys:
    keys = (rounded(values.astype(np.float64, copy=False)).view(np.uint64) >> _SHIFT).astype(np.uint32)
    distinct, times = np.unique(keys, return_counts=True)
    return distinct, times.astype(np.uint32)


def _added(parts: Sequence[_Keys]) -> _Keys:
    keys, times = (np.concatenate(side) for side in zip(*parts, strict=True))
    # Each part ascends, and a stable sort only merges what is sorted.
    order = np.argsort(keys, kind="stable")
    keys, times = keys[order], times[order]
    first = np.flatnonzero(np.diff(keys, prepend=keys[:1] + 1)) if len(keys) else np.zeros(0, np.int64)
    return keys[first], np.add.reduceat(times, first) if len(first) else times


def _tally(keys: Int[np.ndarray, " distinct"], times: Int[np.ndarray, " distinct"]) -> Tally:
    values = (keys.astype(np.uint64) << _SHIFT).view(np.float64)
    order = np.argsort(values)
    values, small = values[order], values[order].astype(np.float32)
    # Rounded values of usual size stand as they are in half the memory.
    return small if np.array_equal(small, values) else values, times[order]


def merge(summaries: Sequence[TableSummary]) -> TableSummary:
    """The summary of all rows together: exact, whatever the order."""
    if len(summaries) == 1:
        return summaries[0]
    values, counts, patients = [], [], []
    for column in range(len(summaries[0].values)):
        distinct, times = add((s.values[column], s.counts[column]) for s in summaries)
        values.append(distinct)
        counts.append(times)
    for column in range(len(summaries[0].patients)):
        total: dict[str, int] = {}
        for summary in summaries:
            for word, n in summary.patients[column].items():
                total[word] = total.get(word, 0) + n
        patients.append(total)
    late = tuple(map(sum, zip(*(s.late for s in summaries), strict=True)))
    return TableSummary(sum(s.rows for s in summaries), tuple(values), tuple(counts), tuple(patients), late)


def centre_and_scale(
    values: Float[np.ndarray, " distinct"], counts: Int[np.ndarray, " distinct"]
) -> tuple[float, float]:
    """Median and interquartile range / 1.349; where more than half are equal, the standard deviation; never 0."""
    if not len(values):
        return 0.0, 1.0
    low, middle, high = (quantile(values, counts, share) for share in (0.25, 0.5, 0.75))
    if high > low:
        return middle, (high - low) / 1.349
    values = values.astype(np.float64)
    mean = float(np.average(values, weights=counts))
    spread = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
    return middle, spread if spread > 0 else 1.0


def bin_edges(
    values: Float[np.ndarray, " distinct"], counts: Int[np.ndarray, " distinct"], bins: int
) -> tuple[float, ...]:
    """Different quantiles that part the rows into at most `bins` bins; none where all values are equal.

    The first and the last bin are open, so the outer edges need not be the extremes, which are single patients'.
    Source: Gorishniy et al., "On embeddings for numerical features in tabular deep learning", 2022 (arXiv
    2203.05556), section 3.2.1.
    """
    if len(values) < 2:
        return ()
    found = sorted({quantile(values, counts, (step + 0.5) / (bins + 1)) for step in range(bins + 1)})
    if len(found) < 2:
        return float(values[0]), float(values[-1])
    return tuple(found)
