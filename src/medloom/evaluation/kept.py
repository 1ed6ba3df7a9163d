"""What is left when the least certain rows are left to a person: the share that is kept, and the figures on it.

Source: Geifman & El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017 (risk beside coverage).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from medloom.errors import PATIENT, Noun
from medloom.evaluation.intervals import Estimate, closed, figures
from medloom.evaluation.subgroups import taken
from medloom.statistics import shares
from medloom.task import Measured, Metric

LEFT = "left_to_person"


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows that the model answers itself: how many, their share, and the figures on them."""

    rows: int
    share: Estimate
    figures: Mapping[str, Estimate]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        each = {name: estimate.plain() for name, estimate in self.figures.items()}
        return {"rows": self.rows, "share_kept": self.share.plain(), "figures": each}


def kept(
    metrics: Mapping[str, Metric],
    measured: Measured,
    patient: Int[np.ndarray, " rows"],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    of: Noun = PATIENT,
) -> Kept | None:
    """The figures on the rows that are kept; None where the task leaves none to a person.

    Where every row is left, no figure can be estimated, and each says so.
    """
    if LEFT not in measured:
        return None
    held = measured[LEFT] == 0
    patients = len(np.unique(patient))
    share = closed(shares.share(held, np.ones(len(held), bool), patient, level), patients, of)
    if not held.any():
        none = Estimate(None, note="cannot be estimated: every row is left to a person")
        return Kept(0, share, dict.fromkeys(metrics, none))
    found = figures(metrics, taken(measured, held), patient[held], resamples=resamples, level=level, seed=seed, of=of)
    return Kept(int(held.sum()), share, found)
