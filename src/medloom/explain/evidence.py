"""What stands beside the figures of a run: what answers rest on, groups of patients, and who the model gets wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from medloom.cohort.table import Cohort
from medloom.evaluation.grouping import Grouping
from medloom.evaluation.intervals import MODEL
from medloom.evaluation.subgroups import Subgroups, subgroups
from medloom.explain.alike import with_copies
from medloom.explain.attention import Looked, looked
from medloom.explain.cases import Case, with_maps, with_outlines
from medloom.explain.examine import Explanation, explain
from medloom.explain.mapped import Mapped, mapped, masks_of
from medloom.explain.probe import Probe
from medloom.explain.weak_groups import WeakGroups, weak_groups
from medloom.feed import Feed
from medloom.model.team import Team
from medloom.study import Study
from medloom.task import Measured, Metric

MOST_FIGURES = 3
"""Figures of a group, at most: the headline first, then those of calibration."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """By target where there is one; nothing where the study did not ask or nobody judges."""

    explanation: Explanation | None = None
    subgroups: Mapping[str, Subgroups] = field(default_factory=dict)
    weak: Mapping[str, WeakGroups] = field(default_factory=dict)
    looked: tuple[Looked, ...] = ()
    """Where along time or place networks looked, in the mean over rows."""
    mapped: tuple[Mapped, ...] = ()
    """What maps over images are worth."""
    cases: tuple[Case, ...] = ()
    """Pictures of single rows: patients' data, where the study asks for it. No part of `metrics.json`."""

    def plain(self) -> dict[str, Any]:
        """Entries of `metrics.json`, those with something to tell."""
        found: dict[str, Any] = {}
        if self.explanation is not None:
            found["explanation"] = self.explanation.plain()
        if self.subgroups:
            found["subgroups"] = {name: one.plain() for name, one in self.subgroups.items()}
        if self.weak:
            found["errors"] = {name: one.plain() for name, one in self.weak.items()}
        if self.looked:
            found["attention"] = {one.input: one.plain() for one in self.looked}
        for one in self.mapped:
            found.setdefault("maps", {}).setdefault(one.input, {})[one.target] = one.plain()
        return found


def evidence(
    study: Study,
    cohort: Cohort,
    team: Team,
    feed: Feed,
    test: Int[np.ndarray, " test"],
    measured: Mapping[str, Mapping[str, Measured]],
    rows: Mapping[str, Int[np.ndarray, " rows"]],
    groups: Sequence[Grouping],
) -> Evidence:
    """Everything about the rows that judge. `measured` is by target and entrant, of the cohort's `rows`.

    What the answers rest on is asked of `team` and the rows `test` that it has not seen; its tasks in `feed` are calibrated.
    """
    asked = study.evaluate
    options = {"resamples": asked.resamples, "level": asked.level, "seed": study.seed}
    by_group = {
        name: subgroups(
            _few(feed.tasks[name].metrics()),
            entrants[MODEL],
            cohort.patient[rows[name]],
            [group.take(rows[name]) for group in groups],
            minimum=asked.subgroup_patients,
            of=study.cohort.unit,
            **options,  # type: ignore[arg-type]
        )
        for name, entrants in measured.items()
        if groups and not feed.tasks[name].dense
    }
    cases = _cases(study, cohort, team, feed, test, measured, rows)
    if not asked.explain or not len(test):
        return Evidence(subgroups=by_group, cases=cases)
    explanation = explain(team, feed, test, cohort.patient[test], asked.level, study.seed, study.cohort.unit)
    seen = looked(team, feed, test, cohort.patient[test], study.seed)
    weak = _weak(study, cohort, team, feed, measured, rows)
    return Evidence(explanation, by_group, weak, seen, mapped(study, cohort, team, feed, test), cases)


def _cases(
    study: Study,
    cohort: Cohort,
    team: Team,
    feed: Feed,
    test: Int[np.ndarray, " test"],
    measured: Mapping[str, Mapping[str, Measured]],
    rows: Mapping[str, Int[np.ndarray, " rows"]],
) -> tuple[Case, ...]:
    """Nothing unless the study asks for pictures of patients."""
    if not study.evaluate.maps.pictures or not len(test) or not team.networks:
        return ()
    masks = masks_of(study, cohort, needed=False)
    return (
        *with_outlines(team, feed, measured, rows, test),
        *with_maps(study, team, feed, test, masks),
        *with_copies(feed, cohort.patient, study.evaluate.maps.pictures),
    )


def _weak(
    study: Study,
    cohort: Cohort,
    team: Team,
    feed: Feed,
    measured: Mapping[str, Mapping[str, Measured]],
    rows: Mapping[str, Int[np.ndarray, " rows"]],
) -> dict[str, WeakGroups]:
    asked, found = study.evaluate, {}
    for name, entrants in measured.items():
        task, own = feed.tasks[name], rows[name]
        replies = None if task.dense else task.replies(entrants[MODEL])
        if replies is None:
            continue
        # Of inputs that are seen in windows there are no numbers here, and so no questions: groups are of the others.
        probe = Probe(team, feed, own)
        groups = weak_groups(
            replies,
            probe.features(),
            probe.plain(),
            cohort.patient[own],
            asked.resamples,
            asked.level,
            study.seed,
            study.cohort.unit,
        )
        if groups is not None:
            found[name] = groups
    return found


def _few(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The headline, and a few of the others that have an interval of their own, which costs little: calibration first."""
    headline, *others = metrics
    closed = [name for name in others if metrics[name].interval is not None and metrics[name].group != "each"]
    closed.sort(key=lambda name: metrics[name].group != "calibration")
    return {name: metrics[name] for name in (headline, *closed[: MOST_FIGURES - 1])}
