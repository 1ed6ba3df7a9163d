"""EEG of the University of Bonn: five sets. See `bonn.py`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bonn import measured
from benchmarks.result import Result

ID = "bonn-5"
CLASSES = {one: one for one in "ABCDE"}
PUBLISHED = "band powers and SVM .895; random convolutions and ridge .960, with bands .966; small ResNet .866; their average .970 (other folds by segment)"


def run(data: Path | None) -> list[Result]:
    """Accuracy in five folds; none without data."""
    return measured(ID, data, CLASSES, 0.975, PUBLISHED)
