"""What several columns tell together and none alone, and what hides inside a column: words in texts, a value far off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from medloom.audit.evidence import FEW_CODES, Column, Evidence, Outcome
from medloom.audit.finding import Finding
from medloom.audit.measure import FEWEST, auroc, beyond_chance, enough, surprise
from medloom.errors import counted

MOST_COLUMNS = 300
MOST_CODED = 60
MOST_TEXTS = 20_000
SAME = 0.9
"""Cohen's kappa from which codes and an answer say the same."""
ALONE = 0.6
"""Kappa below which a code alone does not."""
PURE, SHARE = 0.985, 0.15
GAPS = 0.80
"""How well the number of gaps may tell an answer: sicker patients have more measured, so some of it is as it should be."""
ADVICE = "find out how they were made: together they hold the answer, so take them out"


def findings(evidence: Evidence) -> Iterator[Finding]:
    """All of it, for every answer that has enough rows."""
    for outcome in evidence.outcomes:
        rows = np.flatnonzero(outcome.known)
        if outcome.kind == "survival" or not enough(outcome, rows):
            continue
        yield from _line(evidence, outcome, rows)
        if outcome.kind == "binary":
            truth = outcome.value[rows] > 0.5
            yield from _codes(evidence, outcome, rows, truth)
            yield from _words(evidence, outcome, rows, truth)
            yield from _far_values(evidence, outcome, rows, truth)
            yield from _gaps(evidence, outcome, rows)


def kappa(said: Bool[np.ndarray, " rows"], truth: Bool[np.ndarray, " rows"]) -> float:
    """Cohen's kappa; 0 where one of them is constant."""
    agreed = float((said == truth).mean())
    chance = float(said.mean() * truth.mean() + (1 - said.mean()) * (1 - truth.mean()))
    return (agreed - chance) / (1 - chance) if chance < 1 else 0.0


