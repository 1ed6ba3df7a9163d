from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from medloom.evaluation.grouping import Grouping
from medloom.evaluation.intervals import figures
from medloom.evaluation.subgroups import holm, subgroups, taken
from medloom.statistics._rows import mean
from medloom.task import Metric
from medloom.tasks._class_figures import metrics

MEAN = {"mean": Metric("mean", lambda m, w: mean(m["value"], w), True, "Mean")}
FIGURES = {n: m for n, m in metrics("binary", (0.3,)).items() if n in ("auroc", "brier", "calibration_slope")}


def measured(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    probability = expit(x)
    truth = (random.random(rows) < probability).astype(float)
    return {"truth": truth, "probability": probability, "decision": (probability > 0.5).astype(int)}


def sexes(rows: int) -> Grouping:
    return Grouping("sex", ("F", "M"), np.arange(rows) % 2)


def test_figures_of_a_group_are_those_of_its_rows_alone() -> None:
    entry, patient = measured(200), np.arange(200)
    found = subgroups(FIGURES, entry, patient, [sexes(200)], resamples=200)
    men = found.groups[1]
    rows = np.arange(200) % 2 == 1
    assert (men.column, men.name, men.rows, men.patients, men.note) == ("sex", "M", 100, 100, "")
    assert men.estimates == figures(FIGURES, taken(entry, rows), patient[rows], resamples=200)
    women = found.groups[0]
    for name in FIGURES:
        contrast = women.contrasts[name].difference
        assert contrast.value == pytest.approx(women.estimates[name].value - men.estimates[name].value)
        turned = men.contrasts[name].difference
        np.testing.assert_allclose(
            (turned.value, turned.low, turned.high), (-contrast.value, -contrast.high, -contrast.low), atol=1e-12
        )
        # One contrast, seen from both sides: it is counted once, and both have its p value.
        assert men.contrasts[name].adjusted == women.contrasts[name].adjusted == pytest.approx(women.contrasts[name].p)
    assert found.contrasts == dict.fromkeys(FIGURES, 1)


def test_a_contrast_without_a_closed_form_is_that_of_two_means() -> None:
    random = np.random.default_rng(1)
    value = random.normal(size=900) + 0.5 * (np.arange(900) % 3 == 0)
    grouping = Grouping("site", ("a", "b", "c"), np.arange(900) % 3)
    found = subgroups(MEAN, {"value": value}, np.arange(900), [grouping], resamples=100).groups[0].contrasts["mean"]
    one, other = value[::3], value[np.arange(900) % 3 > 0]
    spread = np.sqrt(one.var(ddof=1) / 300 + other.var(ddof=1) / 600)
    assert found.difference.value == pytest.approx(one.mean() - other.mean())
    assert found.difference.high - found.difference.low == pytest.approx(2 * 1.98 * spread, rel=0.2)
    assert found.p == pytest.approx(2 * norm.sf(abs(one.mean() - other.mean()) / spread), abs=1e-3)
    assert found.adjusted is not None and found.p < found.adjusted < 0.01


def test_a_patient_in_both_groups_makes_the_contrast_paired() -> None:
    random = np.random.default_rng(2)
    of_patient = np.repeat(random.normal(size=100), 2)
    value = of_patient + 0.1 * random.normal(size=200)
    grouping = Grouping("visit", ("first", "second"), np.arange(200) % 2)
    both = subgroups(MEAN, {"value": value}, np.arange(200) // 2, [grouping], resamples=100)
    alone = subgroups(MEAN, {"value": value}, np.arange(200), [grouping], resamples=100)
    widths = [s.groups[0].contrasts["mean"].difference for s in (both, alone)]
    assert widths[0].high - widths[0].low < 0.3 * (widths[1].high - widths[1].low)
    # And a figure with a closed form of its own is then resampled with its patients too.
    entry = {k: np.repeat(v, 2, axis=0) for k, v in measured(60).items()}
    visits = Grouping("visit", ("first", "second"), np.arange(120) % 2)
    same = subgroups(FIGURES, entry, np.arange(120) // 2, [visits], resamples=100).groups[0].contrasts["auroc"]
    assert (same.difference.low, same.difference.value, same.difference.high) == (0, 0, 0)


def test_small_groups_and_groups_without_the_outcome_are_suppressed_and_counted() -> None:
    entry = measured(300)
    code = np.zeros(300, int)
    code[:150] = 1
    code[:45] = 2
    code[:20] = 3
    code[:5] = 4
    entry["truth"][20:45] = 0
    grouping = Grouping("site", ("a", "b", "no events", "few", "hermit"), code)
    found = subgroups(FIGURES, entry, np.arange(300), [grouping], resamples=100)
    assert found.suppressed == 3
    a, _, events, few, alone = found.groups
    assert a.estimates and a.contrasts
    assert events.note == "cannot be estimated: its rows do not hold what AUROC needs" and not events.estimates
    assert (few.name, few.patients, few.note) == ("few", 15, "cannot be estimated: fewer than 20 patients")
    assert (alone.name, alone.rows, alone.patients) == ("a rare value", None, None)
    assert found.contrasts["auroc"] == 2
    assert "3 groups cannot be estimated" in found.said() and "2 contrasts" in found.said()
    assert "hermit" not in json.dumps(found.plain(), allow_nan=False)


def test_patients_are_counted_and_not_rows() -> None:
    entry = {"value": np.arange(80.0)}
    patient = np.arange(80) // 4
    grouping = Grouping("sex", ("F", "M"), patient % 2)
    found = subgroups(MEAN, entry, patient, [grouping], resamples=100)
    assert [group.patients for group in found.groups] == [10, 10]
    assert found.suppressed == 2
    assert not subgroups(MEAN, entry, patient, [grouping], resamples=100, minimum=10).suppressed


def test_no_contrast_to_a_rest_that_is_too_small_and_none_for_rows_in_no_group() -> None:
    code = np.where(np.arange(100) < 60, 0, -1)
    found = subgroups(MEAN, {"value": np.arange(100.0)}, np.arange(100), [Grouping("x", ("a",), code)], resamples=100)
    (group,) = found.groups
    assert group.rows == 60 and not group.contrasts
    assert group.note == "no contrast: fewer than 20 patients are in other groups"


def test_groups_that_do_not_differ_seldom_look_as_if_they_did() -> None:
    random = np.random.default_rng(3)
    raw = adjusted = 0
    for trial in range(60):
        entry = {"value": random.normal(size=240)}
        groupings = [Grouping(f"c{i}", ("a", "b"), random.integers(0, 2, 240)) for i in range(6)]
        found = subgroups(MEAN, entry, np.arange(240), groupings, resamples=100, seed=trial)
        contrasts = [group.contrasts["mean"] for group in found.groups]
        raw += any(c.p < 0.05 for c in contrasts)
        adjusted += any(c.adjusted < 0.05 for c in contrasts)
    assert raw / 60 > 0.12  # Of six tries one is often "significant": 1 − 0.95⁶ = 0.26.
    assert adjusted / 60 < 0.12


def test_holm_by_hand() -> None:
    # Holm 1979: 4 × .01, 3 × .013, 2 × .03, 1 × .2, never falling.
    np.testing.assert_allclose(holm([0.03, 0.01, 0.2, 0.013]), [0.06, 0.04, 0.2, 0.04])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]
