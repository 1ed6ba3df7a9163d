"""Which numbers of a table are kept, from training rows alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from medloom.modality import Outcomes
from medloom.packed import Source

BINS = 8
"""Bins of a number whose information is measured; of an outcome of many values half as many."""
_BLOCK_CELLS = 4_000_000


def chosen(score: Float[np.ndarray, " numeric"], keep: float) -> tuple[int, ...]:
    """The places of the numbers with the highest scores: as many as `keep` says, or a share of them; in their order."""
    most = int(keep) if keep >= 1 else max(1, round(keep * len(score)))
    return tuple(sorted(np.argsort(-score, kind="stable")[:most].tolist()))


def variances(
    values: Sequence[Float[np.ndarray, " distinct"]], counts: Sequence[Int[np.ndarray, " distinct"]]
) -> Float[np.ndarray, " numeric"]:
    """The variance of each number about its mean, as it was read; 0 where it has no value."""
    found = np.zeros(len(values))
    for column, (distinct, count) in enumerate(zip(values, counts, strict=True)):
        if len(distinct) > 1:
            rows = count.sum()
            mean = (distinct @ count) / rows
            found[column] = ((distinct - mean) ** 2 @ count) / rows
    return found


def information(source: Source, outcomes: Outcomes, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " numeric"]:
    """Mutual information in nats of each number with the answers, times the rows: it adds up over sites.

    Numbers are parted into bins of equal frequency, and being missing is a bin. What as many bins would show by
    chance is taken off. With several targets, their information is added.
    Source: Miller, "Note on the bias of information estimates", 1955: the bias is (cells − bins − classes + 1) / 2n.
    """
    number = source.packed.arrays["number"]
    place = np.full(len(source.unit), -1)
    place[outcomes.rows] = np.arange(len(outcomes.rows))
    values = outcomes.values[place[rows]]
    unit = source.unit[rows]
    total = np.zeros(number.shape[1])
    step = max(1, _BLOCK_CELLS // max(len(rows), 1))
    classes = [_classes(values[:, start:stop]) for start, stop in outcomes.spans]
    for start in range(0, number.shape[1], step):
        binned = _binned(np.asarray(number[:, start : start + step])[unit])
        for code in classes:
            known = code >= 0
            if known.any():
                total[start : start + step] += _shared(binned[known], code[known]) * known.sum()
    return total


def _classes(values: Float[np.ndarray, "rows outcomes"]) -> Int[np.ndarray, " rows"]:
    """One code a row, −1 where unknown: the combination of indicators, or the bin of a number."""
    known = ~np.isnan(values).any(axis=1)
    code = np.full(len(values), -1)
    if known.any():
        whole = values[known]
        if np.isin(whole, (0.0, 1.0)).all():
            code[known] = np.unique(whole, axis=0, return_inverse=True)[1].reshape(-1)
        else:
            code[known] = _binned(whole)[:, 0] - 1
    return code


def _binned(values: Float[np.ndarray, "rows columns"]) -> Int[np.ndarray, "rows columns"]:
    """Bins of equal frequency from 1, equal values in one bin; 0 where missing."""
    ordered = np.sort(values, axis=0)
    known = (~np.isnan(values)).sum(axis=0)
    bins = np.zeros(values.shape, np.int8)
    for edge in range(1, BINS):
        at = np.minimum(known * edge // BINS, np.maximum(known - 1, 0))
        cut = np.take_along_axis(ordered, at[None], axis=0)
        bins += values >= cut
    bins += 1
    bins[np.isnan(values)] = 0
    return bins


def _shared(binned: Int[np.ndarray, "rows columns"], code: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " columns"]:
    """Mutual information of every column of bins with the codes, less its bias."""
    rows = len(binned)
    classes = int(code.max()) + 1
    table = np.stack(
        [[(part == b).sum(axis=0) for b in range(BINS + 1)] for part in (binned[code == c] for c in range(classes))]
    ).astype(np.float64)
    of_bin, of_class = table.sum(axis=0), table.sum(axis=1)
    expected = of_class[:, None] * of_bin[None] / rows
    ratio = np.divide(table, expected, out=np.ones_like(table), where=table > 0)
    found = (table * np.log(ratio)).sum(axis=(0, 1)) / rows
    filled, present = (of_bin > 0).sum(axis=0), (of_class > 0).sum(axis=0)
    bias = (filled - 1) * (present - 1) / (2 * rows)
    return found - bias