def _line(evidence: Evidence, outcome: Outcome, rows: Int[np.ndarray, " rows"]) -> Iterator[Finding]:
    """The answer as a straight line of three columns or more, exactly: a total of which it is a part."""
    columns = [c for c in evidence.columns if not c.is_word and c.present.all() and len(c.values) > 2]
    columns = columns[: min(MOST_COLUMNS, (len(rows) - 30) // 3)]
    if len(columns) < 3:
        return
    x = np.stack([c.number[rows] for c in columns], axis=1)
    columns = [c for c, spread in zip(columns, x.std(axis=0), strict=True) if spread > 0]
    x, y = x[:, x.std(axis=0) > 0], outcome.value[rows]
    x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()
    weight, *_ = np.linalg.lstsq(x, y, rcond=1e-10)
    explained = 1 - float(((y - x @ weight) ** 2).sum() / (y**2).sum())
    # Where few columns hold nearly all of it, they are found as copies.
    if explained < 0.9999 or np.abs(x.T @ y / len(y)).max() ** 2 > 0.99:
        return
    taking = np.flatnonzero(np.abs(weight) > 1e-2 * np.abs(weight).max())
    if len(taking) < 3:
        return
    names = tuple(columns[place].name for place in taking[np.argsort(-np.abs(weight[taking]), kind="stable")])
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    yield Finding(
        "copy-of-target",
        "severe",
        f"{outcome.asked} is a straight line of {shown}, which together leave nothing unexplained",
        "one of them holds the answer, such as a total of which it is a part: find it, and take it out",
        "R²",
        explained,
        names,
        columns[int(taking[0])].input,
        outcome.target,
        len(rows),
    )


def _codes(
    evidence: Evidence, outcome: Outcome, rows: Int[np.ndarray, " rows"], truth: Bool[np.ndarray, " rows"]
) -> Iterator[Finding]:
    """Two columns of few values of which neither says the answer, and both together do."""
    columns = [c for c in evidence.columns if 2 <= len(c.values) <= FEW_CODES][:MOST_CODED]
    if len(rows) < 10 * FEW_CODES:
        return
    code = [c.code[rows] + 1 for c in columns]
    wide = FEW_CODES + 1

    def told(joint: Int[np.ndarray, " rows"]) -> float:
        cases = np.bincount(joint, truth, wide**2)
        return kappa((cases > np.bincount(joint, ~truth, wide**2))[joint], truth)

    weak = [place for place, one in enumerate(code) if told(one) < ALONE]
    for one, other in combinations(weak, 2):
        found = told(code[one] * wide + code[other])
        if found > SAME:
            names = (columns[one].name, columns[other].name)
            yield Finding(
                "copy-of-target",
                "severe",
                f"{names[0]} and {names[1]} together say {outcome.asked}, and neither does alone",
                ADVICE,
                "agreement",
                found,
                names,
                columns[one].input,
                outcome.target,
                len(rows),
            )


def _words(
    evidence: Evidence, outcome: Outcome, rows: Int[np.ndarray, " rows"], truth: Bool[np.ndarray, " rows"]
) -> Iterator[Finding]:
    """A word, or a beginning, inside the values of a column of many values, that says the answer."""
    for column in evidence.columns:
        if not column.is_word or not 40 < len(column.values) <= MOST_TEXTS:
            continue
        held = _holding(column)
        code = column.code[rows]
        best, most = "", 0.0
        for word, values in held.items():
            marked = np.zeros(len(column.values) + 1, bool)
            marked[values] = True
            said = marked[code]
            if min(said.sum(), (~said).sum()) < FEWEST:
                continue
            found = kappa(said, truth)
            if abs(found) > most:
                best, most = word, abs(found)
        if most > SAME and best:
            yield Finding(
                "code-of-cases",
                "severe",
                f"values of {column.name} hold a word or a beginning that stands with one answer to {outcome.asked}",
                "find out whether the text was written when the answer was known, and take the column out if so",
                "agreement",
                most,
                (column.name,),
                column.input,
                outcome.target,
                len(rows),
            )


def _holding(column: Column) -> dict[str, list[int]]:
    """The places of the values that hold each word or begin alike, of words that several hold."""
    held: dict[str, list[int]] = {}
    for place, value in enumerate(column.values):
        text = str(value).lower()
        for word in {*re.findall(r"[^\W\d_]{2,}", text), f"^{text[:1]}", f"^{text[:2]}"}:
            held.setdefault(word, []).append(place)
    return {word: places for word, places in held.items() if len(places) >= FEWEST}


def _far_values(
    evidence: Evidence, outcome: Outcome, rows: Int[np.ndarray, " rows"], truth: Bool[np.ndarray, " rows"]
) -> Iterator[Finding]:
    """A value farther from all others than they lie apart, such as −999, that only one answer has."""
    for column in evidence.columns:
        if column.is_word or len(column.values) < 12:
            continue
        values = np.asarray(column.values, np.float64)
        for place, apart, spread in (
            (0, values[1] - values[0], values[-1] - values[1]),
            (len(values) - 1, values[-1] - values[-2], values[-2] - values[0]),
        ):
            if not apart > spread:
                continue
            said = column.code[rows] == place
            for asked in (truth, ~truth):
                base, many = float(asked.mean()), int(said.sum())
                pure = many >= FEWEST and asked[said].mean() >= PURE and many >= SHARE * asked.sum()
                if pure and base < 0.8 and many * np.log10(base) + np.log10(len(evidence.columns)) < -6:
                    yield Finding(
                        "code-of-cases",
                        "severe",
                        f"a value of {column.name} far from all others stands on {counted(many, 'row')}, nearly all with one answer "
                        f"to {outcome.asked}",
                        "declare it as missing if it means that, and find out why it goes with the answer",
                        "share of the answer's rows",
                        many / float(asked.sum()),
                        (column.name,),
                        column.input,
                        outcome.target,
                        many,
                    )


def _gaps(evidence: Evidence, outcome: Outcome, rows: Int[np.ndarray, " rows"]) -> Iterator[Finding]:
    """How many columns a row misses."""
    gappy = [c for c in evidence.columns if FEWEST <= (~c.present).sum() <= len(c.code) - FEWEST]
    if len(gappy) < 2:
        return
    missed: Float[np.ndarray, " rows"] = np.zeros(len(rows))
    for column in gappy:
        missed += ~column.present[rows]
    found = auroc(outcome.value[rows], missed)
    found = max(found, 1 - found)
    if found >= GAPS and beyond_chance(surprise(outcome, found, rows), 10, 1e-6):
        yield Finding(
            "missingness",
            "severe" if found > 0.9 else "suspicious",
            f"how many of {counted(len(gappy), 'column')} a row misses tells {outcome.asked}: AUROC {found:.3f}",
            "find out why they are missing: where the answer is the reason, begin with what every patient has measured",
            "AUROC",
            found,
            (),
            gappy[0].input,
            outcome.target,
            len(rows),
        )
