"""Figures as the `metrics.json` of a run: plain values, nothing that is NaN."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from medloom.evaluation.intervals import MODEL, Comparison, Estimate
from medloom.task import Metric

WITHOUT = "without_"
"""Before a member's name: the entrant that is the model less that member."""


def is_baseline(entrant: str) -> bool:
    """Whether an entrant is a simple model beside the model, and not the model or a part of it."""
    return entrant != MODEL and not entrant.startswith(WITHOUT)


def best_baseline(comparison: Comparison, metrics: Mapping[str, Metric]) -> str | None:
    """The baseline with the best value of the headline metric (the first); None where none can be estimated.

    Choosing it by the rows it is then compared on favours the baseline, never the model.
    """
    headline, metric = next(iter(metrics.items()))
    values = {name: estimates[headline].value for name, estimates in comparison.estimates.items() if is_baseline(name)}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    sign = 1 if metric.higher_is_better else -1
    return max(known, key=lambda name: sign * known[name])


def target_result(
    comparison: Comparison,
    metrics: Mapping[str, Metric],
    labels: Mapping[str, str] | None = None,
    shares: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """One target's entry of `metrics.json`: model, baselines, the difference from the best one, and from each.

    `labels` are what the baselines are called, by name. Where several members answer together, `members` has each one's
    share and what it adds: the model's figures less those of the model without it.
    """
    best, headline = best_baseline(comparison, metrics), next(iter(metrics))
    members = {
        name.removeprefix(WITHOUT): {
            "share": (shares or {}).get(name.removeprefix(WITHOUT)),
            "without": _plain(comparison.estimates[name]),
            "adds": _plain(of),
        }
        for name, of in comparison.differences.items()
        if name.startswith(WITHOUT)
    }
    return {
        "model": _plain(comparison.estimates[MODEL]),
        "baselines": {name: _plain(of) for name, of in comparison.estimates.items() if is_baseline(name)},
        "difference": {"baseline": best, **(_plain(comparison.differences[best]) if best is not None else {})},
        "differences": {name: _plain(of) for name, of in comparison.differences.items() if is_baseline(name)},
        **({"members": members} if members else {}),
        "headline": headline,
        "label": metrics[headline].label,
        "higher_is_better": metrics[headline].higher_is_better,
        "labels": dict(labels or {}),
        "rows": comparison.rows,
        "patients": comparison.patients,
        "resamples": comparison.resamples,
        "level": comparison.level,
    }


def metrics_json(
    targets: Mapping[str, Mapping[str, Any]],
    split: Mapping[str, Any],
    counts: Mapping[str, Any],
    flow: Sequence[Mapping[str, Any]] = (),
    more: Mapping[str, Any] | None = None,
) -> str:
    """The text of `metrics.json` from the entries of all targets, the split, the counts and the cohort flow.

    `more` are keys of other parts of the evaluation. NaN raises ValueError.
    """
    whole = {"targets": dict(targets), "split": dict(split), "counts": dict(counts), "flow": list(flow), **(more or {})}
    return json.dumps(whole, indent=2, allow_nan=False) + "\n"


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | str | None]]:
    return {name: estimate.plain() for name, estimate in estimates.items()}
