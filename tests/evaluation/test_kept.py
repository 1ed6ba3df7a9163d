"""Figures on the rows that are kept."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.evaluation.kept import kept
from medloom.tasks._class_figures import metrics

FIGURES = {name: metric for name, metric in metrics("binary").items() if name in ("auroc", "accuracy")}


def measured(left: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    probability = random.random(len(left))
    truth = (random.random(len(left)) < probability).astype(float)
    return {
        "truth": truth,
        "probability": probability,
        "decision": (probability > 0.5).astype(float),
        "left_to_person": left,
    }


def test_figures_are_those_of_the_rows_alone() -> None:
    left = (np.arange(200) % 4 == 0).astype(float)
    held = measured(left)
    found = kept(FIGURES, held, np.arange(200), resamples=100)
    assert found is not None and found.rows == 150 and found.share.value == 0.75
    own = (held["truth"] == held["decision"])[left == 0].mean()
    assert found.figures["accuracy"].value == pytest.approx(own)


def test_all_left_cannot_be_estimated_and_none_asked_is_none() -> None:
    held = measured(np.ones(30))
    found = kept(FIGURES, held, np.arange(30), resamples=100)
    assert found is not None and found.rows == 0 and found.share.value == 0.0
    assert {one.note for one in found.figures.values()} == {"cannot be estimated: every row is left to a person"}
    assert found.plain()["figures"]["auroc"]["value"] is None
    del held["left_to_person"]
    assert kept(FIGURES, held, np.arange(30)) is None
