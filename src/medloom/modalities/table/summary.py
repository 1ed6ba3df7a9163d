"""What training rows say of a table: counts that add up exactly, in any order, over sites.

Numbers are counted by value rounded to 16 mantissa bits, so that quantiles of the sum are those of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from medloom.modalities.table.answers import Totals, merged, totals
from medloom.modalities.table.bags import bags, patients_of
from medloom.modalities.table.options import TableOptions
from medloom.modalities.table.selection import information
from medloom.modalities.table.tallies import tallies
from medloom.packed import Source
from medloom.tally import add


@dataclass(frozen=True, slots=True)
class TableSummary:
    """Rows seen; of each number the rounded values with their counts; of each category its patients.

    `late` counts, for each column of dates, those at or after the index time; `codes` the patients of each group of
    codes, by column and level; `answers` the sums of answers by word; `information` is the mutual information of each
    number with the answers, times the rows.
    """

    rows: int
    values: tuple[Float[np.ndarray, " distinct"], ...]
    counts: tuple[Int[np.ndarray, " distinct"], ...]
    patients: tuple[dict[str, int], ...]
    late: tuple[int, ...] = ()
    codes: tuple[tuple[dict[str, int], ...], ...] = ()
    answers: tuple[Totals, ...] = ()
    information: Float[np.ndarray, " numeric"] | None = None


def summarise(options: TableOptions, source: Source, rows: Int[np.ndarray, " rows"]) -> TableSummary:
    """The summary of these rows. Distinct patients are counted, so rows of a patient must not be in two summaries.

    Where words do not matter, as they are hashed, no word leaves with the summary.
    """
    words_matter = options.category == "embedding"
    code = source.packed.arrays["code"]
    unit = source.unit[rows]
    here = unit > 0
    unit, patient = unit[here], source.patient[rows][here]
    counted = tallies(source.packed, unit)
    patients = []
    for column, words in enumerate(source.packed.meta["words"] if words_matter else ()):
        seen = np.asarray(code[:, column])[unit].astype(np.int64)
        span = int(patient.max()) + 1 if len(patient) else 1
        pairs = np.unique(seen * span + patient) // span
        times = np.bincount(pairs, minlength=len(words) + 1)[1:]
        patients.append({word: int(n) for word, n in zip(words, times, strict=True) if n})
    late = tuple(map(int, np.asarray(source.packed.arrays["late"])[unit].sum(axis=0)))
    values, counts = tuple(v for v, _ in counted), tuple(n for _, n in counted)
    coded = zip(bags(source), options.named("code"), strict=True)
    codes = tuple(patients_of(bag, str(options.columns[name].system), unit, patient) for bag, name in coded)
    answers: tuple[Totals, ...] = ()
    informed = None
    if options.coded:
        taught = source.bound["outcomes"]
        answers = tuple(totals(name, options, source, taught, rows[here]) for name in options.coded)
    if options.select is not None and options.select.by == "mutual_information":
        informed = information(source, source.bound["outcomes"], rows[here])
    return TableSummary(len(unit), values, counts, tuple(patients), late, codes, answers, informed)


def merge(summaries: Sequence[TableSummary]) -> TableSummary:
    """The summary of all rows together: exact, whatever the order."""
    if len(summaries) == 1:
        return summaries[0]
    values, counts = [], []
    for column in range(len(summaries[0].values)):
        distinct, times = add((s.values[column], s.counts[column]) for s in summaries)
        values.append(distinct)
        counts.append(times)
    patients = [_added([s.patients[column] for s in summaries]) for column in range(len(summaries[0].patients))]
    late = tuple(map(sum, zip(*(s.late for s in summaries), strict=True)))
    codes = tuple(
        tuple(_added(levels) for levels in zip(*columns, strict=True))
        for columns in zip(*(s.codes for s in summaries), strict=True)
    )
    answers = tuple(merged(totals) for totals in zip(*(s.answers for s in summaries), strict=True))
    informed = [s.information for s in summaries if s.information is not None]
    information = np.sum(informed, axis=0) if len(informed) == len(summaries) else None
    rows = sum(s.rows for s in summaries)
    return TableSummary(rows, tuple(values), tuple(counts), tuple(patients), late, codes, answers, information)


def _added(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for word, n in one.items():
            total[word] = total.get(word, 0) + n
    return total
