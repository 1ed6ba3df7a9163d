"""Split conformal limits, of all calibration rows together and of each group by itself (Mondrian)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medloom.errors import counted

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from medloom.batch import Output


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a score may go: `every` for all rows together, `groups` as (code, limit) for each group by itself.

    `every` is None where all calibration rows together are too few; `small` counts the groups that were too small for a
    limit of their own. A group without one, small or never seen, has that of all rows.
    """

    every: float | None
    rows: int
    groups: tuple[tuple[int, float], ...] = ()
    small: int = 0

    def of(self, code: Int[np.ndarray, " rows"]) -> tuple[Float[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]:
        """The limit of each row (infinite where there is none), and whether it is that of its own group."""
        found = np.full(len(code), np.inf if self.every is None else self.every)
        own = np.zeros(len(code), bool)
        for group, limit in self.groups:
            rows = code == group
            found[rows], own[rows] = limit, True
        return found, own


def limits(score: Float[np.ndarray, " rows"], code: Int[np.ndarray, " rows"] | None, coverage: float) -> Limits:
    """The limits under which the asked share of new rows falls, if they come like the rows of `score`.

    Source: Vovk, "Conditional validity of inductive conformal predictors", Machine Learning 92, 2013 (by group).
    """
    every = conformal_margin(score, coverage)
    groups, small = [], 0
    # Code 0 is a value that is missing: no group.
    for group in np.unique(code[code != 0]) if code is not None else ():
        found = conformal_margin(score[code == group], coverage)
        small += found is None
        groups += [] if found is None else [(int(group), found)]
    return Limits(every, len(score), tuple(groups), small)


def conformal_margin(distance: Float[np.ndarray, " rows"], coverage: float) -> float | None:
    """The ⌈(n + 1) coverage⌉-th smallest distance; None where n rows are too few for it.

    Source: Romano, Patterson & Candès, "Conformalized quantile regression", NeurIPS 2019, equation 8.
    """
    # The product is rounded so that 0.9 × 20 is 18, and not a little more.
    place = int(np.ceil(round((len(distance) + 1) * coverage, 9)))
    return float(np.sort(distance)[place - 1]) if 1 <= place <= len(distance) else None


def group_of(output: Output, rows: int) -> Int[np.ndarray, " rows"]:
    """The group of each row of an output; 0, in no group, where none is told."""
    from medloom.batch import GROUP

    return output[GROUP].numpy().astype(np.int64) if GROUP in output else np.zeros(rows, np.int64)


def fewest(coverage: float) -> int:
    """The least number of calibration rows from which a limit can be told."""
    return int(np.ceil(round(coverage / (1 - coverage), 9)))


def said(limits: Limits, coverage: float, by: str | None) -> str:
    """What the limits are from, and what they cannot promise."""
    asked = f"{100 * coverage:g} %"
    if limits.every is None and not limits.groups:
        return (
            f"{asked} cannot be guaranteed: {limits.rows} calibration rows are too few, at least {fewest(coverage)} are "
            "needed"
        )
    text = f"{asked}, from {limits.rows} calibration rows"
    if by is None:
        return text
    text += f", {counted(len(limits.groups), 'group')} of {by} each by itself"
    if limits.small:
        text += f"; {limits.small} with under {fewest(coverage)} rows as all rows together, without a guarantee of their own"
    return text


def class_scores(probability: Float[np.ndarray, "rows classes"], score: str) -> Float[np.ndarray, "rows classes"]:
    """How strange each class would be as the truth of a row.

    "lac": one less its probability, which gives the smallest sets. "aps": the probability of all classes that are at
    least as likely, which spreads the errors more evenly over easy and hard rows.
    Source: Sadinle, Lei & Wasserman, "Least ambiguous set-valued classifiers", JASA 114, 2019; Romano, Sesia & Candès,
    "Classification with valid and adaptive coverage", NeurIPS 2020 (without its random tie-breaking: sets are a little
    larger, and a row alone has the same set in any batch).
    """
    if score == "lac":
        return np.asarray(1 - probability)
    order = np.argsort(-probability, axis=1, kind="stable")
    ranked = np.cumsum(np.take_along_axis(probability, order, axis=1), axis=1)
    found = np.empty_like(ranked)
    np.put_along_axis(found, order, ranked, axis=1)
    return found


def class_sets(
    probability: Float[np.ndarray, "rows classes"], limit: Float[np.ndarray, "rows classes"], score: str
) -> Bool[np.ndarray, "rows classes"]:
    """The classes whose score is within the limit; never none: the most likely class is always among them."""
    inside = class_scores(probability, score) <= limit + 1e-12
    inside[np.arange(len(inside)), probability.argmax(axis=1)] = True
    return inside
