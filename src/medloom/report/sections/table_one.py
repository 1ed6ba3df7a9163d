"""Who the patients are: every column of the tables by part of the split and by outcome, and what is missing.

Counts of few patients are hidden, and where one alone is hidden the next smallest with it, so that it cannot be worked
out. Source for the form: Moons et al., TRIPOD explanation, Annals of Internal Medicine 162, 2015, item 13b.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.draw import generator
from medloom.errors import Noun, counted
from medloom.modalities.table import Table as TableInput
from medloom.modalities.table.bags import Bag, bags, level_words
from medloom.packed import Source
from medloom.report.section import Paragraph, Piece, Section, Table
from medloom.tasks.classify import Classify
from medloom.tasks.survive import Survive

if TYPE_CHECKING:
    from medloom.report.story import Story

MOST_COLUMNS = 30
MOST_WORDS = 8
OPEN_LINES = 16
"""Longer tables are opened by the reader."""
MOST_OUTCOMES = 6
ANSWERS = frozenset({"yes", "no", "true", "false"})
"""Classes that say nothing without their question."""
MOST_ROWS = 200_000
FEW = 10
"""Counts of fewer patients are hidden."""
HIDDEN, NEXT = "<10", "hidden"
CELLS = 2_000_000
PARTS = {"train": "Training", "valid": "Validation", "calibrate": "Calibration", "test": "Test"}


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the rows that are described, by what they are called."""

    name: str
    rows: Bool[np.ndarray, " rows"]


def section(story: Story) -> Section | None:
    """Table 1 and missing values of all table inputs, and how often every other input is there."""
    feed, patient = story.prepared.feed, story.prepared.cohort.patient
    rows = np.arange(len(patient))
    if len(rows) > MOST_ROWS:
        rows = np.sort(generator(story.prepared.study.seed, "table one").choice(len(rows), MOST_ROWS, replace=False))
    groups = [Group("All", np.ones(len(rows), bool)), *_parts(story, rows), *_outcomes(story, rows)]
    pieces: list[Piece] = []
    for name, modality in feed.modalities.items():
        if isinstance(modality, TableInput):
            pieces += _table(name, modality, feed.sources[name], rows, patient[rows], groups, len(patient), story.unit)
    if len(feed.modalities) > 1:
        pieces.append(_inputs({n: feed.sources[n].unit[rows] > 0 for n in feed.modalities}, patient[rows], groups))
    folded = sum(len(piece.rows) for piece in pieces if isinstance(piece, Table)) > OPEN_LINES
    return Section("table-one", "patients", "Their characteristics", tuple(pieces), folded) if pieces else None


def _parts(story: Story, rows: Int[np.ndarray, " rows"]) -> Iterator[Group]:
    parts = story.parts()
    if len([part for part in parts.values() if len(part)]) > 1:
        yield from (Group(PARTS.get(n, n), np.isin(rows, part)) for n, part in parts.items() if len(part))


def _outcomes(story: Story, rows: Int[np.ndarray, " rows"]) -> Iterator[Group]:
    """Rows by their answer, of the first question whose answers are few."""
    for name, task in story.tasks.items():
        marks = story.prepared.marks[name]
        if isinstance(task, Classify) and task.kind != "multilabel" and len(task.classes) <= MOST_OUTCOMES:
            codes = marks.values[rows]
            places = {one: place for place, one in enumerate(marks.names)}
            alone = all(len(one) > 1 and one.isalpha() and one.lower() not in ANSWERS for one in task.called)
            yield from (
                Group(called if alone else f"{name}: {called}", codes == places.get(one, -2))
                for one, called in zip(task.classes, task.called, strict=True)
            )
            return
        if isinstance(task, Survive):
            event = marks.values[rows, 1]
            yield from (
                Group(f"{name}: {w}", event == c)
                for w, c in (("event", 1), ("competing", 2), ("censored", 0))
                if (event == c).any()
            )
            return


