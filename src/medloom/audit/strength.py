"""Columns that tell the answer too well: what stands out from all others, copies, recodings, and codes of cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from medloom.audit.evidence import FEW_CODES, Column, Evidence, Outcome, words_of
from medloom.audit.finding import Finding, Severity
from medloom.audit.measure import (
    FIGURES,
    NOTHING,
    alone,
    beyond_chance,
    bins_of,
    by_bins,
    correlation,
    enough,
    response,
    surprise,
    together,
)
from medloom.errors import counted

TOO_GOOD = {"binary": 0.965, "number": 0.90, "survival": 0.92}
"""Scores that are too good where the others leave several times as much unexplained."""
PERFECT = {"binary": 0.997, "number": 0.99, "survival": 0.98}
"""Scores of other columns that are suspects themselves, and say nothing for this one."""
NEARLY_PERFECT = {"binary": 0.992, "number": 0.985, "survival": 0.97}
TIMES = 4.0
"""How many times more the other columns must leave unexplained."""
AFTERWARDS = frozenset(
    "discharge discharged death died dead deceased outcome outcomes autopsy postmortem expired mortality survival "
    "disposition hospice followup fatal readmitted readmission relapse recurrence remission endpoint event".split()
)
"""Words of columns that are known after the answer."""
COPY = "take the column out of the inputs, or find out how it was made"


@dataclass(frozen=True, slots=True)
class Told:
    """How well one column alone tells one answer, and on which rows."""

    column: Column
    outcome: Outcome
    score: float
    rows: np.ndarray

    @property
    def left(self) -> float:
        """What is left unexplained, with half a row of the rarer class as the least."""
        return _left(self.outcome, self.score, self.rows)


def _left(outcome: Outcome, score: float, rows: np.ndarray) -> float:
    value = outcome.value[rows]
    rarer = min((value > 0.5).sum(), (value <= 0.5).sum()) if outcome.kind == "binary" else len(rows) / 4
    return max(0.0, 1 - score) + 0.5 / max(int(rarer), 1)


def _bound(one: Told, times: float) -> float:
    """A score of the others at which this one no longer stands out so many times."""
    return 1 - times * one.left


def tell(evidence: Evidence) -> list[Told]:
    """Every column alone, against every answer."""
    found = []
    for outcome in evidence.outcomes:
        answer = response(outcome)
        for column in evidence.columns:
            value, rows = alone(column, outcome, evidence, answer)
            found.append(Told(column, outcome, value, rows))
    return found


def findings(evidence: Evidence, told: Sequence[Told]) -> Iterator[Finding]:
    """At most one finding a column: a copy before a code of cases, before what is too good, before a name."""
    seen: set[str] = set()
    rest = _Rest(evidence, told)
    for look in (copies, codes_of_cases, too_good, named):
        for one in look(evidence, told, rest):
            if not seen & set(one.columns):
                seen |= set(one.columns)
                yield one


class _Rest:
    """What the other columns reach for an answer, fitted once for each set of columns that is left out."""

    def __init__(self, evidence: Evidence, told: Sequence[Told]) -> None:
        self._evidence, self._told = evidence, told
        self._known: dict[tuple[str, str, frozenset[str]], tuple[float, float]] = {}

    def without(self, one: Told, suffices: float = 1.0) -> float:
        """The score of all columns but this one, and but others that are nearly perfect where they are few.

        At least what the best of them tells alone. Models are left out where `suffices` is reached without them.
        """
        kind = one.outcome.kind
        others = [t for t in self._told if t.outcome is one.outcome and t.column is not one.column]
        perfect = {t.column.name for t in others if t.score >= PERFECT[kind]}
        out = frozenset([one.column.name, *(perfect if len(perfect) <= max(2, len(others) // 10) else ())])
        left = [t.column for t in others if t.column.name not in out]
        best = max((t.score for t in others if t.column.name not in out), default=NOTHING[kind])
        if best >= suffices:
            return best
        key = (one.outcome.target, one.outcome.label, out)
        value, asked = self._known.get(key, (0.0, 0.0))
        if value < suffices and asked < suffices:
            value = together(left, self._evidence, one.outcome, suffices)
            self._known[key] = value, suffices
        return max(best, value)


def copies(evidence: Evidence, told: Sequence[Told], rest: _Rest) -> Iterator[Finding]:
    """Columns whose values and the answers go together one to one, or that are a function of the answer."""
    for one in told:
        if not enough(one.outcome, one.rows):
            continue
        agreement = _recoding(one) if one.outcome.kind == "binary" else _function(one, evidence)
        if agreement is None:
            continue
        sure: Severity = "severe" if agreement > 0.985 else "suspicious"
        plain = one.outcome.kind == "binary" and len(one.column.values) <= 3 and agreement > 0.9
        if (
            agreement < 0.985
            and not plain
            and one.left * 2 > _left(one.outcome, rest.without(one, _bound(one, 2)), one.rows)
        ):
            continue
        yield Finding(
            "copy-of-target",
            sure,
            f"{one.column.name} and {one.outcome.asked} say the same on {counted(len(one.rows), 'row')}",
            COPY,
            "agreement",
            agreement,
            (one.column.name,),
            one.column.input,
            one.outcome.target,
            len(one.rows),
        )


def _recoding(one: Told) -> float | None:
    """Cohen's kappa between the answer and the values' commonest answers, where the column has few values for it."""
    truth, code = one.outcome.value[one.rows] > 0.5, one.column.code[one.rows]
    used = np.unique(code)
    if not 2 <= len(used) <= max(FEW_CODES, len(truth) // 100 if one.column.is_word else 0) or len(used) > 40:
        return None
    cases = np.bincount(code, truth, len(one.column.values))
    said = (cases > np.bincount(code, ~truth, len(one.column.values)))[code]
    agreed, chance = (said == truth).mean(), said.mean() * truth.mean() + (1 - said.mean()) * (1 - truth.mean())
    kappa = float((agreed - chance) / (1 - chance))
    return kappa if kappa > (0.84 if len(used) <= 3 else 0.92) else None


def _function(one: Told, evidence: Evidence) -> float | None:
    """Rank agreement with the answer, or how well the answer tells the column; of a time, where its event happened."""
    rows = one.rows if one.outcome.event is None else one.rows[one.outcome.event[one.rows] > 0.5]
    answer = one.outcome.value[rows]
    if len(rows) < 24 or len(np.unique(answer)) < 10:
        return None
    if one.column.is_word or len(np.unique(one.column.code[rows])) <= 12:
        return _coarse(one.column.code[rows], answer)
    number = one.column.number[rows]
    found = abs(correlation(rankdata(number), rankdata(answer)))
    if one.outcome.kind == "number":
        ranks = rankdata(number)
        back = by_bins(bins_of(answer, max(4, len(rows) // 8)), ranks, evidence.fold_of[rows])
        found = max(found, correlation(back, ranks) ** 2 if len(rows) >= 100 else 0.0)
    return found if found > 0.995 else None


def _coarse(code: np.ndarray, answer: np.ndarray) -> float | None:
    """The worst area under the curve with which the answer parts one value of a column from the rest, ends or bands."""
    common = [c for c in np.unique(code) if (code == c).sum() >= 8]
    if len(common) < 2 or sum((code == c).sum() for c in common) < 0.95 * len(code):
        return None
    worst = 1.0
    for value in common:
        held = answer[code == value]
        inside = (answer >= np.quantile(held, 0.005)) & (answer <= np.quantile(held, 0.995))
        worst = min(worst, 1 - float((inside & (code != value)).sum() / max((code != value).sum(), 1)))
    return worst if worst > 0.985 else None


def codes_of_cases(evidence: Evidence, told: Sequence[Told], rest: _Rest) -> Iterator[Finding]:
    """A value that nearly only one answer has, on many of its rows."""
    for one in told:
        if one.outcome.kind != "binary" or not enough(one.outcome, one.rows):
            continue
        several = sum(o.target == one.outcome.target for o in evidence.outcomes) > 1
        truth = one.outcome.value[one.rows] > 0.5
        for asked in (truth, ~truth)[: 1 if several else 2]:
            found = _code(one, asked, len(told))
            if found is None:
                continue
            rows, share = found
            coarse = one.column.is_word or len(one.column.values) <= 3
            if not (coarse and not several and share >= 0.25) and rest.without(one, 0.97) >= 0.97:
                continue
            what = one.outcome.asked if asked is truth else f"not {one.outcome.asked}"
            yield Finding(
                "code-of-cases",
                "severe" if asked.mean() < 0.4 and rows >= 20 else "suspicious",
                f"a value of {one.column.name} stands on {counted(rows, 'row')}, and nearly all of them are {what}",
                "find out whether the value is given because of the answer, and take the column out if so",
                "share of the answer's rows",
                share,
                (one.column.name,),
                one.column.input,
                one.outcome.target,
                rows,
            )
            break


def _code(one: Told, truth: np.ndarray, tries: int) -> tuple[int, float] | None:
    """Rows with values that only this answer has, and their share of it; None where there are too few to tell.

    For the commoner answer all of them have to be pure, and many.
    """
    base, code = truth.mean(), one.column.code[one.rows]
    if base > 0.8:
        return None
    held = np.bincount(code, minlength=len(one.column.values)).astype(np.float64)
    cases = np.bincount(code, truth, len(held))
    looked = held >= max(8, 0.1 * truth.sum())
    if not one.column.is_word and len(held) > FEW_CODES:
        looked &= held >= 6 * np.sort(held)[-min(len(held), 3)]
    purity, share, least = (0.985, 0.15, -6) if base <= 0.5 else (1.0, 0.3, -12)
    chance = held * np.log10(base) + np.log10(max(looked.sum(), 1) * tries)
    pure = looked & (cases >= purity * held) & (cases >= share * truth.sum()) & (chance < least)
    return (int(held[pure].sum()), float(cases[pure].sum() / truth.sum())) if pure.any() else None


def too_good(evidence: Evidence, told: Sequence[Told], rest: _Rest) -> Iterator[Finding]:
    """A column that alone leaves several times less unexplained than all others together."""
    for one in sorted(told, key=lambda t: t.left):
        kind = one.outcome.kind
        coarse = 0.02 if kind == "binary" and len(one.column.values) <= FEW_CODES else 0.0
        if one.score < TOO_GOOD[kind] - coarse or not beyond_chance(
            surprise(one.outcome, one.score, one.rows), len(told), 1e-6
        ):
            continue
        others = rest.without(one, _bound(one, TIMES))
        if len(evidence.columns) < 3 and one.score < NEARLY_PERFECT[kind]:
            continue
        ratio = _left(one.outcome, others, one.rows) / one.left
        if ratio < TIMES:
            continue
        after = sorted(AFTERWARDS & set(words_of(one.column.name)))
        sure: Severity = "severe" if one.score >= NEARLY_PERFECT[kind] or after else "suspicious"
        yield Finding(
            "too-good",
            sure,
            f"{one.column.name} alone tells {one.outcome.asked} with {FIGURES[kind]} {one.score:.3f}; "
            f"all other columns together reach {others:.3f}",
            "find out when and from what the column is written; take it out if the answer was known by then",
            FIGURES[kind],
            one.score,
            (one.column.name,),
            one.column.input,
            one.outcome.target,
            len(one.rows),
        )


def named(evidence: Evidence, told: Sequence[Told], rest: _Rest) -> Iterator[Finding]:
    """A column named after the answer, or after what follows it, that also tells it well."""
    words = evidence.answer_words
    for one in told:
        own = set(words_of(one.column.name))
        after, same = own & AFTERWARDS, own & words
        floor = {"binary": 0.75, "number": 0.3, "survival": 0.72}[one.outcome.kind]
        if not (after or same) or one.score < floor:
            continue
        if (
            not beyond_chance(surprise(one.outcome, one.score, one.rows), len(told))
            or one.score <= NOTHING[one.outcome.kind]
        ):
            continue
        yield Finding(
            "named-like-target" if same else "after-index",
            "suspicious",
            f"{one.column.name} has the name of {'the answer' if same else 'what is known after it'}, and alone tells "
            f"{one.outcome.asked} with {FIGURES[one.outcome.kind]} {one.score:.3f}",
            "take it out unless it was known at the index time",
            FIGURES[one.outcome.kind],
            one.score,
            (one.column.name,),
            one.column.input,
            one.outcome.target,
            len(one.rows),
        )


def pairs(evidence: Evidence) -> Iterator[Finding]:
    """Two columns from which the answer is a straight line exactly: a sum, a difference, a total that holds it."""
    columns = [c for c in evidence.columns if not c.is_word and c.present.all() and len(c.values) > 2][:300]
    for outcome in evidence.outcomes:
        rows = np.flatnonzero(outcome.known)
        if outcome.kind == "survival" or len(columns) < 2 or not enough(outcome, rows):
            continue
        values = np.stack([c.number[rows] for c in columns] + [outcome.value[rows]], axis=1)
        r = np.corrcoef(values, rowvar=False)
        x, y = r[:-1, :-1], r[:-1, -1]
        rest = 1 - x**2
        with np.errstate(divide="ignore", invalid="ignore"):
            fit = (y[:, None] ** 2 + y[None, :] ** 2 - 2 * x * y[:, None] * y[None, :]) / rest
        fit = np.where((rest > 1e-6) & (np.maximum(y[:, None] ** 2, y[None, :] ** 2) < 0.99), fit, 0.0)
        i, j = np.unravel_index(int(np.argmax(fit)), fit.shape)
        if fit[i, j] > 0.9999:
            one, other = columns[i].name, columns[j].name
            yield Finding(
                "copy-of-target",
                "severe",
                f"{outcome.asked} is a straight line of {one} and {other}, which together leave nothing unexplained",
                "one of the two holds the answer: find out how they were made, and take it out",
                "R²",
                float(fit[i, j]),
                (one, other),
                columns[i].input,
                outcome.target,
                len(rows),
            )
