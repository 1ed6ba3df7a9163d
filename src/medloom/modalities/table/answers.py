"""Columns of words as the mean answer of the training rows with that word.

What the network is trained on comes from other patients' answers alone: training rows are parted by patient, and each
part is coded with the sums of the others. All other rows are coded with the sums of all training rows.

Source: Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes", SIGKDD Explorations 3,
2001, equation 3; parting the training rows as in Pargent et al., "Regularized target encoding outperforms
traditional methods", Computational Statistics 37, 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from medloom.cohort.codes import levels
from medloom.modalities.table.bags import Bag, bags, level_words
from medloom.modalities.table.options import TableOptions
from medloom.modalities.table.scaling import bin_edges
from medloom.modality import Outcomes
from medloom.packed import Source
from medloom.tally import rounded

RARE_PATIENTS = 10
"""Words seen in fewer patients are pooled: they would tell of single patients, and teach little."""
NO_WORD = ""
"""A missing category is a word of its own: that nobody looked can tell something."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of answers, which add up over sites. Of all rows, and of each word by level: patients, then for each

    outcome how many rows have one, then their sums.
    """

    all: tuple[float, ...]
    levels: tuple[dict[str, tuple[float, ...]], ...]


@dataclass(frozen=True, slots=True)
class Coding:
    """A fitted column: for each level its words and their smoothed mean answers; `prior` is that of all rows.

    `scale` is the spread of the means about it, and `edges` part them into bins, for each outcome.
    """

    prior: tuple[float, ...]
    words: tuple[tuple[str, ...], ...]
    values: tuple[tuple[tuple[float, ...], ...], ...]
    scale: tuple[float, ...]
    edges: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Groups:
    """The words of some rows: `row` and store code `word` of each. `words` names the groups of each level, from 1.

    `table` gives the groups of each word that the store knows, the widest first.
    """

    words: list[list[str]]
    table: Int[np.ndarray, "words levels"]
    row: Int[np.ndarray, " each"]
    word: Int[np.ndarray, " each"]


def groups_of(name: str, options: TableOptions, source: Source, unit: Int[np.ndarray, " rows"]) -> Groups:
    """Every word of these units, whether the column holds one category or any number of codes."""
    if options.columns[name].kind == "code":
        bag = _bag(name, source)
        words, table = level_words(str(options.columns[name].system), bag.words)
        row, word = bag.of(unit)
        return Groups(words, table, row, word)
    place = source.packed.meta["category"].index(name)
    stored = source.packed.meta["words"][place]
    table = np.array([len(stored) + 1, *range(1, len(stored) + 1)])[:, None]
    word = np.asarray(source.packed.arrays["code"][:, place])[unit].astype(np.int64)
    return Groups([[*stored, NO_WORD]], table, np.arange(len(unit)), word)


def _bag(name: str, source: Source) -> Bag:
    return next(bag for bag in bags(source) if bag.name == name)


def totals(
    name: str, options: TableOptions, source: Source, outcomes: Outcomes, rows: Int[np.ndarray, " rows"]
) -> Totals:
    """The sums of answers of these rows, by word."""
    of_row = np.full(len(source.unit), -1)
    of_row[outcomes.rows] = np.arange(len(outcomes.rows))
    place = of_row[rows]
    values = rounded(outcomes.values[place].astype(np.float64))
    found = groups_of(name, options, source, source.unit[rows])
    patient = source.patient[rows]
    span = int(patient.max()) + 1 if len(patient) else 1
    counted: list[dict[str, tuple[float, ...]]] = []
    for level, words in enumerate(found.words):
        group = found.table[found.word, level]
        summed = _sums(group, values[found.row], len(words) + 1)
        pairs = np.unique(group * span + patient[found.row]) // span
        patients = np.bincount(pairs, minlength=len(words) + 1)
        counted.append({w: (float(patients[g]), *summed[:, g].tolist()) for g, w in enumerate(words, 1) if patients[g]})
    everything = _sums(np.zeros(len(rows), np.int64), values, 1)[:, 0]
    return Totals(tuple(everything.tolist()), tuple(counted))


def _sums(
    group: np.ndarray, values: Float[np.ndarray, "each outcomes"], groups: int
) -> Float[np.ndarray, "sums groups"]:
    """For each group: known answers of every outcome, then their sums."""
    known = ~np.isnan(values)
    counted = [np.bincount(group, known[:, o].astype(np.float64), groups) for o in range(values.shape[1])]
    added = [np.bincount(group, np.where(known[:, o], values[:, o], 0.0), groups) for o in range(values.shape[1])]
    return np.stack([*counted, *added])


def merged(several: Sequence[Totals]) -> Totals:
    """The sums of several sites together."""
    together = []
    for of_level in zip(*(one.levels for one in several), strict=True):
        total: dict[str, tuple[float, ...]] = {}
        for one in of_level:
            for word, sums in one.items():
                total[word] = tuple(map(sum, zip(total.get(word, (0.0,) * len(sums)), sums, strict=True)))
        together.append(total)
    return Totals(tuple(map(sum, zip(*(one.all for one in several), strict=True))), tuple(together))


def fit(total: Totals, system: str | None, smoothing: float, scaled: bool, bins: int | None = None) -> Coding:
    """Smoothed means of all words of at least 10 patients; a narrow group is drawn to the wider one that holds it."""
    count = len(total.all) // 2
    prior = _mean(np.array([total.all]), np.zeros((1, count)), 0.0)[0]
    words: list[tuple[str, ...]] = []
    values: list[Float[np.ndarray, "words outcomes"]] = []
    weights: list[np.ndarray] = []
    above: dict[str, np.ndarray] = {}
    for level, of_level in enumerate(total.levels):
        kept = sorted(word for word, sums in of_level.items() if sums[0] >= RARE_PATIENTS)
        sums = np.array([of_level[word][1:] for word in kept]).reshape(-1, 2 * count)
        wider = [levels(system, word)[level - 1] if system and level else NO_WORD for word in kept]
        drawn_to = np.array([above.get(word, prior) for word in wider]).reshape(-1, count)
        found = _mean(sums, drawn_to, smoothing)
        above = dict(zip(kept, found, strict=True))
        words.append(tuple(kept))
        values.append(found)
        weights.append(sums[:, :count])
    flat, weight = np.concatenate(values), np.concatenate(weights)
    spread = _spread(flat, weight, prior) if scaled else np.ones(count)
    edges: tuple[tuple[float, ...], ...] = ()
    if bins is not None:
        edges = tuple(_edges(flat[:, o], weight[:, o], bins) for o in range(count))
    lists = tuple(tuple(map(tuple, found.tolist())) for found in values)
    return Coding(tuple(prior.tolist()), tuple(words), lists, tuple(spread.tolist()), edges)


def _mean(
    sums: Float[np.ndarray, "words sums"], drawn_to: Float[np.ndarray, "words outcomes"], smoothing: float
) -> Float[np.ndarray, "words outcomes"]:
    count, added = np.split(sums, 2, axis=1)
    weight = count + smoothing
    return np.where(weight > 0, (added + smoothing * drawn_to) / np.where(weight > 0, weight, 1.0), drawn_to)


def _spread(values: np.ndarray, weight: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Standard deviation of the means about that of all rows; 1 where they do not differ."""
    rows = np.maximum(weight.sum(axis=0), 1.0)
    spread = np.sqrt(((values - prior) ** 2 * weight).sum(axis=0) / rows)
    return np.where(spread > 0, spread, 1.0)


