"""The truth that intervals are held against, and that a few cohorts run through."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import interval_coverage as coverage
from medloom.tasks._class_figures import metrics


def test_the_integrated_truth_is_that_of_a_large_sample() -> None:
    known = {n: m for n, m in metrics("binary", (coverage.THRESHOLD,)).items() if n in coverage.FIGURES}
    truth = coverage.true_figures(coverage.Design("", 150, 1), known)
    ((measured, _),) = coverage.simulated(coverage.Design("", 400_000, 1), 1)
    assert measured["truth"].mean() == pytest.approx(coverage.PREVALENCE, abs=0.002)
    for name, metric in known.items():
        assert metric.of(measured, np.ones((1, 400_000)))[0] == pytest.approx(truth[name], abs=0.012), name


def test_each_figure_of_a_design_is_measured() -> None:
    found = coverage.of_design(coverage.Design("30 patients", 30, 1), 5)
    assert len(found) == len(coverage.FIGURES)
    assert all(result.want == 0.02 and 0 <= result.value <= 0.95 for result in found)
