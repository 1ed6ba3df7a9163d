"""Who the model gets wrong: groups by what their inputs are, found in one half of the patients and judged in the other.

Source: Chung et al., "Automated data slicing for model validation", IEEE TKDE 32, 2020 (slices of high loss by a tree);
here the half that judges has not chosen the groups.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from medloom.errors import PATIENT, Noun
from medloom.evaluation.grouping import Grouping
from medloom.evaluation.subgroups import Subgroups, subgroups
from medloom.explain.deletion import halves
from medloom.task import Measured, Metric, Replies
from medloom.told import Feature

MINIMUM = 20
"""Patients of a group in the half that judges."""
FEWEST_PATIENTS = 100
DEPTH = 2
SHARE = 0.1
"""Share of the rows that a group needs in the half that finds it."""
ERROR = "error"


@dataclass(frozen=True, slots=True)
class WeakGroups:
    """Mean errors in groups of the half that judges. `worse` names those whose error is clearly above all others'."""

    error_name: str
    groups: Subgroups
    worse: tuple[str, ...]
    patients: int

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"error": self.error_name, "worse": list(self.worse), "patients": self.patients, **self.groups.plain()}


def weak_groups(
    replies: Replies,
    names: tuple[tuple[str, Feature], ...],
    plain: Float[np.ndarray, "rows features"],
    patient: Int[np.ndarray, " rows"],
    resamples: int,
    level: float,
    seed: int,
    of: Noun = PATIENT,
) -> WeakGroups | None:
    """Groups by at most two questions about the inputs; None where errors are unknown or patients too few."""
    known = ~np.isnan(replies.error)
    plain = plain[known]
    empty = np.isnan(plain).all(axis=0)
    usable = [place for place, (_, one) in enumerate(names) if one.part and not empty[place]]
    if len(np.unique(patient[known])) < FEWEST_PATIENTS or not usable:
        return None
    error, patient, features = replies.error[known], patient[known], plain[:, usable]
    finds = halves(patient, seed)
    code, words = _tree(features, error, finds, [names[place][1] for place in usable])
    if len(words) < 2:
        return None
    judge = ~finds
    grouping = Grouping("group", words, code[judge])
    found = subgroups(
        {ERROR: Metric(ERROR, _mean, False, replies.error_name)},
        {ERROR: error[judge]},
        patient[judge],
        [grouping],
        resamples=resamples,
        level=level,
        seed=seed,
        minimum=MINIMUM,
        of=of,
    )
    worse = tuple(
        group.name
        for group in found.groups
        if ERROR in group.contrasts
        and (group.contrasts[ERROR].difference.low or 0) > 0
        and (group.contrasts[ERROR].adjusted or 0) <= 1 - level
    )
    return WeakGroups(replies.error_name, found, worse, len(np.unique(patient[judge])))


def _mean(measured: Measured, weight: Float[np.ndarray, "resamples rows"]) -> Float[np.ndarray, " resamples"]:
    total = weight.sum(axis=1)
    return np.divide(weight @ measured[ERROR], total, out=np.full(len(weight), np.nan), where=total > 0)


def _tree(
    features: np.ndarray, error: np.ndarray, finds: np.ndarray, names: list[Feature]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The group of every row and what each is called, from a shallow regression tree grown where `finds`."""
    from sklearn.tree import DecisionTreeRegressor

    least = max(MINIMUM, int(SHARE * finds.sum()))
    grown = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=least, random_state=0)
    with warnings.catch_warnings():
        # Columns without any value say nothing and are never chosen.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        grown.fit(features[finds], error[finds])
        leaf = grown.apply(features)
    rules = _rules(grown.tree_, features, names)
    leaves = sorted(rules)
    place = {one: number for number, one in enumerate(leaves)}
    return np.array([place[one] for one in leaf]), tuple(rules[one] for one in leaves)


def _rules(tree: Any, features: np.ndarray, names: list[Feature]) -> Mapping[int, str]:
    """What leads to each leaf, in words."""
    found: dict[int, str] = {}

    def walk(node: int, said: tuple[str, ...]) -> None:
        if tree.children_left[node] < 0:
            found[node] = ", ".join(said) or "everyone"
            return
        column = tree.feature[node]
        holes = bool(np.isnan(features[:, column]).any())
        for child, left in ((tree.children_left[node], True), (tree.children_right[node], False)):
            gap = holes and bool(tree.missing_go_to_left[node]) == left
            walk(child, (*said, _rule(names[column], float(tree.threshold[node]), left, gap)))

    walk(0, ())
    return found


def _rule(name: Feature, threshold: float, left: bool, missing: bool) -> str:
    if name.word:
        return f"{name.part} {'is not' if left else 'is'} {name.word}"
    return f"{name.number} {'up to' if left else 'over'} {threshold:.3g}{' or missing' if missing else ''}"