def _edges(values: np.ndarray, weight: np.ndarray, bins: int) -> tuple[float, ...]:
    distinct, place = np.unique(values, return_inverse=True)
    counts = np.bincount(place, weight, len(distinct)).astype(np.int64)
    return bin_edges(distinct[counts > 0], counts[counts > 0], bins)


def outcomes_wide(options: TableOptions, codings: Sequence[Coding]) -> int:
    """How many numbers the coded columns give: one for each outcome, and another for the main code of each."""
    each = zip(options.coded, codings, strict=True)
    return sum(len(coding.prior) * (1 + (options.columns[name].primary is not None)) for name, coding in each)


def encode(name: str, options: TableOptions, coding: Coding, source: Source, unit: np.ndarray) -> np.ndarray:
    """The numbers of a coded column, "rows numbers": the word's mean answers; of several codes their mean, then those

    of the main one. NaN where a row has no code.
    """
    found = groups_of(name, options, source, unit)
    of_word = np.tile(np.array(coding.prior), (len(found.table), 1))
    for level, words in enumerate(found.words):
        learnt = dict(zip(coding.words[level], coding.values[level], strict=True))
        for_group = [learnt.get(word) for word in words]
        known = np.array([False, *(value is not None for value in for_group)])
        value = np.array([coding.prior, *(value or coding.prior for value in for_group)])
        here = found.table[:, level]
        of_word[known[here]] = value[here][known[here]]
    if options.columns[name].kind != "code":
        return of_word[found.word]
    count = np.bincount(found.row, minlength=len(unit))
    added = [np.bincount(found.row, of_word[found.word, o], len(unit)) for o in range(of_word.shape[1])]
    mean = np.stack(added, axis=1) / np.where(count, count, np.nan)[:, None]
    if options.columns[name].primary is None:
        return mean
    main = _bag(name, source).main(unit)
    return np.concatenate([mean, np.where(main[:, None] > 0, of_word[main], np.nan)], axis=1)


def encode_all(options: TableOptions, codings: Sequence[Coding], source: Source) -> Float[np.ndarray, "units numbers"]:
    """The numbers of all coded columns, for every unit. Rows that taught the means get those of the other parts."""
    units = len(source.packed.arrays["number"])
    every = np.arange(units)
    parts = [encode(name, options, one, source, every) for name, one in zip(options.coded, codings, strict=True)]
    outcomes: Outcomes | None = source.bound.get("outcomes")
    if outcomes is not None:
        present = source.unit[outcomes.rows] > 0
        for part, name in zip(parts, options.coded, strict=True):
            for fold in np.unique(outcomes.fold):
                own = present & (outcomes.fold == fold)
                column = options.columns[name]
                others = totals(name, options, source, outcomes, outcomes.rows[present & (outcomes.fold != fold)])
                coding = fit(others, column.system, column.smoothing, False)
                unit = source.unit[outcomes.rows[own]]
                part[unit] = encode(name, options, coding, source, unit)
    return np.concatenate(parts, axis=1) if parts else np.zeros((units, 0))
