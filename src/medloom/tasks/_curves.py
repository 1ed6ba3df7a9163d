"""Curves from a score to a calibrated one, as fitted state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Line:
    """Scores times `slope`, plus an `intercept` for each of them."""

    slope: float
    intercept: tuple[float, ...]

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """The scores [rows] or [rows, classes] on this line."""
        shift = np.array(self.intercept) if score.ndim == 2 else self.intercept[0]
        return np.asarray(self.slope * score + shift)

    def after(self, first: Line) -> Line:
        """This line of what `first` gives."""
        pairs = zip(first.intercept, self.intercept, strict=True)
        return Line(self.slope * first.slope, tuple(self.slope * a + b for a, b in pairs))


@dataclass(frozen=True, slots=True)
class Steps:
    """Scores through points of a rising curve, straight between them and flat beyond."""

    score: tuple[float, ...]
    log_odds: tuple[float, ...]

    def __call__(self, score: np.ndarray) -> np.ndarray:
        """The scores [rows] on this curve."""
        return np.interp(score, self.score, self.log_odds)
