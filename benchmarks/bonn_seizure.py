"""EEG of the University of Bonn: in a seizure or not. See `bonn.py`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bonn import measured
from benchmarks.result import Result

ID = "bonn-seizure"
CLASSES = {one: "seizure" if one == "E" else "none" for one in "ABCDE"}
PUBLISHED = "band powers and SVM .989; average of random convolutions with ridge and a small ResNet .998 (other folds by segment)"


def run(data: Path | None) -> list[Result]:
    """Accuracy in five folds; none without data."""
    return measured(ID, data, CLASSES, 0.998, PUBLISHED)
