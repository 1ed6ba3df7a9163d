"""EEG of the University of Bonn: healthy, between seizures, in a seizure. See `bonn.py`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bonn import measured
from benchmarks.result import Result

ID = "bonn-3"
CLASSES = {"A": "healthy", "B": "healthy", "C": "between", "D": "between", "E": "seizure"}
PUBLISHED = "band powers and SVM .985; average of random convolutions with ridge and a small ResNet .992 (other folds by segment)"


def run(data: Path | None) -> list[Result]:
    """Accuracy in five folds; none without data."""
    return measured(ID, data, CLASSES, 0.994, PUBLISHED)