def _table(
    name: str,
    modality: TableInput,
    source: Source,
    rows: Int[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    groups: list[Group],
    of: int,
    whose: Noun,
) -> list[Piece]:
    """The first columns of one table, and which of all of its columns have the most gaps."""
    columns, meta, arrays = modality.options.columns, source.packed.meta, source.packed.arrays
    names = [*meta["numeric"], *meta["category"]]
    several = {bag.name: bag for bag in bags(source)}
    held = {*names, *several}
    listed = [column for column in columns if column in held][:MOST_COLUMNS]
    unit = source.unit[rows]
    lines: list[tuple[str, ...]] = [("Rows", *(f"{int(g.rows.sum()):,}" for g in groups))]
    lines.append((whose.many.capitalize(), *(_patients(patient, g.rows) for g in groups)))
    for column in listed:
        if column in meta["category"]:
            place = meta["category"].index(column)
            lines += _words(column, arrays["code"][unit, place], meta["words"][place], patient, groups)
            continue
        if column in several:
            lines += _codes(columns[column].system or "none", several[column], unit, patient, groups)
            continue
        values = np.asarray(arrays["number"][unit, meta["numeric"].index(column)], np.float64)
        part = columns[column]
        marks = part.kind == "numeric" and bool(np.isin(values[~np.isnan(values)], (0, 1)).all())
        if marks or part.kind in ("boolean", "ordinal"):
            words = ["0", "1"] if marks else ["no", "yes"] if part.kind == "boolean" else list(part.levels)
            codes = np.where(np.isnan(values), 0, np.nan_to_num(values) + 1).astype(np.int64)
            lines += _words(column, codes, words, patient, groups)
        else:
            label = f"{column}, {part.unit}" if part.unit else column
            lines += _numbers(label, values, patient, groups)
    more = (
        f" The first {len(listed)} of {len(held)} columns, in the order of the study."
        if len(listed) < len(held)
        else ""
    )
    coded = f" Codes as rows with one of the group (%), the {MOST_WORDS} groups of most rows." if several else ""
    some = f" Of {counted(len(rows), 'row')} drawn at random from {of:,}." if len(rows) < of else ""
    caption = (
        f"{name}: numbers as median [quartiles], words as rows (%); missing as rows (%).{coded}{more}{some} Counts of fewer than "
        f"{FEW} {whose.many} are hidden, and where that is one alone, the next smallest too."
    )
    first = Table(caption, ("Characteristic", *(group.name for group in groups)), tuple(lines))
    return [first, *_missing(name, source, unit, names)]


def _numbers(
    label: str, values: Float[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"], groups: list[Group]
) -> list[tuple[str, ...]]:
    missing = np.isnan(values)
    cells = []
    for group in groups:
        known = group.rows & ~missing
        few = _count(patient, known) < FEW
        cells.append(HIDDEN if few and known.any() else _median(values[known]))
    lines = [(label, *cells)]
    if missing.any():
        lines.append((f"{label}: missing", *(_share(missing, group.rows, patient) for group in groups)))
    return lines


def _words(
    column: str,
    codes: Int[np.ndarray, " rows"],
    words: list[str],
    patient: Int[np.ndarray, " rows"],
    groups: list[Group],
) -> list[tuple[str, ...]]:
    """A line a word; words of few patients stand together, as do those beyond the most frequent."""
    counts = np.bincount(codes, minlength=len(words) + 1)
    frequent = sorted(range(1, len(words) + 1), key=lambda code: -counts[code])
    frequent = [code for code in frequent if counts[code]]
    listed = [code for code in frequent if _count(patient, codes == code) >= FEW][:MOST_WORDS]
    masks = {f"{column}: {words[code - 1]}": codes == code for code in listed}
    rest = [code for code in frequent if code not in listed]
    if rest:
        masks[f"{column}: {len(rest)} other" if len(rest) > 1 else f"{column}: other"] = np.isin(codes, rest)
    if counts[0]:
        masks[f"{column}: missing"] = codes == 0
    cells = [
        _hidden({label: mask & group.rows for label, mask in masks.items()}, group.rows, patient) for group in groups
    ]
    return [(label, *(cell[label] for cell in cells)) for label in masks]


def _codes(
    system: str,
    bag: Bag,
    unit: Int[np.ndarray, " rows"],
    patient: Int[np.ndarray, " rows"],
    groups: list[Group],
) -> list[tuple[str, ...]]:
    """How many codes a row has, and a line for each of the most frequent groups of codes that enough patients have.

    Groups are those of the second level, so that no single rare code is told. A row may have codes of several.
    """
    known, table = level_words(system, bag.words)
    level = min(1, len(known) - 1)
    row, code = bag.of(unit)
    pairs = np.unique(row * (len(known[level]) + 1) + table[code, level])
    row, group = pairs // (len(known[level]) + 1), pairs % (len(known[level]) + 1)
    lines = _numbers(f"{bag.name}, codes a row", bag.count[unit].astype(np.float64), patient, groups)
    often = np.bincount(group, minlength=len(known[level]) + 1)
    for one in sorted(range(1, len(often)), key=lambda place: (-often[place], known[level][place - 1]))[:MOST_WORDS]:
        held = np.zeros(len(unit), bool)
        held[row[group == one]] = True
        if _count(patient, held) >= FEW:
            lines.append((f"{bag.name}: {known[level][one - 1]}", *(_share(held, g.rows, patient) for g in groups)))
    return lines


def _hidden(
    masks: Mapping[str, Bool[np.ndarray, " rows"]], rows: Bool[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"]
) -> dict[str, str]:
    """Counts of one group: those of few patients hidden, and never one alone."""
    patients = {label: _count(patient, mask) for label, mask in masks.items()}
    hidden = {label for label, count in patients.items() if 0 < count < FEW}
    cells = {label: _percent(int(mask.sum()), int(rows.sum())) for label, mask in masks.items()}
    cells |= dict.fromkeys(hidden, HIDDEN)
    others = [label for label, count in patients.items() if count >= FEW]
    if len(hidden) == 1 and others:
        cells[min(others, key=lambda label: patients[label])] = NEXT
    return cells


def _missing(name: str, source: Source, unit: Int[np.ndarray, " rows"], names: list[str]) -> list[Piece]:
    """How many columns have gaps, and the columns that have the most."""
    number, code = source.packed.arrays["number"], source.packed.arrays["code"]
    gaps = np.zeros(len(names), np.int64)
    size = max(1, CELLS // max(1, len(names)))
    for start in range(0, len(unit), size):
        block = unit[start : start + size]
        gaps += np.concatenate([np.isnan(number[block]).sum(axis=0), (code[block] == 0).sum(axis=0)])
    if not gaps.any():
        return [Paragraph(f"{name}: no value is missing.")]
    most = [place for place in np.argsort(-gaps, kind="stable")[:5] if gaps[place]]
    said = ", ".join(f"{names[place]} ({100 * gaps[place] / len(unit):.1f}\N{NO-BREAK SPACE}%)" for place in most)
    return [
        Paragraph(
            f"{name}: {int((gaps > 0).sum()):,} of {len(names):,} columns have missing values, most of all {said}."
        )
    ]


def _inputs(
    there: Mapping[str, Bool[np.ndarray, " rows"]], patient: Int[np.ndarray, " rows"], groups: list[Group]
) -> Table:
    rows = tuple((name, *(_share(held, group.rows, patient) for group in groups)) for name, held in there.items())
    return Table("Rows that have each input, of all rows (%).", ("Input", *(group.name for group in groups)), rows)


def _share(held: Bool[np.ndarray, " rows"], rows: Bool[np.ndarray, " rows"], patient: Int[np.ndarray, " rows"]) -> str:
    counted = held & rows
    few = 0 < _count(patient, counted) < FEW or 0 < _count(patient, rows & ~held) < FEW
    return (
        HIDDEN
        if few and 0 < _count(patient, counted) < FEW
        else NEXT
        if few
        else _percent(int(counted.sum()), int(rows.sum()))
    )


def _percent(count: int, of: int) -> str:
    return f"{count:,} ({100 * count / of:.1f})" if of else "–"


def _median(values: Float[np.ndarray, " known"]) -> str:
    if not len(values):
        return "–"
    low, middle, high = map(_short, np.quantile(values, (0.25, 0.5, 0.75)))
    return f"{middle} [{low},\N{NO-BREAK SPACE}{high}]"


def _short(value: float) -> str:
    """Three digits that count; a whole number keeps all of its own."""
    if not np.isfinite(value) or value == 0:
        return "0" if value == 0 else "–"
    decimals = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    text = f"{abs(value):,.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"−{text}" if value < 0 else text


def _patients(patient: Int[np.ndarray, " rows"], rows: Bool[np.ndarray, " rows"]) -> str:
    count = _count(patient, rows)
    return HIDDEN if 0 < count < FEW else f"{count:,}"


def _count(patient: Int[np.ndarray, " rows"], rows: Bool[np.ndarray, " rows"]) -> int:
    return int(np.count_nonzero(np.bincount(patient[rows]))) if rows.any() else 0
