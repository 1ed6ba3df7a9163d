"""Columns of codes: a row holds any number of them, each with the wider groups that it belongs to.

Codes lie one after the other, with how many each unit has. Nothing is as wide as the row with the most codes, until a
batch of rows is gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.cohort import codes
from medloom.packed import Source

PADDING, OTHER, FIRST = 0, 1, 2
"""Vocabulary ids: no code; a code of which not even the widest group was learnt; the first group."""
MOST_INDICATORS = 100
"""Groups of the second level, at most, that baselines see as columns of 0 and 1: those of most patients."""


def start(count: Int[np.ndarray, " units"]) -> Int[np.ndarray, " units"]:
    """Where the codes of each unit begin."""
    return np.cumsum(count, dtype=np.int64) - count


def positions(
    begin: Int[np.ndarray, " rows"], count: Int[np.ndarray, " rows"]
) -> tuple[Int[np.ndarray, " codes"], Int[np.ndarray, " codes"], Int[np.ndarray, " codes"]]:
    """Of every code of these rows: its row, its place within the row, and where it lies."""
    row = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(row)) - np.repeat(start(count), count)
    return row, within, begin[row] + within


@dataclass(frozen=True, slots=True)
class Bag:
    """A column of codes of one source: store codes of all units, from 1, and where the main code stands first."""

    name: str
    flat: Int[np.ndarray, " codes"]
    count: Int[np.ndarray, " units"]
    lead: Bool[np.ndarray, " units"]
    words: Sequence[str]
    begin: Int[np.ndarray, " units"] = field(default_factory=lambda: np.zeros(0, np.int64))

    def of(self, unit: Int[np.ndarray, " rows"]) -> tuple[Int[np.ndarray, " codes"], Int[np.ndarray, " codes"]]:
        """(row, store code) of every code of these units."""
        row, _, lies = positions(self.begin[unit], self.count[unit].astype(np.int64))
        return row, np.asarray(self.flat[lies]).astype(np.int64)

    def main(self, unit: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """The store code of each unit's main code, 0 where it has none."""
        lead = self.lead[unit] & (self.count[unit] > 0)
        found = np.zeros(len(unit), np.int64)
        found[lead] = self.flat[self.begin[unit[lead]]]
        return found

    def padded(self, unit: Int[np.ndarray, " rows"], main_first: bool) -> Int[np.ndarray, "rows slots"]:
        """Store codes side by side, 0 where there is none; with `main_first` the first slot is the main code's own."""
        count = self.count[unit].astype(np.int64)
        shift = (main_first & ~self.lead[unit]).astype(np.int64)
        row, within, lies = positions(self.begin[unit], count)
        out = np.zeros((len(unit), max(1, int((count + shift).max(initial=0)))), np.int64)
        out[row, within + shift[row]] = self.flat[lies]
        return out


def bags(source: Source) -> list[Bag]:
    """Every column of codes of a source."""
    arrays, meta = source.packed.arrays, source.packed.meta
    found = []
    for place, name in enumerate(meta.get("code", ())):
        count, lead = np.asarray(arrays["count"][:, place]), np.asarray(arrays["lead"][:, place])
        flat = np.asarray(arrays[f"codes_{place}"])
        found.append(Bag(name, flat, count, lead, meta["codes"][place], start(count)))
    return found


def level_words(system: str, words: Sequence[str]) -> tuple[list[list[str]], Int[np.ndarray, "words levels"]]:
    """The distinct groups of each level, sorted, and for each store code (0 first) the place of its own from 1.

    0 stands where a code does not go so deep.
    """
    each = [codes.levels(system, word) for word in words]
    depth = len(codes.LEVELS[system])
    known = [sorted({found[level] for found in each if level < len(found)}) for level in range(depth)]
    places = [{word: place for place, word in enumerate(of_level, 1)} for of_level in known]
    table = np.zeros((len(words) + 1, depth), np.int64)
    for code, found in enumerate(each, 1):
        table[code, : len(found)] = [places[level][word] for level, word in enumerate(found)]
    return known, table


def patients_of(bag: Bag, system: str, unit: np.ndarray, patient: np.ndarray) -> tuple[dict[str, int], ...]:
    """For each level, how many patients have a code of each group."""
    known, table = level_words(system, bag.words)
    row, code = bag.of(unit)
    span = int(patient.max()) + 1 if len(patient) else 1
    counts = []
    for level, words in enumerate(known):
        group = table[code, level]
        pairs = np.unique(group * span + patient[row]) // span
        times = np.bincount(pairs, minlength=len(words) + 1)[1:]
        counts.append({word: int(n) for word, n in zip(words, times, strict=True) if n})
    return tuple(counts)


def learnt_ids(
    system: str, words: Sequence[str], vocabulary: Sequence[Sequence[str]]
) -> Int[np.ndarray, "words levels"]:
    """Vocabulary ids of each store code (0 first), one a level: `PADDING` where its group was not learnt.

    A code that is rare or was never seen is what its wider groups are; where none of them was learnt, `OTHER`.
    """
    known, table = level_words(system, words)
    ids = np.zeros(table.shape, np.int64)
    offset = FIRST
    for level, (of_level, learnt) in enumerate(zip(known, vocabulary, strict=True)):
        place = {word: offset + index for index, word in enumerate(learnt)}
        ids[:, level] = np.array([PADDING, *(place.get(word, PADDING) for word in of_level)])[table[:, level]]
        offset += len(learnt)
    ids[1:, 0][(ids[1:] == PADDING).all(axis=1)] = OTHER
    return ids


def indicators(
    bag: Bag, system: str, unit: Int[np.ndarray, " rows"], frequent: Sequence[str], chapters: Sequence[str] | None
) -> Float[np.ndarray, "rows features"]:
    """For baselines: how many codes a row has, which of the frequent groups, and the chapter of its main code.

    None of it knows of any answer.
    """
    known, table = level_words(system, bag.words)
    level = min(1, len(known) - 1)
    row, code = bag.of(unit)
    place = {word: index for index, word in enumerate(frequent)}
    of_code = np.array([-1, *(place.get(word, -1) for word in known[level])])[table[code, level]]
    hot = np.zeros((len(unit), len(frequent)))
    hot[row[of_code >= 0], of_code[of_code >= 0]] = 1.0
    parts = [bag.count[unit].astype(np.float64)[:, None], hot]
    if chapters is not None:
        learnt = {word: place for place, word in enumerate(chapters)}
        main = np.array([-1, *(learnt.get(word, -1) for word in known[0])])[table[bag.main(unit), 0]]
        parts.append((main[:, None] == np.arange(len(chapters))).astype(np.float64))
    return np.concatenate(parts, axis=1)
