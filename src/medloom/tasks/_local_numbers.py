"""Shift and scale of predicted numbers, from rows of another place."""

from __future__ import annotations

import numpy as np

from medloom.errors import DataError
from medloom.tasks._curves import Line

FEWEST_LOCAL = 20
"""Rows with a known answer from which on a bundle is recalibrated."""


def local_line(value: np.ndarray, truth: np.ndarray, name: str, counts: bool) -> Line:
    """The line from predicted to local numbers; of counts through 0, so that no rate turns negative.

    Raises DataError for too few rows, and for predictions that do not rise with the truth.
    """
    if len(value) < FEWEST_LOCAL:
        raise DataError(
            f"{name}: found {len(value)} local rows with a known answer; expected at least {FEWEST_LOCAL}. Gather more "
            "rows, or use the bundle as it is"
        )
    spread = float(((value - value.mean()) ** 2).sum())
    if counts:
        slope = float(truth.sum() / value.sum()) if value.sum() > 0 else 0.0
    else:
        slope = float(((value - value.mean()) * (truth - truth.mean())).sum() / spread) if spread > 0 else 0.0
    if slope <= 0:
        raise DataError(
            f"{name}: the local answers do not rise with what the bundle predicts; no recalibration can mend that. "
            "Train on local rows"
        )
    return Line(slope, (0.0 if counts else float(truth.mean() - slope * value.mean()),))
