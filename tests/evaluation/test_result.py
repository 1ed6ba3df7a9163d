from __future__ import annotations

import json

import numpy as np
import pytest

from medloom.evaluation.intervals import Comparison, Estimate
from medloom.evaluation.result import best_baseline, metrics_json, target_result
from medloom.task import Metric


def metric(name: str, higher: bool) -> Metric:
    return Metric(name, lambda m, w: np.zeros(len(w)), higher, name)


def comparison(**values: float | None) -> Comparison:
    estimates = {
        name: {"figure": Estimate(v, v, v) if v is not None else Estimate(None, note="cannot be estimated: x")}
        for name, v in values.items()
    }
    differences = {name: {"figure": Estimate(0.5, 0.25, 0.75)} for name in values if name != "model"}
    return Comparison(estimates, differences, rows=10, patients=8, resamples=100, level=0.95)


@pytest.mark.parametrize(("higher", "best"), [(True, "b"), (False, "a")])
def test_the_best_baseline_by_the_direction_of_the_headline(higher: bool, best: str) -> None:
    found = comparison(model=0.99, a=0.5, b=0.7, c=None)
    assert best_baseline(found, {"figure": metric("figure", higher)}) == best


def test_the_shape_of_metrics_json() -> None:
    entry = target_result(comparison(model=0.9, a=0.5, b=0.75), {"figure": metric("figure", True)})
    text = metrics_json({"death": entry}, {"by": "patient"}, {"rows": 10})
    read = json.loads(text)
    assert set(read) == {"targets", "split", "counts", "flow"}
    death = read["targets"]["death"]
    assert death["model"]["figure"] == {"value": 0.9, "low": 0.9, "high": 0.9}
    assert death["baselines"]["a"]["figure"]["value"] == 0.5
    assert death["difference"] == {"baseline": "b", "figure": {"value": 0.5, "low": 0.25, "high": 0.75}}
    assert set(death["differences"]) == {"a", "b"}


def test_no_baseline_and_nothing_estimable() -> None:
    metrics = {"figure": metric("figure", True)}
    assert target_result(comparison(model=0.9), metrics)["difference"] == {"baseline": None}
    assert target_result(comparison(model=0.9, a=None), metrics)["difference"] == {"baseline": None}


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        metrics_json({}, {}, {"rows": float("nan")})
